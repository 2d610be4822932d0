"""The regressor in closed form: frozen state-space oscillators, pooled statistics, ridge regression."""

from s4signal.estimators.closed_form.classifier import S4RidgeClassifier
from s4signal.estimators.closed_form.ridge import RidgeEstimator
from s4signal.estimators.mixins import SignalRegressorMixin, describe_regressor


class S4RidgeRegressor(SignalRegressorMixin, RidgeEstimator):
    """Predict numbers with frozen oscillators, pooled statistics and closed-form ridge regression.

    Any number of outputs is supported; outputs are standardised. Leave-one-out errors select one penalty and one set of
    feature blocks for all outputs. Parameters are those of `S4RidgeClassifier` except ``class_weight``.

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


describe_regressor(S4RidgeRegressor, S4RidgeClassifier, class_weight="", classes_="", temperature_="")
