"""Scores are those of scikit-learn, intervals hold what they promise, and no group stands on both sides of a fold."""

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

Z = 1.959963984540054  # of a normal distribution, 95 % lie within


def predictions(rng: np.random.Generator, n: int = 60) -> Predictions:
    classes, groups = np.array(["a", "b", "c"]), np.arange(n) % 6
    y, proba = rng.choice(classes, n, p=[0.6, 0.3, 0.1]), rng.dirichlet(np.ones(3), n)
    return Predictions(y, classes[proba.argmax(1)], proba, classes, groups, np.arange(n) % 5)


@pytest.mark.parametrize(("right", "n"), [(0, 5), (3, 5), (5, 5), (480, 500)])
def test_the_interval_is_wilsons(right: int, n: int) -> None:
    # Wilson 1927: the shares that lie 1.96 of their own standard errors from the one that was observed.
    roots = np.roots([n + Z**2, -(2 * right + Z**2), right**2 / n])
    assert_allclose(wilson_interval(right, n), sorted(roots), atol=1e-7)
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_groups_that_resemble_themselves_widen_the_interval(rng: np.random.Generator) -> None:
    right, groups = np.repeat(rng.random(20) < 0.7, 30), np.repeat(np.arange(20), 30)
    low, high = group_interval(lambda cases: float(right[cases].mean()), groups) or (0, 0)
    narrow = wilson_interval(int(right.sum()), len(right))
    assert high - low > 3 * (narrow[1] - narrow[0])
    assert group_interval(lambda cases: 0.0, groups[:90]) is None  # three groups tell nothing of others


def test_scores_are_those_of_scikit_learn(rng: np.random.Generator) -> None:
    said = predictions(rng)
    scores = said.scores()
    assert scores["accuracy"][0] == np.mean(said.y == said.predicted)
    assert_allclose(scores["balanced accuracy"][0], balanced_accuracy_score(said.y, said.predicted))
    assert scores["most frequent class"][0] == np.mean(said.y == "a")
    assert (said.confusion() == confusion_matrix(said.y, said.predicted)).all()
    precision, recall, _, n = precision_recall_fscore_support(said.y, said.predicted)
    assert_allclose(
        [[r["precision"], r["recall"], r["n"]] for r in said.by_class()], np.transpose([precision, recall, n])
    )
    assert_allclose(said.certainty, said.proba[np.arange(60), np.searchsorted(said.classes, said.y)])
    groups = said.by_group()
    assert sum(row["n"] for row in groups) == 60
    assert [row["accuracy"] for row in groups] == sorted(row["accuracy"] for row in groups)
    folds = said.over_folds() or {}
    assert_allclose(folds["mean"], np.mean([np.mean(said.measured[said.fold == k]) for k in range(5)]))


def test_errors_of_numbers_are_those_of_scikit_learn(rng: np.random.Generator) -> None:
    X = rng.standard_normal((40, 3))
    y, groups = X @ [1.0, 2.0, 3.0] + 0.1 * rng.standard_normal(40), np.arange(40) % 8
    said = cross_validate(LinearRegression(), X, y, groups, folds_of(y, groups, n_folds=4, regression=True))
    assert_allclose(said.scores()["R²"][0], r2_score(y, said.predicted))
    assert_allclose(said.certainty, -np.abs(said.predicted - y))
    assert said.over_groups() is not None
    assert {"group", "n", "mean absolute error"} == set(said.by_group()[0])
    shares = [(share, n) for share, n, _ in learning_curve(LinearRegression(), X, y, groups, [*_folds(y, groups)])]
    assert shares == [(0.25, 10)] * 4 + [(0.5, 15)] * 4
    # Of two groups to train on, a quarter and a half of them are one group: the same size is drawn once.
    few = np.arange(40) % 4
    parts = folds_of(y, few, n_folds=2, regression=True)
    assert [(s, n) for s, n, _ in learning_curve(LinearRegression(), X, y, few, parts)] == [(0.5, 10)] * 2


def _folds(y, groups):
    return folds_of(y, groups, n_folds=4, regression=True)


def test_every_case_is_predicted_by_a_model_without_its_group(rng: np.random.Generator) -> None:
    y, groups = np.tile(["a", "b"], 20), np.repeat(np.arange(10), 4)
    seen: list[set[int]] = []

    class Watching(DummyClassifier):
        def fit(self, X, y, groups=None):
            seen.append(set(groups.tolist()))
            return super().fit(X, y)

    folds = folds_of(y, groups, n_folds=5, regression=False)
    said = cross_validate(Watching(), np.zeros((40, 1)), y, groups, folds)
    assert sorted(np.concatenate([test for _, test in folds]).tolist()) == list(range(40))
    for (_, test), trained_on in zip(folds, seen, strict=True):
        assert not trained_on & set(groups[test].tolist())
    assert_allclose(said.proba.sum(1), 1.0)


def test_folds_that_cannot_be_are_refused() -> None:
    y = np.array(["a", "b"] * 4)
    with pytest.raises(ValueError, match="1 folds are too few"):
        folds_of(y, np.arange(8), n_folds=1, regression=False)
    with pytest.raises(ValueError, match="all cases are of one group"):
        folds_of(y, np.zeros(8), n_folds=2, regression=False)
    with pytest.raises(ValueError, match="with 2 groups a training set has one class only"):
        folds_of(np.array(["a"] * 4 + ["b"] * 4), np.repeat([0, 1], 4), n_folds=2, regression=False)


def test_labels_take_the_type_of_the_classes() -> None:
    model = DummyClassifier().fit(np.zeros((4, 1)), [1, 2, 2, 2])
    said = predictions_of(model, np.zeros((2, 1)), np.array(["1", "2"]), np.arange(2))
    assert said.measured.tolist() == [False, True]
    with pytest.raises(ValueError, match=r"the label 'x' is none of the model's classes, \[1, 2\]"):
        predictions_of(model, np.zeros((1, 1)), np.array(["x"]), np.arange(1))


def test_tags_are_scored_as_scikit_learn_scores_them(rng: np.random.Generator) -> None:
    X, groups = rng.standard_normal((60, 2)), np.repeat(np.arange(12), 5)
    y = (X + 0.5 * rng.standard_normal((60, 2)) > [0, 0.5]).astype(int)
    folds = folds_of(y, groups, n_folds=3, regression=True)
    said = cross_validate(Neighbours(), X, y, groups, folds)
    assert not set(groups[said.fold == 0]) & set(groups[said.fold == 1])
    scores = {name: value for name, (value, _) in said.scores().items()}
    assert said.proba is not None
    assert_allclose(scores["mean average precision"], average_precision_score(y, said.proba))
    assert_allclose([scores["wrong tags"], said.measured.mean()], hamming_loss(y, said.predicted))
    assert {row["n"] for row in said.by_group()} == {5}
    assert said.measure == "wrong tags"


class Neighbours(KNeighborsClassifier):
    """Gives the probability of each tag as the models here do: (n_samples, n_tags)."""

    def fit(self, X, y):
        super().fit(X, y)
        self.classes_ = np.arange(y.shape[1])
        return self

    def predict_proba(self, X):
        neighbours = self.kneighbors(X, return_distance=False)
        return self._y[neighbours].mean(1)
