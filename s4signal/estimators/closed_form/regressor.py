"""The regressor in closed form: frozen state-space oscillators, pooled statistics, ridge regression."""

import numpy as np
from numpy.typing import NDArray

from s4signal.estimators.closed_form.ridge import RidgeEstimator
from s4signal.estimators.mixins import SignalRegressorMixin


class S4RidgeRegressor(SignalRegressorMixin, RidgeEstimator):
    """Predict numbers from signals by frozen oscillators, pooled statistics and ridge regression in closed form.

    Any number of outputs. Leave-one-out errors choose the penalty and which blocks of features are used, one choice for
    all outputs. For the features see `S4RandomFeatures`.

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
    alphas : "auto" or array-like of positive floats, default="auto"
        Penalties to choose from, as those of `sklearn.linear_model.RidgeCV`, but relative to the mean squared
        norm of the standardised cases, which is the number of blocks of features in use, and beside standardised
        targets and weights of mean one; "auto" is ``numpy.logspace(-3, 5, 17)``. The one chosen is ``ridge_.alpha``, in
        absolute terms.
    sfreq : float, optional
        Sampling rate of X in Hz, where X does not know it; of the grid, where X has times.
    precision : {"32", "64"}, default="32"
        Precision of the arithmetic; "64" is the reproducible reference mode.
    random_state : int, RandomState or None, default=None
        Seed.

    Attributes
    ----------
    n_features_in_, n_channels_in_ : int
        Columns of a 2-D X or channels of any other; channels.
    ch_names_ : list of str or None
        Their names, where X knows them; other names at prediction are an error.
    sfreq_ : float or None
        Sampling rate at training, in Hz.
    features_ : S4RandomFeatures
        The transformer.
    ridge_ : Ridge
        The regression, on standardised targets: ``coef``, ``intercept``, ``alpha``, ``blocks`` of features in use and
        ``loo_predictions`` of the training cases.
    fit_seconds_ : float
        Time that `fit` took.

    References
    ----------
    Dempster, Schmidt, Webb, "MiniRocket", KDD 2021, doi:10.1145/3447548.3467231 (random filters, ridge); Rifkin,
    Lippert, "Notes on Regularized Least Squares", MIT-CSAIL-TR-2007-025, 2007 (leave-one-out); Guyon, Elisseeff, "An
    Introduction to Variable and Feature Selection", JMLR 3, 2003 (greedy forward selection, here of blocks with one
    penalty).

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

    def _scaled_targets(
        self, targets: NDArray[np.float64], weights: NDArray[np.float64], *, reset: bool
    ) -> NDArray[np.float64]:
        if reset:
            self._measure_targets(targets, weights)
        return self._standardised(targets)
