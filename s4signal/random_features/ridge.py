"""Ridge regression in closed form on named feature blocks, selected by left-out errors (`left_out`); also in batches.

References
----------
Rifkin, Lippert, "Notes on Regularized Least Squares", MIT-CSAIL-TR-2007-025, 2007, section 4 (leave-one-out); Guyon,
Elisseeff, "An Introduction to Variable and Feature Selection", JMLR 3, 2003, section 4 (greedy forward selection; here
of blocks, with the same penalty for all of them).
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

_FEW = 1000  # cases, up to which threads of BLAS wait for threads of torch longer than they compute
_MOST_TO_DECOMPOSE = 4000  # cases to compare penalties on; solving for one penalty is much cheaper
_MOST_TO_CHOOSE = 400  # cases to compare blocks on
_MOST_TO_CHOOSE_ANEW = 1000  # cases of batches to compare penalties on: their decomposition takes a second
_LEAST_STD = 0.03  # smallest weighted std, relative to the unweighted: reached if weights differ by a factor of 1,000
_MARGIN = 0.1  # at prediction, features are clipped to their training range extended by this fraction on each side


@dataclass(frozen=True)
class Rule:
    """A linear prediction (n, k) from features (n, p): uses q of them, clipped to bounds; weights are (q, k)."""

    used: NDArray[np.intp]
    low: Floats
    high: Floats
    mean: Floats
    weights: Floats
    offset: Floats

    def __call__(self, features: NDArray[np.floating]) -> Floats:
        """Predict; missing features are replaced by their mean."""
        x = features[:, self.used].astype(np.float64, copy=False)  # indexing has made a copy
        np.minimum(np.maximum(x, self.low, out=x), self.high, out=x)
        x -= self.mean
        x[np.isnan(x)] = 0.0
        return np.asarray(x @ self.weights + self.offset)


class Ridge(NamedTuple):
    """A fitted ridge regression on p features, with coefficients for m subsets of them; the first subset is all.

    Shapes: mean, scale, low, high (p,), coef (m, p, k) of standardised features, intercept (k,), loo_predictions
    (n, k), NaN for cases that were not left out. ``blocks`` are the selected blocks; other features have scale 0.
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
        """Return predictions (n, k) for features (n, p); ``subset`` (n,) is the subset per case, others may be NaN.

        Features are clipped to their training range plus a tenth, so that a nearly constant one cannot dominate.
        """
        outputs = np.empty((len(features), self.coef.shape[-1]))
        for index in np.unique(subset).tolist():
            rows = slice(None) if (subset == index).all() else subset == index
            outputs[rows] = self.of_subset(index)(features[rows])
        return outputs

    def of_subset(self, index: int, *, factor: float = 1.0) -> Rule:
        """Return the rule that predicts cases with one of the subsets; predictions are multiplied by ``factor``."""
        used = np.flatnonzero(self.coef[index].any(1))
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
    doubtful: Set[str] = frozenset(),
    subsets: Sequence[NDArray[np.bool_]] = (),
) -> Ridge:
    """Fit coefficients; the loss of left-out cases selects the penalty and the blocks.

    Blocks (n, p_i) are scaled to equal total variance; in blocks of ``shared_scale``, features keep their relative
    scale. Only ``preferred`` is used unless other blocks are clearly better, and ``doubtful`` ones only if better by a
    standard error (by two where groups are left out). Each of ``subsets`` (p,) has coefficients.
    """
    targets, case_weights = left_out.targets, left_out.weights
    with solver_threads(len(targets)):
        moments = {name: _moments(part, case_weights, shared=name in shared_scale) for name, part in blocks.items()}
        root = np.sqrt(case_weights)[:, None]
        rows = {name: _scaled(part, *moments[name], root) for name, part in blocks.items()}
        chosen = _choose_blocks(rows, left_out, rng, preferred, doubtful)
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
    mean, scale = map(np.concatenate, zip(*moments.values(), strict=True))
    ranges = [np.stack([part.min(0), part.max(0)]) for part in blocks.values()]
    low, high = np.concatenate(ranges, axis=1).astype(np.float64)
    names = tuple(name for name in blocks if name in chosen)
    return Ridge(mean, columns * scale, coef, intercept, best.alpha, names, best.loo_predictions, low, high)


def solve_ridge(X: NDArray[np.floating], Y: Floats, alpha: float) -> NDArray[np.floating]:
    """Solve for one penalty by the smaller of the two Gram matrices: X (n, p), Y (n, k) -> (p, k)."""
    n, p = X.shape
    gram = (X @ X.T if n <= p else X.T @ X).astype(np.float64)
    right = Y if n <= p else (X.T @ Y)
    try:
        solution = solve(gram + alpha * np.eye(len(gram)), right, assume_a="pos", overwrite_a=True, check_finite=False)
    except LinAlgError:  # an eigenvalue is below -alpha by rounding
        values, vectors = Spectrum.of_gram(gram)
        solution = vectors @ ((vectors.T @ right) / (values + alpha)[:, None])
    return np.asarray(X.T @ solution.astype(X.dtype) if n <= p else solution)


def solver_threads(n_cases: int) -> threadpool_limits:
    """Limit the threads of BLAS according to the number of cases; for a ``with`` statement in the main thread.

    The limit applies to the whole process: with two threads, the last to end would restore the limit of the other.
    """
    alone = threading.current_thread() is threading.main_thread()
    return threadpool_limits(1 if n_cases <= _FEW and alone else None, user_api="blas")


def _moments(features: NDArray[np.floating], case_weights: Floats, *, shared: bool) -> tuple[Floats, Floats]:
    """Return mean and scale, 1 / (standard deviation * root of the number of features); scale 0 for constants."""
    weights = (case_weights / case_weights.sum()).astype(features.dtype)
    approximate = weights @ features
    rest = features - approximate
    # Sums in float32 have errors larger than the variation of a nearly constant feature; sums of residuals have not.
    squares = np.square(rest)
    correction, spread = (np.asarray(weights @ part, dtype=np.float64) for part in (rest, squares))
    mean, std = approximate + correction, np.sqrt(np.maximum(spread - correction**2, 0.0))
    # A feature that varies only among cases of tiny weight would be scaled up until these cases dominate.
    std = np.maximum(std, _LEAST_STD * np.sqrt(squares.mean(0, dtype=np.float64)))
    varies = std > 1e-6 * np.abs(mean) + 1e-12
    if shared and varies.any():
        std = np.full_like(std, np.sqrt(np.mean(std[varies] ** 2)))
    scale = np.where(varies, 1.0, 0.0) / np.where(varies, std, 1.0)
    return mean, scale / np.sqrt(features.shape[1])


def _scaled(features: NDArray[np.floating], mean: Floats, scale: Floats, root: Floats) -> NDArray[np.floating]:
    mean, scale, root = (part.astype(features.dtype) for part in (mean, scale, root))
    return np.asarray((features - mean) * scale * root)


def _choose_on_some(X: NDArray[np.floating], left_out: LeftOut, rng: np.random.RandomState) -> Choice:
    """Select the penalty; if there are many cases, on a random subset, and ``dual`` then refers to the subset only."""
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
    rows: Mapping[str, NDArray[np.floating]],
    left_out: LeftOut,
    rng: np.random.RandomState,
    preferred: str | None,
    doubtful: Set[str],
) -> frozenset[str]:
    """Select blocks by greedy forward selection, as long as the left-out loss decreases; see `fit_ridge`."""
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

    def best_of(names: Sequence[str]) -> frozenset[str]:
        chosen = frozenset[str]()
        while more := [chosen | {name} for name in names if name not in chosen]:
            best = min(more, key=mean_loss)
            if chosen and mean_loss(best) >= mean_loss(chosen):
                break
            chosen = best
        return chosen

    chosen, every = best_of([name for name in names if name not in doubtful]), best_of(names)
    if not chosen or _clearly_less(losses(every), losses(chosen), few, 1.0 if few.groups is None else 2.0):
        chosen = every
    if preferred in names and not _clearly_less(losses(chosen), losses(frozenset({preferred})), few, 2.0):
        return frozenset({preferred})
    return chosen


def _clearly_less(ones: Floats, others: Floats, left_out: LeftOut, errors: float) -> bool:
    """Return whether losses are smaller than others by more than so many standard errors of the difference.

    Cases that are left out together are not independent: the standard error is then that over their groups.
    """
    gain, case_weights, groups = others - ones, left_out.weights, left_out.groups
    mean = float(np.average(gain, weights=case_weights))
    squares = float(case_weights @ (gain - mean) ** 2)
    if groups is not None:
        n, sums = len(np.unique(groups)), np.bincount(groups, case_weights * (gain - mean))
        squares = n / max(n - 1, 1) * float(sums @ sums)
    return mean > errors * float(np.sqrt(squares) / case_weights.sum())


class RidgeSums:
    """Sufficient statistics of a ridge regression for the cases so far, in bounded memory.

    Cases are stored until there are twice as many as features. Then a QR decomposition replaces them by as many rows as
    features, with the same Gram matrices, so that all solutions stay the same.
    """

    def __init__(self, ridge: Ridge, alphas: Sequence[float] = ALPHAS) -> None:
        self._ridge, self._alphas = ridge, alphas
        self._compressed, self._n_cases, self._total = False, 0, 0.0
        p, k = ridge.coef.shape[1:]
        # Multiplied by the roots of the weights; the first column is for the intercept.
        self._rows: NDArray[np.floating] = np.empty((0, 1 + p), dtype=np.float32)
        self._targets: Floats = np.empty((0, k))

    def added(self, features: NDArray[np.floating], targets: Floats, case_weights: Floats) -> "RidgeSums":
        """Return the sums with added cases: features (n, p), targets (n, k), case_weights (n,)."""
        sums = copy.copy(self)
        low, high = (end(features, axis=0) for end in (np.min, np.max))
        widest = {"low": np.minimum(self._ridge.low, low), "high": np.maximum(self._ridge.high, high)}
        sums._ridge = self._ridge._replace(**widest)
        root = np.sqrt(case_weights)[:, None]
        scaled = (features - self._ridge.mean) * self._ridge.scale
        rows = np.concatenate([root, root * scaled], axis=1).astype(features.dtype)
        sums._rows = np.concatenate([self._rows, rows])
        sums._targets = np.concatenate([self._targets, root * targets])
        sums._n_cases, sums._total = self._n_cases + len(rows), self._total + float(case_weights.sum())
        if len(sums._rows) > 2 * sums._rows.shape[1]:
            Q, R = qr(sums._rows, mode="economic", check_finite=False)
            sums._rows, sums._targets, sums._compressed = R, Q.T @ sums._targets, True
        return sums

    def solve(self, subsets: Sequence[NDArray[np.bool_]]) -> Ridge:
        """Solve for the coefficients of all features and of subsets (p,) of them."""
        # Normalise the weights to mean one: only their ratios matter.
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
        shift = np.divide(mean[0], old.scale, out=np.zeros(len(old.scale)), where=old.scale > 0)
        return old._replace(
            mean=old.mean + shift, coef=np.stack(coef).astype(np.float64), intercept=np.asarray(intercept[0])
        )

    @property
    def chooses(self) -> bool:
        """Whether there are few enough cases to select the penalty again by leave-one-out errors."""
        return len(self._targets) <= _MOST_TO_CHOOSE_ANEW and not self._compressed

    @property
    def weights(self) -> Floats:
        """Weights of the cases (n,), with mean one; valid while ``chooses``."""
        return np.asarray(self._rows[:, 0] ** 2, dtype=np.float64) * (self._n_cases / self._total)

    @property
    def targets(self) -> Floats:
        """Targets of the cases (n, k); valid while ``chooses``."""
        return np.asarray(self._targets / self._rows[:, :1])
