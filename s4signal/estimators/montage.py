"""Channels at prediction, by the names that a model was fitted on."""

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

from s4signal.errors import ShapeError
from s4signal.signals import Signals
from s4signal.signals.montage import arranged, match_channels


def in_order_of_fit(estimator: Any, signals: Signals) -> Signals:
    """Bring channels to those of the fit by name, if known, NaN for a missing one; a warning says what was done."""
    wanted = estimator.ch_names_
    layouts = dict.fromkeys(case.ch_names for case in signals.cases)
    if wanted is None or None in layouts or list(layouts) == [tuple(wanted)]:
        return signals
    rows = {there: match_channels(wanted, there) for there in layouts if there is not None}
    for there, found in rows.items():
        if max(found) < 0:
            raise ShapeError(
                f"X has the channels {list(there)}, the model was fitted with {wanted}; none of them fits, pick or "
                "rename them."
            )
    warnings.warn(f"X has other channels than the model was fitted on: {_said(wanted, rows)}.", stacklevel=3)
    return Signals.from_cases(arranged(case, rows[case.ch_names or ()], wanted) for case in signals.cases)


def _said(wanted: Sequence[str], rows: dict[tuple[str, ...], list[int]]) -> str:
    """Name what is missing, ignored, written in another way, or only in another order."""
    missing, ignored, spelled = [], [], []
    for there, found in rows.items():
        pairs = list(zip(wanted, found, strict=True))
        missing += [name for name, row in pairs if row < 0]
        ignored += [name for row, name in enumerate(there) if row not in found]
        spelled += [f"{there[row]} as {name}" for name, row in pairs if row >= 0 and there[row] != name]
    parts = [("missing, and masked", missing), ("ignored", ignored), ("taken", spelled)]
    said = [f"{what}: {_listed(which)}" for what, which in parts if which]
    return "; ".join(said) or "they come in another order, and are put in that of the fit"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))
