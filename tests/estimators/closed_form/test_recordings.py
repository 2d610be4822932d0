"""Irregular and missing samples are filled by linear interpolation."""

import numpy as np
import pytest

from s4signal import Signals
from s4signal.estimators import S4RandomFeatures, S4RidgeClassifier, S4RidgeRegressor

__all__: list[str] = []

SMALL = {"n_oscillators": 12, "precision": "64", "random_state": 0}


def waves(n=40, n_channels=2, n_times=120):
    rng = np.random.default_rng(0)
    y = np.arange(n) % 2
    t = np.arange(n_times) / 60
    X = np.sin(2 * np.pi * (np.array([3, 8])[y][:, None, None] * t + rng.random((n, n_channels, 1))))
    return X + 0.2 * rng.standard_normal(X.shape), y


def outputs(model, X):
    return model.decision_function(X)


def test_regular_times_equal_a_sampling_rate():
    X, y = waves()
    times = [np.arange(120) / 60] * 40
    plain = S4RidgeClassifier(**SMALL, sfreq=60.0).fit(X, y)
    timed = S4RidgeClassifier(**SMALL).fit(Signals(X, times=times), y)
    assert timed.sfreq_ == pytest.approx(60.0)
    np.testing.assert_allclose(outputs(timed, Signals(X, times=times)), outputs(plain, X), atol=1e-6)
    by_argument = S4RidgeClassifier(**SMALL).fit(X, y, times=times)
    np.testing.assert_array_equal(
        outputs(by_argument, Signals(X, times=times)), outputs(timed, Signals(X, times=times))
    )
    assert by_argument.score(X, y, times=times) == timed.score(Signals(X, times=times), y)
    values = y + X[:, 0, 0]
    regressor = S4RidgeRegressor(**SMALL).fit(X, values, times=times)
    assert regressor.score(X, values, times=times) == regressor.score(Signals(X, times=times), values)


def test_cases_with_irregular_times_are_classified():
    rng = np.random.default_rng(1)
    y = np.arange(60) % 2
    times = [np.sort(rng.uniform(0, 2, 150)) for _ in y]
    X = Signals(
        [np.sin(2 * np.pi * (3 + 4 * c) * t + rng.uniform(0, 6)) for c, t in zip(y, times, strict=True)], times=times
    )
    model = S4RidgeClassifier(**SMALL).fit(X[:40], y[:40])
    assert model.score(X[40:], y[40:]) > 0.9


def test_times_are_put_on_a_grid_of_sfreq_and_are_sample_numbers_for_a_model_without_a_rate():
    X, y = waves()
    times = [np.sort(np.random.default_rng(i).uniform(0, 2, 120)) for i in range(40)]
    timed = S4RidgeClassifier(**SMALL, sfreq=20.0).fit(Signals(X, times=times), y)
    assert timed.sfreq_ == 20.0
    gridded = Signals(X, times=times).to_grid(20.0)
    np.testing.assert_allclose(outputs(timed, Signals(X, times=times)), outputs(timed, gridded))
    unrated = S4RidgeClassifier(**SMALL).fit(X, y)
    wide = [2.0 * np.arange(120)] * 40
    line = Signals(X, times=wide).to_grid(1.0).to_numpy()
    np.testing.assert_allclose(outputs(unrated, Signals(X, times=wide)), outputs(unrated, line))


def test_missing_samples_are_interpolated_linearly():
    X, y = waves()
    holes = X.copy()
    holes[:, 0, 50:53] = np.nan
    interpolated = X.copy()
    interpolated[:, 0, 50:53] = X[:, 0, 49, None] + (X[:, 0, 53] - X[:, 0, 49])[:, None] * [0.25, 0.5, 0.75]
    expected = S4RidgeClassifier(**SMALL).fit(interpolated, y)
    found = S4RidgeClassifier(**SMALL).fit(holes, y)
    np.testing.assert_allclose(outputs(found, holes), outputs(expected, interpolated), atol=1e-9)


def test_a_tenth_of_the_samples_may_be_missing():
    X, y = waves()
    holes = np.where(np.random.default_rng(2).random(X.shape) < 0.1, np.nan, X)
    assert S4RidgeClassifier(**SMALL).fit(holes[:20], y[:20]).score(holes[20:], y[20:]) == 1.0
    assert np.isfinite(S4RidgeRegressor(**SMALL).fit(holes, y).predict(holes)).all()
    assert np.isfinite(S4RandomFeatures(**SMALL).fit_transform(holes)).all()


def test_missing_channel_equals_its_training_mean():
    X, y = waves()
    model = S4RidgeClassifier(**SMALL).fit(X, y)
    missing, mean = X[:5].copy(), X[:5].copy()
    missing[:, 1], mean[:, 1] = np.nan, X[:, 1].mean()
    with pytest.warns(UserWarning, match="channel 1: flat in case 0 and 4 more"):
        expected = outputs(model, mean)
    np.testing.assert_allclose(outputs(model, missing), expected, atol=1e-9)
    never = X.copy()
    never[:, 1] = np.nan
    with pytest.warns(UserWarning, match="channel 1 has no observation in any training case; it is ignored"):
        model = S4RidgeClassifier(**SMALL).fit(never, y)
    assert model.score(never, y) == 1.0


def test_model_fitted_with_times_needs_times_or_a_rate(tmp_path):
    X, y = waves()
    times = [(np.arange(120) + 0.3 * (np.arange(120) % 2)) / 60] * 40
    S4RidgeClassifier(**SMALL).fit(X, y, times=times).save(tmp_path / "timed.s4")
    model = S4RidgeClassifier.load(tmp_path / "timed.s4")
    with pytest.raises(ValueError, match="case 0 has neither times nor a rate, but S4RidgeClassifier was fitted with"):
        model.predict(X)
    np.testing.assert_array_equal(model.predict(X, sfreq=60.0), y)
