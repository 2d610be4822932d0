"""Ensembles of scikit-learn accept recordings of unequal length and with irregular times."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import StackingClassifier, VotingClassifier, VotingRegressor
from sklearn.linear_model import LogisticRegression

from s4signal import S4RidgeClassifier, S4RidgeRegressor, Signals

__all__: list[str] = []

Y = np.array(["slow", "fast"] * 15)


def regular(rng):
    rates = np.where(Y == "slow", 3.0, 9.0)[:, None, None]
    waves = np.sin(rates * np.linspace(0, 6.28, 80) + rng.uniform(0, 6, (30, 1, 1)))
    return waves + 0.3 * rng.standard_normal((30, 2, 80))


def unequal_lengths(rng):
    return Signals([case[:, : 80 - i] for i, case in enumerate(regular(rng))], sfreq=20.0)


def irregular_times(rng):
    times = [np.sort(rng.uniform(0, 4, 80)) for _ in Y]
    return Signals(regular(rng), times=times)


FORMS = {"array": regular, "unequal lengths": unequal_lengths, "irregular times": irregular_times}
each_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


def members(kind):
    return [("few", kind(n_oscillators=8, random_state=0)), ("more", kind(n_oscillators=16, random_state=1))]


@each_form
def test_soft_voting_equals_the_mean_probability_exactly(form, rng):
    X = form(rng)
    voting = VotingClassifier(members(S4RidgeClassifier), voting="soft").fit(X, Y)
    separate = [clone(model).fit(X, Y).predict_proba(X) for _, model in members(S4RidgeClassifier)]
    np.testing.assert_array_equal(voting.predict_proba(X), np.mean(separate, axis=0))
    assert (voting.predict(X) == voting.classes_[np.mean(separate, axis=0).argmax(1)]).all()


@each_form
def test_voting_regressor_equals_the_mean_prediction_exactly(form, rng):
    X, y = form(rng), rng.standard_normal(30)
    voting = VotingRegressor(members(S4RidgeRegressor)).fit(X, y)
    separate = [clone(model).fit(X, y).predict(X) for _, model in members(S4RidgeRegressor)]
    np.testing.assert_array_equal(voting.predict(X), np.mean(separate, axis=0))


@each_form
def test_stacking_classifies_new_cases(form, rng):
    X = form(rng)
    stack = StackingClassifier(members(S4RidgeClassifier), final_estimator=LogisticRegression(), cv=3)
    assert stack.fit(X[:20], Y[:20]).score(X[20:], Y[20:]) > 0.8
