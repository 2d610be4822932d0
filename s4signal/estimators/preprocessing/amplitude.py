"""Steps that act on the values of each channel: scale, limits, and the level before an event."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from s4signal.estimators.parameters import is_positive
from s4signal.estimators.preprocessing.base import Floats, PointwiseStep, Step
from s4signal.signals import Signal, Signals
from s4signal.signals.lazy import Case

_IQR = 1.3489795003921634  # of the standard normal distribution
_MOST_VALUES = 2**20  # of a channel that medians are taken of


class _Robust(PointwiseStep):
    """A step that knows the median of each channel, and its quartiles as a standard deviation."""

    _ARRAYS: ClassVar[Any] = {"center_": (), "scale_": ()}
    center_: NDArray[np.float64]
    scale_: NDArray[np.float64]

    def _measure(self, signals: Signals) -> None:
        every = max(1, -(-int(signals.lengths.sum()) // _MOST_VALUES))
        data = np.concatenate([case.data[:, ::every] for case in signals], axis=1)
        seen = ~np.isnan(data).all(1)
        self.center_, self.scale_ = np.zeros(len(data)), np.ones(len(data))
        if seen.any():
            low, middle, high = np.nanquantile(data[seen], [0.25, 0.5, 0.75], axis=1)
            scale = (high - low) / _IQR
            # More than half of the values are one: quartiles say nothing of the others.
            scale = np.where(scale > 0, scale, np.nanstd(data[seen], axis=1))
            self.center_[seen], self.scale_[seen] = middle, np.where(scale > 0, scale, 1.0)


class RobustScale(_Robust):
    """Centre each channel on the median of the training cases, and divide it by what their quartiles say of its spread.

    Values beyond the quartiles play no part: a trial of a thousand standard deviations changes nothing for the others,
    where a mean and a standard deviation would be of that trial alone. `Clip` takes care of the trial itself.

    Parameters
    ----------
    sfreq : float, optional
        Sampling rate of X, in Hz, where X does not know it, for the steps that follow.

    Attributes
    ----------
    center_ : ndarray (n_channels,)
        Medians, in the units of X.
    scale_ : ndarray (n_channels,)
        Interquartile ranges over that of the normal distribution, 1.349; the standard deviation where the range is 0,
        and 1 where that is 0 too.

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

    The standard deviation is the robust one of `RobustScale`. A bad trial stays in its place and does no harm: no
    value reaches further than the limit.

    Parameters
    ----------
    limit : float, > 0, default=5.0
        Standard deviations from the median, either way. Of a normal distribution five leave all but a millionth; with
        twenty a bad trial still weighs 400 times as much as another in a network's gradient.
    sfreq : float, optional
        Sampling rate of X, in Hz, where X does not know it, for the steps that follow.

    Attributes
    ----------
    center_ : ndarray (n_channels,)
        Medians, in the units of X.
    scale_ : ndarray (n_channels,)
        Robust standard deviations, as in `RobustScale`.

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
    """Take the mean of a stretch of each case away from its channels, as MNE's baseline correction.

    Of a case as a whole, ``Baseline(None, None)``, it takes the offset away that differs between recordings.

    Parameters
    ----------
    tmin, tmax : float or None, default=None and 0.0
        From `tmin` to `tmax`, both included, in seconds after the event that a case was cut around, or after its first
        sample where it knows none; None is its beginning, or its end.
    sfreq : float, optional
        Sampling rate of X, in Hz, where X does not know it.

    See Also
    --------
    BandPass : Takes away what drifts within a case, too.

    Notes
    -----
    `mne.Epochs` and `epochs_from_events` say when the event was. A channel that is missing throughout the stretch is
    missing afterwards.

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

    def _stretch(self, case: Case) -> tuple[int, int]:
        """Return the first sample of the stretch, and the one after its last."""
        if self.tmin is None and self.tmax is None:
            return 0, case.length
        if case.sfreq is None or case.has_times:
            raise ValueError(
                "its rate is unknown or irregular, so seconds cannot be counted. Pass Baseline(..., sfreq=...), or "
                "Baseline(None, None) for whole cases."
            )
        begins_s = float(case.metadata.get("tmin", 0.0))
        first = 0 if self.tmin is None else round((self.tmin - begins_s) * case.sfreq)
        end = case.length if self.tmax is None else round((self.tmax - begins_s) * case.sfreq) + 1
        if not 0 <= first < end <= case.length or (end == 1 and self.tmin is None and case.length > 1):
            raise ValueError(
                f"it lasts from {begins_s:g} to {begins_s + (case.length - 1) / case.sfreq:g} s, which does not hold a "
                f"baseline from {self.tmin} to {self.tmax} s. Change tmin or tmax; Baseline(None, None) takes all."
            )
        return first, end

    def _change(self, case: Case) -> Callable[[Signal], Signal]:
        return partial(_above_baseline, stretch=self._stretch(case))


def _scaled(data: Floats, *, center: NDArray[np.float64], scale: NDArray[np.float64]) -> Floats:
    return np.asarray((data - center[:, None]) / scale[:, None])


def _limited(data: Floats, *, low: NDArray[np.float64], high: NDArray[np.float64]) -> Floats:
    with np.errstate(invalid="ignore"):
        # A bad trial of a thousand deviations is what Clip is for; millions are microvolts for volts.
        beyond = np.abs(2 * data - (low + high)[:, None]) > 10_000 * (high - low)[:, None]
    if beyond.mean() > 0.5:
        warnings.warn("most of a case lies far beyond Clip, which leaves nothing of it: other units?", stacklevel=2)
    return np.clip(data, low[:, None], high[:, None])


def _above_baseline(signal: Signal, *, stretch: tuple[int, int]) -> Signal:
    part = signal.data[:, slice(*stretch)]
    n_there = (~np.isnan(part)).sum(1)
    level = np.nansum(part, axis=1, dtype=np.float64) / np.where(n_there > 0, n_there, np.nan)
    return replace(signal, data=(signal.data - level[:, None]).astype(signal.data.dtype))
