"""Ridge regression on batches: rows that stand for all cases so far."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr

from s4signal.random_features.left_out import ALPHAS, Floats, LeftOut, Spectrum
from s4signal.random_features.ridge import Ridge, solve_ridge, solver_threads

_MOST_TO_CHOOSE = 1000  # cases; their decomposition takes a second


class RidgeSums:
    """What a ridge regression has to know of the cases so far, in bounded memory.

    Cases are kept as they are until they outnumber the features twice; then a QR decomposition puts as many rows in
    their place as there are features, with the same Gram matrices, so that every solution stays what it was.
    """

    def __init__(self, ridge: Ridge, alphas: Sequence[float] = ALPHAS) -> None:
        self._ridge, self._alphas = ridge, alphas
        self._compressed, self._n_cases, self._total = False, 0, 0.0
        p, k = ridge.coef.shape[1:]
        # Root-weighted; the first column is that of the intercept.
        self._rows: NDArray[np.floating] = np.empty((0, 1 + p), dtype=np.float32)
        self._targets: Floats = np.empty((0, k))

    def added(self, features: NDArray[np.floating], targets: Floats, case_weights: Floats) -> RidgeSums:
        """Return the sums with further cases: features (n, p), targets (n, k), case_weights (n,)."""
        sums = copy.copy(self)
        low, high = (end(features, axis=0) for end in (np.min, np.max))
        widest = {"low": np.minimum(self._ridge.low, low), "high": np.maximum(self._ridge.high, high)}
        sums._ridge = self._ridge._replace(**widest)
        root = np.sqrt(case_weights)[:, None]
        scaled = (features - self._ridge.mean) * self._ridge.scale
        rows = np.concatenate([root, root * scaled], axis=1).astype(features.dtype)
        sums._rows = np.concatenate([self._rows.astype(features.dtype, copy=False), rows])
        sums._targets = np.concatenate([self._targets, root * targets])
        sums._n_cases, sums._total = self._n_cases + len(rows), self._total + float(case_weights.sum())
        if len(sums._rows) > 2 * sums._rows.shape[1]:
            Q, R = qr(sums._rows, mode="economic", check_finite=False)
            sums._rows, sums._targets, sums._compressed = R, Q.T @ sums._targets, True
        return sums

    def solve(self, subsets: Sequence[NDArray[np.bool_]]) -> Ridge:
        """Solve for the coefficients of all features and of subsets (p,) of them."""
        # To weights of mean one: only their ratios count.
        level = float(np.sqrt(self._n_cases / self._total))
        root, X, targets = level * self._rows[:, :1], level * self._rows[:, 1:], level * self._targets
        mean, intercept = root.T @ X / self._n_cases, root.T @ targets / self._n_cases
        X, Y = X - root @ mean, targets - root @ intercept
        with solver_threads(len(X)):
            if self.chooses:
                best = LeftOut(self.targets, self.weights, self._alphas).choose(Spectrum.of(X))
                self._ridge = self._ridge._replace(alpha=best.alpha, loo_predictions=best.loo_predictions)
            old = self._ridge
            coef = [solve_ridge(X, Y, old.alpha), *(solve_ridge(X * subset, Y, old.alpha) for subset in subsets)]
        moved = np.divide(mean[0], old.scale, out=np.zeros(len(old.scale)), where=old.scale > 0)
        return old._replace(
            mean=old.mean + moved, coef=np.stack(coef).astype(np.float64), intercept=np.asarray(intercept[0])
        )

    @property
    def chooses(self) -> bool:
        """Whether the cases are few enough to choose the penalty by leave-one-out errors, once more."""
        return len(self._targets) <= _MOST_TO_CHOOSE and not self._compressed

    @property
    def weights(self) -> Floats:
        """Weights of the cases (n,), of mean one, while ``chooses``."""
        return np.asarray(self._rows[:, 0] ** 2, dtype=np.float64) * (self._n_cases / self._total)

    @property
    def targets(self) -> Floats:
        """Targets of the cases (n, k), while ``chooses``."""
        return np.asarray(self._targets / self._rows[:, :1])
