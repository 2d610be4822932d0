"""Change the sampling rate, low-passed so that nothing folds back."""

from dataclasses import replace
from fractions import Fraction
from functools import partial

import numpy as np
import numpy.typing as npt

from s4signal.errors import RecordingError
from s4signal.signals.case import Case, Signal
from s4signal.signals.checks import FloatArray
from s4signal.signals.lazy import TransformedCase

__all__ = ["resample_array", "resample_case", "resampled_length"]


def resample_case(case: Case, sfreq: float) -> Case:
    """Resample a case: at once if it is in memory, after reading if it is a file."""
    if case.sfreq == sfreq and not case.has_times:
        return case
    if isinstance(case, Signal) or case.has_times:  # only the times tell the rate, and whether there is one
        return _resample_signal(case.load(), sfreq)
    if case.sfreq is None:
        raise RecordingError("the sampling rate is unknown, so it cannot be resampled. Pass sfreq= when you build it.")
    length = resampled_length(case.length, case.sfreq, sfreq)
    return TransformedCase(case, partial(_resample_signal, sfreq=sfreq), length, sfreq)


def resampled_length(n_times: int, sfreq: float, new_sfreq: float) -> int:
    """Samples that `n_times` become."""
    return max(1, round(n_times * new_sfreq / sfreq))


def resample_array(data: FloatArray, sfreq: float, new_sfreq: float) -> FloatArray:
    """Resample along time with an anti-aliasing filter; missing samples stay missing.

    Shapes: data (n_channels, n_times) → (n_channels, n_times_new).
    """
    n_times, n_new = data.shape[1], resampled_length(data.shape[1], sfreq, new_sfreq)
    missing = np.isnan(data)
    filled = _fill_missing(data, missing) if missing.any() else data
    # Take the line from first to last sample away: the filter sees zeros outside, and a step there would ring.
    first, last = filled[:, :1], filled[:, -1:]
    position = np.arange(n_times, dtype=data.dtype) / max(1, n_times - 1)
    flat = _filter(filled - (first + (last - first) * position), sfreq, new_sfreq)
    flat = np.pad(flat, ((0, 0), (0, max(0, n_new - flat.shape[1]))))[:, :n_new]
    where = np.arange(n_new) * (sfreq / new_sfreq)
    new_position = (where / max(1, n_times - 1)).astype(data.dtype)
    resampled: FloatArray = (flat + first + (last - first) * new_position).astype(data.dtype, copy=False)
    if missing.any():
        resampled[missing[:, np.clip(np.rint(where).astype(int), 0, n_times - 1)]] = np.nan
    return resampled


def _fill_missing(data: FloatArray, missing: npt.NDArray[np.bool_]) -> FloatArray:
    filled = data.copy()
    position = np.arange(data.shape[1])
    for channel, gap in zip(filled, missing, strict=True):
        channel[gap] = 0.0 if gap.all() else np.interp(position[gap], position[~gap], channel[~gap])
    return filled


def _filter(data: FloatArray, sfreq: float, new_sfreq: float) -> FloatArray:
    try:
        import soxr
    except ImportError:
        from scipy.signal import resample_poly

        ratio = Fraction(new_sfreq / sfreq).limit_denominator(10_000)
        resampled: FloatArray = resample_poly(data, ratio.numerator, ratio.denominator, axis=1)
        return resampled
    by_time = np.ascontiguousarray(data.T)
    by_new_time: FloatArray = soxr.resample(by_time, sfreq, new_sfreq, quality="HQ")
    return by_new_time.T


def _resample_signal(signal: Signal, sfreq: float) -> Signal:
    """Resample a case in memory; see `resample_case`."""
    rate = signal.sfreq if signal.times is None else _regular_rate(signal.times)
    if rate is None:
        raise RecordingError("the sampling rate is unknown, so it cannot be resampled. Pass sfreq= when you build it.")
    data = signal.data if rate == sfreq else resample_array(signal.data, rate, sfreq)
    times = None if signal.times is None else signal.times[0] + np.arange(data.shape[1]) / sfreq
    first = round(signal.first_sample * sfreq / rate)
    return replace(signal, data=data, times=times, sfreq=sfreq, first_sample=first)


def _regular_rate(times: FloatArray) -> float:
    steps = np.diff(times)
    if steps.size == 0 or np.ptp(steps) > 1e-3 * steps.mean():
        raise RecordingError(
            "its times are irregular, so it cannot be resampled. Keep the times, a model takes them as they are, "
            "or call to_grid(sfreq) to interpolate."
        )
    return float(1 / steps.mean())
