"""The regressor."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from s4signal.estimators.mixins import SignalRegressorMixin, describe_regressor
from s4signal.estimators.trained.base import S4Estimator
from s4signal.estimators.trained.classifier import S4Classifier
from s4signal.estimators.trained.training import over_networks


class S4Regressor(SignalRegressorMixin, S4Estimator):
    """Predict numbers from raw signals with a deep structured state space model.

    Any number of outputs is supported; targets are standardised with statistics of the training cases. Parameters are
    those of `S4Classifier` except ``class_weight``; ``dropout`` is 0.1 by default.

    Examples
    --------
    >>> import numpy as np
    >>> from s4signal import S4Regressor
    >>> rng = np.random.default_rng(0)
    >>> y = rng.uniform(1, 3, 40)
    >>> X = y[:, None] * np.sin(np.linspace(0, 30, 100)) + 0.1 * rng.standard_normal((40, 100))
    >>> model = S4Regressor(d_model=8, d_state=8, n_layers=1, max_epochs=60, random_state=0).fit(X, y)
    >>> bool(model.score(X, y) > 0.5)
    True
    """

    def _n_outputs(self, targets: NDArray[np.float64]) -> int:
        return int(targets.shape[1])

    @staticmethod
    @over_networks
    def _loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs - targets).square().mean(1)

    @staticmethod
    def _score_outputs(outputs: Tensor, targets: Tensor, weights: Tensor) -> float:
        """Return the coefficient of determination, averaged over the outputs; NaN for constant targets."""
        w = weights[:, None] / weights.sum()
        residual = (w * (outputs - targets) ** 2).sum(0)
        total = (w * (targets - (w * targets).sum(0)) ** 2).sum(0)
        return float((1.0 - residual / total).mean())


describe_regressor(
    S4Regressor,
    S4Classifier,
    class_weight="",
    classes_="",
    dropout="dropout : float in [0, 1), default=0.1\n    Dropout rate of the features in training.\n",
)
