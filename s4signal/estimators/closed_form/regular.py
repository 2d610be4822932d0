"""Irregular and missing samples for models that hear regular ones: a line between the observations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s4signal.estimators.survey import median_gap
from s4signal.estimators.validation import check_finite, check_observed, check_signals
from s4signal.signals import Signal, Signals

__all__ = ["fill_case", "fill_signals", "regular_signals"]

Level = NDArray[np.float64]


def regular_signals(
    estimator: Any, X: Any, *, sfreq: float | None, times: Any = None, reset: bool = False
) -> tuple[Signals, Signals]:
    """Check X, and interpolate cases with times on a grid, from their first time on.

    Shapes: times (n_times_i,).
    """
    if times is not None:
        X = Signals(X, times=times)
    recorded = X
    timed = isinstance(X, Signals) and any(case.has_times for case in X.cases)
    if timed:
        rate = (sfreq or _rate(X)) if reset else estimator.sfreq_
        # A model of samples without seconds takes times for numbers of samples.
        X, sfreq = _gridded(X, 1.0 if rate is None else rate), None
    signals = check_signals(estimator, X, sfreq=sfreq, reset=reset)
    if reset:
        estimator._timed = timed
    elif estimator._timed and np.isnan(signals.sfreqs).any():
        raise ValueError(
            f"case {int(np.flatnonzero(np.isnan(signals.sfreqs))[0])} has neither times nor a rate, but "
            f"{type(estimator).__name__} was fitted with times; pass Signals(X, times=...), or sfreq if the samples "
            "are regular."
        )
    return signals, recorded if timed else signals


def _rate(signals: Signals) -> float:
    named = signals.sfreqs
    if not np.isnan(named).any() and named.min() == named.max():
        return float(named[0])
    gap = median_gap(signals)
    return 1.0 if gap is None else 1.0 / gap


def _gridded(signals: Signals, rate: float) -> Signals:
    whole = (signals[i : i + 1] for i in range(len(signals)))
    return Signals.concatenate(one.to_grid(rate) if one.cases[0].has_times else one for one in whole)


def fill_signals(signals: Signals) -> Signals:
    """Fill the missing samples of training cases; reads every case once, or twice if a sample is missing."""
    missing = []
    for index, case in enumerate(signals):
        if not np.isfinite(case.data.sum()):
            fill_case(case, index, np.zeros(case.n_channels))  # says what cannot be filled
            missing += [index] if np.isnan(case.data).any() else []
    if not missing:
        return signals
    total, count = np.zeros(signals.n_channels), np.zeros(signals.n_channels)
    for case in signals:
        total += np.nansum(case.data, axis=1, dtype=np.float64)
        count += case.observed.sum(1)
    level, cases = total / np.maximum(count, 1), list(signals.cases)
    for index in missing:
        case = signals[index]
        cases[index] = replace(case, data=fill_case(case, index, level))
    return Signals.from_cases(cases)


def fill_case(case: Signal, index: int, level: Level) -> NDArray[np.floating]:
    """Draw a line over missing samples, channel by channel; the first and the last observation are held to the ends.

    Shapes: level (n_channels,) → (n_channels, n_times).
    """
    data: NDArray[np.floating] = case.data
    if np.isfinite(data.sum()):
        return data
    if np.isinf(data).any():
        check_finite(data, index, case.source)
    check_observed(case, index)
    there, filled = ~np.isnan(data), data.copy()
    grid = np.arange(data.shape[1])
    for row, seen, mean in zip(filled, there, level, strict=True):
        row[:] = np.interp(grid, grid[seen], row[seen]) if seen.any() else mean
    return filled
