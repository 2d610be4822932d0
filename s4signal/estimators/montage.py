"""Matching of the channels at prediction to those of the fit, by name."""

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

from s4signal.errors import ShapeError
from s4signal.signals import Signals
from s4signal.signals.montage import arranged, match_channels


def in_order_of_fit(estimator: Any, signals: Signals) -> Signals:
    """Arrange channels as at fit, by name if known, with NaN for a missing one; a warning lists the changes."""
    fitted = estimator.ch_names_
    layouts = dict.fromkeys(case.ch_names for case in signals.cases)
    if fitted is None or None in layouts or list(layouts) == [tuple(fitted)]:
        return signals
    rows = {layout: match_channels(fitted, layout) for layout in layouts if layout is not None}
    for layout, found in rows.items():
        if max(found) < 0:
            raise ShapeError(
                f"X has the channels {list(layout)}, the model was fitted with {fitted}; none of them matches, pick or "
                "rename them."
            )
    warnings.warn(f"X has other channels than the model was fitted on: {_changes(fitted, rows)}.", stacklevel=3)
    return Signals.from_cases(arranged(case, rows[case.ch_names or ()], fitted) for case in signals.cases)


def _changes(fitted: Sequence[str], rows: dict[tuple[str, ...], list[int]]) -> str:
    """Return which channels are missing, ignored or spelled in another way, or that only the order differs."""
    missing, ignored, spelled = [], [], []
    for layout, found in rows.items():
        pairs = list(zip(fitted, found, strict=True))
        missing += [name for name, row in pairs if row < 0]
        ignored += [name for row, name in enumerate(layout) if row not in found]
        spelled += [f"{layout[row]} as {name}" for name, row in pairs if row >= 0 and layout[row] != name]
    parts = [("missing, and masked", missing), ("ignored", ignored), ("taken", spelled)]
    return "; ".join(f"{what}: {_listed(which)}" for what, which in parts if which) or "their order differs"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))
