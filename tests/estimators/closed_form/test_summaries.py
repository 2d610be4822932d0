"""Summary statistics of the observations: compared with their definitions, and used by models."""

import numpy as np
import pytest

from s4signal import Signals
from s4signal.errors import ModelFileError
from s4signal.estimators import S4RandomFeatures, S4RidgeClassifier, S4RidgeRegressor
from s4signal.estimators.features.feature_map import ObservationSummaries
from s4signal.estimators.model_file import read_model, write_model
from s4signal.estimators.survey import relative_periods, survey
from s4signal.inspection import BandImportanceDisplay
from s4signal.random_features.left_out import LeftOut
from s4signal.random_features.ridge import _clearly_less

__all__: list[str] = []

SMALL = {"n_oscillators": 8, "random_state": 0}


def charts(n=40, n_channels=3, seed=0):
    """Return cases with individual irregular times; three quarters of the values are missing."""
    rng = np.random.default_rng(seed)
    times = [np.sort(rng.uniform(0, 100, rng.integers(20, 40))) for _ in range(n)]
    cases = [rng.standard_normal((n_channels, len(t))) for t in times]
    for case in cases:
        case[rng.random(case.shape) < 0.75] = np.nan
        case[:, 0] = rng.standard_normal(n_channels)
    return cases, times


def fit(signals, weights=None):
    return ObservationSummaries.fit(survey(signals), np.ones(len(signals)) if weights is None else np.array(weights))


def describe(summaries, signals, sfreq=None):
    """Return (n, 7, n_channels)."""
    periods = relative_periods(signals, sfreq)
    rows = [summaries.describe(case, period) for case, period in zip(signals, periods, strict=True)]
    return np.stack(rows).reshape(len(signals), 7, -1)


def summaries_of(cases, times):
    signals = Signals(cases, times=times)
    summaries = fit(signals)
    return summaries, describe(summaries, signals)


def test_summaries_equal_their_definitions():
    cases, times = charts()
    cases[0][0, 0] = 30.0  # values are limited to four standard deviations
    summaries, described = summaries_of(cases, times)
    values = np.concatenate(cases, axis=1)
    mean, std = np.nanmean(values, axis=1), np.nanstd(values, axis=1)
    for case, t, (high, low, late_high, late_low, last_high, last_low, number) in zip(
        cases, times, described, strict=True
    ):
        for c, row in enumerate(case):
            seen = ~np.isnan(row)
            z = np.clip((row[seen] - mean[c]) / std[c], -4, 4)
            late = np.average(z, weights=np.exp((t[seen] - t[-1]) / summaries.time_constant))
            np.testing.assert_allclose(high[c] + low[c], z.mean())
            np.testing.assert_allclose(late_high[c] + late_low[c], late)
            np.testing.assert_allclose(last_high[c] + last_low[c], z[-1])
            assert number[c] == seen.sum()
    assert (described[:, [0, 2, 4]] >= 0).all()
    assert (described[:, [1, 3, 5]] <= 0).all()


def test_times_without_observations_do_not_change_the_summaries():
    cases, times = charts()
    summaries, described = summaries_of(cases, times)
    longer = [np.insert(case, 5, np.nan, axis=1) for case in cases]
    between = [np.insert(t, 5, (t[4] + t[5]) / 2) for t in times]
    np.testing.assert_allclose(describe(summaries, Signals(longer, times=between)), described)


def test_channel_without_observations_equals_its_training_mean():
    cases, times = charts()
    summaries, _ = summaries_of(cases, times)
    cases[0][1] = np.nan
    described = describe(summaries, Signals(cases[:1], times=times[:1]))[0]
    assert (described[:, 1] == 0).all()


def test_channel_that_is_constant_in_training_has_no_summaries_but_the_number():
    cases, times = charts()
    for case in cases:
        case[1, ~np.isnan(case[1])] = 7.1
    summaries, described = summaries_of(cases, times)
    changed = [case + 1e3 for case in cases]
    for each in (described, describe(summaries, Signals(changed, times=times))):
        np.testing.assert_allclose(each[:, :6, 1], 0.0, atol=1e-12)
        assert (each[:, 6, 1] > 0).all()


def test_last_observation_counts_regardless_of_its_age():
    summaries, _ = summaries_of(*charts())
    case = np.full((3, 2), np.nan)
    case[:, 0] = 2.0
    described = describe(summaries, Signals([case], times=[np.array([0.0, 1e9])]))[0]
    np.testing.assert_allclose(described[2], described[4])
    assert (described[4] > 0.5).all()


def test_half_the_rate_gives_the_same_summaries():
    X = np.random.default_rng(0).standard_normal((10, 3, 400)).repeat(2, axis=-1)
    X[:, :2, 20:780] = np.nan
    X[:, 2, 200:600] = np.nan
    summaries = fit(Signals(X, sfreq=80.0))
    full, half = (describe(summaries, s, 80.0) for s in (Signals(X, sfreq=80.0), Signals(X[..., ::2], sfreq=40.0)))
    assert summaries.time_constant == pytest.approx(799 / 80 / 3)  # a third of a case
    np.testing.assert_allclose(full[:, 6], half[:, 6])
    np.testing.assert_allclose(full, half, atol=0.01)


def test_complete_recordings_need_no_summaries():
    X = np.random.default_rng(0).standard_normal((10, 2, 50))
    assert fit(Signals(X)) is None
    features = S4RandomFeatures(**SMALL).fit(X)
    assert (features.oscillators_ >= 0).all()


def test_a_few_missing_samples_need_no_summaries():
    X = np.random.default_rng(0).standard_normal((10, 3, 50))
    X[:, :2, 10:40] = np.nan
    assert fit(Signals(X)) is None
    X[:, :2, 5:45] = np.nan
    assert fit(Signals(X)) is not None
    X[:, 2, 5:45] = np.nan  # times at which all channels are missing do not count
    assert fit(Signals(X)) is None


def test_weights_count_in_the_fraction_of_missing_values():
    X = np.random.default_rng(0).standard_normal((2, 3, 50))
    X[0, :2, 2:] = np.nan
    assert fit(Signals(X), [1.0, 1.0]) is None
    assert fit(Signals(X), [4.0, 1.0]) is not None


def test_a_stream_of_mostly_missing_data_is_refused():
    cases, times = charts()
    model = S4RidgeRegressor(**SMALL).fit(cases, np.arange(40.0), times=times)
    with pytest.raises(ValueError, match="fitted on mostly missing data"):
        model.stream(sfreq=1.0)


def test_missingness_alone_separates_the_classes():
    rng = np.random.default_rng(0)
    y = np.arange(80) % 2
    X = rng.standard_normal((80, 6, 60))
    X[rng.random((80, 6, 60)) < np.where(y == 1, 0.75, 0.45)[:, None, None]] = np.nan
    model = S4RidgeClassifier(random_state=0).fit(X[:50], y[:50])
    assert model.score(X[50:], y[50:]) > 0.9
    assert model.ridge_.blocks == ("observation summaries",)


def test_summaries_appear_in_names_importances_and_files(tmp_path):
    cases, times = charts()
    y = np.array([np.nanmean(case[0]) for case in cases])
    model = S4RidgeRegressor(**SMALL).fit(Signals(cases, times=times, ch_names=["HR", "pH", "K"]), y)
    names = model.features_.get_feature_names_out()
    assert len(names) == len(set(names)) == len(model.ridge_.mean) == len(model.features_.oscillators_)
    assert names[-21:].tolist()[0] == "mean above the training mean, HR"
    assert (model.features_.oscillators_[-21:] == -1).all()
    assert names[-1] == "number of observations, K"
    assert BandImportanceDisplay.from_estimator(model).importance.shape == model.features_.frequencies_.shape
    model.save(tmp_path / "charts.s4")
    again = S4RidgeRegressor.load(tmp_path / "charts.s4")
    np.testing.assert_array_equal(again.predict(cases, times=times), model.predict(cases, times=times))
    other_order = Signals([case[[2, 0, 1]] for case in cases], times=times, ch_names=["K", "HR", "pH"])
    with pytest.warns(UserWarning, match="their order differs"):
        np.testing.assert_array_equal(model.predict(other_order), model.predict(cases, times=times))


def test_partial_fit_learns_from_batches_of_irregular_cases():
    cases, times = charts(n=60)
    y = np.array([np.nanmean(case[0]) for case in cases])
    model = S4RidgeRegressor(**SMALL, sfreq=0.3)
    for first in (0, 30):
        part = slice(first, first + 30)
        model.partial_fit(cases[part], y[part], times=times[part])
    assert model.score(cases, y, times=times) > 0.8


@pytest.mark.parametrize("precision", ["32", "64"])
def test_infinity_is_refused(precision):
    cases, times = charts()
    cases[2][0, 3] = np.inf
    with pytest.raises(ValueError, match="case 2: it contains infinity"):
        S4RidgeRegressor(**SMALL, precision=precision).fit(cases, np.arange(40.0), times=times)


@pytest.mark.parametrize(
    ("bands", "wrong"),
    [
        (None, "the entry bands is missing"),
        ({"shrinkage": None}, "shrinkage must be float"),
        ({"shrinkage": -1.0}, "shrinkage is out of range"),
    ],
)
def test_file_without_bands_or_with_others_is_refused(tmp_path, bands, wrong):
    S4RidgeRegressor(**SMALL).fit(np.random.default_rng(0).standard_normal((12, 2, 64)), np.arange(12.0)).save(
        tmp_path / "model.s4"
    )
    state = read_model(tmp_path / "model.s4")
    if bands is None:
        del state.plain["features"]["bands"]
    else:
        state.plain["features"]["bands"] |= bands
    write_model(tmp_path / "model.s4", state)
    with pytest.raises(ModelFileError, match=wrong):
        S4RidgeRegressor.load(tmp_path / "model.s4")


@pytest.mark.parametrize("revision", [None, 0, 2])
def test_file_with_another_feature_revision_is_refused(tmp_path, revision):
    X = np.random.default_rng(0).standard_normal((12, 2, 64))
    model = S4RidgeRegressor(**SMALL).fit(X, np.arange(12.0))
    model.save(tmp_path / "old.s4")
    state = read_model(tmp_path / "old.s4")
    state.plain["features"]["revision"] = revision
    write_model(tmp_path / "old.s4", state)
    wrong = (
        "revision must be int" if revision is None else "a version of s4signal that has other features; fit and save"
    )
    with pytest.raises(ModelFileError, match=wrong):
        S4RidgeRegressor.load(tmp_path / "old.s4")


def left_out(case_weights):
    return LeftOut(np.zeros((len(case_weights), 1)), case_weights)


def test_clearly_less_treats_integer_weights_as_repeated_cases():
    rng = np.random.default_rng(0)
    ones, gain, counts = rng.random(30), rng.normal(0.5, 1.0, 30), rng.integers(1, 4, 30)
    repeated = [np.repeat(errors, counts) for errors in (ones, ones + gain)]
    for shift in np.linspace(-1.0, 1.0, 21):
        weighted = _clearly_less(ones, ones + gain + shift, left_out(counts.astype(float)), 2.0)
        assert weighted == _clearly_less(repeated[0], repeated[1] + shift, left_out(np.ones(counts.sum())), 2.0)
    assert not _clearly_less(ones, ones, left_out(np.ones(30)), 2.0)
    assert _clearly_less(ones, ones + 1.0, left_out(np.ones(30)), 2.0)
