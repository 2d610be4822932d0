"""Ridge regression in closed form on families of features, chosen by leave-one-out errors."""

from __future__ import annotations

import itertools
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh, solve
from threadpoolctl import threadpool_limits

__all__ = ["FAMILIES", "Choice", "Floats", "Ridge", "choose_ridge", "fit_ridge", "solve_ridge", "solver_threads"]

Floats = NDArray[np.float64]

_ALPHAS = np.logspace(-3, 5, 17)  # relative to the mean eigenvalue of the Gram matrix
_FEW = 1000  # cases, up to which threads of BLAS take longer to wait for those of torch than to compute
_MOST_TO_DECOMPOSE = 4000  # cases on which penalties are compared; solving for one takes far less
_MOST_TO_CHOOSE = 400  # cases on which families are compared
# Of features, as `S4RandomFeatures._families` gives them.
FAMILIES = ("means", "shares", "chords", "energies", "narrow bands", "levels of observations")
_MARGIN = 0.1  # of the range of a feature in training, by which it may leave this range at prediction
# Whose features keep their relative scale: what varies most in a narrow band is no noise.
_EVEN = FAMILIES.index("narrow bands")


class Ridge(NamedTuple):
    """A fitted ridge regression on families of features.

    Shapes: mean, scale (p,), coef (m, p, k), intercept (k,), left_out (n, k), low, high (p,).
    """

    mean: Floats
    scale: Floats
    coef: Floats
    intercept: Floats
    alpha: float
    used: tuple[bool, ...]
    left_out: Floats
    low: Floats
    high: Floats

    def predict(self, features: NDArray[np.floating], which: NDArray[np.int64]) -> Floats:
        """Return (n, k) for features (n, p), of which each case has the set ``which`` (n,); the others may be NaN."""
        used = self.scale > 0
        low, high = self.low[used], self.high[used]
        margin = _MARGIN * (high - low)
        known = features[:, used].astype(np.float64, copy=False)  # a copy already
        np.clip(known, low - margin, high + margin, out=known)
        known -= self.mean[used]
        known *= self.scale[used]
        known[np.isnan(known)] = 0.0
        outputs = np.empty((len(features), self.coef.shape[-1]))
        for index in np.unique(which):
            rows = slice(None) if (which == index).all() else which == index
            outputs[rows] = known[rows] @ self.coef[index][used]
        return np.asarray(outputs + self.intercept)


class Choice(NamedTuple):
    """The penalty of the smallest leave-one-out error.

    Shapes: dual (n, k), left_out (n, k).
    """

    error: float
    alpha: float
    dual: Floats
    left_out: Floats


def fit_ridge(
    families: list[NDArray[np.floating]],
    targets: Floats,
    case_weights: Floats,
    rng: np.random.RandomState,
    *,
    subsets: list[NDArray[np.bool_]] | None = None,
) -> Ridge:
    """Fit coefficients; leave-one-out errors choose the penalty and which families of features count.

    Shapes: families (n, p_i), targets (n, k), case_weights (n,), subsets (p,).

    References
    ----------
    Rifkin, Lippert, "Notes on Regularized Least Squares", MIT-CSAIL-TR-2007-025, 2007, section 4; Dupré la Tour,
    Eickenberg, Nunez-Elizalde, Gallant, "Feature-space selection with banded ridge regression", NeuroImage 264, 2022,
    doi:10.1016/j.neuroimage.2022.119728.
    """
    with solver_threads(len(targets)):
        moments = [_standardisation(features, case_weights, even=i == _EVEN) for i, features in enumerate(families)]
        root_weights = np.sqrt(case_weights)[:, None]
        rows = [
            (part - mean.astype(part.dtype)) * scale.astype(part.dtype) * root_weights.astype(part.dtype)
            for part, (mean, scale) in zip(families, moments, strict=True)
        ]
        used = _choose_families(rows, targets, case_weights, rng)
        X = np.concatenate(list(itertools.compress(rows, used)), axis=1)
        columns = np.repeat(used, [part.shape[1] for part in rows])
        best = _choose_on_some(X, targets, case_weights, rng)
        mean = np.concatenate([m for m, _ in moments])
        scale = columns * np.concatenate([s for _, s in moments])
        intercept = np.average(targets, axis=0, weights=case_weights)
        centred = root_weights * (targets - intercept)
        coef = np.zeros((1 + len(subsets or []), len(mean), targets.shape[1]))
        whole = len(best.dual) == len(X)
        coef[0, columns] = X.T @ best.dual.astype(X.dtype) if whole else solve_ridge(X, centred, best.alpha)
        for each, chosen in zip(coef[1:], subsets or [], strict=True):
            each[columns & chosen] = solve_ridge(X[:, chosen[columns]], centred, best.alpha)
    low = np.concatenate([part.min(0) for part in families]).astype(np.float64)
    high = np.concatenate([part.max(0) for part in families]).astype(np.float64)
    return Ridge(mean, scale, coef, intercept, best.alpha, used, best.left_out, low, high)


def _standardisation(
    features: NDArray[np.floating], case_weights: Floats, *, even: bool = False
) -> tuple[Floats, Floats]:
    """Mean, and one over the standard deviation and over the root of the number of features."""
    shares = (case_weights / case_weights.sum()).astype(features.dtype)
    about = shares @ features
    rest = features - about
    # Sums in single precision are off by more than what a constant feature varies, but not those of what is left.
    moved, squares = (np.asarray(shares @ part, dtype=np.float64) for part in (rest, np.square(rest)))
    mean, std = about + moved, np.sqrt(np.maximum(squares - moved**2, 0.0))
    varies = std > 1e-6 * np.abs(mean) + 1e-12
    if even and varies.any():
        std = np.full_like(std, np.sqrt(np.mean(std[varies] ** 2)))
    scale = np.where(varies, 1.0, 0.0) / np.where(varies, std, 1.0)
    return mean, scale / np.sqrt(max(1, features.shape[1]))


def choose_ridge(X: NDArray[np.floating], targets: Floats, case_weights: Floats) -> Choice:
    """Solve for every penalty and keep the one whose leave-one-out error is least.

    Shapes: X (n, p), targets (n, k), case_weights (n,).
    """
    return _choose(_Spectrum.of(X), targets, case_weights)


def solve_ridge(X: NDArray[np.floating], Y: Floats, alpha: float) -> NDArray[np.floating]:
    """Solve for one penalty, by the smaller of the two Gram matrices.

    Shapes: X (n, p), Y (n, k) → (p, k).
    """
    n, p = X.shape
    gram = (X @ X.T if n <= p else X.T @ X).astype(np.float64)
    gram.flat[:: len(gram) + 1] += alpha
    right = Y if n <= p else (X.T @ Y)
    solution = solve(gram, right, assume_a="pos", overwrite_a=True, check_finite=False)
    return np.asarray(X.T @ solution.astype(X.dtype) if n <= p else solution)


def _choose_on_some(
    X: NDArray[np.floating], targets: Floats, case_weights: Floats, rng: np.random.RandomState
) -> Choice:
    """Choose on some of many cases, of which alone ``dual`` is then; others have not been left out."""
    n = len(X)
    if n <= _MOST_TO_DECOMPOSE:
        return choose_ridge(X, targets, case_weights)
    some = np.sort(rng.permutation(n)[:_MOST_TO_DECOMPOSE])
    weights = case_weights[some]
    root = np.sqrt(weights)[:, None].astype(X.dtype)
    best = choose_ridge(X[some] - root * (root.T @ X[some] / (root.T @ root)), targets[some], weights)
    left_out = np.full(targets.shape, np.nan)
    left_out[some] = best.left_out
    return best._replace(left_out=left_out)


def solver_threads(n_cases: int) -> threadpool_limits:
    """Limit the threads of BLAS to what so many cases are worth, within a ``with`` statement."""
    return threadpool_limits(1 if n_cases <= _FEW else None, user_api="blas")


def _choose_families(
    rows: list[NDArray[np.floating]], targets: Floats, case_weights: Floats, rng: np.random.RandomState
) -> tuple[bool, ...]:
    """Take families in one after the other, each time the best, as long as the leave-one-out error falls."""
    n, known = len(targets), [i for i, part in enumerate(rows) if part.shape[1]]
    some = np.arange(n) if n <= _MOST_TO_CHOOSE else np.sort(rng.permutation(n)[:_MOST_TO_CHOOSE])
    grams = [part[some] @ part[some].T for part in rows]
    few, few_weights = targets[some], case_weights[some]

    @cache
    def errors(used: tuple[bool, ...]) -> Floats:
        gram = np.asarray(sum(itertools.compress(grams, used)))
        return np.asarray(((few - _choose(_Spectrum.of_gram(gram), few, few_weights).left_out) ** 2).mean(1))

    def error(used: tuple[bool, ...]) -> float:
        return float(np.average(errors(used), weights=few_weights))

    chosen = (False,) * len(rows)
    while more := [(*chosen[:i], True, *chosen[i + 1 :]) for i in known if not chosen[i]]:
        best = min(more, key=error)
        if any(chosen) and error(best) >= error(chosen):
            break
        chosen = best
    last = (*(False,) * (len(rows) - 1), True)
    sparse = len(rows) == len(FAMILIES) and len(rows) - 1 in known
    if sparse and not _clearly_less(errors(chosen), errors(last), few_weights):
        return last
    return chosen


def _clearly_less(ones: Floats, others: Floats, case_weights: Floats) -> bool:
    """Whether errors are less than others by more than twice the standard error of their difference."""
    gain = others - ones
    mean = np.average(gain, weights=case_weights)
    spread = np.sqrt(np.average((gain - mean) ** 2, weights=case_weights))
    return bool(mean > 2.0 * spread / np.sqrt(case_weights.sum()))


class _Spectrum(NamedTuple):
    """Eigenvalues (r,) and orthonormal eigenvectors (n, r) of a Gram matrix between cases."""

    values: Floats
    vectors: Floats

    @classmethod
    def of_gram(cls, gram: Floats) -> _Spectrum:
        values, vectors = eigh(gram, driver="evd", overwrite_a=True, check_finite=False)
        return cls(np.maximum(values, 0.0), vectors)

    @classmethod
    def of(cls, X: NDArray[np.floating]) -> _Spectrum:
        """Of rows (n, p), by the smaller of the two Gram matrices."""
        n, p = X.shape
        if n <= p:
            return cls.of_gram((X @ X.T).astype(np.float64))
        values, vectors = eigh((X.T @ X).astype(np.float64), driver="evd", overwrite_a=True, check_finite=False)
        kept = values > 1e-10 * max(values[-1], 1e-300)
        return cls(values[kept], (X @ vectors[:, kept]) / np.sqrt(values[kept]))


def _choose(spectrum: _Spectrum, targets: Floats, case_weights: Floats) -> Choice:
    """Solve for every penalty and keep the one whose leave-one-out error is least."""
    values, U = spectrum
    root = np.sqrt(case_weights)[:, None]
    total = case_weights.sum()
    Y = root * (targets - np.average(targets, axis=0, weights=case_weights))
    projected, squares = U.T @ Y, U**2
    level = values.sum() / total if values.sum() > 0 else 1.0
    penalties = level * _ALPHAS
    shrunk = values[:, None] / (values[:, None] + penalties)
    fitted = np.tensordot(U, shrunk[:, :, None] * projected[:, None], axes=1)
    residual = Y[:, None] - fitted
    # A case of weight 2 is two cases, one of which is left out; a lighter case is left out as a whole.
    leverage = (squares @ shrunk + (case_weights / total)[:, None]) / np.maximum(case_weights, 1.0)[:, None]
    left_out = residual / root[:, None] / np.maximum(1.0 - leverage, 1e-9)[:, :, None]
    errors = np.average((left_out**2).mean(2), axis=0, weights=case_weights)
    least = int(errors.argmin())
    alpha = float(penalties[least])
    return Choice(float(errors[least]), alpha, residual[:, least] / alpha, targets - left_out[:, least])
