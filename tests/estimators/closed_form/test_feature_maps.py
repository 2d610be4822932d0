"""Feature maps: which features exist at other rates, and their frequencies and time constants."""

import numpy as np
import pytest
from small_models import waves

from s4signal import Signals
from s4signal.estimators import S4RandomFeatures, S4RidgeClassifier
from s4signal.estimators.features.recordings import Recordings
from s4signal.estimators.features.regression import FeatureRegression

__all__: list[str] = []

SMALL = {"n_oscillators": 12, "random_state": 0}


def test_features_above_nyquist_equal_their_training_means():
    X, _ = waves(40, n_times=240)
    features, weights = S4RandomFeatures(**SMALL, sfreq=120.0), np.arange(1.0, 41)
    full = features.fit(X, sample_weight=weights).transform(X)
    half = features.transform(X[..., ::2], sfreq=60.0)
    constant = half.std(0) == 0
    assert 0 < constant.sum() < len(constant) / 2
    means = np.average(full[:, constant], axis=0, weights=weights)
    np.testing.assert_allclose(half[0, constant], means, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("n_channels", [1, 3])
def test_features_exist_at_another_rate_if_they_are_computed_there(n_channels):
    features = S4RandomFeatures(n_oscillators=32, sfreq=120.0, random_state=0).fit(
        waves(n_channels=n_channels, n_times=240)[0]
    )
    for rate in (2.0, 4.0):
        cases = Signals(waves(3, n_channels, n_times=240)[0], sfreq=120.0 / rate)
        blocks = features.feature_map_.blocks(Recordings(cases, cases, False))
        computed = np.isfinite(np.concatenate([*blocks.values()], axis=1)).all(0)
        np.testing.assert_array_equal(features.feature_map_.exists(rate), computed)
        assert 0 < computed.sum() < len(computed)


def test_coefficients_at_another_rate_are_of_features_that_exist_there():
    X, y = waves(n_times=240)
    model = S4RidgeClassifier(n_oscillators=32, sfreq=120.0, random_state=0).fit(X, y)
    features = model.features_.feature_map_
    for rate, octave in ((200.0, 0), (120.0, 0), (100.0, 1), (60.0 - 1e-7, 1), (50.0, 2), (30.0, 2)):
        cases = Signals(X[:1], sfreq=rate)
        assert FeatureRegression(features, model.ridge_).octaves(Recordings(cases, cases, False)) == octave
        used = (model.ridge_.coef[octave] != 0).any(1)
        assert not (used & ~features.exists(120.0 / rate)).any()


def test_an_impulse_response_decays_to_1_e_in_the_time_constant():
    features = S4RandomFeatures(**SMALL, sfreq=60.0).fit(waves()[0])
    bandwidths_hz = np.concatenate([bank.bandwidths_hz for bank in features.feature_map_.banks])
    np.testing.assert_allclose(np.exp(-2 * np.pi * bandwidths_hz * features.time_constants_), 1 / np.e)


@pytest.mark.parametrize(("n_times", "n_bands", "n_lines"), [(2, 1, 0), (35, 15, 0), (40, 18, 18), (1000, 40, 320)])
def test_bands_and_lines_are_no_closer_than_the_frequency_resolution(n_times, n_bands, n_lines):
    X = np.random.default_rng(0).standard_normal((6, 2, n_times))
    features = S4RandomFeatures(n_oscillators=4, sfreq=100.0).fit(X)
    bands, lines = features.frequencies_[4 : 4 + n_bands], features.frequencies_[4 + n_bands :]
    assert len(lines) == features.feature_map_.sizes.get("spectral lines", 0) == n_lines
    for frequencies in (bands, lines):
        assert np.diff(frequencies).min(initial=100.0) >= 99.0 / n_times


def test_components_and_thresholds_count_cases_by_their_weights(rng):
    X, weights = rng.standard_normal((20, 15, 100)) * rng.uniform(0.2, 3, (20, 15, 1)), rng.integers(1, 4, 20)
    repeated = np.repeat(X, weights, axis=0)
    repeated += 1e-12 * rng.standard_normal(repeated.shape)  # identical cases would become one with a weight again
    fits = [(X, weights), (repeated, None), (X, None)]
    banks = [
        S4RandomFeatures(**SMALL, precision="64").fit(x, sample_weight=w).feature_map_.oscillators for x, w in fits
    ]
    for name in ("components", "thresholds", "scales"):
        weighted, same, plain = (np.abs(getattr(bank, name).numpy()) for bank in banks)
        np.testing.assert_allclose(weighted, same, atol=1e-6)
        assert np.abs(weighted - plain).max() > 0.001


def test_oscillators_take_the_orders_in_turn_and_slow_ones_have_means_of_windows():
    features = S4RandomFeatures(n_oscillators=32, orders=(1, 3, 2), sfreq=60.0, random_state=0).fit(waves()[0])
    bank = features.feature_map_.oscillators
    np.testing.assert_array_equal(bank.orders, np.resize([1, 3, 2], 32))
    slow = features.frequencies_[:32] <= 4.0  # a period is no longer than a quarter of the case, which lasts 1 s
    np.testing.assert_array_equal(bank.has_segment_means, slow)
    assert 0 < slow.sum() < 32


def test_channels_are_standardised_after_interpolation(rng):
    X = rng.standard_normal((10, 2, 80)) + 5 * rng.standard_normal((10, 1, 1))
    X[::2, 0, 30:33] = np.nan
    lines = X.copy()
    lines[::2, 0, 30:33] = np.linspace(X[::2, 0, 29], X[::2, 0, 33], 5, axis=1)[:, 1:4]
    standardizer = S4RandomFeatures(**SMALL, sfreq=80.0).fit(X).feature_map_.standardizer
    np.testing.assert_allclose(standardizer.mean, lines.mean((0, 2)))
    np.testing.assert_allclose(standardizer.scale, lines.std((0, 2)))


def test_every_window_of_the_shortest_used_case_has_eight_frames(rng):
    X, weights = [rng.standard_normal((1, n)) for n in (640, 6400, 6400, 6400)], [1, 1, 1, 1]
    hops = [
        S4RandomFeatures(random_state=0).fit(X, sample_weight=w).feature_map_.oscillators.hops.max()
        for w in (weights, [0, 1, 1, 1])
    ]
    assert hops[0] <= 640 / (4 * 8) < hops[1] <= 6400 / (4 * 8)


def test_names_tell_window_and_part_of_the_values(rng):
    X = rng.standard_normal((6, 1, 400))
    features = S4RandomFeatures(n_oscillators=32, sfreq=100.0, precision="64", random_state=0).fit(X)
    other, names = np.concatenate([X[..., :300], -X[..., 300:]], axis=2), features.get_feature_names_out()
    changed = (np.abs(features.transform(X) - features.transform(other)) > 1e-9).any(0)
    assert not changed[[any(f"part {k} of 4" in name for k in (1, 2, 3)) for name in names]].any()
    assert changed[["part 4 of 4" in name and ", 0 Hz" not in name for name in names]].mean() > 0.9
    low_pass = {part: [name.startswith(f"mean of {part}, 0 Hz") for name in names] for part in ("sin", "cos")}
    assert (features.transform(X)[:, low_pass["sin"]] == 0).all()  # real filters
    assert (features.transform(X)[:, low_pass["cos"]] != 0).any()
    unrated = S4RandomFeatures(**SMALL).fit(X).get_feature_names_out()
    assert all("cycles/sample" in name and " samples" in name for name in unrated)


def test_flicker_of_new_people_is_classified_whatever_their_mixture_of_channels():
    rng = np.random.default_rng(0)
    people, y, times = np.repeat(np.arange(5), 12), np.arange(60) % 3, np.arange(512) / 128
    flicker = np.sin(2 * np.pi * np.array([13.0, 14.0, 15.0])[y][:, None] * times + rng.uniform(0, 6, (60, 1)))
    noise = np.cumsum(rng.standard_normal((60, 4, 512)), 2)
    noise -= noise.mean(2, keepdims=True)
    mixtures = rng.standard_normal((5, 4, 4))[people]
    X = mixtures @ (noise / noise.std() + 0.1 * flicker[:, None] * [[1.0], [0.0], [0.0], [0.0]])
    model = S4RidgeClassifier(sfreq=128.0, random_state=0).fit(X[:48], y[:48], groups=people[:48])
    assert "spectral lines" in model.ridge_.blocks
    assert model.score(X[48:], y[48:]) > 0.9
