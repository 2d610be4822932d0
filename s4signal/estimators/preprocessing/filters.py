"""Steps that filter along time, and resampling."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from numbers import Integral
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, iirnotch, sosfilt, sosfilt_zi, sosfiltfilt, tf2sos

from s4signal.estimators.parameters import is_positive
from s4signal.estimators.preprocessing.base import Advance, Floats, Step
from s4signal.signals import Signal
from s4signal.signals.lazy import Case
from s4signal.signals.resampling import fill_missing, hold_missing, resample_case

Sections: TypeAlias = NDArray[np.float64]  # (n_sections, 6): second-order sections, in scipy's format


class _Filter(Step):
    """A filter of second-order sections: `_design` (sfreq) returns (n_sections, 6), `_highest_hz` the highest edge."""

    _NEEDS_RATE: ClassVar[bool] = True
    causal: bool
    _design: Callable[[float], Sections]
    _highest_hz: Callable[[], float]

    def _check_case(self, case: Case, index: int) -> None:
        if case.sfreq is not None and self._highest_hz() >= case.sfreq / 2:
            raise ValueError(
                f"{type(self).__name__}: {self._highest_hz():g} Hz is not below half the rate of case {index}, "
                f"{case.sfreq:g} Hz. Lower it, or leave out recordings with such a low rate."
            )

    def _change(self, case: Case) -> Callable[[Signal], Signal]:
        return partial(_filtered, sections=self._design(float(case.sfreq or 1.0)), causal=self.causal)

    def _advance(self, sfreq: float | None) -> Advance:
        if not self.causal:
            raise ValueError(f"{type(self).__name__} looks ahead; fit with causal=True to stream.")
        if self._highest_hz() >= (sfreq or 0.0) / 2:
            raise ValueError(f"{type(self).__name__}: {self._highest_hz():g} Hz is not below half of sfreq={sfreq}.")
        return partial(_advance, sections=self._design(float(sfreq or 1.0)))


class BandPass(_Filter):
    """Keep a band of frequencies with a Butterworth filter, zero-phase or causal.

    A high-pass filter removes slow drift, such as offsets between recordings and electrode polarisation.

    Parameters
    ----------
    l_freq, h_freq : float or None
        Edges of the band in Hz, at any sampling rate; None leaves that side open.
    order : int in [1, 10], default=4
        Order of the Butterworth filter. Zero-phase filtering runs forwards and backwards, which doubles the order.
    causal : bool, default=False
        Filter forwards only: the output does not depend on later samples, and the filter can be streamed. The initial
        state assumes that the signal was constant before the first sample.
    sfreq : float, optional
        Sampling rate of X in Hz, if X does not carry one.

    See Also
    --------
    Notch : Removes mains hum.

    Notes
    -----
    Missing samples (NaN) stay missing. The filter input is interpolated linearly, or, if causal, holds the last value.

    Examples
    --------
    >>> import numpy as np
    >>> from s4signal.estimators import BandPass
    >>> t = np.arange(1000) / 250
    >>> X = (5 + np.sin(2 * np.pi * 10 * t))[np.newaxis]
    >>> filtered = BandPass(2, 40, sfreq=250).fit_transform(X)
    >>> filtered
    Signals: 1 case × 1 channel, 1000 samples, 250 Hz (4 s)
    >>> round(float(np.asarray(X).mean()), 2), round(abs(float(np.asarray(filtered).mean())), 2)
    (5.0, 0.0)
    """

    def __init__(
        self,
        l_freq: float | None = None,
        h_freq: float | None = None,
        *,
        order: int = 4,
        causal: bool = False,
        sfreq: float | None = None,
    ) -> None:
        self.l_freq, self.h_freq, self.order = l_freq, h_freq, order
        self.causal, self.sfreq = causal, sfreq

    def _check_parameters(self) -> None:
        edges = [edge for edge in (self.l_freq, self.h_freq) if edge is not None]
        if not edges or not all(map(is_positive, edges)) or edges != sorted(set(edges)):
            raise ValueError(
                f"l_freq={self.l_freq!r} and h_freq={self.h_freq!r} must be positive numbers of Hz, the first below "
                "the second; None leaves one of them out."
            )
        if not isinstance(self.order, Integral) or not 1 <= self.order <= 10:
            raise ValueError(f"order={self.order!r} must be a whole number from 1 to 10.")

    def _highest_hz(self) -> float:
        return max(float(edge) for edge in (self.l_freq, self.h_freq) if edge is not None)

    def _design(self, sfreq: float) -> Sections:
        kind = "lowpass" if self.l_freq is None else "highpass" if self.h_freq is None else "bandpass"
        edges = [edge for edge in (self.l_freq, self.h_freq) if edge is not None]
        return np.asarray(butter(self.order, edges if len(edges) > 1 else edges[0], kind, fs=sfreq, output="sos"))


class Notch(_Filter):
    """Remove single frequencies, such as mains hum and its harmonics.

    Parameters
    ----------
    freqs : float or sequence of float, default=50.0
        Frequencies, in Hz.
    quality : float, > 0, default=30.0
        Frequency divided by the width of its notch at -3 dB: 30 gives 1.7 Hz at 50 Hz.
    causal : bool, default=False
        Filter forwards only, see `BandPass`.
    sfreq : float, optional
        Sampling rate of X in Hz, if X does not carry one.

    Examples
    --------
    >>> import numpy as np
    >>> from s4signal.estimators import Notch
    >>> hum = np.sin(2 * np.pi * 50 * np.arange(1000) / 250)[np.newaxis]
    >>> rest = np.asarray(Notch(50, sfreq=250).fit_transform(hum))[..., 250:-250]
    >>> bool(abs(rest).max() < 0.01)
    True
    """

    _TUPLES: ClassVar[Sequence[str]] = ("freqs",)

    def __init__(
        self,
        freqs: float | Sequence[float] = 50.0,
        *,
        quality: float = 30.0,
        causal: bool = False,
        sfreq: float | None = None,
    ) -> None:
        self.freqs, self.quality, self.causal, self.sfreq = freqs, quality, causal, sfreq

    def _check_parameters(self) -> None:
        if not np.size(self.freqs) or not all(map(is_positive, np.ravel(self.freqs).tolist())):
            raise ValueError(f"freqs={self.freqs!r} must be one or several positive numbers of Hz.")
        if not is_positive(self.quality):
            raise ValueError(f"quality={self.quality!r} must be a positive number.")

    def _highest_hz(self) -> float:
        return float(np.max(self.freqs))

    def _design(self, sfreq: float) -> Sections:
        return np.concatenate([tf2sos(*iirnotch(f, self.quality, fs=sfreq)) for f in np.ravel(self.freqs)])


class Resample(Step):
    """Resample every case to one rate, with an anti-aliasing filter, as in `Signals.resample`.

    Parameters
    ----------
    new_sfreq : float, > 0, default=100.0
        New sampling rate, in Hz.
    sfreq : float, optional
        Sampling rate of X in Hz, if X does not carry one.

    See Also
    --------
    s4signal.signals.decimate : Decimates without a filter.

    Examples
    --------
    >>> import numpy as np
    >>> from s4signal.estimators import Resample
    >>> Resample(100, sfreq=250).fit_transform(np.ones((3, 2, 500)))
    Signals: 3 cases × 2 channels, 200 samples, 100 Hz (2 s)
    """

    _NEEDS_RATE: ClassVar[bool] = True

    def __init__(self, new_sfreq: float = 100.0, *, sfreq: float | None = None) -> None:
        self.new_sfreq = new_sfreq
        self.sfreq = sfreq

    def _check_parameters(self) -> None:
        if not is_positive(self.new_sfreq):
            raise ValueError(f"new_sfreq={self.new_sfreq!r} must be a positive number of Hz.")

    def _transformed(self, case: Case) -> Case:
        return resample_case(case, float(self.new_sfreq))


def _filtered(signal: Signal, *, sections: Sections, causal: bool) -> Signal:
    data, missing = signal.data, np.isnan(signal.data)
    if causal:
        filtered, _ = _advance(data, None, sections=sections)
    else:
        filled = fill_missing(data, missing) if missing.any() else data
        longest = 3 * (2 * len(sections) + 1)  # padding by scipy
        filtered = sosfiltfilt(sections, filled, axis=1, padlen=min(longest, data.shape[1] - 1))
    return replace(signal, data=np.where(missing, np.nan, filtered).astype(data.dtype, copy=False))


def _advance(data: Floats, state: Any, *, sections: Sections) -> tuple[Floats, Any]:
    """Filter a chunk (n_channels, n_times); the initial state takes the first observation as constant before.

    The state: that of the filter (n_sections, n_channels, 2), and the last observation of each channel, NaN before any.
    """
    n_channels = len(data)
    delays, last = (np.zeros((len(sections), n_channels, 2)), np.full(n_channels, np.nan)) if state is None else state
    missing = np.isnan(data)
    first = np.where(missing.all(1), np.nan, np.take_along_axis(data, missing.argmin(1)[:, None], 1)[:, 0])
    begins = np.isnan(last) & ~np.isnan(first)
    held = hold_missing(data, missing, np.nan_to_num(np.where(begins, first, last))[:, None])
    delays = np.where(begins[:, None], sosfilt_zi(sections)[:, None] * np.where(begins, first, 0.0)[:, None], delays)
    filtered, delays = sosfilt(sections, held, axis=1, zi=delays)
    last = np.where(np.isnan(first), last, held[:, -1])
    return np.where(missing, np.nan, filtered), (delays, last)
