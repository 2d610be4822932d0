"""Ridge regression on batches: rows that stand for all cases so far."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr

from s4signal.random_features.ridge import Floats, Ridge, choose_ridge, solve_ridge, solver_threads

__all__ = ["RidgeSums"]

_MOST_TO_CHOOSE = 1000  # cases; their decomposition takes a second


class RidgeSums:
    """What a ridge regression has to know of the cases so far, in bounded memory.

    Cases are kept as they are until they outnumber the features twice; then a QR decomposition puts as many rows in
    their place as there are features, with the same Gram matrices, so that every solution stays what it was.
    """

    def __init__(self, ridge: Ridge) -> None:
        self._ridge = ridge
        self._compressed = False
        self._rows: NDArray[np.floating] | None = None
        self._targets: Floats = np.empty((0, ridge.coef.shape[-1]))

    def add(self, features: NDArray[np.floating], targets: Floats, case_weights: Floats) -> None:
        """Take in cases.

        Shapes: features (n, p), targets (n, k), case_weights (n,).
        """
        low, high = (end(features, axis=0) for end in (np.min, np.max))
        widest = {"low": np.minimum(self._ridge.low, low), "high": np.maximum(self._ridge.high, high)}
        self._ridge = self._ridge._replace(**widest)
        root = np.sqrt(case_weights)[:, None]
        scaled = (features - self._ridge.mean) * self._ridge.scale
        # The first column is that of the intercept.
        rows = np.concatenate([root, root * scaled], axis=1).astype(features.dtype)
        self._rows = rows if self._rows is None else np.concatenate([self._rows, rows])
        self._targets = np.concatenate([self._targets, root * targets])
        if len(self._rows) > 2 * self._rows.shape[1]:
            Q, R = qr(self._rows, mode="economic", check_finite=False)
            self._rows, self._targets, self._compressed = R, Q.T @ self._targets, True

    def solve(self, subsets: list[NDArray[np.bool_]]) -> Ridge:
        """Solve for the coefficients.

        Shapes: subsets (p,).
        """
        assert self._rows is not None  # noqa: S101 - add comes first
        root, X = self._rows[:, :1], self._rows[:, 1:]
        total = float((root.astype(np.float64) ** 2).sum())
        mean, intercept = root.T @ X / total, root.T @ self._targets / total
        X, Y, old = X - root @ mean, self._targets - root @ intercept, self._ridge
        with solver_threads(len(X)):
            if self.chooses:
                best = choose_ridge(X, self.targets, self.weights)
                old = self._ridge = old._replace(alpha=best.alpha, left_out=best.left_out)
            coef = [solve_ridge(X, Y, old.alpha), *(solve_ridge(X * chosen, Y, old.alpha) for chosen in subsets)]
        moved = np.divide(mean[0], old.scale, out=np.zeros(len(old.scale)), where=old.scale > 0)
        return old._replace(
            mean=old.mean + moved, coef=np.stack(coef).astype(np.float64), intercept=np.asarray(intercept[0])
        )

    @property
    def chooses(self) -> bool:
        """Whether the cases are few enough to choose the penalty by those left out, once more."""
        return len(self._targets) <= _MOST_TO_CHOOSE and not self._compressed

    @property
    def weights(self) -> Floats:
        """Weights of the cases (n,), while ``chooses``."""
        rows = np.empty((0, 1)) if self._rows is None else self._rows
        return np.asarray(rows[:, 0] ** 2, dtype=np.float64)

    @property
    def targets(self) -> Floats:
        """Targets of the cases (n, k), while ``chooses``."""
        return np.asarray(self._targets / np.sqrt(self.weights)[:, None])
