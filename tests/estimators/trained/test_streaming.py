"""Each push to a stream returns the prediction for all samples so far."""

import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError
from small_models import classifier, regressor, waves

from s4signal.errors import ShapeError

TOLERANCE = {"32": 1e-5, "64": 1e-9}
CHUNKS = {
    "samples": [1] * 60,
    "uneven": [7, 1, 0, 23, 29],
    "whole": [60],
}


def causal(make, **options):
    X, y = waves()
    return make(bidirectional=False, **options).fit(X, y), X[0]


def offline(model, pushed, **options):
    method = getattr(model, "predict_proba", model.predict)
    return np.ravel(method(pushed[None], **options))


@pytest.mark.parametrize("chunks", CHUNKS.values(), ids=CHUNKS)
@pytest.mark.parametrize("pooling", ["mean", "legs", "attention", "last"])
@pytest.mark.parametrize("precision", ["32", "64"])
def test_stream_equals_prediction_for_any_chunks(chunks, pooling, precision):
    model, signal = causal(classifier, pooling=pooling, precision=precision, n_layers=2)
    stream, n_pushed = model.stream(), 0
    for n in chunks:
        scores = stream.push(signal[:, n_pushed : n_pushed + n])
        n_pushed += n
        np.testing.assert_allclose(scores, offline(model, signal[:, :n_pushed]), rtol=0, atol=TOLERANCE[precision])


@pytest.mark.parametrize("pooling", ["mean", "legs", "attention", "last"])
@pytest.mark.parametrize("precision", ["32", "64"])
@pytest.mark.parametrize("sfreq", [8000.0, 6000.0, 22050.0])
@pytest.mark.filterwarnings("ignore:.* samples at .* are too short for audio")  # the first prediction warns
def test_stream_with_a_filter_bank_equals_prediction_at_any_rate(pooling, precision, sfreq):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((6, 1600)), [0, 1] * 3
    model = classifier(sfreq=8000.0, bidirectional=False, pooling=pooling, precision=precision).fit(X, y)
    signal = rng.standard_normal((1, 2500))
    stream, n_pushed = model.stream(sfreq=sfreq), 0
    for n in (1, 78, 1, 80, 333, 2007):
        scores = stream.push(signal[:, n_pushed : n_pushed + n])
        n_pushed += n
        expected = offline(model, signal[:, :n_pushed], sfreq=sfreq)
        np.testing.assert_allclose(scores, expected, rtol=0, atol=TOLERANCE[precision])


@pytest.mark.parametrize("readout", ["pooled", "closed_form"])
@pytest.mark.parametrize("n_dropped", [1, 5, 30])
def test_dropped_packets_equal_missing_samples_with_hop_means(readout, n_dropped, tmp_path):
    X, y = waves(n_times=200)
    model = classifier(frontend="hop_means", sfreq=100.0, readout=readout, bidirectional=False).fit(X, y)
    model.save(tmp_path / "model.s4")
    signal = X[0].copy()
    signal[:, :3] = signal[:, 57 : 57 + n_dropped] = np.nan
    streams = [model.stream(), model.stream(window_s=1, step_s=0.5), type(model).load(tmp_path / "model.s4").stream()]
    for start in range(0, 200, 10):
        whole, window, loaded = (stream.push(signal[:, start : start + 10]) for stream in streams)
        end = start + 10
        if np.isfinite(signal[:, end - 1]).all():  # a gap at the end is filled when it is over
            np.testing.assert_allclose(whole, offline(model, signal[:, :end]), rtol=0, atol=1e-5)
            if end >= 100 and end % 50 == 0:
                np.testing.assert_allclose(window, offline(model, signal[:, end - 100 : end]), rtol=0, atol=1e-5)
        np.testing.assert_array_equal(loaded, whole)
    one = signal.copy()
    one[0, 90:93] = np.nan
    with pytest.raises(ValueError, match="NaN in some channels only; this model accepts gaps only in all channels"):
        model.stream().push(one)


def test_first_samples_of_a_sound_stream_give_no_warning():
    X = np.random.default_rng(0).standard_normal((6, 1600))
    model = classifier(sfreq=8000.0).fit(X, [0, 1] * 3)
    scores = model.stream(window_s=0.1).push(X[0, :5])
    with pytest.warns(UserWarning, match="5 samples at 8000 Hz are too short for audio"):
        np.testing.assert_allclose(scores, offline(model, X[:1, :5], sfreq=8000.0), rtol=0, atol=1e-6)


@pytest.mark.parametrize("n_dropped", [1, 7, 8, 300])
def test_dropped_packets_of_sound_are_interpolated_linearly(n_dropped):
    rng = np.random.default_rng(0)
    X = np.cumsum(rng.standard_normal((6, 1600)), 1)
    model = classifier(sfreq=8000.0, bidirectional=False, missing="gap").fit(X, [0, 1] * 3)
    signal = X[:1].copy()
    signal[:, :2] = signal[:, 317 : 317 + n_dropped] = np.nan
    stream, interpolated = model.stream(), signal.copy()
    seen = np.flatnonzero(np.isfinite(signal[0]))
    interpolated[0] = np.interp(np.arange(1600), seen, signal[0, seen])
    for start in range(0, 1600, 160):
        scores, end = stream.push(signal[:, start : start + 160]), start + 160
        if np.isfinite(signal[0, end - 1]):
            expected = signal if n_dropped >= 8 else interpolated
            np.testing.assert_allclose(scores, offline(model, expected[:, :end]), rtol=0, atol=1e-5)
    assert stream.n_missing == 2 + n_dropped


@pytest.mark.parametrize("n_outputs", [1, 3])
def test_regressor_stream_equals_prediction_for_every_output(n_outputs):
    X, y = waves()
    model = regressor(bidirectional=False, precision="64").fit(X, np.outer(y, 1e3 * np.arange(1, n_outputs + 1)))
    scores = model.stream().push(X[0])
    assert scores.shape == (n_outputs,)
    np.testing.assert_allclose(scores, model.predict(X[:1])[0], rtol=1e-9)


def test_stream_at_another_rate_equals_prediction_at_that_rate():
    model, signal = causal(classifier, sfreq=100.0, precision="64")
    stream = model.stream(sfreq=50.0)
    for chunk in np.array_split(signal[:, ::2], 5, axis=1):
        scores = stream.push(chunk)
    np.testing.assert_allclose(scores, offline(model, signal[:, ::2], sfreq=50.0), rtol=0, atol=1e-9)


def test_reset_stream_equals_a_new_stream():
    model, signal = causal(classifier)
    stream = model.stream()
    first = stream.push(signal[:, :30])
    stream.push(signal[:, 30:])
    stream.reset()
    np.testing.assert_array_equal(stream.push(signal[:, :30]), first)


def test_streams_of_one_model_are_independent():
    model, signal = causal(classifier)
    one, other = model.stream(), model.stream()
    expected = one.push(signal)
    other.push(-signal[:, :7])
    one.reset()
    np.testing.assert_array_equal(one.push(signal), expected)


def count(kept):
    """Count the numbers in tensors, arrays and tuples of them."""
    if isinstance(kept, torch.Tensor | np.ndarray):
        return int(np.prod(kept.shape))
    return sum(map(count, kept)) if isinstance(kept, tuple | list) else int(kept is not None)


def state_size(stream):
    return count(stream._state)


@pytest.mark.parametrize("sfreq", [None, 8000.0])
def test_memory_does_not_grow(sfreq):
    X, y = waves(8, n_times=960)  # whole hops, so that no sample is left over
    model = classifier(bidirectional=False, sfreq=sfreq).fit(X, y)
    stream = model.stream()
    stream.push(X[0])
    before = state_size(stream)
    for case in X:
        stream.push(case)
        assert state_size(stream) == before


def test_chunk_of_one_channel_may_be_one_dimensional():
    X, y = waves(n_channels=1)
    model = classifier(bidirectional=False).fit(X, y)
    np.testing.assert_array_equal(model.stream().push(X[0, 0]), model.stream().push(X[0].tolist()))


def test_empty_chunk_returns_the_last_output():
    model, signal = causal(classifier)
    stream = model.stream()
    before = stream.push(signal)
    np.testing.assert_array_equal(stream.push(signal[:, :0]), before)


def test_an_empty_first_chunk_is_refused():
    model, signal = causal(classifier)
    with pytest.raises(ShapeError, match="chunk is empty and nothing came before; push at least one sample"):
        model.stream().push(signal[:, :0])


@pytest.mark.parametrize("chunk", [np.zeros((3, 5)), np.zeros(5), np.zeros((1, 2, 5)), 1.0])
def test_chunk_with_another_number_of_channels_is_refused(chunk):
    model, _ = causal(classifier)
    with pytest.raises(ShapeError, match=r"chunk must have shape \(2, n_times\), got \("):
        model.stream().push(chunk)


@pytest.mark.parametrize(("value", "kind"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")])
def test_refused_chunk_leaves_the_state_unchanged(value, kind):
    model, signal = causal(classifier, missing="error" if kind == "NaN" else "auto")
    stream = model.stream()
    stream.push(signal[:, :10])
    bad = signal[:, 10:20].copy()
    bad[1, 3] = value
    with pytest.raises(ValueError, match=rf"contains {kind}: .*the chunk.* has 1 such samples of 20"):
        stream.push(bad)
    np.testing.assert_allclose(stream.push(signal[:, 10:20]), offline(model, signal[:, :20]), atol=1e-5)


def test_model_fitted_with_bidirectional_does_not_stream():
    X, y = waves()
    model = classifier().fit(X, y)
    with pytest.raises(ValueError, match="stream needs a causal model, this one looks ahead; fit with bidirectional="):
        model.stream()
    with pytest.raises(ValueError, match="stream needs a causal model"):
        model.set_params(bidirectional=False).stream()


def test_an_unfitted_model_does_not_stream():
    with pytest.raises(NotFittedError, match="This S4Regressor instance is not fitted yet"):
        regressor(bidirectional=False).stream()


def test_sfreq_needs_a_model_fitted_with_a_rate():
    model, _ = causal(classifier)
    with pytest.raises(ValueError, match="the model was fitted without a sampling rate; fit with sfreq"):
        model.stream(sfreq=50.0)


@pytest.mark.parametrize("sfreq", [0, -5.0, np.inf, np.nan, "8k"])
def test_sfreq_must_be_positive(sfreq):
    model, _ = causal(classifier, sfreq=100.0)
    with pytest.raises(ValueError, match=r"sfreq=.* must be a positive number of Hz"):
        model.stream(sfreq=sfreq)


@pytest.mark.parametrize("options", [{}, {"sfreq": 8000.0}, {"kernel": "s5", "pooling": "attention"}])
def test_copied_and_pickled_streams_give_bit_identical_outputs(options):
    X, y = waves(8, n_times=960)
    stream = classifier(bidirectional=False, **options).fit(X, y).stream()
    stream.push(X[0, :, :333])
    others = [copy.deepcopy(stream), pickle.loads(pickle.dumps(stream))]
    expected = [stream.push(X[0, :, 333:600]), stream.push(X[0, :, 600:])]
    for other in others:
        np.testing.assert_array_equal([other.push(X[0, :, 333:600]), other.push(X[0, :, 600:])], expected)


def test_changing_an_output_does_not_change_the_stream():
    model, signal = causal(classifier)
    stream = model.stream()
    first = stream.push(signal)
    before = first.copy()
    first[:] = 7.0
    np.testing.assert_array_equal(stream.push(signal[:, :0]), before)
