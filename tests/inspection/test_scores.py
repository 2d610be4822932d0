"""Scores equal those of scikit-learn, intervals equal their definitions, and folds keep groups whole."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LinearRegression
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    confusion_matrix,
    hamming_loss,
    precision_recall_fscore_support,
    r2_score,
)
from sklearn.neighbors import KNeighborsClassifier

from s4signal.inspection.scores import (
    Predictions,
    cross_validate,
    folds_of,
    group_interval,
    learning_curve,
    predictions_of,
    wilson_interval,
)

__all__: list[str] = []

Z = 1.959963984540054  # 95 % of a normal distribution lie within


def predictions(rng: np.random.Generator, n: int = 60) -> Predictions:
    classes, groups = np.array(["a", "b", "c"]), np.arange(n) % 6
    y, proba = rng.choice(classes, n, p=[0.6, 0.3, 0.1]), rng.dirichlet(np.ones(3), n)
    return Predictions(y, classes[proba.argmax(1)], proba, classes, groups, np.arange(n) % 5)


@pytest.mark.parametrize(("right", "n"), [(0, 5), (3, 5), (5, 5), (480, 500)])
def test_interval_equals_the_wilson_interval(right: int, n: int) -> None:
    # Wilson 1927: the proportions whose distance to the observed one is 1.96 of their own standard errors.
    roots = np.roots([n + Z**2, -(2 * right + Z**2), right**2 / n])
    assert_allclose(wilson_interval(right, n), sorted(roots), atol=1e-7)
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_correlation_within_groups_widens_the_interval(rng: np.random.Generator) -> None:
    right, groups = np.repeat(rng.random(20) < 0.7, 30), np.repeat(np.arange(20), 30)
    low, high = group_interval(lambda cases: float(right[cases].mean()), groups) or (0, 0)
    narrow = wilson_interval(int(right.sum()), len(right))
    assert high - low > 3 * (narrow[1] - narrow[0])
    assert group_interval(lambda cases: 0.0, groups[:120]) is None  # four groups are too few
    assert group_interval(lambda cases: 0.0, groups[:150]) == (0.0, 0.0)


def test_scores_equal_those_of_scikit_learn(rng: np.random.Generator) -> None:
    result = predictions(rng)
    scores = result.scores()
    assert scores["accuracy"][0] == np.mean(result.y == result.predicted)
    assert_allclose(scores["balanced accuracy"][0], balanced_accuracy_score(result.y, result.predicted))
    assert scores["most frequent class"][0] == np.mean(result.y == "a")
    assert (result.confusion() == confusion_matrix(result.y, result.predicted)).all()
    two = replace(result, y=np.full(60, "a"), predicted=np.repeat(["a", "b"], 30))
    assert two.confusion().tolist() == [[30, 30, 0], [0, 0, 0], [0, 0, 0]]  # a class may be absent
    precision, recall, _, n = precision_recall_fscore_support(result.y, result.predicted)
    assert_allclose(
        [[r["precision"], r["recall"], r["n"]] for r in result.by_class()], np.transpose([precision, recall, n])
    )
    assert_allclose(result.certainty, result.proba[np.arange(60), np.searchsorted(result.classes, result.y)])
    groups = result.by_group()
    assert sum(row["n"] for row in groups) == 60
    assert [row["accuracy"] for row in groups] == sorted(row["accuracy"] for row in groups)
    folds = result.over_folds() or {}
    assert_allclose(folds["mean"], np.mean([np.mean(result.measured[result.fold == k]) for k in range(5)]))


def test_regression_errors_equal_those_of_scikit_learn(rng: np.random.Generator) -> None:
    X = rng.standard_normal((40, 3))
    y, groups = X @ [1.0, 2.0, 3.0] + 0.1 * rng.standard_normal(40), np.arange(40) % 8
    result = cross_validate(LinearRegression(), X, y, groups, folds_of(y, groups, n_folds=4, regression=True))
    assert_allclose(result.scores()["R²"][0], r2_score(y, result.predicted))
    assert_allclose(result.certainty, -np.abs(result.predicted - y))
    assert result.over_groups() is not None
    assert {"group", "n", "mean absolute error"} == set(result.by_group()[0])
    curve = list(learning_curve(LinearRegression(), X, y, groups, _folds(y, groups)))
    assert [(share, n) for share, n, _ in curve] == [(0.25, 10)] * 4 + [(0.5, 15)] * 4
    assert all(0.05 < error < 0.2 for _, _, error in curve)
    # With two training groups, a quarter and a half of them are one group: each size is used once.
    few = np.arange(40) % 4
    parts = folds_of(y, few, n_folds=2, regression=True)
    assert [(s, n) for s, n, _ in learning_curve(LinearRegression(), X, y, few, parts)] == [(0.5, 10)] * 2


def _folds(y, groups):
    return folds_of(y, groups, n_folds=4, regression=True)


def test_learning_curve_of_a_classifier_is_its_accuracy() -> None:
    y, groups = np.tile(["a", "b", "a", "a"], 10), np.repeat(np.arange(10), 4)
    folds = folds_of(y, groups, n_folds=2, regression=False)
    curve = list(learning_curve(DummyClassifier(), np.zeros((40, 1)), y, groups, folds))
    assert curve == [(0.25, 4, 0.75)] * 2 + [(0.5, 8, 0.75)] * 2


def test_cross_validation_predicts_each_case_without_its_group(rng: np.random.Generator) -> None:
    y, groups = np.tile(["a", "b"], 20), np.repeat(np.arange(10), 4)
    seen: list[set[int]] = []

    class Watching(DummyClassifier):
        def fit(self, X, y, groups=None):
            seen.append(set(groups.tolist()))
            return super().fit(X, y)

    folds = folds_of(y, groups, n_folds=5, regression=False)
    result = cross_validate(Watching(), np.zeros((40, 1)), y, groups, folds)
    assert sorted(np.concatenate([test for _, test in folds]).tolist()) == list(range(40))
    for (_, test), trained_on in zip(folds, seen, strict=True):
        assert not trained_on & set(groups[test].tolist())
    assert_allclose(result.proba.sum(1), 1.0)


def test_impossible_folds_are_refused() -> None:
    y = np.array(["a", "b"] * 4)
    with pytest.raises(ValueError, match="1 folds are too few"):
        folds_of(y, np.arange(8), n_folds=1, regression=False)
    with pytest.raises(ValueError, match="all cases are of one group"):
        folds_of(y, np.zeros(8), n_folds=2, regression=False)
    with pytest.raises(ValueError, match="with 2 groups a training set has one class only"):
        folds_of(np.array(["a"] * 4 + ["b"] * 4), np.repeat([0, 1], 4), n_folds=2, regression=False)


def test_labels_are_converted_to_the_type_of_the_classes() -> None:
    model = DummyClassifier().fit(np.zeros((4, 1)), [1, 2, 2, 2])
    result = predictions_of(model, np.zeros((2, 1)), np.array(["1", "2"]), np.arange(2))
    assert result.measured.tolist() == [False, True]
    with pytest.raises(ValueError, match=r"the label 'x' is none of the model's classes, \[1, 2\]"):
        predictions_of(model, np.zeros((1, 1)), np.array(["x"]), np.arange(1))


def test_scores_of_tags_equal_those_of_scikit_learn(rng: np.random.Generator) -> None:
    X, groups = rng.standard_normal((60, 2)), np.repeat(np.arange(12), 5)
    y = (X + 0.5 * rng.standard_normal((60, 2)) > [0, 0.5]).astype(int)
    folds = folds_of(y, groups, n_folds=3, regression=True)
    result = cross_validate(Neighbours(), X, y, groups, folds)
    assert not set(groups[result.fold == 0]) & set(groups[result.fold == 1])
    scores = {name: value for name, (value, _) in result.scores().items()}
    assert result.proba is not None
    assert_allclose(scores["mean average precision"], average_precision_score(y, result.proba))
    assert_allclose([scores["wrong tags"], result.measured.mean()], hamming_loss(y, result.predicted))
    assert {row["n"] for row in result.by_group()} == {5}
    assert result.measure == "wrong tags"


class Neighbours(KNeighborsClassifier):
    """Returns the probability of each tag as the models of this package do: (n_samples, n_tags)."""

    def fit(self, X, y):
        super().fit(X, y)
        self.classes_ = np.arange(y.shape[1])
        return self

    def predict_proba(self, X):
        neighbours = self.kneighbors(X, return_distance=False)
        return self._y[neighbours].mean(1)
