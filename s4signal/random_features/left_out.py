r"""Leave-one-out and leave-one-group-out errors of ridge regression in closed form, and the penalty that is best.

Let :math:`w_i` be the weights of the cases, with mean one and sum W; X the centred features and Y the centred targets,
rows multiplied by :math:`\sqrt{w_i}`. The coefficients minimise :math:`|Y - X \beta|^2 + \alpha |\beta|^2`. With
:math:`G = X X^T = U V U^T` they are :math:`\beta = X^T c`, :math:`c = (G + \alpha)^{-1} Y`; the hat matrix is
:math:`H = G (G + \alpha)^{-1} = U \frac{V}{V + \alpha} U^T` and the residual :math:`r = Y - H Y = \alpha c`, so that
one decomposition is enough for all penalties. A linear smoother fitted without case i has the residual
:math:`r_i / (1 - H_{ii})` at i. The intercept, which is not penalised, is a linear smoother too: the weighted mean,
:math:`s s^T` with :math:`s_i = \sqrt{w_i / W}`. The columns of X are centred, :math:`X^T s = 0`, so that both add up:

.. math:: y_i - \hat y_{-i} = \frac{r_i / \sqrt{w_i}}{1 - H_{ii} - w_i / W} .

Divided by :math:`\alpha`, numerator and denominator are c and d of scikit-learn's ``_RidgeGCV`` (looe = c / d). A case
is left out with its whole weight: only ratios of weights matter. For a fit without the cases of a group g, the errors
:math:`e_g` of these cases, times the roots of their weights, solve :math:`(I - H_{gg} - s_g s_g^T) e_g = r_g`.

References
----------
Rifkin, Lippert, "Notes on Regularized Least Squares", MIT-CSAIL-TR-2007-025, 2007, section 4.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

Floats = NDArray[np.float64]
Groups: TypeAlias = NDArray[np.intp] | None
Loss: TypeAlias = Callable[[Floats, Floats, Floats], Floats]  # targets (n, k), predictions (n, k), weights (n,) -> (n,)

ALPHAS = tuple(np.logspace(-3, 5, 17).tolist())  # relative to the mean squared norm of a case


class Spectrum(NamedTuple):
    """Eigenvalues (r,) and orthonormal eigenvectors (n, r) of a Gram matrix between cases."""

    values: Floats
    vectors: Floats

    @classmethod
    def of_gram(cls, gram: Floats) -> "Spectrum":
        """Decompose a Gram matrix (n, n), which is overwritten."""
        values, vectors = eigh(gram, driver="evd", overwrite_a=True, check_finite=False)
        return cls(np.maximum(values, 0.0), vectors)

    @classmethod
    def of(cls, X: NDArray[np.floating]) -> "Spectrum":
        """Decompose the Gram matrix of rows (n, p), by the smaller of the two Gram matrices."""
        n, p = X.shape
        if n <= p:
            return cls.of_gram((X @ X.T).astype(np.float64))
        values, vectors = eigh((X.T @ X).astype(np.float64), driver="evd", overwrite_a=True, check_finite=False)
        kept = values > 1e-10 * values[-1]
        return cls(values[kept], (X @ vectors[:, kept]) / np.sqrt(values[kept]))


class Choice(NamedTuple):
    """The penalty with the smallest mean loss, with its ``losses`` (n,), dual coefficients c and predictions (n, k)."""

    alpha: float
    dual: Floats
    loo_predictions: Floats
    losses: Floats


def squared_errors(targets: Floats, predictions: Floats, weights: Floats) -> Floats:
    """Return the squared error of each case, (n,), averaged over targets."""
    return np.asarray(np.square(targets - predictions).mean(1))


class LeftOut(NamedTuple):
    """Selection of the penalty by the loss of left-out cases, or of left-out ``groups`` (n,) of cases."""

    targets: Floats  # (n, k)
    weights: Floats  # (n,), of mean one
    alphas: Sequence[float] = ALPHAS
    groups: Groups = None
    loss: Loss = squared_errors

    def among(self, rows: NDArray[np.intp]) -> "LeftOut":
        """Return the same for a subset of the cases."""
        groups = None if self.groups is None else self.groups[rows]
        return self._replace(targets=self.targets[rows], weights=self.weights[rows], groups=groups)

    def choose(self, spectrum: Spectrum) -> Choice:
        """Compute the left-out errors for all penalties, as derived above, and select the smallest mean loss."""
        (values, U), (targets, weights, alphas, groups, loss) = spectrum, self
        root, total = np.sqrt(weights)[:, None], weights.sum()
        Y = root * (targets - np.average(targets, axis=0, weights=weights))
        mean_squared_norm = values.sum() / total if values.sum() > 0 else 1.0
        penalties = mean_squared_norm * np.asarray(alphas, dtype=np.float64)
        shrunk = values[:, None] / (values[:, None] + penalties)  # V / (V + alpha)
        residual = Y[:, None] - np.tensordot(U, shrunk[:, :, None] * (U.T @ Y)[:, None], axes=1)
        if groups is None:
            leverage = U**2 @ shrunk + (weights / total)[:, None]
            errors = residual / np.maximum(1.0 - leverage, 1e-9)[:, :, None] / root[:, None]
        else:
            errors = _group_errors(U, shrunk, residual, root / np.sqrt(total), groups) / root[:, None]
        predictions = targets[:, None] - errors
        losses = [loss(targets, part, weights) for part in predictions.swapaxes(0, 1)]
        best = int(np.average(losses, axis=1, weights=weights).argmin())
        alpha = float(penalties[best])
        return Choice(alpha, residual[:, best] / alpha, predictions[:, best], losses[best])


def _group_errors(U: Floats, shrunk: Floats, residual: Floats, s: Floats, groups: NDArray[np.intp]) -> Floats:
    """Solve (I - H_gg - s_g s_g^T) e_g = r_g for each left-out group g and each penalty: (n, n_penalties, k)."""
    errors = np.empty_like(residual)
    for rows in (np.flatnonzero(groups == group) for group in np.unique(groups)):
        rest = np.eye(len(rows)) - s[rows] @ s[rows].T
        for index, factors in enumerate(shrunk.T):
            matrix = rest - (U[rows] * factors) @ U[rows].T
            errors[rows, index] = np.linalg.lstsq(matrix, residual[rows, index], rcond=1e-9)[0]
    return errors
