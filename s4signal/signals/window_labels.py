"""What annotations say of windows."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from s4signal.errors import RecordingError
from s4signal.signals.case import Annotation
from s4signal.signals.checks import object_array
from s4signal.signals.lazy import Case

Flags = npt.NDArray[np.bool_]


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
    named = named_labels(labels)
    found = [labels_of(window.annotations, named, 1, duration_s) for window in windows]
    kept = [k for k, (_, holds, _) in enumerate(found) if holds[0]]
    if not kept:
        there = sorted({mark.description for window in windows for mark in window.annotations})
        raise RecordingError(
            f"no annotation of labels={list(named)} covers more than half of a window of {duration_s:g} s. The windows "
            f"hold: {', '.join(there[:20]) or 'no annotations'}. Marks without duration are cut by epochs_from_events."
        )
    return kept, np.array([found[k][0][0] for k in kept])


def named_labels(
    labels: Mapping[str, Any] | Iterable[str] | None, marks: Iterable[Annotation] = ()
) -> Mapping[str, Any]:
    """Return the label of each description that counts; if none are named, of all marks but those of a fault."""
    if isinstance(labels, Mapping):
        return labels
    if labels is None:
        labels = [m.description for m in marks if not m.description.lower().startswith(("bad", "edge"))]
    return {name: name for name in ([labels] if isinstance(labels, str) else labels)}


def labels_of(
    marks: Iterable[Annotation], named: Mapping[str, Any], n: int, window_s: float
) -> tuple[npt.NDArray[np.object_], Flags, Flags]:
    """Return the label that covers most of each of n windows, whether that is more than half, and which are bad.

    Windows follow each other, and marks count from the start of the first.
    """
    choices = list(dict.fromkeys(named.values()))
    covered = np.zeros((len(choices) + 2, n))  # a row of nothing, so that there is one; and the bad spans
    for mark in marks:
        first, end = mark.onset_s, mark.onset_s + mark.duration_s
        inside = np.arange(max(0, int(first // window_s)), int(np.ceil(min(n, end / window_s))))
        seconds = np.minimum(end, (inside + 1) * window_s) - np.maximum(first, inside * window_s)
        if mark.description in named:
            covered[choices.index(named[mark.description]), inside] += seconds
        if mark.description.lower().startswith("bad"):
            covered[-1, inside] += seconds
    best = covered[:-1].argmax(0)
    return object_array([*choices, None])[best], covered[best, np.arange(n)] > window_s / 2, covered[-1] > 0
