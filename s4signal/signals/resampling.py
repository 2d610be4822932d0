"""Change the rate of cases: resample with an anti-aliasing filter, or interpolate on a grid."""

from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np
import numpy.typing as npt

from s4signal.errors import RecordingError
from s4signal.signals.case import Signal, sample_times
from s4signal.signals.checks import FloatArray, check_clock, optional, time_rounding
from s4signal.signals.lazy import Case, recount, transformed

_NO_RATE = "the sampling rate is unknown, so it cannot be resampled. Pass sfreq= when you build it."


def resample_case(case: Case, sfreq: float) -> Case:
    """Resample a case: now if it is in memory, on reading if it is on disk."""
    if case.sfreq == sfreq and not case.has_times:
        return case
    if isinstance(case, Signal) or case.has_times:  # times must be read to know the rate, if there is one
        return _resample_signal(case.load(), sfreq)
    if case.sfreq is None:
        raise RecordingError(_NO_RATE)
    length = _resampled_length(case.length, case.sfreq, sfreq)
    return transformed(case, partial(_resample_signal, sfreq=sfreq), length=length, **recount(case, sfreq))


def resample_array(data: FloatArray, sfreq: float, new_sfreq: float) -> FloatArray:
    """Resample (n_channels, n_times) along time with an anti-aliasing filter; missing samples stay missing."""
    n_times, n_new = data.shape[1], _resampled_length(data.shape[1], sfreq, new_sfreq)
    missing = np.isnan(data)
    filled = fill_missing(data, missing) if missing.any() else data
    # Subtract the line from first to last sample: the filter pads with zeros, and a step at the edges would ring.
    first, last = filled[:, :1], filled[:, -1:]
    position = np.arange(n_times, dtype=data.dtype) / max(1, n_times - 1)
    level = np.ascontiguousarray((filled - (first + (last - first) * position)).T)
    flat = optional("soxr", "Resampling").resample(level, sfreq, new_sfreq, quality="HQ").T
    flat = np.pad(flat, ((0, 0), (0, max(0, n_new - flat.shape[1]))))[:, :n_new]
    where = np.arange(n_new) * (sfreq / new_sfreq)
    new_position = (where / max(1, n_times - 1)).astype(data.dtype)
    resampled: FloatArray = (flat + first + (last - first) * new_position).astype(data.dtype, copy=False)
    if missing.any():
        resampled[missing[:, np.clip(np.rint(where).astype(int), 0, n_times - 1)]] = np.nan
    return resampled


def _resampled_length(n_times: int, sfreq: float, new_sfreq: float) -> int:
    return max(1, round(n_times * new_sfreq / sfreq))


def fill_missing(data: FloatArray, missing: npt.NDArray[np.bool_]) -> FloatArray:
    """Fill missing samples of (n_channels, n_times) by linear interpolation."""
    filled, position = data.copy(), np.arange(data.shape[1])
    for channel, nan in zip(filled, missing, strict=True):
        channel[nan] = 0.0 if nan.all() else np.interp(position[nan], position[~nan], channel[~nan])
    return filled


def hold_missing(
    data: FloatArray, missing: npt.NDArray[np.bool_], before: float | FloatArray = 0.0
) -> npt.NDArray[np.floating]:
    """Carry the last observation forward (LOCF); `before`, one row per channel, fills what precedes the first."""
    held = np.where(missing, before, data)
    for channel in np.flatnonzero(missing.any(1)):
        latest = np.maximum.accumulate(np.where(missing[channel], -1, np.arange(data.shape[1])))
        held[channel] = np.where(latest < 0, held[channel], data[channel, latest])
    return held


def _resample_signal(signal: Signal, sfreq: float) -> Signal:
    """Resample a case in memory; see `resample_case`."""
    rate = signal.sfreq if signal.times is None else _regular_rate(signal.times)
    if rate is None:
        raise RecordingError(_NO_RATE)
    data = signal.data if rate == sfreq else resample_array(signal.data, rate, sfreq)
    times = None if signal.times is None else signal.times[0] + np.arange(data.shape[1]) / sfreq
    return replace(signal, data=data, times=times, **recount(signal, sfreq, rate))


def _regular_rate(times: FloatArray) -> float:
    steps = np.diff(times)
    if steps.size == 0 or np.ptp(steps) > 1e-3 * steps.mean():
        raise RecordingError(
            "its times are irregular, so it cannot be resampled. Keep the times, which models accept, or call "
            "to_grid(sfreq) to interpolate."
        )
    return float(1 / steps.mean())


def grid_signal(
    signal: Signal, sfreq: float, method: Literal["linear", "previous"], longest_gap_s: float | None
) -> Signal:
    """Interpolate a case on a grid; see `Signals.to_grid`."""
    times = sample_times(signal)
    rounding_s = time_rounding(times)
    times = times - times[0]
    n_grid = (times[-1] + rounding_s) * sfreq * (1 + 1e-12) + 1e-9  # keep the last time, as 7.3 - 7 < 0.3 in floats
    check_clock(times, n_grid, f"a grid of {sfreq:g} Hz has {n_grid:.3g} samples")
    grid = np.arange(int(n_grid) + 1) / sfreq
    longest = np.inf if longest_gap_s is None else longest_gap_s
    data = np.full((signal.n_channels, len(grid)), np.nan, dtype=signal.data.dtype)
    for row, channel, observed in zip(data, signal.data, signal.observed, strict=True):
        if observed.any():
            row[:] = _interpolate(grid, times[observed], channel[observed], method, longest, rounding_s)
    new = recount(signal, sfreq)
    if signal.times is not None and signal.recorded_sfreq is None:  # no sample numbers at irregular times
        new["recorded_sfreq"] = 0.0
    return replace(signal, data=data, times=None, **new)


def _interpolate(
    grid: FloatArray, times: FloatArray, values: FloatArray, method: str, longest: float, rounding_s: float
) -> FloatArray:
    """Interpolate one channel with at least one observation; of several at one time, the last one is used."""
    slack = 1e-9 * max(1.0, float(times[-1])) + rounding_s  # 3 * 0.1 is slightly more than 0.3
    after = np.searchsorted(times, grid + slack, side="right")
    before = after - 1
    inside = (before >= 0) & ((method == "previous") | (grid <= times[-1] + slack))
    gap_s = np.where(after < len(times), times[np.minimum(after, len(times) - 1)], grid) - times[before]
    on_sample = np.abs(grid - times[before]) <= slack
    interpolated = values[before] if method == "previous" else np.interp(grid, times, values)
    return np.where(inside & (on_sample | (gap_s <= longest)), interpolated, np.nan)
