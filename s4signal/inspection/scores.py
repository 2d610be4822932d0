"""Scores of predictions with confidence intervals: overall, by class, by group, over folds."""

import contextlib
import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.base import clone
from sklearn.metrics import average_precision_score, confusion_matrix
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

_RESAMPLES = 2000
_SHARES = 0.25, 0.5  # of the training cases, in a learning curve
Interval = tuple[float, float]
Statistic = Callable[[NDArray[np.intp]], float]
Folds = list[tuple[NDArray[np.intp], NDArray[np.intp]]]


def wilson_interval(n_correct: int, n: int) -> Interval:
    """Return Wilson's 95 % interval of a proportion, for independent cases."""
    if n == 0:
        return 0.0, 1.0
    low, high = binomtest(n_correct, n).proportion_ci(method="wilson")
    return float(low), float(high)


def group_interval(statistic: Statistic, groups: NDArray[Any], *, seed: int = 0) -> Interval | None:
    """Return the bootstrap 95 % interval of a statistic of cases (indices) over groups; None below 5 groups.

    Cases of one group are correlated: this interval is wider than one over cases, and holds for new groups.
    """
    names, owner = np.unique(groups, return_inverse=True)
    if len(names) < 5:
        return None
    members = [np.flatnonzero(owner == i) for i in range(len(names))]
    draws = np.random.default_rng(seed).integers(len(names), size=(_RESAMPLES, len(names)))
    values = [statistic(np.concatenate([members[i] for i in draw])) for draw in draws]
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)


def interval_text(interval: Interval | None) -> str:
    """Format an interval."""
    return "" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"


@dataclass(frozen=True)
class Predictions:
    """Predictions for labelled cases; a classifier also has ``proba`` and ``classes``."""

    y: NDArray[Any]
    predicted: NDArray[Any]
    proba: NDArray[np.float64] | None
    classes: NDArray[Any] | None
    groups: NDArray[Any]
    fold: NDArray[np.int64]  # 0 for all without cross-validation

    @property
    def certainty(self) -> NDArray[np.float64]:
        """Probability of the true class of each case, or minus the absolute error: smaller is worse."""
        if self.proba is None or self.classes is None:
            errors = np.abs(np.asarray(self.predicted, float) - np.asarray(self.y, float))
            return np.asarray(-errors.reshape(len(errors), -1).mean(1))
        return np.asarray(self.proba[np.arange(len(self.y)), np.searchsorted(self.classes, self.y)])

    def confusion(self) -> NDArray[np.int64]:
        """Return the number of cases by true class (rows) and predicted class."""
        return np.asarray(confusion_matrix(self.y, self.predicted, labels=self.classes))

    def scores(self) -> dict[str, tuple[float, Interval | None]]:
        """Return each score and its 95 % interval: Wilson's for accuracies, a bootstrap over groups for others."""
        if self.classes is None:
            return _regression_scores(self)
        is_correct, place, n = self.measured, np.searchsorted(self.classes, self.y), len(self.y)
        correct = int(is_correct.sum())

        def recalls(cases: NDArray[np.intp]) -> float:
            """Return the mean recall of the classes that occur among these cases."""
            found, of_class = np.bincount(place[cases], is_correct[cases]), np.bincount(place[cases])
            return float(np.mean(found[of_class > 0] / of_class[of_class > 0]))

        return {
            "accuracy": (correct / n, wilson_interval(correct, n)),
            "balanced accuracy": (recalls(np.arange(n)), group_interval(recalls, self.groups)),
            "most frequent class": (float(np.bincount(place).max() / n), None),
        }

    @property
    def measure(self) -> str:
        """What the mean of `measured` is called."""
        return "accuracy" if self.classes is not None else "wrong tags" if self.y.ndim == 2 else "mean absolute error"

    @property
    def measured(self) -> NDArray[Any]:
        """Whether each case was classified correctly, or its absolute error."""
        return np.abs(self.certainty) if self.classes is None else np.asarray(self.predicted == self.y)

    def over_groups(self) -> Interval | None:
        """Return the bootstrap interval over groups of the mean of `measured`."""
        values = self.measured
        return group_interval(lambda cases: float(np.mean(values[cases])), self.groups)

    def over_folds(self) -> dict[str, float] | None:
        """Return mean, standard deviation, minimum and maximum of the means of the folds."""
        folds = np.unique(self.fold)
        if len(folds) < 2:
            return None
        each = [float(np.mean(self.measured[self.fold == fold])) for fold in folds]
        return {"mean": float(np.mean(each)), "sd": float(np.std(each, ddof=1)), "min": min(each), "max": max(each)}

    def by_group(self) -> list[dict[str, Any]]:
        """Return number of cases, mean of `measured` and, for accuracies, its interval for each group, worst first."""
        values, rows = self.measured, list[dict[str, Any]]()
        for name in np.unique(self.groups):
            members = values[self.groups == name]
            rows.append({"group": str(name), "n": len(members), self.measure: float(members.mean())})
            if self.classes is not None:
                rows[-1]["interval"] = wilson_interval(int(members.sum()), len(members))
        return sorted(rows, key=lambda row: float(row[self.measure]), reverse=self.classes is None)

    def by_class(self) -> list[dict[str, Any]]:
        """Return number of cases, recall with its interval, and precision of each class."""
        counts, rows = self.confusion(), []
        for i, name in enumerate(np.asarray(self.classes)):
            n, correct, n_predicted = int(counts[i].sum()), int(counts[i, i]), int(counts[:, i].sum())
            recall, interval = correct / n if n else None, wilson_interval(correct, n)
            precision = correct / n_predicted if n_predicted else None
            rows.append({"class": str(name), "n": n, "recall": recall, "interval": interval, "precision": precision})
        return rows


def _regression_scores(predictions: Predictions) -> dict[str, tuple[float, Interval | None]]:
    truth, groups = np.asarray(predictions.y, float), predictions.groups
    error = truth - np.asarray(predictions.predicted, float)

    def rmse(cases: NDArray[np.intp]) -> float:
        return float(np.sqrt(np.mean(error[cases] ** 2)))

    def mae(cases: NDArray[np.intp]) -> float:
        return float(np.mean(np.abs(error[cases])))

    def r2(cases: NDArray[np.intp]) -> float:
        spread = float(np.var(truth[cases]))
        return 1.0 - rmse(cases) ** 2 / spread if spread > 0 else math.nan

    def precision(cases: NDArray[np.intp]) -> float:
        """Return the mean average precision of the tags that occur among these cases."""
        occur = truth[cases].any(0)
        return float(average_precision_score(truth[cases][:, occur], np.asarray(predictions.proba)[cases][:, occur]))

    numbers = {"root mean square error": rmse, "mean absolute error": mae, "R²": r2}
    named = {"mean average precision": precision, "wrong tags": mae} if truth.ndim == 2 else numbers
    return {name: (score(np.arange(len(truth))), group_interval(score, groups)) for name, score in named.items()}


def predictions_of(model: Any, X: Any, y: NDArray[Any], groups: NDArray[Any]) -> Predictions:
    """Return the predictions of a fitted model for labelled cases; ValueError if a label is none of its classes."""
    fold = np.zeros(len(y), np.int64)
    if not hasattr(model, "classes_"):
        return Predictions(y, np.asarray(model.predict(X), float).reshape(len(y), -1)[:, 0], None, None, groups, fold)
    y = _as_classes(y, model.classes_)
    proba = model.predict_proba(X)
    return Predictions(y, model.classes_[proba.argmax(1)], proba, model.classes_, groups, fold)


def _as_classes(y: NDArray[Any], classes: NDArray[Any]) -> NDArray[Any]:
    """Convert labels to the type of the classes of a model."""
    with contextlib.suppress(ValueError):
        y = np.asarray(y).astype(classes.dtype) if y.dtype.kind != classes.dtype.kind else y
    if unknown := sorted(set(y.tolist()) - set(classes.tolist()), key=str):
        raise ValueError(f"the label {unknown[0]!r} is none of the model's classes, {classes.tolist()[:20]}.")
    return y


def folds_of(y: NDArray[Any], groups: NDArray[Any], *, n_folds: int, regression: bool, seed: int = 0) -> Folds:
    """Return training and test cases of each fold; groups are kept whole, and classes are as balanced as they allow.

    ValueError if there are fewer than two groups, or a training set would have one class.
    """
    n_groups = len(np.unique(groups))
    if n_folds < 2:
        raise ValueError(f"{n_folds} folds are too few; at least 2 are needed.")
    if n_groups < 2:
        raise ValueError("all cases are of one group, so that none can be held out for testing; record another one.")
    n_folds = min(n_folds, n_groups)
    if not regression:
        n_folds = max(2, min(n_folds, int(np.unique(y, return_counts=True)[1].max())))
    kind = GroupKFold if regression else StratifiedGroupKFold
    splitter = kind(n_folds, shuffle=True, random_state=seed)
    found = [pair for pair in splitter.split(np.zeros(len(y)), y, groups) if len(pair[1])]
    if not regression and any(len(np.unique(y[train])) < 2 for train, _ in found):
        raise ValueError(
            f"with {n_groups} groups a training set has one class only: each class is in few groups. Record every "
            "class in several groups."
        )
    return found


def cross_validate(
    model: Any, X: Any, y: NDArray[Any], groups: NDArray[Any], folds: Folds, step: Callable[[], None] = lambda: None
) -> Predictions:
    """Predict every case by a copy of the model fitted without its group; ``step`` is called after each fold."""
    regression = y.dtype.kind == "f" and not hasattr(model, "predict_proba")
    classes = None if regression else np.arange(y.shape[1]) if y.ndim == 2 else np.unique(y)
    proba = None if classes is None else np.zeros((len(y), len(classes)))
    predicted, fold = np.empty_like(y), np.zeros(len(y), np.int64)
    for number, (train, test) in enumerate(folds):
        fitted = fit_copy(model, X[train], y[train], groups[train])
        if proba is None or classes is None:
            predicted[test] = np.asarray(fitted.predict(X[test])).reshape(len(test), -1)[:, 0]
        else:
            proba[np.ix_(test, np.searchsorted(classes, fitted.classes_))] = fitted.predict_proba(X[test])
            predicted[test] = proba[test] > 0.5 if y.ndim == 2 else classes[proba[test].argmax(1)]
        fold[test] = number
        step()
    return Predictions(y, predicted, proba, None if y.ndim == 2 else classes, groups, fold)


def fit_copy(model: Any, X: Any, y: NDArray[Any], groups: NDArray[Any]) -> Any:
    """Fit a copy of a model; it gets the groups, if it holds out validation cases."""
    copy = clone(model)
    takes_groups = "groups" in inspect.signature(copy.fit).parameters
    return copy.fit(X, y, **({"groups": groups} if takes_groups else {}))


def learning_curve(
    model: Any, X: Any, y: NDArray[Any], groups: NDArray[Any], folds: Folds
) -> Iterator[tuple[float, int, float]]:
    """Yield share and number of training cases, and accuracy (or mean absolute error) for parts of the training sets.

    A part consists of random whole groups; parts that lack a class or are as large as the next are omitted.
    """
    rng = np.random.default_rng(0)
    classifies = hasattr(model, "predict_proba")
    for share, following in pairwise((*_SHARES, 1.0)):
        for train, test in folds:
            names = rng.permutation(np.unique(groups[train]))
            n, n_following = (max(1, round(part * len(names))) for part in (share, following))
            kept = train[np.isin(groups[train], names[:n])]
            if n == n_following or (classifies and len(np.unique(y[kept])) < len(np.unique(y[train]))):
                continue
            predicted = fit_copy(model, X[kept], y[kept], groups[kept]).predict(X[test])
            error = np.abs(np.asarray(predicted, float) - y[test]) if not classifies else predicted == y[test]
            yield share, len(kept), float(np.mean(error))
