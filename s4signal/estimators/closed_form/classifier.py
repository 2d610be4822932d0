"""The classifier in closed form: frozen state-space oscillators, pooled statistics, ridge regression."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from s4signal.estimators.classification import SignalClassifierMixin, calibrated_losses, signs, temperature
from s4signal.estimators.closed_form.ridge import RidgeEstimator
from s4signal.estimators.model_file import State
from s4signal.random_features.left_out import Floats
from s4signal.signals import Signals


class S4RidgeClassifier(SignalClassifierMixin, RidgeEstimator):
    """Classify signals by frozen state-space oscillators, pooled statistics and ridge regression in closed form.

    Targets are labels (n_samples,), or tags (n_samples, n_tags) of 0 and 1, of which any number may hold for a case.
    Fits in seconds where `S4Classifier` takes minutes. Leave-one-out errors choose the penalty and which blocks of the
    features of `S4RandomFeatures` are used; probabilities are calibrated on leave-one-out predictions.

    Parameters
    ----------
    n_oscillators : "auto" or int, default="auto"
        Oscillators; "auto" takes 256 for up to 6 channels, 1536 / n_channels for up to 24, then 64.
    orders : tuple of int, default=(1, 2)
        Poles in cascade, taken in turn by the oscillators; more fall off faster beside the band.
    n_spatial_filters : int, default=4
        Random weights over up to nine channels, drawn for each oscillator; one channel needs none.
    n_windows : int, default=4
        Equal parts of a case that are pooled over, beside the whole.
    band_hz : (lowest, highest) or None, default=None
        Frequencies in Hz that the cases hold, such as (1, 45) after a band-pass: oscillators lie there alone. Features
        are standardised, so that others would amplify what the filter has left.
    alphas : "auto" or array-like of positive floats, default="auto"
        Penalties to choose from, as those of `sklearn.linear_model.RidgeCV`, but relative to the mean squared norm of
        the standardised cases, which is the number of blocks of features in use, and beside weights of mean one; "auto"
        is ``numpy.logspace(-3, 5, 17)``. The one chosen is ``ridge_.alpha``, in absolute terms.
    sfreq : float, optional
        Sampling rate of X in Hz, where X does not know it; of the grid, where X has times.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes; not with tags.
    precision : {"32", "64"}, default="32"
        Precision of the arithmetic; "64" is the reproducible reference mode. With "32", rounding depends on the batch
        of a case: a case of weight 2 and the case twice agree to about 1e-5.
    random_state : int, RandomState or None, default=None
        Seed.

    Attributes
    ----------
    n_features_in_, n_channels_in_ : int
        Columns of a 2-D X or channels of any other; channels.
    ch_names_ : list of str or None
        Their names, where X knows them. By them channels are found at prediction: in any order, however written
        (``EEG FP1-REF`` is ``Fp1``), without new ones, as missing where they are not there; a warning says so.
    sfreq_ : float or None
        Sampling rate at training, in Hz.
    features_ : S4RandomFeatures
        The transformer.
    multilabel_ : bool
        Whether it was fitted with tags.
    ridge_ : Ridge
        The regression: ``coef``, ``intercept``, ``alpha``, ``blocks`` of features in use and ``loo_predictions`` of
        the training cases.
    fit_seconds_ : float
        Time that `fit` took.
    classes_ : ndarray (n_classes,)
        Labels, sorted; of tags their positions.
    temperature_ : float
        Factor from scores to logits.

    References
    ----------
    Dempster, Schmidt, Webb, "MiniRocket", KDD 2021, doi:10.1145/3447548.3467231 (random filters, ridge); Rifkin,
    Lippert, "Notes on Regularized Least Squares", MIT-CSAIL-TR-2007-025, 2007 (leave-one-out); Guyon, Elisseeff, "An
    Introduction to Variable and Feature Selection", JMLR 3, 2003 (greedy forward selection, here of blocks with one
    penalty); Platt, "Probabilistic Outputs for Support Vector Machines", 1999 (calibration).

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

    def __init__(
        self,
        *,
        n_oscillators: str | int = "auto",
        orders: tuple[int, ...] = (1, 2),
        n_spatial_filters: int = 4,
        n_windows: int = 4,
        band_hz: tuple[float, float] | None = None,
        alphas: Any = "auto",
        sfreq: float | None = None,
        class_weight: Any = None,
        precision: str = "32",
        random_state: Any = None,
    ) -> None:
        self.n_oscillators, self.orders = n_oscillators, orders
        self.n_spatial_filters, self.n_windows, self.band_hz = n_spatial_filters, n_windows, band_hz
        self.sfreq, self.precision, self.random_state = sfreq, precision, random_state
        self.alphas, self.class_weight = alphas, class_weight

    def _encode_targets(self, y: Any, signals: Signals, *, classes: Any, reset: bool) -> NDArray[np.float64]:
        encoded = super()._encode_targets(y, signals, classes=classes, reset=reset)
        return signs(encoded, len(self.classes_))

    def _loss(self, targets: Floats, scores: Floats, weights: Floats) -> Floats:
        return calibrated_losses(targets, scores, weights, tags=self.multilabel_)

    def _case_weights(self, targets: NDArray[np.float64]) -> NDArray[np.float64]:
        return super()._case_weights(targets.argmax(1))  # with tags there are none

    def _finish_fit(self, targets: NDArray[np.float64], weights: NDArray[np.float64]) -> None:
        known = np.isfinite(self.ridge_.loo_predictions[:, 0])
        scores = self.ridge_.loo_predictions[known]
        self.temperature_ = temperature(scores, targets[known], weights[known], tags=self.multilabel_)

    def _scaled(self, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        return outputs * self.temperature_

    def _targets_state(self) -> State:
        return State({**super()._targets_state().plain, "temperature": self.temperature_}, {})

    def _restore_targets(self, state: State, *, n_outputs: int) -> None:
        super()._restore_targets(state, n_outputs=n_outputs)
        self.temperature_ = state.value("temperature", float, low=np.exp(-5.01), high=np.exp(5.01))
