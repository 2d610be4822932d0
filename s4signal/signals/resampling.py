"""Change the sampling rate, low-passed so that nothing folds back."""

from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["resample_array", "resampled_length"]


def resampled_length(n_times: int, sfreq: float, new_sfreq: float) -> int:
    """Samples that `n_times` become.

    Parameters
    ----------
    n_times : int
        Samples at `sfreq`.
    sfreq, new_sfreq : float, positive
        Rates before and after [Hz].

    Returns
    -------
    int
        Nearest whole number of samples, at least one.

    Examples
    --------
    >>> resampled_length(16000, 16000, 8000)
    8000
    """
    return max(1, round(n_times * new_sfreq / sfreq))


def resample_array(
    data: npt.NDArray[np.floating[Any]], sfreq: float, new_sfreq: float
) -> npt.NDArray[np.floating[Any]]:
    """Resample along time with an anti-aliasing filter; missing samples stay missing.

    Parameters
    ----------
    data : ndarray of shape (n_channels, n_times)
        Any unit; finite or NaN.
    sfreq, new_sfreq : float, positive
        Rates before and after [Hz].

    Returns
    -------
    ndarray of shape (n_channels, n_times_new)
        Of the dtype of `data`; by soxr (high quality) where installed, else by a polyphase filter.

    Examples
    --------
    >>> resample_array(np.ones((1, 8)), 100, 50)
    array([[1., 1., 1., 1.]])
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
    resampled: npt.NDArray[np.floating[Any]] = (flat + first + (last - first) * new_position).astype(
        data.dtype, copy=False
    )
    if missing.any():
        resampled[missing[:, np.clip(np.rint(where).astype(int), 0, n_times - 1)]] = np.nan
    return resampled


def _fill_missing(data: npt.NDArray[np.floating[Any]], missing: npt.NDArray[np.bool_]) -> npt.NDArray[np.floating[Any]]:
    filled = data.copy()
    position = np.arange(data.shape[1])
    for channel, gap in zip(filled, missing, strict=True):
        channel[gap] = 0.0 if gap.all() else np.interp(position[gap], position[~gap], channel[~gap])
    return filled


def _filter(data: npt.NDArray[np.floating[Any]], sfreq: float, new_sfreq: float) -> npt.NDArray[np.floating[Any]]:
    try:
        import soxr
    except ImportError:
        from scipy.signal import resample_poly

        ratio = Fraction(new_sfreq / sfreq).limit_denominator(10_000)
        resampled: npt.NDArray[np.floating[Any]] = resample_poly(data, ratio.numerator, ratio.denominator, axis=1)
        return resampled
    by_time = np.ascontiguousarray(data.T)
    by_new_time: npt.NDArray[np.floating[Any]] = soxr.resample(by_time, sfreq, new_sfreq, quality="HQ")
    return by_new_time.T
