"""An ensemble says what its members say together."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import cross_val_score

from s4signal import S4Classifier, Signals
from s4signal.errors import ModelFileError, ShapeError
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


@pytest.mark.parametrize("weights", [None, np.array([3.0, 1.0])])
def test_a_saved_ensemble_answers_bit_for_bit(weights, tmp_path):
    X, y = waves()
    model = S4Ensemble(MEMBERS, weights=weights).fit(X, y)
    model.save(tmp_path / "both.s4")
    loaded = S4Ensemble.load(tmp_path / "both.s4")
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    assert loaded.predict(X).tolist() == y.tolist()
    assert [m.get_params() for m in loaded.estimators] == [m.get_params() for m in MEMBERS]
    np.testing.assert_array_equal(clone(loaded).fit(X, y).predict_proba(X), model.predict_proba(X))


def test_a_saved_default_ensemble_stays_a_default_one(tmp_path):
    X, y = waves()
    model = S4Ensemble(sfreq=60.0, random_state=0)
    model.estimators_ = S4Ensemble(MEMBERS).set_params(sfreq=60.0).fit(X, y).estimators_
    model.classes_, model.n_features_in_ = model.estimators_[0].classes_, 2
    model.save(tmp_path / "default.s4")
    loaded = S4Ensemble.load(tmp_path / "default.s4")
    assert (loaded.estimators, loaded.weights, loaded.sfreq, loaded.random_state) == (None, None, 60.0, 0)
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))


def test_members_without_a_file_are_not_saved(tmp_path):
    X, y = waves()
    model = S4Ensemble([LogisticRegression()]).fit(X[:, 0], y)
    with pytest.raises(ValueError, match="a LogisticRegression cannot be saved in an ensemble; its members must be of"):
        model.save(tmp_path / "a.s4")
    with pytest.raises(NotFittedError, match="S4Ensemble instance is not fitted"):
        S4Ensemble().save(tmp_path / "a.s4")
    assert not (tmp_path / "a.s4").exists()


def test_other_and_damaged_files_are_refused(tmp_path):
    X, y = waves()
    path = tmp_path / "a.s4"
    model = S4Ensemble(MEMBERS[:1]).fit(X, y)
    model.estimators_[0].save(path)
    with pytest.raises(ModelFileError, match="holds a S4RidgeClassifier, not a S4Ensemble"):
        S4Ensemble.load(path)
    model.save(path)
    with pytest.raises(ModelFileError, match="holds a S4Ensemble, not a S4Classifier"):
        S4Classifier.load(path)
    model.estimators_[0].classes_ = np.array(["other", "labels"])
    model.save(path)
    with pytest.raises(ModelFileError, match="its members know other classes"):
        S4Ensemble.load(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelFileError, match="is not a model that s4signal saved, or it is damaged"):
        S4Ensemble.load(path)


def test_the_score_takes_times_and_weights():
    X, y = waves()
    times = [np.arange(120) / 60] * len(X)
    model = S4Ensemble(MEMBERS).fit(X, y, times=times)
    wrong = np.where(np.arange(len(y)) < 10, y[::-1], y)
    right = model.predict(X, times=times) == wrong
    weights = 1.0 + np.arange(len(y))
    assert model.score(X, wrong, times=times) == right.mean()
    assert model.score(X, wrong, weights, times=times) == pytest.approx(np.average(right, weights=weights))


def test_what_a_member_does_not_take_is_refused_and_not_dropped():
    X, y = waves()
    model = S4Ensemble([LogisticRegression(), S4RidgeClassifier(n_oscillators=8, random_state=0)])
    with pytest.raises(ValueError, match=r"times is given, but estimators holds LogisticRegression\(\), whose fit"):
        model.fit(X[:, 0], y, times=[np.arange(120.0)] * len(X))
    assert model.fit(X[:, 0], y, np.ones(len(y))).score(X[:, 0], y, np.ones(len(y))) == 1.0
    with pytest.raises(ValueError, match=r"sfreq is given, but estimators holds .* whose predict_proba takes none"):
        model.predict(X[:, 0], sfreq=60.0)
