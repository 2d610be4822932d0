"""What annotations say of a window."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from s4signal.errors import RecordingError
from s4signal.signals.case import Annotation
from s4signal.signals.lazy import Case


def is_bad(window: Case, duration_s: float) -> bool:
    """Whether a span that is marked as bad reaches into a window, which counts annotations from its start."""
    return any(
        mark.description.lower().startswith("bad") and mark.onset_s < duration_s and mark.onset_s + mark.duration_s > 0
        for mark in window.annotations
        if mark.duration_s > 0  # an instant is no span
    )


def labelled(
    windows: Sequence[Case], labels: Mapping[str, Any] | Iterable[str], duration_s: float
) -> tuple[list[int], npt.NDArray[Any]]:
    """Return the windows that a label covers by more than half, and their labels; RecordingError if there is none."""
    if isinstance(labels, str):
        labels = [labels]
    named = labels if isinstance(labels, Mapping) else {name: name for name in labels}
    found = [_label(window.annotations, named, duration_s) for window in windows]
    kept = [k for k, pair in enumerate(found) if pair is not None]
    if not kept:
        there = sorted({mark.description for window in windows for mark in window.annotations})
        raise RecordingError(
            f"no annotation of labels={list(named)} covers more than half of a window of {duration_s:g} s. The windows "
            f"hold: {', '.join(there[:20]) or 'no annotations'}. Marks without duration are cut by epochs_from_events."
        )
    return kept, np.array([pair[0] for pair in found if pair is not None])


def _label(marks: Iterable[Annotation], named: Mapping[str, Any], duration_s: float) -> tuple[Any] | None:
    covered: dict[Any, float] = {}
    for mark in marks:
        if mark.description in named:
            inside_s = min(mark.onset_s + mark.duration_s, duration_s) - max(mark.onset_s, 0.0)
            label = named[mark.description]
            covered[label] = covered.get(label, 0.0) + max(0.0, inside_s)
    label, most_s = max(covered.items(), key=lambda pair: pair[1], default=(None, 0.0))
    return (label,) if most_s > duration_s / 2 else None
