"""Streams of models with a limited look-ahead: each push equals the prediction for all samples so far."""

import copy
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from small_models import classifier, regressor, same_weights, waves

from s4signal import S4Classifier, Signals

__all__: list[str] = []

TOLERANCE = {"32": 1e-5, "64": 1e-9}
MAKES = {
    "linear": lambda **options: fitted(frontend="linear", lookahead_s=0.2, **options),
    "hop_means": lambda **options: fitted(frontend="hop_means", lookahead_s=0.2, **options),
    "band_power": lambda **options: fitted(frontend="band_power", lookahead_s=0.2, **options),
    "EEG": lambda **options: fitted(n_channels=9, lookahead_s=0.2, n_layers="auto", readout="auto", **options),
    "filterbank": lambda **options: sounds(lookahead_s=0.05, **options),
    "a band of the filterbank": lambda **options: sounds(
        lookahead_s=0.05, band_hz=(100, 3000), pooling="attention", **options
    ),
}
each_make = pytest.mark.parametrize("make", MAKES.values(), ids=MAKES)


def fitted(*, n_channels=2, make=classifier, **options):
    X, y = waves(n_channels=n_channels, n_times=200)
    return make(**{"n_layers": 2, "sfreq": 100.0, **options}).fit(X, y), X[0]


def sounds(**options):
    X = np.random.default_rng(0).standard_normal((6, 1, 1600))
    return classifier(**{"n_layers": 2, "sfreq": 8000.0, **options}).fit(X, [0, 1] * 3), X[0]


def offline(model, pushed, **options):
    return np.ravel(getattr(model, "predict_proba", model.predict)(pushed[None], **options))


@pytest.mark.parametrize("precision", ["32", "64"])
@each_make
def test_stream_equals_prediction_for_any_chunks(make, precision):
    model, signal = make(precision=precision)
    stream = model.stream()
    for sizes in ([1] * 30, [7] * 20, [160] * 3, [1, 50, 0, 3, 90, 1, 1]):
        n_pushed = 0
        stream.reset()
        for n in sizes:
            scores = stream.push(signal[:, n_pushed : n_pushed + n])
            n_pushed += n
            np.testing.assert_allclose(scores, offline(model, signal[:, :n_pushed]), rtol=0, atol=TOLERANCE[precision])


@pytest.mark.parametrize("kernel", ["s4", "lssl", "s5"])
def test_every_kernel_streams_at_another_rate(kernel):
    model, signal = fitted(kernel=kernel, frontend="linear", lookahead_s=0.3, precision="64", make=regressor)
    stream = model.stream(sfreq=60.0)
    for start in range(0, 200, 8):
        scores = stream.push(signal[:, start : start + 8])
        expected = offline(model, signal[:, : start + 8], sfreq=60.0)
        np.testing.assert_allclose(scores, expected, rtol=1e-9)


@each_make
def test_parallel_windowed_copied_and_pickled_streams_equal_prediction(make):
    model, signal = make()
    both = np.stack([signal, -signal])
    many, one, windows = model.stream(n_streams=2), model.stream(), model.stream(window_s=0.1, step_s=0.05)
    size = len(signal[0]) // 10
    for start in range(0, 10 * size, size):
        chunk = slice(start, start + size)
        scores, last = many.push(both[..., chunk]), windows.push(signal[:, chunk])
        np.testing.assert_allclose(scores, [offline(model, x[:, : chunk.stop]) for x in both], rtol=0, atol=1e-5)
        np.testing.assert_allclose(one.push(signal[:, chunk]), scores[0], rtol=0, atol=1e-5)
        one = pickle.loads(pickle.dumps(one)) if start % (2 * size) else copy.deepcopy(one)
    n_window, n_step = (round(seconds * model.sfreq_) for seconds in (0.1, 0.05))
    first = -(-(chunk.stop - n_window) // n_step) * n_step
    np.testing.assert_allclose(last, offline(model, signal[:, first : chunk.stop]), rtol=0, atol=1e-5)


def test_samples_within_the_look_ahead_change_the_output():
    model, signal = fitted(frontend="linear", lookahead_s=0.2, precision="64", pooling="last", n_layers=4)
    longer = np.concatenate([signal, np.full((2, 1), 50.0)], axis=1)
    stream = model.stream()
    before, after = stream.push(longer[:, :200]), stream.push(longer[:, 200:])
    assert np.abs(before - after).max() > 1e-6
    assert "4 x 8, s4d (legs), d_state 8, 20 steps ahead (0.2 s)" in model.describe()
    assert "6 steps ahead (0.18 s)" in fitted(frontend="hop_means", lookahead_s=0.2)[0].describe()


@pytest.mark.parametrize("frontend", ["linear", "hop_means"])
def test_dropped_packets_equal_missing_samples(frontend):
    X, y = waves(n_times=200)
    X[3, :, 20:30] = np.nan
    model = classifier(frontend=frontend, sfreq=100.0, lookahead_s=0.2, n_layers=2).fit(X, y)
    signal, stream = X[3].copy(), model.stream()
    signal[:, 57:63] = np.nan
    for start in range(0, 200, 10):
        scores = stream.push(signal[:, start : start + 10])
        if np.isfinite(signal[:, start + 9]).all():
            np.testing.assert_allclose(scores, offline(model, signal[:, : start + 10]), rtol=0, atol=1e-5)
    assert "marked where one is missing" in model.describe() or frontend == "hop_means"


@each_make
def test_loaded_model_is_identical(make, tmp_path):
    model, signal = make()
    model.save(tmp_path / "m.s4")
    loaded = S4Classifier.load(tmp_path / "m.s4")
    assert loaded.lookahead_s == model.lookahead_s
    assert loaded.describe() == model.describe()
    np.testing.assert_array_equal(loaded.stream().push(signal), model.stream().push(signal))


def test_lookahead_s_works_with_clone_set_params_and_searches():
    X, y = waves()
    search = GridSearchCV(classifier(sfreq=100.0, frontend="linear"), {"lookahead_s": [None, 0.05]}, cv=2).fit(X, y)
    assert {p["lookahead_s"] for p in search.cv_results_["params"]} == {None, 0.05}
    other = clone(search.best_estimator_).set_params(lookahead_s=0.1)
    assert other.get_params()["lookahead_s"] == 0.1
    far, all_ahead = (classifier(sfreq=100.0, frontend="linear", lookahead_s=s).fit(X, y) for s in (60.0, None))
    np.testing.assert_allclose(far.predict_proba(X), all_ahead.predict_proba(X), atol=1e-4)
    assert not same_weights(other.fit(X, y), all_ahead)


def test_incompatible_options_are_refused():
    X, y = waves()
    with pytest.raises(ValueError, match="lookahead_s needs bidirectional=True"):
        classifier(lookahead_s=0.1, bidirectional=False).fit(X, y)
    with pytest.raises(ValueError, match=r"0.03 must be at least a step of 0.01 s for each layer, 0.04, and"):
        classifier(lookahead_s=0.03, n_layers=4, sfreq=100.0, frontend="linear").fit(X, y)
    with pytest.raises(ValueError, match=r"lookahead_s=1e\+09 must be .* at most 1,000,000 steps; change it"):
        classifier(lookahead_s=1e9, sfreq=100.0, frontend="linear").fit(X, y)
    times = [np.sort(np.random.default_rng(0).uniform(0, 1, 60)) for _ in X]
    with pytest.raises(ValueError, match=r"X has times, but lookahead_s=0.1 cannot take gaps.*Use lookahead_s=None"):
        classifier(lookahead_s=0.1).fit(X, y, times=times)
    with pytest.raises(ValueError, match=r"missing='gap' is set, but lookahead_s=0.1 cannot take gaps"):
        classifier(lookahead_s=0.1, missing="gap", frontend="linear", sfreq=100.0).fit(X, y)
    model = classifier(lookahead_s=0.1, frontend="linear", sfreq=60.0).fit(X, y)
    with pytest.raises(ValueError, match=r"case 0 .* or the model has lookahead_s, and does not support gaps"):
        model.predict(Signals(list(X), times=times))
    with pytest.raises(ValueError, match="view='step' needs a causal model, this one looks ahead"):
        model.export("model.pt2", format="torch", view="step")
