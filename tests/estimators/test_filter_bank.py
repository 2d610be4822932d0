"""S4FilterBank: feature names in Hz, forms of X, sampling rates and errors."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from s4signal import S4Classifier, Signals
from s4signal.estimators import S4FilterBank
from s4signal.signals import Signal

__all__: list[str] = []


def waves(*frequencies, sfreq=250.0, n_times=500):
    return np.sin(2 * np.pi * np.array(frequencies)[:, None] * np.arange(n_times) / sfreq)


def bank(**options):
    return S4FilterBank(
        **{"n_bands": 5, "spacing": "linear", "lowest_hz": 10, "highest_hz": 50, "sfreq": 250, **options}
    )


@parametrize_with_checks([S4FilterBank(), S4FilterBank(n_bands=3, output="pcen", smooth_s=2.0, spacing="random")])
def test_all_scikit_learn_checks_pass(estimator, check):
    check(estimator)


def test_name_of_the_loudest_feature_is_the_frequency_of_the_tone():
    transformer = bank(hop_s=0.1)
    energies = transformer.fit_transform(waves(10.0, 30.0, 50.0))
    assert energies.shape == (3, 5, 20)
    loudest = transformer.get_feature_names_out()[energies.mean(2).argmax(1)]
    assert loudest.tolist() == ["channel 0 10 Hz", "channel 0 30 Hz", "channel 0 50 Hz"]


def test_feature_names_contain_channel_frequency_and_part():
    X = Signals([np.random.default_rng(0).standard_normal((2, 100))] * 3, sfreq=250.0, ch_names=["Fz", "Cz"])
    transformer = bank(n_bands=2, output="linear", sfreq=None).fit(X)
    expected = [f"{ch} {f} Hz {part}" for ch in ("Fz", "Cz") for part in ("real", "imaginary") for f in (10, 50)]
    assert transformer.get_feature_names_out().tolist() == expected
    assert list(transformer.transform(X).ch_names) == expected


def test_frequencies_are_in_cycles_per_sample_without_a_rate():
    names = S4FilterBank(n_bands=2).fit(waves(10.0)).get_feature_names_out()
    assert names.tolist() == ["channel 0 0.0078125 cycles per sample", "channel 0 0.475 cycles per sample"]


def test_unequal_cases_return_signals_at_the_frame_rate():
    X = [waves(10.0, n_times=n)[0] for n in (250, 100, 375)]
    bands = bank(hop_s=0.1).fit_transform(X)
    assert isinstance(bands, Signals)
    assert bands.lengths.tolist() == [10, 4, 15]
    assert bands.sfreq == pytest.approx(10.0)


def test_output_has_no_rate_if_the_input_has_none():
    bands = S4FilterBank(n_bands=2, hop_s=10).fit_transform([waves(10.0)[0]])
    assert bands.sfreq is None
    assert bands.lengths.tolist() == [50]


@pytest.mark.parametrize(("sfreq", "hop_s"), [(44100.0, 0.01), (250.0, 0.03), (8000.0, 0.0501), (256.0, 1.0)])
def test_output_rate_is_about_the_inverse_of_hop_s(sfreq, hop_s):
    X = Signals([np.random.default_rng(0).standard_normal(int(4 * sfreq))], sfreq=sfreq)
    bands = bank(hop_s=hop_s, sfreq=None).fit_transform(X)
    assert bands.sfreq == pytest.approx(1 / hop_s, rel=0.1)
    n_steps = bands.lengths[0]
    assert (n_steps - 1) / bands.sfreq < 4.0 <= n_steps / bands.sfreq + 1e-9  # the steps cover the 4 s


def test_cases_of_two_rates_have_two_output_rates():
    X = Signals([waves(10.0)[0], waves(10.0, sfreq=300.0, n_times=600)[0]], sfreq=[250.0, 300.0])
    bands = bank(hop_s=0.03, sfreq=None).fit_transform(X)
    assert [round(case.sfreq, 3) for case in bands] == [31.25, 33.333]


def test_output_of_a_case_does_not_depend_on_the_other_cases():
    X = [np.random.default_rng(n).standard_normal(n) for n in (250, 100, 375)]
    transformer = bank(hop_s=0.1).fit(X)
    together = transformer.transform(X)
    for index, case in enumerate(X):
        np.testing.assert_allclose(transformer.transform([case])[0].data, together[index].data, rtol=0, atol=1e-9)


def test_bands_stay_the_same_at_another_rate():
    transformer = bank(hop_s=0.1).fit(waves(10.0, 30.0))
    full = transformer.transform(waves(10.0, 30.0))
    double = transformer.transform(waves(10.0, 30.0, sfreq=500.0, n_times=1000), sfreq=500.0)
    bands = [0, 2]
    assert np.abs(full - double)[[0, 1], bands, 5:].max() < 0.05


def test_features_do_not_depend_on_units_if_standardized():
    X = np.random.default_rng(0).standard_normal((4, 2, 500))
    np.testing.assert_allclose(bank().fit_transform(X), bank().fit_transform(1e-6 * X), rtol=1e-6)
    assert not np.allclose(bank(standardize=False).fit_transform(X), bank(standardize=False).fit_transform(10 * X))


def test_the_precision_of_x_is_kept():
    X = waves(10.0, 20.0)
    assert bank().fit_transform(X).dtype == np.float64
    assert bank().fit_transform(X.astype(np.float32)).dtype == np.float32


def test_constant_channel_gives_the_lowest_energy_and_a_warning():
    X = np.random.default_rng(0).standard_normal((3, 2, 500))
    X[:, 0] = 7.0
    with pytest.warns(UserWarning, match="channel 0 is flat in all training cases; it is ignored"):
        features = bank().fit_transform(X)
    assert np.isfinite(features).all()
    np.testing.assert_allclose(features[:, :5], np.log(1e-6))


def test_random_bands_depend_on_the_random_state():
    X = waves(10.0)
    once, again, other = (bank(spacing="random", random_state=s).fit(X).get_feature_names_out() for s in (0, 0, 1))
    assert once.tolist() == again.tolist() != other.tolist()


def test_pipeline_with_a_classifier_is_accurate_and_can_be_pickled():
    X, y = waves(*[12.0, 40.0] * 10), np.array(["low", "high"] * 10)
    X = X + 0.1 * np.random.default_rng(0).standard_normal(X.shape)
    small = {"d_model": 8, "d_state": 8, "n_layers": 1, "max_epochs": 30, "learning_rate": 1e-2, "random_state": 0}
    pipeline = make_pipeline(bank(hop_s=0.1), S4Classifier(frontend="linear", **small)).fit(X, y)
    assert pipeline.score(X, y) == 1.0
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(pipeline)).predict(X), y)


def test_transform_equals_the_module():
    X = np.random.default_rng(0).standard_normal((2, 3, 500))
    transformer = bank(standardize=False).fit(X)
    features = transformer.bank_(torch.from_numpy(X.transpose(1, 0, 2).copy())).features
    np.testing.assert_allclose(transformer.transform(X), features.transpose(0, 1).numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"highest_hz": 200.0},
            r"bands lie at 10 to 200 Hz; at a sampling rate of 250 Hz .* Nyquist frequency, 125 Hz",
        ),
        ({"lowest_hz": 60.0}, "lowest_hz=60 must be above 0 and at most highest_hz=50"),
        ({"hop_s": 3.0}, "hop_s=3 s is longer than case 0, which lasts 2 s; lower hop_s or leave the case out"),
        ({"hop_s": 1e-3}, "hop_s=0.001 is shorter than a sample, 0.004 s"),
        ({"hop_s": "long"}, "hop_s='long' is unknown or out of range; it must be 'auto' or a positive number"),
        ({"n_bands": 0}, "n_bands=0 is unknown or out of range; it must be a whole number of at least 1"),
        ({"spacing": "bark"}, "spacing='bark' is unknown or out of range; it must be one of 'erb', 'mel'"),
        ({"order": 5}, "order=5 is unknown or out of range; it must be 1, 2, 3 or 4"),
        ({"output": "db"}, "output='db' is unknown; choose one of 'log', 'power', 'pcen', 'linear'"),
        ({"smooth_s": 0}, "smooth_s=0 is unknown or out of range"),
        ({"sfreq": -1}, "sfreq=-1 is unknown or out of range"),
    ],
)
def test_invalid_parameters_are_refused(options, text):
    with pytest.raises(ValueError, match=text):
        bank(**options).fit(waves(10.0, 20.0))


def test_error_of_transform_names_the_case_that_is_too_short():
    transformer = bank(hop_s=0.1).fit([waves(10.0)[0]])
    with pytest.raises(ValueError, match=r"hop_s=0.1 s is longer than case 1, which lasts 0.04 s"):
        transformer.transform([waves(10.0)[0], waves(10.0, n_times=10)[0]])


@pytest.mark.parametrize("bad", [np.inf, -np.inf])
def test_infinite_samples_are_refused_at_fit_and_at_transform(bad):
    X = waves(10.0, 20.0)
    transformer = clone(bank()).fit(X)
    X[1, 7] = bad
    for method in (bank().fit, transformer.transform):
        with pytest.raises(ValueError, match="case 1: it contains infinity"):
            method(X)


def test_case_without_observations_is_refused_at_fit_and_at_transform():
    X = waves(10.0, 20.0)
    transformer = bank().fit(X)
    X[1] = np.nan
    for method in (bank().fit, transformer.transform):
        with pytest.raises(ValueError, match="case 1 of X has no observation"):
            method(X)


def test_times_equal_a_rate_and_omitted_samples_equal_missing_ones():
    X = np.random.default_rng(0).standard_normal((3, 2, 500))
    t = 7.5 + np.arange(500) / 250
    transformer = bank(sfreq=None, hop_s=0.04).fit(Signals(X, sfreq=250.0))
    regular = transformer.transform(Signals(X, sfreq=250.0))
    timed = transformer.transform(Signals(X, times=[t] * 3, sfreq=250.0))
    nominal = bank(sfreq=None, hop_s=0.04).fit(Signals(X, times=[t] * 3)).transform(Signals(X, times=[t] * 3))
    kept = np.random.default_rng(1).random(500) > 0.3
    kept[[0, -1]] = True
    left_out = transformer.transform(Signals(X[:, :, kept], times=[t[kept]] * 3, sfreq=250.0))
    missing = transformer.transform(Signals(np.where(kept, X, np.nan), sfreq=250.0))
    for a, b, c, d, e in zip(regular, timed, nominal, left_out, missing, strict=True):
        np.testing.assert_allclose(b.data, a.data, rtol=0, atol=1e-9)
        np.testing.assert_allclose(c.data, a.data, rtol=0, atol=1e-6)  # the rate is estimated from the times
        np.testing.assert_allclose(d.data, e.data, rtol=0, atol=1e-9)


def test_random_times_equal_the_module_with_gaps():
    rng = np.random.default_rng(0)
    X, t = rng.standard_normal((1, 1, 400)), np.sort(rng.uniform(0, 2, 400))
    transformer = bank(standardize=False, hop_s=0.05).fit(waves(10.0))
    features = transformer.transform(Signals(X, times=[t], sfreq=250.0))[0].data
    gaps = torch.from_numpy(np.diff(250 * t, prepend=250 * t[0] - 1)[None])
    expected = transformer.bank_(torch.from_numpy(X), gaps=gaps).features
    np.testing.assert_allclose(features, expected[:, 0].numpy(), rtol=0, atol=1e-9)


def test_transformer_fitted_with_times_needs_times_or_a_rate():
    X, t = waves(10.0, 20.0)[:, None], (np.arange(500) + 0.3 * (np.arange(500) % 2)) / 250
    transformer = bank(sfreq=None, hop_s=0.05).fit(Signals(X, times=[t] * 2))
    with pytest.raises(ValueError, match="case 0 has neither times nor a rate"):
        transformer.transform(X)
    with pytest.raises(ValueError, match="times must be seconds"):
        transformer.transform(Signals(X, times=[1000 * t] * 2))


def test_another_number_of_channels_is_refused():
    transformer = bank().fit(np.zeros((2, 3, 500)) + waves(10.0))
    with pytest.raises(ValueError, match="X has 2 channels, but S4FilterBank was fitted with 3"):
        transformer.transform(Signals([Signal(np.ones((2, 500)), sfreq=250.0)]))
