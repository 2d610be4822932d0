"""Instant models: frozen state-space oscillators, pooled statistics, ridge regression in closed form."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from s4signal.estimators.closed_form.base import InstantEstimator
from s4signal.estimators.mixins import SignalClassifierMixin, SignalRegressorMixin
from s4signal.signals import Signals

__all__ = ["S4RidgeClassifier", "S4RidgeRegressor"]


class S4RidgeClassifier(SignalClassifierMixin, InstantEstimator):
    """Classify signals at once: frozen state-space oscillators, pooled statistics, ridge regression in closed form.

    Fits in seconds where `S4Classifier` takes minutes. Penalty and families of features are chosen by leave-one-out
    errors; probabilities are calibrated on the predictions left out.

    Parameters
    ----------
    n_oscillators : "auto" or int, default="auto"
        Oscillators; "auto" takes 256 for up to 6 channels, 1536 over their number for up to 24, then 64.
    orders : tuple of int, default=(1, 2)
        Poles in a cascade, taken in turn; more fall off faster beside the band.
    n_mixes : int, default=4
        Random mixes of up to nine channels, drawn for each oscillator; one channel needs none.
    n_windows : int, default=4
        Equal parts of a case that are pooled over, beside the whole.
    sfreq : float, optional
        Sampling rate of X in Hz, where X does not know it; of the grid, where X has times.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes.
    precision : {"32", "64"}, default="32"
        Of the arithmetic; "64" is the reproducible reference mode.
    random_state : int, RandomState or None, default=None
        Seed.

    Attributes
    ----------
    n_features_in_ : int
        Columns of a 2-D X, channels of any other.
    n_channels_in_ : int
        Channels.
    ch_names_ : list of str or None
        Their names, where X knows them; other names at prediction are an error.
    sfreq_ : float or None
        Sampling rate at training, in Hz.
    features_ : S4RandomFeatures
        The transformer.
    ridge_ : Ridge
        Coefficients, penalty, families of features in use, and a prediction of each training case by the
        others.
    fit_seconds_ : float
        Time that `fit` took.
    classes_ : ndarray (n_classes,)
        Labels, sorted.
    temperature_ : float
        What scores are multiplied with to become logits.

    References
    ----------
    Dempster, Schmidt, Webb, "MiniRocket: A Very Fast (Almost) Deterministic Transform for Time Series Classification",
    KDD 2021, doi:10.1145/3447548.3467231; Dupré la Tour, Eickenberg, Nunez-Elizalde, Gallant, "Feature-space selection
    with banded ridge regression", NeuroImage 264, 2022, doi:10.1016/j.neuroimage.2022.119728.

    Examples
    --------
    >>> import numpy as np
    >>> from s4signal.estimators import S4RidgeClassifier
    >>> rng = np.random.default_rng(0)
    >>> slow, fast = (np.sin(np.linspace(0, turns * 6.28, 100)) for turns in (3, 9))
    >>> X = np.stack([slow, fast] * 10)[:, None] + 0.3 * rng.standard_normal((20, 2, 100))
    >>> y = ["slow", "fast"] * 10
    >>> model = S4RidgeClassifier(random_state=0).fit(X, y)
    >>> model.predict(X[:2]).tolist()
    ['slow', 'fast']
    """

    temperature_: float
    _learned: ClassVar[tuple[str, ...]] = ("classes_", "temperature_")

    def __init__(
        self,
        *,
        n_oscillators: str | int = "auto",
        orders: tuple[int, ...] = (1, 2),
        n_mixes: int = 4,
        n_windows: int = 4,
        sfreq: float | None = None,
        class_weight: Any = None,
        precision: str = "32",
        random_state: Any = None,
    ) -> None:
        self.n_oscillators = n_oscillators
        self.orders = orders
        self.n_mixes = n_mixes
        self.n_windows = n_windows
        self.sfreq = sfreq
        self.class_weight = class_weight
        self.precision = precision
        self.random_state = random_state

    def _encode_targets(self, y: Any, signals: Signals, *, classes: Any, reset: bool) -> NDArray[np.float64]:
        indices = super()._encode_targets(y, signals, classes=classes, reset=reset)
        return np.where(indices[:, None] == np.arange(len(self.classes_)), 1.0, -1.0)

    def _case_weights(self, targets: NDArray[np.float64]) -> NDArray[np.float64]:
        return super()._case_weights(targets.argmax(1))

    def _finish_fit(self, targets: NDArray[np.float64], weights: NDArray[np.float64]) -> None:
        known = np.isfinite(self.ridge_.left_out[:, 0])
        self.temperature_ = _temperature(self.ridge_.left_out[known], targets[known].argmax(1), weights[known])

    def _scores(self, features: NDArray[np.floating], periods: NDArray[np.float64]) -> NDArray[np.float64]:
        return super()._scores(features, periods) * self.temperature_


def _temperature(scores: NDArray[np.float64], indices: NDArray[np.intp], weights: NDArray[np.float64]) -> float:
    """Return the factor that makes logits of scores: the smallest log loss on predictions that were left out."""
    # Platt's targets: n cases without a mistake say no more than that the next is right with odds of about n to 1.
    doubt = 1.0 / (weights.sum() + 2.0)

    def loss(log_factor: float) -> float:
        logits = log_softmax(np.exp(log_factor) * scores, axis=1)
        right = logits[np.arange(len(indices)), indices]
        return -float(np.average((1.0 - doubt) * right + doubt * logits.mean(1), weights=weights))

    # Scores are near +-1: factors beyond say "certain" or "nothing".
    return float(np.exp(minimize_scalar(loss, bounds=(-5.0, 5.0), method="bounded").x))


class S4RidgeRegressor(SignalRegressorMixin, InstantEstimator):
    """Predict numbers from signals at once: frozen oscillators, pooled statistics, ridge regression in closed form.

    Any number of outputs. Penalty and families of features are chosen by leave-one-out errors, one choice for all
    outputs.

    Parameters
    ----------
    n_oscillators : "auto" or int, default="auto"
        Oscillators; "auto" takes 256 for up to 6 channels, 1536 over their number for up to 24, then 64.
    orders : tuple of int, default=(1, 2)
        Poles in a cascade, taken in turn; more fall off faster beside the band.
    n_mixes : int, default=4
        Random mixes of up to nine channels, drawn for each oscillator; one channel needs none.
    n_windows : int, default=4
        Equal parts of a case that are pooled over, beside the whole.
    sfreq : float, optional
        Sampling rate of X in Hz, where X does not know it; of the grid, where X has times.
    precision : {"32", "64"}, default="32"
        Of the arithmetic; "64" is the reproducible reference mode.
    random_state : int, RandomState or None, default=None
        Seed.

    Attributes
    ----------
    n_features_in_ : int
        Columns of a 2-D X, channels of any other.
    n_channels_in_ : int
        Channels.
    ch_names_ : list of str or None
        Their names, where X knows them; other names at prediction are an error.
    sfreq_ : float or None
        Sampling rate at training, in Hz.
    features_ : S4RandomFeatures
        The transformer.
    ridge_ : Ridge
        Coefficients, penalty, families of features in use, and a prediction of each training case by the
        others.
    fit_seconds_ : float
        Time that `fit` took.

    References
    ----------
    Dempster, Schmidt, Webb, "MiniRocket: A Very Fast (Almost) Deterministic Transform for Time Series Classification",
    KDD 2021, doi:10.1145/3447548.3467231; Dupré la Tour, Eickenberg, Nunez-Elizalde, Gallant, "Feature-space selection
    with banded ridge regression", NeuroImage 264, 2022, doi:10.1016/j.neuroimage.2022.119728.

    Examples
    --------
    >>> import numpy as np
    >>> from s4signal.estimators import S4RidgeRegressor
    >>> rng = np.random.default_rng(0)
    >>> y = rng.uniform(1, 3, 40)
    >>> X = y[:, None] * np.sin(np.linspace(0, 30, 100)) + 0.1 * rng.standard_normal((40, 100))
    >>> S4RidgeRegressor(random_state=0).fit(X[:30], y[:30]).score(X[30:], y[30:]) > 0.9
    True
    """

    def __init__(
        self,
        *,
        n_oscillators: str | int = "auto",
        orders: tuple[int, ...] = (1, 2),
        n_mixes: int = 4,
        n_windows: int = 4,
        sfreq: float | None = None,
        precision: str = "32",
        random_state: Any = None,
    ) -> None:
        self.n_oscillators = n_oscillators
        self.orders = orders
        self.n_mixes = n_mixes
        self.n_windows = n_windows
        self.sfreq = sfreq
        self.precision = precision
        self.random_state = random_state

    def _scaled_targets(
        self, targets: NDArray[np.float64], weights: NDArray[np.float64], *, reset: bool
    ) -> NDArray[np.float64]:
        if reset:
            self._measure_targets(targets, weights)
        return self._standardised(targets)
