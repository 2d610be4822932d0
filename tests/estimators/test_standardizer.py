"""Standardisation is robust to outlying cases and to offsets between recordings."""

import warnings

import numpy as np
import pytest
from small_models import classifier, waves

from s4signal import S4Classifier, S4RidgeClassifier, Signals
from s4signal.estimators.model_file import State
from s4signal.estimators.standardizer import Standardizer
from s4signal.estimators.survey import survey

__all__: list[str] = []

SMALL = {"d_model": 16, "d_state": 16, "n_layers": 1, "bidirectional": False, "max_epochs": 30, "readout": "pooled"}
MODELS = {
    "closed form": lambda: S4RidgeClassifier(n_oscillators=8, random_state=0, sfreq=100.0),
    "network": lambda: S4Classifier(**SMALL, random_state=0, sfreq=100.0),
}
each_model = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)


def drifting(n=40, seed=0):
    """Return waves and their classes; each ten cases are a recording with its own offset of hundreds of deviations."""
    X, y = waves(n, n_times=100, seed=seed)
    return X + 300 * np.repeat(np.random.default_rng(seed).standard_normal((n // 10, 2, 1)), 10, axis=0), y


@each_model
def test_models_are_robust_to_one_bad_trial(make):
    X, y = waves(80, n_times=100)
    X[3] *= 1000
    with pytest.warns(
        UserWarning, match=r"1 training case\(s\) vary more than 100 times as much as nine tenths of them"
    ):
        model = make().fit(X, y)
    assert model.score(*waves(60, n_times=100, seed=1)) > 0.9


@each_model
@pytest.mark.parametrize("factor", [1e-3, 1e6])
def test_recordings_in_different_units_are_said_at_fit(make, factor):
    X, y = waves(80, n_times=100)
    X[::4] *= factor
    n = 20 if factor < 1 else 60
    with pytest.warns(
        UserWarning, match=rf"{n} training case\(s\) vary over 100 times less than any other: other units"
    ):
        make().fit(X, y)


@pytest.mark.parametrize("later", ["batch", "warm start", "validation"])
def test_later_cases_in_other_units_are_said_by_networks(later):
    X, y = waves(40)
    X, more = Signals(X[:30], sfreq=100.0), X[30:].copy()
    more[0, 1] = np.nan  # a channel that is missing is not flat

    def fit(more):
        if later == "batch":
            return classifier().partial_fit(X, y[:30]).partial_fit(more, y[30:])
        if later == "validation":
            return classifier().fit(X, y[:30], X_val=more, y_val=y[30:])
        return classifier(warm_start=True).fit(X, y[:30]).fit(more, y[30:])

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(Signals(more, sfreq=100.0))
    with pytest.warns(UserWarning, match="case 0 varies .* as any training case, 9 more as well: other units"):
        fit(Signals(1e6 * more, sfreq=100.0))


@each_model
def test_models_are_robust_to_offsets_between_recordings(make, tmp_path):
    model, (X, y) = make().fit(*drifting(80)), drifting(60, seed=1)
    assert model.score(X, y) > 0.75
    model.save(tmp_path / "model.s4")
    again = type(model).load(tmp_path / "model.s4")
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    X[0, 0, :5] = X[1, 0] = np.nan  # missing samples do not count in a mean
    assert np.isfinite(model.predict_proba(X[:2])).all()
    with pytest.raises(ValueError, match=r"mean of each was subtracted; a stream does not know it yet; fit with a cau"):
        model.stream()


def test_means_of_drifting_cases_are_scaled_separately():
    X, _ = drifting()
    X[:, 1] -= X[:, 1].mean(-1, keepdims=True)  # the second channel does not drift
    found = survey(Signals(X))
    standardizer = Standardizer.fit(found, np.ones(40))
    Z = np.array([standardizer(case) for case in X])
    means = Z.mean(-1)
    np.testing.assert_allclose([means.mean(0), means.std(0)], [[0, 0], [1, 0]], atol=1e-3)
    np.testing.assert_allclose((Z - means[..., None]).std((0, 2)), 1, atol=1e-6)
    plain = Standardizer(standardizer.mean, standardizer.scale)
    np.testing.assert_allclose(Z[:, 1], [plain(case)[1] for case in X], atol=1e-9)
    again = Standardizer.from_state(State({}, standardizer.to_state().arrays), n_channels=2)
    np.testing.assert_array_equal(again(X[0]), standardizer(X[0]))


def test_a_channel_that_is_constant_in_each_case_is_standardised():
    X, _ = waves()
    ages = np.arange(24.0) % 7
    X[:, 1] = ages[:, None]
    standardizer = Standardizer.fit(survey(Signals(X)), np.ones(24))
    Z = np.array([standardizer(case) for case in X])
    np.testing.assert_allclose(Z[:, 1, 0], (ages - ages.mean()) / ages.std())


@pytest.mark.parametrize("unit", [1.0, 1e-6])
@pytest.mark.parametrize("identity", [False, True])
def test_ordinary_cases_are_standardised_by_mean_and_standard_deviation(identity, unit):
    X = unit * waves()[0]
    X[:, :, 0] += unit * np.linspace(-5, 5, len(X))[:, None]
    found = survey(Signals(X))
    assert (found.without_outliers(np.ones(24)) == 1).all()
    standardizer = Standardizer.fit(found, np.ones(24), identity=identity)
    assert standardizer.kept is None
    expected = X if identity else (X - X.mean((0, 2))[:, None]) / X.std((0, 2))[:, None]
    np.testing.assert_allclose([standardizer(case) for case in X], expected, atol=1e-9)


def test_no_outliers_are_found_among_few_or_silent_cases():
    X, _ = waves(20)
    X[0] *= 1e6
    assert (survey(Signals(X[:10])).without_outliers(np.ones(10)) == 1).all()
    assert (survey(Signals(X)).without_outliers(np.ones(20)) == (np.arange(20) > 0)).all()
    X[1:] = 0
    assert (survey(Signals(X)).without_outliers(np.ones(20)) == 1).all()
    X[:] = np.random.default_rng(0).uniform(1, 2, (20, X.shape[1], 1))  # silent, but for rounding, at some offset
    X[0] += 1e-5 * waves(1)[0][0]
    assert (survey(Signals(X)).without_outliers(np.ones(20)) == 1).all()


def test_cases_of_weight_zero_are_not_usual():
    X, _ = waves(40)
    X[20:] *= 1e6
    X[0] *= 1e3
    weights = np.repeat([1.0, 0.0], 20)
    assert (survey(Signals(X)).without_outliers(weights) == weights * (np.arange(40) > 0)).all()
