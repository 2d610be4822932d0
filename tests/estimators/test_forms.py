"""All forms of X give the same predictions: units, lengths, batches, rates, epochs, files."""

import warnings
from functools import partial

import numpy as np
import pytest
import torch
from scipy.signal import resample
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from small_models import REFERENCE, classifier, regressor, waves

from s4signal import S4Classifier, S4RidgeClassifier, Signals
from s4signal.estimators import BandPass, Baseline, RobustScale, S4Segmenter
from s4signal.signals import Signal
from s4signal.signals.checks import object_array


def unequal(n=24, seed=0):
    X, y = waves(n, n_times=90, seed=seed)
    lengths = np.random.default_rng(seed).integers(20, 90, n)
    return [case[:, :length] for case, length in zip(X, lengths, strict=True)], y


@pytest.mark.parametrize("form", [np.asarray, list], ids=["array", "list"])
def test_several_channels_without_a_rate_give_a_warning(form):
    X, y = waves(n_channels=3)
    with pytest.warns(UserWarning, match=r"several channels and no sampling rate: .* Pass sfreq= to the model"):
        S4RidgeClassifier(n_oscillators=4).fit(form(X), y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for unambiguous in (Signals(X), Signals(X, sfreq=60.0), X[:, :1]):
            S4RidgeClassifier(n_oscillators=4).fit(unambiguous, y)
        S4RidgeClassifier(n_oscillators=4, sfreq=60.0).fit(form(X), y)


DEFAULTS = {
    "network": partial(S4Classifier, max_epochs=1, random_state=0),
    "dense matrices": partial(classifier, kernel="s4"),
    "stream": partial(classifier, bidirectional=False),
    "closed form": partial(S4RidgeClassifier, n_oscillators=4, random_state=0),
    "pipeline": lambda: make_pipeline(
        BandPass(2, 25), Baseline(0, 0.2), S4RidgeClassifier(n_oscillators=4, random_state=0)
    ),
    "segmenter": lambda: S4Segmenter(S4RidgeClassifier(n_oscillators=4, random_state=0), epoch_s=0.5),
}


@pytest.mark.parametrize("start_s", [7.5, 1.7e9])  # seconds since 1970
@pytest.mark.parametrize("make", DEFAULTS.values(), ids=DEFAULTS)
def test_regular_times_are_a_rate(make, start_s):
    X, y = waves(n_channels=3)
    X[3, :, 7] = np.nan
    times = start_s + np.arange(60) / 60.0
    rated, timed = Signals(X, sfreq=60.0), Signals(X, times=[times] * 24)
    y = [[label, 1 - label] for label in y] if make is DEFAULTS["segmenter"] else y
    one, other = make().fit(rated, y), make().fit(timed, y)
    assert [case.times.tolist() for case in timed] == [times.tolist()] * 24
    np.testing.assert_array_equal(other.predict_proba(timed).tolist(), one.predict_proba(rated).tolist())
    if isinstance(one, S4Classifier | S4RidgeClassifier):
        assert other.describe() == one.describe()
        by_argument = make().fit(X, y, times=[times] * 24)
        np.testing.assert_array_equal(by_argument.predict_proba(X, times=[times] * 24), one.predict_proba(rated))
        # At half the rate, of few samples, and beside an irregular case.
        parts = [Signal(X[0, :, ::2], times=times[::2]), Signal(X[1, :, :4], times=times[:4])]
        alone = [
            one.predict_proba(Signals([X[0, :, ::2]], sfreq=30.0)),
            one.predict_proba(Signals([X[1, :, :4]], sfreq=60.0)),
        ]
        if one.get_params().get("kernel") != "s4":
            parts.append(Signal(X[2], times=start_s + np.linspace(0, 1, 60) ** 2))
        np.testing.assert_allclose(other.predict_proba(Signals(parts))[:2], np.concatenate(alone), rtol=0, atol=1e-6)
    if make in (DEFAULTS["stream"], DEFAULTS["closed form"]):
        np.testing.assert_array_equal(other.stream().push(X[0]), one.stream().push(X[0]))


def test_volts_and_microvolts_give_the_same_predictions():
    X, y = waves()
    volts = classifier(**REFERENCE).fit(1e-6 * X, y)
    microvolts = classifier(**REFERENCE).fit(X, y)
    np.testing.assert_allclose(volts.predict_proba(1e-6 * X), microvolts.predict_proba(X), atol=1e-9)
    volts, microvolts = classifier().fit(1e-6 * X, y), classifier().fit(X, y)
    np.testing.assert_allclose(volts.predict_proba(1e-6 * X), microvolts.predict_proba(X), atol=1e-5)


def test_an_offset_of_a_volt_on_microvolts_makes_no_difference():
    X, y = waves()
    with_offset = classifier(**REFERENCE).fit(1e-6 * X + 1.0, y)
    np.testing.assert_allclose(
        with_offset.predict_proba(1e-6 * X + 1.0), classifier(**REFERENCE).fit(X, y).predict_proba(X), atol=1e-6
    )


@pytest.mark.parametrize("kind", ["network", "ridge", "segmenter"])
def test_int16_sound_is_scaled_alike_in_every_form(kind):
    rng, y = np.random.default_rng(0), np.arange(8) % 2
    waves = np.sin(np.arange(800) * np.where(y == 1, 0.3, 0.6)[:, None]) * rng.uniform(0.5, 1, (8, 1))
    X = (9000 * waves).astype(np.int16)[:, None]
    forms = [Signals(X, sfreq=8000.0), list(X), list(X / 2**15)]
    model = S4RidgeClassifier(n_oscillators=4, sfreq=8000.0, random_state=0)
    if kind == "segmenter":
        model, y = S4Segmenter(model, epoch_s=0.02, sfreq=8000.0), [np.repeat(label, 5) for label in "abababab"]
    else:
        X = X[..., :200]
        forms = [Signals(X, sfreq=8000.0), list(X), list(X / 2**15), X, X[:, 0], X / 2**15]
    if kind == "network":
        model = classifier(max_epochs=1, sfreq=8000.0, frontend="linear", bidirectional=False)

    def probabilities(model, form):
        return np.ravel(np.concatenate(list(model.predict_proba(form))))

    models = [clone(model).fit(form, y) for form in forms]
    expected = probabilities(models[0], forms[0])
    for fitted, form in zip(models, forms, strict=True):
        np.testing.assert_allclose(probabilities(fitted, forms[0]), expected, atol=1e-5)
        np.testing.assert_allclose(probabilities(models[0], form), expected, atol=1e-5)
    streamed = models[0].stream().push(X[0])
    np.testing.assert_allclose(np.ravel(streamed), expected[: streamed.size], atol=1e-5)


@pytest.mark.parametrize(("sfreq", "n_channels", "scale"), [(4000.0, 2, 2**15), (3999.0, 2, 1), (4000.0, 3, 1)])
def test_integers_are_sound_from_4_khz_and_of_at_most_two_channels(sfreq, n_channels, scale):
    words = np.full((1, n_channels, 9), 2**14, dtype=np.int16)
    assert (Signals(words, sfreq=sfreq)[0].data == 2**14 / scale).all()


@pytest.mark.parametrize("kind", ["u1", "i1", "i2", "i4"])
def test_integer_sound_of_any_width_equals_float_sound(kind):
    rng, y = np.random.default_rng(0), np.arange(16) % 2
    X = np.sin(np.arange(400) * np.where(y == 1, 0.3, 0.6)[:, None]) * rng.uniform(0.6, 0.9, (16, 1))
    model = S4RidgeClassifier(n_oscillators=4, sfreq=8000.0, random_state=0).fit(X, y)
    silence, full = {"u1": (128, 2**7), "i1": (0, 2**7), "i2": (0, 2**15), "i4": (0, 2**31)}[kind]
    words = np.round(X * full + silence).astype(kind)
    tensors = [torch.from_numpy(word) for word in words]
    for form in (words, list(words), tuple(words), object_array(list(words)), tensors, torch.from_numpy(words)):
        np.testing.assert_allclose(model.predict_proba(form), model.predict_proba(X), atol=0.02)
    pair = (words[0], 8000)
    np.testing.assert_allclose(model.predict_proba(pair), model.predict_proba(X[:1]), atol=0.02)
    segments = [model.predict_segments(form, window_s=0.05, hop_s=0.05) for form in (list(words), list(X))]
    assert [piece.label for piece in segments[0]] == [piece.label for piece in segments[1]] == y.tolist()
    chunk = RobustScale(sfreq=8000.0).fit(X).stream().push(words[0])
    np.testing.assert_allclose(chunk, RobustScale(sfreq=8000.0).fit(X).stream().push(X[0]), atol=0.05)


@pytest.mark.parametrize("constant", [0.0, 5e-6, 0.1, 1e9])
def test_channel_constant_in_training_is_ignored(constant):
    X, y = waves()
    X[:, 1] = constant
    with pytest.warns(UserWarning, match="channel 1 is flat in all training cases; it is ignored"):
        model = classifier().fit(X, y)
    varying = X.copy()
    varying[:, 1] = 40 * np.random.default_rng(0).standard_normal(varying[:, 1].shape) + 300
    np.testing.assert_array_equal(model.predict_proba(varying), model.predict_proba(X))


def test_channels_are_not_scaled_without_standardize():
    X, y = waves()
    model = classifier(standardize=False).fit(X, y)
    assert (model._standardizer.mean == 0).all()
    assert (model._standardizer.scale == 1).all()


@pytest.mark.parametrize("make", [classifier, regressor])
@pytest.mark.parametrize("pooling", ["mean", "legs", "attention", "last"])
def test_prediction_of_a_case_does_not_depend_on_the_other_cases(make, pooling, rng):
    X, y = unequal()
    model = make(pooling=pooling).fit(X, y)
    together = model._outputs(X)
    alone = np.concatenate([model._outputs([case]) for case in X])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    order = rng.permutation(len(X))
    np.testing.assert_allclose(model._outputs([X[i] for i in order]), together[order], atol=1e-6)
    long = np.concatenate([X[0], np.zeros((2, 500))], axis=1)
    np.testing.assert_allclose(model._outputs([*X, long])[:-1], together, atol=1e-6)


def test_prediction_with_a_filter_bank_does_not_depend_on_the_other_cases():
    rng = np.random.default_rng(0)
    X = [rng.standard_normal(n) for n in (805, 1600, 1111, 90)] * 2
    model = classifier(sfreq=8000.0).fit(X, [0, 1] * 4)
    alone = np.concatenate([model.decision_function([case]) for case in X])
    np.testing.assert_allclose(model.decision_function(X), alone, atol=1e-5)


def test_single_channel_is_accepted_in_any_form():
    X, y = waves(n_channels=1)
    flat = X[:, 0]
    expected = classifier(**REFERENCE).fit(flat, y).predict_proba(flat)
    objects = np.empty(len(X), dtype=object)
    objects[:] = list(flat)
    for form in (X, list(flat), list(X), objects, Signals(X), flat.tolist(), flat.astype(np.float64, order="F")):
        np.testing.assert_allclose(classifier(**REFERENCE).fit(form, y).predict_proba(form), expected, atol=1e-12)


def test_2d_X_may_have_another_length_unless_the_model_was_fitted_on_2d_X():
    X, y = waves(n_channels=1)
    model = classifier().fit(Signals(X), y)
    np.testing.assert_allclose(model.predict_proba(X[:, 0, :40]), model.predict_proba(X[:, :, :40]), atol=1e-12)
    model = classifier().fit(X[:, 0], y)
    with pytest.raises(ValueError, match="X has 40 features, but S4Classifier is expecting 60 features"):
        model.predict(X[:, 0, :40])


def test_float32_and_float64_give_the_same_probabilities():
    X, y = waves()
    model = classifier().fit(X, y)
    np.testing.assert_allclose(model.predict_proba(X.astype(np.float32)), model.predict_proba(X), atol=1e-5)


def smooth(n=24, sfreq=200.0):
    rng = np.random.default_rng(0)
    t = np.arange(int(sfreq)) / sfreq
    y = np.arange(n) % 2
    phase = rng.uniform(0, 6, (n, 1, 1))
    return np.sin(2 * np.pi * np.array([2.0, 6.0])[y][:, None, None] * t + phase), y


@pytest.mark.parametrize("bidirectional", [True, False])
def test_half_the_rate_gives_nearly_the_same_probabilities(bidirectional):
    X, y = smooth()
    model = classifier(sfreq=200.0, bidirectional=bidirectional, max_epochs=5).fit(X, y)
    full = model.predict_proba(X)
    half = model.predict_proba(X[:, :, ::2], sfreq=100.0)
    np.testing.assert_allclose(half, full, atol=0.02)
    np.testing.assert_array_equal(half, model.predict_proba(Signals(X[:, :, ::2], sfreq=100.0)))
    assert np.abs(model.predict_proba(X[:, :, ::2]) - full).max() > np.abs(half - full).max()


def test_half_the_rate_gives_nearly_the_same_predictions_with_a_filter_bank():
    rng = np.random.default_rng(0)
    t = np.arange(8000) / 16000
    y = rng.uniform(4, 20, 24)
    tone = np.sin(2 * np.pi * rng.uniform(200, 1500, (24, 1)) * t)
    # Every band contains noise, as in a recording: what leaks through the skirts of the filters depends on the rate.
    noise = resample(rng.standard_normal((24, 3000)), 8000, axis=1)
    X = (1.1 + np.sin(2 * np.pi * y[:, None] * t)) * tone + 0.05 * noise
    model = regressor(sfreq=16000.0, max_epochs=10).fit(X, y)
    full, half = model.predict(X), model.predict(X[:, ::2], sfreq=8000.0)
    assert np.abs(half - full).mean() < 0.1 * full.std()


def test_cases_of_different_rates_are_predicted_together():
    X, y = smooth()
    model = classifier(sfreq=200.0).fit(X, y)
    both = Signals.concatenate([Signals(X[:3], sfreq=200.0), Signals(X[3:6, :, ::2], sfreq=100.0)])
    separate = [model.predict_proba(X[:3]), model.predict_proba(X[3:6, :, ::2], sfreq=100.0)]
    np.testing.assert_allclose(model.predict_proba(both), np.concatenate(separate), atol=1e-6)


def test_the_rate_may_come_with_signals_or_as_a_parameter():
    X, y = smooth()
    one = classifier(**REFERENCE, sfreq=200.0).fit(X, y)
    other = classifier(**REFERENCE).fit(Signals(X, sfreq=200.0), y)
    assert one.sfreq_ == other.sfreq_ == 200.0
    np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))


def epochs_of(X, y):
    mne = pytest.importorskip("mne")
    info = mne.create_info(["Oz", "O1"], 200.0, "eeg")
    events = np.column_stack([np.arange(len(y)) * 100, np.zeros(len(y), int), y + 1])
    return mne.EpochsArray(1e-6 * X, info, events=events, verbose="error")


def test_epochs_equal_an_array_in_volts_with_a_rate():
    X, y = waves()
    epochs = epochs_of(X, y)
    from_epochs = classifier(**REFERENCE).fit(epochs, y)
    from_array = classifier(**REFERENCE, sfreq=200.0).fit(1e-6 * X, y)
    assert from_epochs.sfreq_ == 200.0
    expected = from_array.predict_proba(1e-6 * X)
    np.testing.assert_allclose(from_epochs.predict_proba(epochs), expected, atol=1e-12)
    pieces = [epochs[i] for i in range(len(X))]
    np.testing.assert_allclose(from_epochs.predict_proba(pieces), expected, atol=1e-12)
    np.testing.assert_allclose(classifier(**REFERENCE).fit(pieces, y).predict_proba(pieces), expected, atol=1e-12)


def test_epochs_work_in_cross_validation():
    X, y = waves()
    epochs = epochs_of(X, y)
    from_epochs = cross_val_score(classifier(**REFERENCE), epochs, y, cv=2)
    from_array = cross_val_score(classifier(**REFERENCE, sfreq=200.0), 1e-6 * X, y, cv=2)
    np.testing.assert_array_equal(from_epochs, from_array)


def test_files_give_the_same_predictions_as_arrays(tmp_path):
    soundfile = pytest.importorskip("soundfile")
    rng = np.random.default_rng(0)
    sounds = [0.1 * rng.standard_normal(n) for n in rng.integers(800, 1600, 8)]
    paths = [tmp_path / f"{i}.wav" for i in range(8)]
    for path, sound in zip(paths, sounds, strict=True):
        soundfile.write(path, sound, 8000, subtype="FLOAT")
    y = [0, 1] * 4
    files = Signals.from_files(paths)
    model = classifier().fit(files, y)
    assert model._plan.frontend == "filterbank"
    held = classifier().fit(Signals([s.astype(np.float32) for s in sounds], sfreq=8000.0), y)
    np.testing.assert_allclose(model.predict_proba(files), held.predict_proba(files), atol=1e-6)


@pytest.mark.parametrize("estimator", [S4RidgeClassifier(n_oscillators=4), S4Classifier(max_epochs=1, d_model=4)])
def test_fit_and_predict_warn_about_sounds_that_are_too_short(estimator):
    clips = Signals([np.sin(np.arange(200.0 if i else 10.0) * (i % 3 + 1)) for i in range(6)], sfreq=16000)
    with pytest.warns(UserWarning, match="case 0: 10 samples at 16000 Hz are too short for audio; leave it out"):
        fitted = clone(estimator).fit(clips, [0, 1] * 3)
    with pytest.warns(UserWarning, match="case 1: 10 samples at 16000 Hz are too short for audio"):
        assert np.isfinite(fitted.predict_proba(clips[[1, 0]])).all()
