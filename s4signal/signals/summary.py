"""What cases have in common, and one line that says what they are."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from s4signal.errors import RecordingError, ShapeError
from s4signal.signals.case import Case, Signal

__all__ = ["common_value", "name_errors", "summarize"]

_CURES = {
    "n_channels": "Give every case the same channels; a case is (n_channels, n_times), pass x.T if time came first.",
    "sfreq": "Call resample(sfreq) to bring them to one rate.",
    "ch_names": "Pick the same channels in the same order from every recording.",
    "has_times": "Give times to all cases or to none.",
}
_NOUNS = {"n_channels": "channels", "sfreq": "Hz", "ch_names": "as channel names", "has_times": "for having times"}


def common_value(cases: Sequence[Case], name: str) -> Any:
    """Return the value of an attribute that all cases share; None if there is no case."""
    values = [getattr(case, name) for case in cases]
    for i, value in enumerate(values):
        if value != values[0]:
            error = ShapeError if name == "n_channels" else RecordingError
            raise error(
                f"the cases differ: {_label(0, cases[0])} has {_say(values[0])} and {_label(i, cases[i])} has "
                f"{_say(value)} {_NOUNS[name]}. {_CURES[name]}"
            )
    return values[0] if values else None


def name_errors(i: int, source: str, build: Callable[[], Case]) -> Case:
    """Call `build`; an error says which case it is about."""
    try:
        return build()
    except (RecordingError, ShapeError, TypeError, ValueError) as error:
        raise type(error)(f"case {i}{source and f' ({source})'}: {error}") from None


def summarize(cases: Sequence[Case]) -> str:
    """Say in one line what the cases are."""
    if not len(cases):
        return "Signals: 0 cases"
    channels = _span([case.n_channels for case in cases])
    rates = [case.sfreq for case in cases if case.sfreq is not None]
    when = f"{_span(rates)} Hz" if len(rates) == len(cases) else "rate unknown"
    if any(case.has_times for case in cases):
        when = "irregular times"
    durations_s = [_duration_s(case) for case in cases]
    lasting = "" if np.isnan(durations_s).any() else f" ({_lasting(durations_s)})"
    return (
        f"Signals: {len(cases)} case{'s' * (len(cases) != 1)} × {channels} channel{'s' * (channels != '1')}, "
        f"{_span([case.length for case in cases])} samples, {when}{lasting}"
    )


def _duration_s(case: Case) -> float:
    """Return how long a case lasts, NaN if unknown or if only reading it would tell."""
    if isinstance(case, Signal):
        return float("nan") if case.duration_s is None else case.duration_s
    return float("nan") if case.has_times or case.sfreq is None else case.length / case.sfreq


def _lasting(durations_s: Sequence[float]) -> str:
    if min(durations_s) < 7200:
        return f"{_span(durations_s)} s"
    return f"{_span([duration_s / 3600 for duration_s in durations_s])} h"


def _label(i: int, case: Case) -> str:
    return f"case {i} ({case.source})" if case.source else f"case {i}"


def _say(value: Any) -> str:
    if value is None:
        return "unknown"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _span(values: Sequence[float]) -> str:
    low, high = (f"{value:.0f}" if value >= 1000 else f"{value:.4g}" for value in (min(values), max(values)))
    return low if low == high else f"{low}–{high}"
