"""An ensemble says what its members say together."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import cross_val_score

from s4signal import S4Classifier, Signals
from s4signal.errors import ShapeError
from s4signal.estimators import S4Ensemble, S4RidgeClassifier

__all__: list[str] = []

MEMBERS = [
    S4RidgeClassifier(n_oscillators=8, random_state=0),
    S4Classifier(d_model=8, d_state=4, n_layers=1, max_epochs=3, random_state=0),
]


def waves(n=40):
    rng = np.random.default_rng(0)
    y = np.array(["slow", "fast"] * (n // 2))
    t = np.arange(120) / 60
    hertz = np.where(y == "slow", 3, 8)[:, None, None]
    return np.sin(2 * np.pi * (hertz * t + rng.random((n, 2, 1)))) + 0.3 * rng.standard_normal((n, 2, 120)), y


def test_probabilities_are_the_mean_of_the_members():
    X, y = waves()
    X = Signals(X, sfreq=60.0)
    model = S4Ensemble(MEMBERS, weights=[3, 1]).fit(X, y)
    one, other = (clone(member).fit(X, y).predict_proba(X) for member in MEMBERS)
    np.testing.assert_allclose(model.predict_proba(X), 0.75 * one + 0.25 * other)
    assert model.predict(X).tolist() == y.tolist()
    half = X.resample(30.0)
    np.testing.assert_array_equal(model.predict(half), model.predict(np.stack([c.data for c in half]), sfreq=30.0))


def test_the_default_is_an_instant_and_a_trained_model():
    kinds = [type(member) for member in S4Ensemble(sfreq=60.0, random_state=3)._members()]
    assert kinds == [S4RidgeClassifier, S4Classifier]
    assert all(m.sfreq == 60.0 and m.random_state == 3 for m in S4Ensemble(sfreq=60.0, random_state=3)._members())


def test_it_is_cloned_with_its_members_and_cross_validated():
    X, y = waves()
    copy = clone(S4Ensemble(MEMBERS[:1]).fit(X, y))
    assert not hasattr(copy, "estimators_")
    assert cross_val_score(copy, Signals(X, sfreq=60.0), y, cv=2).mean() == 1.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"estimators": []}, "estimators is empty"),
        ({"estimators": [RidgeClassifier()]}, r"RidgeClassifier\(\), which has no predict_proba"),
        ({"estimators": MEMBERS[:1], "weights": [1, 2]}, r"weights=\[1, 2\] must be 1 numbers >= 0"),
        ({"estimators": MEMBERS[:1], "weights": [-1]}, r"weights=\[-1\] must be"),
    ],
)
def test_members_and_weights_that_cannot_be_are_named(options, message):
    X, y = waves()
    with pytest.raises(ValueError, match=message):
        S4Ensemble(**options).fit(X, y)


def test_members_refuse_signals_as_they_do_alone():
    X, y = waves()
    with pytest.raises(ShapeError, match="X has 3 channels"):
        S4Ensemble(MEMBERS[:1]).fit(X, y).predict(np.ones((2, 3, 120)))
