"""Put observations at any times on a regular grid."""

from dataclasses import replace
from typing import Literal

import numpy as np

from s4signal.signals.case import Signal, sample_times
from s4signal.signals.checks import FloatArray

__all__ = ["check_grid", "grid_signal"]

_METHODS = ("linear", "previous")


def check_grid(method: str, longest_gap_s: float | None) -> None:
    """Refuse a way to interpolate that cannot be."""
    if method not in _METHODS:
        raise ValueError(f"method={method!r} is unknown; choose one of 'linear', 'previous'.")
    if longest_gap_s is not None and not longest_gap_s > 0:
        raise ValueError(f"longest_gap_s={longest_gap_s} must be a positive number of seconds.")


def grid_signal(
    signal: Signal, sfreq: float, method: Literal["linear", "previous"], longest_gap_s: float | None
) -> Signal:
    """Interpolate a case on a grid; see `Signals.to_grid`."""
    times = sample_times(signal)
    times = times - times[0]
    # The last time is on the grid although 0.3 * 10 is a little less than 3.
    grid = np.arange(int(times[-1] * sfreq * (1 + 1e-12) + 1e-9) + 1) / sfreq
    longest = np.inf if longest_gap_s is None else longest_gap_s
    data = np.full((signal.n_channels, len(grid)), np.nan, dtype=signal.data.dtype)
    for row, channel, there in zip(data, signal.data, signal.observed, strict=True):
        if there.any():
            row[:] = _interpolate(grid, times[there], channel[there], method, longest)
    first = 0 if signal.sfreq is None else round(signal.first_sample * sfreq / signal.sfreq)
    return replace(signal, data=data, times=None, sfreq=sfreq, first_sample=first)


def _interpolate(grid: FloatArray, times: FloatArray, values: FloatArray, method: str, longest: float) -> FloatArray:
    """Interpolate one channel that has an observation; of those at one time the last counts."""
    slack = 1e-9 * max(1.0, float(times[-1]))  # 3 * 0.1 is a little more than 0.3
    after = np.searchsorted(times, grid + slack, side="right")
    before = after - 1
    inside = before >= 0
    if method == "linear":
        inside &= grid <= times[-1] + slack
    later = np.minimum(after, len(times) - 1)
    hole = times[later] - times[before]
    hole = np.where(after == len(times), grid - times[-1], hole)
    at_one = np.abs(grid - times[before]) <= slack
    values_there = values[before] if method == "previous" else np.interp(grid, times, values)
    return np.where(inside & (at_one | (hole <= longest)), values_there, np.nan)
