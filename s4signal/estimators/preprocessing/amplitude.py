"""Steps on the values of each channel: robust scaling, clipping and baseline correction."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from s4signal.estimators.parameters import is_positive
from s4signal.estimators.preprocessing.base import Floats, PointwiseStep, Step, observed_mean
from s4signal.signals import Signal, Signals
from s4signal.signals.clock import at_rate
from s4signal.signals.lazy import Case

_IQR = 1.3489795003921634  # of the standard normal distribution
_MOST_VALUES = 2**20  # per channel, to compute quantiles


class _Robust(PointwiseStep):
    """A step with the median of each channel and a standard deviation computed from its quartiles."""

    _ARRAYS: ClassVar[Any] = {"center_": (), "scale_": ()}
    center_: NDArray[np.float64]
    scale_: NDArray[np.float64]

    def _measure(self, signals: Signals) -> None:
        every = max(1, -(-int(signals.lengths.sum()) // _MOST_VALUES))
        data = np.concatenate([case.data[:, ::every] for case in signals], axis=1)
        has_values = ~np.isnan(data).all(1)
        self.center_, self.scale_ = np.zeros(len(data)), np.ones(len(data))
        if has_values.any():
            low, middle, high = np.nanquantile(data[has_values], [0.25, 0.5, 0.75], axis=1)
            scale = (high - low) / _IQR
            # More than half of the values are equal: the quartiles do not describe the others.
            scale = np.where(scale > 0, scale, np.nanstd(data[has_values], axis=1))
            self.center_[has_values], self.scale_[has_values] = middle, np.where(scale > 0, scale, 1.0)


class RobustScale(_Robust):
    """Centre each channel on its median in the training cases, and divide it by a robust standard deviation.

    The standard deviation is computed from the quartiles. A trial of a thousand standard deviations does not change the
    scaling of the others, whereas it would dominate a mean and a standard deviation. Use `Clip` to limit that trial.

    Parameters
    ----------
    sfreq : float, optional
        Sampling rate of X in Hz, if X does not carry one; for the steps that follow.

    Attributes
    ----------
    center_ : ndarray (n_channels,)
        Medians, in the units of X.
    scale_ : ndarray (n_channels,)
        Interquartile ranges divided by that of the normal distribution, 1.349; the standard deviation if the range is
        0, and 1 if that is 0 too.

    Examples
    --------
    >>> import numpy as np
    >>> from s4signal.estimators import RobustScale
    >>> X = 5 + 2 * np.random.default_rng(0).standard_normal((50, 1, 100))
    >>> X[0] = 1e4
    >>> step = RobustScale().fit(X)
    >>> step.center_.round(1), step.scale_.round(1)
    (array([5.]), array([2.1]))
    """

    def _change_of_samples(self) -> Callable[[Floats], Floats]:
        return partial(_scaled, center=self.center_, scale=self.scale_)


class Clip(_Robust):
    """Limit each channel to a number of standard deviations around the median of the training cases.

    The standard deviation is the robust one of `RobustScale`. A bad trial is kept but does no harm, because no value
    exceeds the limit.

    Parameters
    ----------
    limit : float, > 0, default=5.0
        Standard deviations from the median, in both directions. Five keep all but a millionth of a normal distribution;
        with twenty, a bad trial still has 400 times the weight of another one in the gradient of a network.
    sfreq : float, optional
        Sampling rate of X in Hz, if X does not carry one; for the steps that follow.

    Attributes
    ----------
    center_, scale_ : ndarray (n_channels,)
        Medians and robust standard deviations, as in `RobustScale`.

    Examples
    --------
    >>> import numpy as np
    >>> from s4signal.estimators import Clip
    >>> X = np.random.default_rng(0).standard_normal((50, 1, 100))
    >>> X[0] *= 1000
    >>> round(float(np.abs(np.asarray(Clip(10).fit_transform(X))).max()))
    10
    """

    def __init__(self, limit: float = 5.0, *, sfreq: float | None = None) -> None:
        self.limit = limit
        self.sfreq = sfreq

    def _check_parameters(self) -> None:
        if not is_positive(self.limit):
            raise ValueError(f"limit={self.limit!r} must be a positive number of standard deviations.")

    def _change_of_samples(self) -> Callable[[Floats], Floats]:
        reach = float(self.limit) * self.scale_
        return partial(_limited, low=self.center_ - reach, high=self.center_ + reach)


class Baseline(Step):
    """Subtract the mean of an interval of each case from its channels, as in MNE's baseline correction.

    ``Baseline(None, None)`` uses the whole case, which removes offsets that differ between recordings.

    Parameters
    ----------
    tmin, tmax : float or None, default=None and 0.0
        Interval in seconds, both ends included, relative to the event of a case, or to its first sample if the case has
        no event; None is the beginning or the end of the case.
    sfreq : float, optional
        Sampling rate of X in Hz, if X does not carry one.

    See Also
    --------
    BandPass : Removes drift within a case, too.

    Notes
    -----
    Cases of `mne.Epochs` and `epochs_from_events` carry the time of the event. A channel that is missing throughout the
    interval is missing in the result.

    Examples
    --------
    >>> from s4signal import Signals
    >>> from s4signal.estimators import Baseline
    >>> Baseline(0, 0.2).fit_transform(Signals([[1.0, 3.0, 7.0, 9.0]], sfreq=10))[0].data
    array([[-2.66666667, -0.66666667,  3.33333333,  5.33333333]])
    """

    def __init__(self, tmin: float | None = None, tmax: float | None = 0.0, *, sfreq: float | None = None) -> None:
        self.tmin, self.tmax, self.sfreq = tmin, tmax, sfreq

    def _check_parameters(self) -> None:
        if self.tmin is not None and self.tmax is not None and not self.tmin <= self.tmax:
            raise ValueError(f"tmin={self.tmin!r} must not be after tmax={self.tmax!r}.")

    def _interval(self, case: Case) -> tuple[int, int]:
        """Return the index of the first sample of the interval, and the one after its last."""
        if self.tmin is None and self.tmax is None:
            return 0, case.length
        case = at_rate(case)
        if case.sfreq is None or case.has_times:
            raise ValueError(
                "its rate is unknown or irregular, so seconds cannot be counted. Pass Baseline(..., sfreq=...), or "
                "Baseline(None, None) for whole cases."
            )
        begins_s = float(case.metadata.get("tmin", 0.0))
        first = 0 if self.tmin is None else round((self.tmin - begins_s) * case.sfreq)
        end = case.length if self.tmax is None else round((self.tmax - begins_s) * case.sfreq) + 1
        if not 0 <= first < end <= case.length or (end == 1 and self.tmin is None):
            raise ValueError(
                f"it lasts from {begins_s:g} to {begins_s + (case.length - 1) / case.sfreq:g} s, which does not hold a "
                f"baseline from {self.tmin} to {self.tmax} s. Change tmin or tmax; Baseline(None, None) takes all."
            )
        return first, end

    def _change(self, case: Case) -> Callable[[Signal], Signal]:
        return partial(_above_baseline, interval=self._interval(case))


def _scaled(data: Floats, *, center: NDArray[np.float64], scale: NDArray[np.float64]) -> Floats:
    return np.asarray((data - center[:, None]) / scale[:, None])


def _limited(data: Floats, *, low: NDArray[np.float64], high: NDArray[np.float64]) -> Floats:
    with np.errstate(invalid="ignore"):
        # Clip is meant for a bad trial of a thousand deviations; millions mean microvolts instead of volts.
        beyond = np.abs(2 * data - (low + high)[:, None]) > 10_000 * (high - low)[:, None]
    if beyond.mean() > 0.5:
        warnings.warn("most of a case lies far beyond Clip, which leaves nothing of it: other units?", stacklevel=2)
    return np.clip(data, low[:, None], high[:, None])


def _above_baseline(signal: Signal, *, interval: tuple[int, int]) -> Signal:
    level = observed_mean(signal.data[:, slice(*interval)], axis=1)
    return replace(signal, data=(signal.data - level[:, None]).astype(signal.data.dtype))
