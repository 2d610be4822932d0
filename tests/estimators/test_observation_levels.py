"""Levels of the observations against their definitions, and what instant models make of them."""

import numpy as np
import pytest

from s4signal import Signals
from s4signal.errors import ModelFileError
from s4signal.estimators import S4RandomFeatures, S4RidgeClassifier, S4RidgeRegressor
from s4signal.estimators.closed_form.persistence import pack_instant, unpack_instant
from s4signal.estimators.closed_form.summaries import ObservationLevels
from s4signal.inspection import BandImportanceDisplay
from s4signal.random_features.ridge import _clearly_less

__all__: list[str] = []

SMALL = {"n_oscillators": 8, "random_state": 0}


def charts(n=40, n_channels=3, seed=0):
    """Return cases at times of their own, three of four values missing."""
    rng = np.random.default_rng(seed)
    times = [np.sort(rng.uniform(0, 100, rng.integers(20, 40))) for _ in range(n)]
    cases = [rng.standard_normal((n_channels, len(t))) for t in times]
    for case in cases:
        case[rng.random(case.shape) < 0.75] = np.nan
        case[:, 0] = rng.standard_normal(n_channels)
    return cases, times


def levels_of(cases, times):
    signals = Signals(cases, times=times)
    levels = ObservationLevels.fit(signals, np.ones(len(signals)))
    return levels, levels(signals, None).reshape(len(signals), 7, -1)


def test_running_means_are_weighted_means_of_the_observations():
    cases, times = charts()
    levels, described = levels_of(cases, times)
    values = np.concatenate(cases, axis=1)
    mean, std = np.nanmean(values, axis=1), np.nanstd(values, axis=1)
    for case, t, (high, low, late_high, late_low, last_high, last_low, number) in zip(
        cases, times, described, strict=True
    ):
        for c, row in enumerate(case):
            seen = ~np.isnan(row)
            z = np.clip((row[seen] - mean[c]) / std[c], -4, 4)
            late = np.average(z, weights=np.exp((t[seen] - t[-1]) / levels.decay))
            np.testing.assert_allclose(high[c] + low[c], z.mean())
            np.testing.assert_allclose(late_high[c] + late_low[c], late)
            np.testing.assert_allclose(last_high[c] + last_low[c], z[-1])
            assert number[c] == seen.sum()
    assert (described[:, [0, 2, 4]] >= 0).all()
    assert (described[:, [1, 3, 5]] <= 0).all()


def test_rows_without_an_observation_change_nothing():
    cases, times = charts()
    levels, described = levels_of(cases, times)
    longer = [np.insert(case, 5, np.nan, axis=1) for case in cases]
    between = [np.insert(t, 5, (t[4] + t[5]) / 2) for t in times]
    np.testing.assert_allclose(levels(Signals(longer, times=between), None).reshape(described.shape), described)


def test_a_channel_without_observations_is_at_its_training_mean():
    cases, times = charts()
    levels, _ = levels_of(cases, times)
    cases[0][1] = np.nan
    described = levels(Signals(cases[:1], times=times[:1]), None).reshape(7, -1)
    assert (described[:, 1] == 0).all()


def test_the_last_observation_counts_however_long_ago():
    levels, _ = levels_of(*charts())
    case = np.full((3, 2), np.nan)
    case[:, 0] = 2.0
    described = levels(Signals([case], times=[np.array([0.0, 1e9])]), None).reshape(7, -1)
    np.testing.assert_allclose(described[2], described[4])
    assert (described[4] > 0.5).all()


def test_half_the_rate_counts_the_same_observations():
    X = np.random.default_rng(0).standard_normal((10, 2, 400)).repeat(2, axis=-1)
    X[:, 0, 200:600] = np.nan
    X[:, 1, 200:800] = np.nan
    levels = ObservationLevels.fit(Signals(X, sfreq=80.0), np.ones(10))
    full, half = levels(Signals(X, sfreq=80.0), 80.0), levels(Signals(X[..., ::2], sfreq=40.0), 80.0)
    np.testing.assert_allclose(full[:, 12:], half[:, 12:])
    np.testing.assert_allclose(full, half, atol=0.01)


def test_complete_recordings_need_no_levels():
    X = np.random.default_rng(0).standard_normal((10, 2, 50))
    assert ObservationLevels.fit(Signals(X), np.ones(10)) is None
    features = S4RandomFeatures(**SMALL).fit(X)
    assert (features.oscillators_ >= 0).all()


def test_a_few_missing_samples_leave_the_word_to_the_oscillators():
    X = np.random.default_rng(0).standard_normal((10, 2, 50))
    X[:, :, 10:30] = np.nan
    assert ObservationLevels.fit(Signals(X), np.ones(10)) is None
    X[:, :, 10:40] = np.nan
    assert ObservationLevels.fit(Signals(X), np.ones(10)) is not None


def test_a_case_of_weight_two_is_the_case_twice():
    X = np.random.default_rng(0).standard_normal((2, 2, 50))
    X[0, :, 10:] = np.nan
    assert ObservationLevels.fit(Signals(X), np.array([1.0, 1.0])) is None
    assert ObservationLevels.fit(Signals(X), np.array([2.0, 1.0])) is not None


def test_a_stream_of_sparse_records_is_refused():
    cases, times = charts()
    model = S4RidgeRegressor(**SMALL).fit(cases, np.arange(40.0), times=times)
    with pytest.raises(ValueError, match="fitted on sparse records"):
        model.stream(sfreq=1.0)


def test_what_is_missing_tells_the_classes_apart():
    rng = np.random.default_rng(0)
    y = np.arange(80) % 2
    X = rng.standard_normal((80, 2, 60))
    X[rng.random((80, 2, 60)) < np.where(y == 1, 0.75, 0.45)[:, None, None]] = np.nan
    model = S4RidgeClassifier(random_state=0).fit(X[:50], y[:50])
    assert model.score(X[50:], y[50:]) > 0.9
    assert "levels of observations" in model.describe()


def test_names_owners_and_files_know_the_levels(tmp_path):
    cases, times = charts()
    y = np.array([np.nanmean(case[0]) for case in cases])
    model = S4RidgeRegressor(**SMALL).fit(Signals(cases, times=times, ch_names=["HR", "pH", "K"]), y)
    names = model.features_.get_feature_names_out()
    assert len(names) == len(set(names)) == len(model.ridge_.mean) == len(model.features_.oscillators_)
    assert names[-21:].tolist()[0] == "all mean above level, HR"
    assert (model.features_.oscillators_[-21:] == -1).all()
    assert names[-1] == "number of observations, K"
    assert BandImportanceDisplay.from_estimator(model).importance.shape == model.features_.frequencies_.shape
    model.save(tmp_path / "charts.s4")
    again = S4RidgeRegressor.load(tmp_path / "charts.s4")
    np.testing.assert_array_equal(again.predict(cases, times=times), model.predict(cases, times=times))


def test_batches_of_charts_are_added():
    cases, times = charts(n=60)
    y = np.array([np.nanmean(case[0]) for case in cases])
    model = S4RidgeRegressor(**SMALL, sfreq=0.3)
    for first in (0, 30):
        part = slice(first, first + 30)
        model.partial_fit(cases[part], y[part], times=times[part])
    assert model.score(cases, y, times=times) > 0.8


@pytest.mark.parametrize("precision", ["32", "64"])
def test_infinity_is_refused_before_levels_are_measured(precision):
    cases, times = charts()
    cases[2][0, 3] = np.inf
    with pytest.raises(ValueError, match="case 2: it contains infinity"):
        S4RidgeRegressor(**SMALL, precision=precision).fit(cases, np.arange(40.0), times=times)


@pytest.mark.parametrize("revision", [None, 0, 2])
def test_a_file_of_other_features_says_what_to_do(tmp_path, revision):
    X = np.random.default_rng(0).standard_normal((12, 2, 64))
    model = S4RidgeRegressor(**SMALL).fit(X, np.arange(12.0))
    header, tensors = pack_instant(model)
    with pytest.raises(ModelFileError, match="another version of s4signal, which has other features; fit and save"):
        unpack_instant(S4RidgeRegressor, {**header, "revision": revision}, tensors, tmp_path / "old.s4")


def test_errors_are_weighed_as_if_cases_came_as_often():
    rng = np.random.default_rng(0)
    ones, gain, often = rng.random(30), rng.normal(0.5, 1.0, 30), rng.integers(1, 4, 30)
    twice = [np.repeat(errors, often) for errors in (ones, ones + gain)]
    for shift in np.linspace(-1.0, 1.0, 21):
        weighed = _clearly_less(ones, ones + gain + shift, often.astype(float))
        assert weighed == _clearly_less(twice[0], twice[1] + shift, np.ones(often.sum()))
    assert not _clearly_less(ones, ones, np.ones(30))
    assert _clearly_less(ones, ones + 1.0, np.ones(30))
