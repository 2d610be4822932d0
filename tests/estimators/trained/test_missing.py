"""Missing samples: gaps in time, masks and interpolation; the value of a missing sample is never used."""

import numpy as np
import pytest
from scipy.interpolate import CubicSpline
from small_models import REFERENCE, classifier, regressor, waves

from s4signal import S4Classifier, Signals
from s4signal.estimators.standardizer import Standardizer
from s4signal.estimators.survey import survey
from s4signal.estimators.trained.missing import Sampling, prepare_case
from s4signal.signals import Signal, drop_samples

X, Y = waves()
REGULAR = Signals(X, sfreq=100.0)
BOTH = pytest.mark.parametrize("make", [classifier, regressor])
PLAIN = Standardizer(np.zeros(2), np.ones(2))


def partly_missing(seed=0):
    """Return the waves with values missing at random in each channel, and at some times in both."""
    rng = np.random.default_rng(seed)
    data = np.where(rng.random(X.shape) < 0.3, np.nan, X)
    data[:, :, 10:13] = np.nan
    return data


def prepared(data, sampling=None, **case):
    sampling = Sampling() if sampling is None else sampling
    return prepare_case(Signal(data, **case), 0, standardizer=PLAIN, sampling=sampling, sfreq=case.get("sfreq"))


@BOTH
def test_samples_missing_in_all_channels_equal_removed_samples(make):
    holes = drop_samples(REGULAR, 0.4, random_state=1, as_nan=True)
    model = make(**REFERENCE).fit(holes, Y)
    assert model._plan.sampling.masked == ()
    removed = drop_samples(REGULAR, 0.4, random_state=1)
    assert np.array_equal(model._outputs(holes), model._outputs(removed))


def test_fits_with_missing_and_with_removed_samples_are_equal():
    holes = drop_samples(REGULAR, 0.4, random_state=1, as_nan=True)
    removed = drop_samples(REGULAR, 0.4, random_state=1)
    by_holes, by_times = (classifier(**REFERENCE, timescale=(0.1, 0.6)).fit(part, Y) for part in (holes, removed))
    np.testing.assert_allclose(by_holes.predict_proba(holes), by_times.predict_proba(removed), atol=1e-9)


def test_gaps_count_missing_samples():
    data = np.array([[1.0, np.nan, 3.0, 4.0, np.nan, np.nan, 7.0]])
    case = prepare_case(
        Signal(data), 0, standardizer=Standardizer(np.zeros(1), np.ones(1)), sampling=Sampling(), sfreq=None
    )
    assert case.data.tolist() == [[1.0, 3.0, 4.0, 7.0]]
    assert case.gaps.tolist() == [1.0, 2.0, 1.0, 3.0]


def test_gap_of_the_first_sample_is_the_median_gap():
    case = prepare_case(
        Signal(np.ones((2, 4)), times=[3.0, 4.0, 6.0, 9.0]), 0, standardizer=PLAIN, sampling=Sampling(), sfreq=1.0
    )
    assert case.gaps.tolist() == [2.0, 1.0, 2.0, 3.0]


def test_values_missing_in_some_channels_are_carried_forward_and_masked():
    data = np.array([[1.0, np.nan, np.nan, 4.0], [5.0, 6.0, np.nan, 8.0]])
    case = prepared(data, Sampling(masked=(0,)), sfreq=10.0)
    assert case.data.tolist() == [[1.0, 1.0, 4.0], [5.0, 6.0, 8.0], [1.0, 0.0, 1.0]]
    assert case.gaps.tolist() == [1.0, 1.0, 2.0]


def test_missing_mask_keeps_every_sample():
    data = np.array([[1.0, np.nan, np.nan, 4.0], [5.0, 6.0, np.nan, 8.0]])
    case = prepared(data, Sampling(missing="mask", masked=(0, 1)), sfreq=10.0)
    assert case.data.tolist() == [[1.0, 1.0, 1.0, 4.0], [5.0, 6.0, 6.0, 8.0], [1, 0, 0, 1], [1, 1, 0, 1]]
    assert case.gaps is None


def test_values_before_the_first_observation_are_the_mean():
    data = np.array([[np.nan, 1.0, np.nan, 4.0], [5.0, 6.0, 7.0, np.nan]])
    assert prepared(data).data.tolist() == [[0.0, 1.0, 1.0, 4.0], [5.0, 6.0, 7.0, 7.0]]


def test_grid_interpolates_linearly_between_few_samples():
    data = np.array([[1.0, np.nan, 3.0, np.nan], [np.nan, 6.0, np.nan, 8.0]])
    grid = prepared(data, Sampling(grid=True), sfreq=10.0)
    assert grid.data.tolist() == [[1.0, 2.0, 3.0, 3.0], [6.0, 6.0, 7.0, 8.0]]
    assert grid.gaps is None
    timed = prepared(np.array([[1.0, 4.0]] * 2), Sampling(grid=True), sfreq=10.0, times=[0.5, 0.8])
    np.testing.assert_allclose(timed.data, [[1.0, 2.0, 3.0, 4.0]] * 2)


def test_grid_fills_short_gaps_by_splines_and_long_gaps_linearly():
    wave = np.sin(0.3 * np.arange(60))
    data = np.stack([wave, wave])
    data[0, 10:14] = data[1, 10:30] = np.nan
    grid = prepared(data, Sampling(grid=True), sfreq=10.0).data
    np.testing.assert_allclose(grid[0], wave, atol=0.02)
    np.testing.assert_allclose(grid[1, 9:31], np.linspace(wave[9], wave[30], 22), atol=1e-12)
    np.testing.assert_array_equal(grid[1, 30:], wave[30:])


@pytest.mark.parametrize(
    "times", [[0.0, 0.1, 0.1, 0.4, 0.6], [0.0, 0.1, 0.13, 0.4, 0.6]], ids=["repeated", "off the grid"]
)
def test_grid_interpolates_linearly_between_times_off_the_grid(times):
    data = np.array([[1.0, 9.0, 2.0, 4.0, 6.0]])
    case = Signal(data, times=times, sfreq=10.0)
    one = Standardizer(np.zeros(1), np.ones(1))
    grid = prepare_case(case, 0, standardizer=one, sampling=Sampling(grid=True), sfreq=10.0).data[0]
    assert len(grid) == 7
    np.testing.assert_allclose(grid[4:], [4.0, 5.0, 6.0])
    assert grid.max() <= 9.0


def test_missing_samples_do_not_count_in_the_standardisation():
    data = partly_missing()
    standardizer = Standardizer.fit(survey(Signals(data)), np.ones(24))
    flat = data.transpose(1, 0, 2).reshape(2, -1)
    np.testing.assert_allclose(standardizer.mean, np.nanmean(flat, 1))
    np.testing.assert_allclose(standardizer.scale, np.nanstd(flat, 1))


@BOTH
@pytest.mark.parametrize("missing", ["auto", "gap", "mask"])
@pytest.mark.parametrize("kernel", ["s4d", "s5"])
def test_channels_with_missing_samples_get_masks(make, missing, kernel):
    model = make(missing=missing, kernel=kernel).fit(partly_missing(), Y)
    assert model._plan.sampling.masked == (0, 1)
    assert model.network_.frontend.mix.weight.shape[1] == 4
    assert np.isfinite(model._outputs(partly_missing(1))).all()
    assert "2 channels with a mask" in model.describe()


@pytest.mark.parametrize("kernel", ["s4", "lssl"])
def test_dense_kernels_use_masks_automatically(kernel):
    model = classifier(kernel=kernel).fit(partly_missing(), Y)
    assert model._plan.sampling.missing == "mask"
    assert np.isfinite(model._outputs(partly_missing(1))).all()


def test_only_channels_with_missing_samples_get_a_mask():
    data = X.copy()
    data[3, 1, 5] = np.nan
    assert classifier().fit(data, Y)._plan.sampling.masked == (1,)


@BOTH
def test_values_of_masked_samples_are_ignored(make):
    model = make().fit(partly_missing(), Y)
    once = model._outputs(partly_missing(1))
    masked = Signals(np.ma.masked_array(X + 1000.0 * np.isnan(partly_missing(1)), np.isnan(partly_missing(1))))
    assert np.array_equal(model._outputs(masked), once)


def test_channel_never_observed_in_training_is_ignored_with_a_warning():
    data = X.copy()
    data[:, 1] = np.nan
    with pytest.warns(UserWarning, match="channel 1 has no observation in any training case; it is ignored"):
        model = classifier().fit(data, Y)
    assert np.array_equal(model.predict_proba(X), model.predict_proba(data))


def test_channel_missing_in_one_case_is_accepted():
    data = X.copy()
    data[4, 0] = np.nan
    assert np.isfinite(classifier().fit(data, Y).predict_proba(data)).all()


@pytest.mark.parametrize("missing", ["auto", "gap", "mask"])
def test_filter_bank_fills_missing_samples_by_a_spline(missing):
    rng = np.random.default_rng(0)
    tones = np.sin(np.arange(800) * np.array([0.3, 1.2])[Y][:, None] + rng.uniform(0, 6, (24, 1)))
    model = classifier(sfreq=8000.0, missing=missing).fit(tones, Y)
    assert model._plan.frontend == "filterbank"
    kept = np.arange(800) % 7 != 5
    full = np.stack([CubicSpline(np.flatnonzero(kept), c[kept])(np.arange(800)) for c in tones])
    splines = model.predict_proba(full)
    assert np.abs(splines - model.predict_proba(tones)).max() > 1e-4
    np.testing.assert_allclose(model.predict_proba(np.where(kept, tones, np.nan)), splines, atol=1e-6)
    timed = Signals(tones[:, kept], times=[np.flatnonzero(kept) / 8000.0] * 24)
    np.testing.assert_allclose(model.predict_proba(timed), splines, atol=1e-6)
    assert "interpolated where one is missing" in model.describe()


def test_model_with_masks_is_saved_and_streamed(tmp_path):
    model = classifier(bidirectional=False).fit(partly_missing(), Y)
    model.save(tmp_path / "model.s4")
    loaded = S4Classifier.load(tmp_path / "model.s4")
    assert np.array_equal(loaded.predict_proba(partly_missing(1)), model.predict_proba(partly_missing(1)))
    np.testing.assert_allclose(loaded.stream().push(X[0]), model.predict_proba(X[:1])[0], atol=1e-5)
