"""Ridge regression in closed form on named blocks of features, chosen by left-out errors (`left_out`), or on batches.

References
----------
Rifkin, Lippert, "Notes on Regularized Least Squares", MIT-CSAIL-TR-2007-025, 2007, section 4 (leave-one-out); Guyon,
Elisseeff, "An Introduction to Variable and Feature Selection", JMLR 3, 2003, section 4 (greedy forward selection; here
of blocks, with one penalty for all of them).
"""

import copy
import threading
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, qr, solve
from threadpoolctl import threadpool_limits

from s4signal.random_features.left_out import ALPHAS, Choice, Floats, LeftOut, Spectrum

_FEW = 1000  # cases, up to which threads of BLAS take longer to wait for those of torch than to compute
_MOST_TO_DECOMPOSE = 4000  # cases on which penalties are compared; solving for one takes far less
_MOST_TO_CHOOSE = 400  # cases on which blocks are compared
_MOST_TO_CHOOSE_ANEW = 1000  # cases of batches on which penalties are: their decomposition takes a second
_LEAST_STD = 0.03  # with weights, as a part of the one without: reached where weights are 1,000 : 1 apart
_MARGIN = 0.1  # of the range of a feature in training, by which it may leave this range at prediction


@dataclass(frozen=True)
class Rule:
    """What predicts (n, k) from features (n, p), of which it uses some (q,) within bounds; weights are (q, k)."""

    used: NDArray[np.intp]
    low: Floats
    high: Floats
    mean: Floats
    weights: Floats
    offset: Floats

    def __call__(self, features: NDArray[np.floating]) -> Floats:
        """Predict; a feature that is missing is its mean."""
        x = features[:, self.used].astype(np.float64, copy=False)  # a copy already
        np.minimum(np.maximum(x, self.low, out=x), self.high, out=x)
        x -= self.mean
        x[np.isnan(x)] = 0.0
        return np.asarray(x @ self.weights + self.offset)


class Ridge(NamedTuple):
    """A fitted ridge regression on p features, with coefficients for m subsets of them (the first: all).

    Shapes: mean, scale, low, high (p,), coef (m, p, k) of standardised features, intercept (k,), loo_predictions
    (n, k), NaN for cases that were not left out. ``blocks`` are those in use; the scale of other features is 0.
    """

    mean: Floats
    scale: Floats
    coef: Floats
    intercept: Floats
    alpha: float
    blocks: tuple[str, ...]
    loo_predictions: Floats
    low: Floats
    high: Floats

    def predict(self, features: NDArray[np.floating], subset: NDArray[np.int64]) -> Floats:
        """Return (n, k) for features (n, p), of which each case has ``subset`` (n,); the others may be NaN.

        A feature is clipped to its training range and a tenth more: what hardly varied there can decide nothing.
        """
        outputs = np.empty((len(features), self.coef.shape[-1]))
        for index in np.unique(subset).tolist():
            rows = slice(None) if (subset == index).all() else subset == index
            outputs[rows] = self.of_subset(index)(features[rows])
        return outputs

    def of_subset(self, index: int, *, factor: float = 1.0) -> Rule:
        """Return what predicts cases that have one of the subsets, ``factor`` times as large."""
        used = np.flatnonzero((self.scale > 0) & self.coef[index].any(1))
        low, high, mean = (part[used] for part in (self.low, self.high, self.mean))
        margin, weights = _MARGIN * (high - low), factor * self.scale[used, None] * self.coef[index][used]
        return Rule(used, low - margin, high + margin, mean, weights, factor * self.intercept)


def fit_ridge(
    blocks: Mapping[str, NDArray[np.floating]],
    left_out: LeftOut,
    rng: np.random.RandomState,
    *,
    shared_scale: Set[str] = frozenset(),
    preferred: str | None = None,
    subsets: Sequence[NDArray[np.bool_]] = (),
) -> Ridge:
    """Fit coefficients; the loss of cases left out chooses the penalty and the blocks that count.

    Blocks (n, p_i) have one variance in total; within those of ``shared_scale``, features keep their relative scale.
    ``preferred`` is used alone unless others are clearly better. Each of ``subsets`` (p,) has its own coefficients.
    """
    targets, case_weights = left_out.targets, left_out.weights
    with solver_threads(len(targets)):
        moments = {name: _moments(part, case_weights, shared=name in shared_scale) for name, part in blocks.items()}
        root = np.sqrt(case_weights)[:, None]
        rows = {name: _scaled(part, *moments[name], root) for name, part in blocks.items()}
        chosen = _choose_blocks(rows, left_out, rng, preferred)
        X = np.concatenate([part for name, part in rows.items() if name in chosen], axis=1)
        columns = np.concatenate([np.full(part.shape[1], name in chosen) for name, part in rows.items()])
        best = _choose_on_some(X, left_out, rng)
        intercept = np.average(targets, axis=0, weights=case_weights)
        Y = root * (targets - intercept)
        coef = np.zeros((1 + len(subsets), len(columns), targets.shape[1]))
        whole = len(best.dual) == len(X)
        coef[0, columns] = X.T @ best.dual.astype(X.dtype) if whole else solve_ridge(X, Y, best.alpha)
        for each, subset in zip(coef[1:], subsets, strict=True):
            each[columns & subset] = solve_ridge(X[:, subset[columns]], Y, best.alpha)
    return Ridge(
        mean=np.concatenate([mean for mean, _ in moments.values()]),
        scale=columns * np.concatenate([scale for _, scale in moments.values()]),
        coef=coef,
        intercept=intercept,
        alpha=best.alpha,
        blocks=tuple(name for name in blocks if name in chosen),
        loo_predictions=best.loo_predictions,
        low=np.concatenate([part.min(0) for part in blocks.values()]).astype(np.float64),
        high=np.concatenate([part.max(0) for part in blocks.values()]).astype(np.float64),
    )


def solve_ridge(X: NDArray[np.floating], Y: Floats, alpha: float) -> NDArray[np.floating]:
    """Solve for one penalty, by the smaller of the two Gram matrices: X (n, p), Y (n, k) -> (p, k)."""
    n, p = X.shape
    gram = (X @ X.T if n <= p else X.T @ X).astype(np.float64)
    right = Y if n <= p else (X.T @ Y)
    try:
        solution = solve(gram + alpha * np.eye(len(gram)), right, assume_a="pos", overwrite_a=True, check_finite=False)
    except LinAlgError:  # rounding has made an eigenvalue less than -alpha
        values, vectors = Spectrum.of_gram(gram)
        solution = vectors @ ((vectors.T @ right) / (values + alpha)[:, None])
    return np.asarray(X.T @ solution.astype(X.dtype) if n <= p else solution)


def solver_threads(n_cases: int) -> threadpool_limits:
    """Limit the threads of BLAS to what so many cases are worth, within a ``with`` statement of the main thread.

    The limit is the process's: of two threads, the one that ends last would leave that of the other.
    """
    alone = threading.current_thread() is threading.main_thread()
    return threadpool_limits(1 if n_cases <= _FEW and alone else None, user_api="blas")


def _moments(features: NDArray[np.floating], case_weights: Floats, *, shared: bool) -> tuple[Floats, Floats]:
    """Mean, and one over the standard deviation and over the root of the number of features; 0 for constants."""
    weights = (case_weights / case_weights.sum()).astype(features.dtype)
    about = weights @ features
    rest = features - about
    # Sums in single precision are off by more than what a constant feature varies, but not those of what is left.
    squares = np.square(rest)
    moved, spread = (np.asarray(weights @ part, dtype=np.float64) for part in (rest, squares))
    mean, std = about + moved, np.sqrt(np.maximum(spread - moved**2, 0.0))
    # A feature that varies among cases of next to no weight alone would be scaled up until these decide.
    std = np.maximum(std, _LEAST_STD * np.sqrt(squares.mean(0, dtype=np.float64)))
    varies = std > 1e-6 * np.abs(mean) + 1e-12
    if shared and varies.any():
        std = np.full_like(std, np.sqrt(np.mean(std[varies] ** 2)))
    scale = np.where(varies, 1.0, 0.0) / np.where(varies, std, 1.0)
    return mean, scale / np.sqrt(max(1, features.shape[1]))


def _scaled(features: NDArray[np.floating], mean: Floats, scale: Floats, root: Floats) -> NDArray[np.floating]:
    mean, scale, root = (part.astype(features.dtype) for part in (mean, scale, root))
    return np.asarray((features - mean) * scale * root)


def _choose_on_some(X: NDArray[np.floating], left_out: LeftOut, rng: np.random.RandomState) -> Choice:
    """Choose the penalty; of many cases on some, of which alone ``dual`` is then."""
    n = len(X)
    if n <= _MOST_TO_DECOMPOSE:
        return left_out.choose(Spectrum.of(X))
    some = np.sort(rng.permutation(n)[:_MOST_TO_DECOMPOSE])
    root = np.sqrt(left_out.weights[some])[:, None].astype(X.dtype)
    best = left_out.among(some).choose(Spectrum.of(X[some] - root * (root.T @ X[some] / (root.T @ root))))
    predictions = np.full(left_out.targets.shape, np.nan)
    predictions[some] = best.loo_predictions
    return best._replace(loo_predictions=predictions)


def _choose_blocks(
    rows: Mapping[str, NDArray[np.floating]], left_out: LeftOut, rng: np.random.RandomState, preferred: str | None
) -> frozenset[str]:
    """Take blocks in one after the other, each time the best, as long as the left-out loss falls."""
    n, names = len(left_out.targets), [name for name, part in rows.items() if part.shape[1]]
    some = np.arange(n) if n <= _MOST_TO_CHOOSE else np.sort(rng.permutation(n)[:_MOST_TO_CHOOSE])
    grams = {name: rows[name][some] @ rows[name][some].T for name in names}
    few = left_out.among(some)

    @cache
    def losses(chosen: frozenset[str]) -> Floats:
        gram = np.asarray(sum(grams[name] for name in names if name in chosen))
        return few.choose(Spectrum.of_gram(gram)).losses

    def mean_loss(chosen: frozenset[str]) -> float:
        return float(np.average(losses(chosen), weights=few.weights))

    chosen = frozenset[str]()
    while more := [chosen | {name} for name in names if name not in chosen]:
        best = min(more, key=mean_loss)
        if chosen and mean_loss(best) >= mean_loss(chosen):
            break
        chosen = best
    if preferred in names and not _clearly_less(losses(chosen), losses(frozenset({preferred})), few.weights):
        return frozenset({preferred})
    return chosen


def _clearly_less(ones: Floats, others: Floats, case_weights: Floats) -> bool:
    """Whether losses are less than others by more than twice the standard error of their difference."""
    gain = others - ones
    mean = np.average(gain, weights=case_weights)
    spread = np.sqrt(np.average((gain - mean) ** 2, weights=case_weights))
    return bool(mean > 2.0 * spread / np.sqrt(case_weights.sum()))


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

    def added(self, features: NDArray[np.floating], targets: Floats, case_weights: Floats) -> "RidgeSums":
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
        return len(self._targets) <= _MOST_TO_CHOOSE_ANEW and not self._compressed

    @property
    def weights(self) -> Floats:
        """Weights of the cases (n,), of mean one, while ``chooses``."""
        return np.asarray(self._rows[:, 0] ** 2, dtype=np.float64) * (self._n_cases / self._total)

    @property
    def targets(self) -> Floats:
        """Targets of the cases (n, k), while ``chooses``."""
        return np.asarray(self._targets / self._rows[:, :1])
