"""A stream returns the prediction for all samples so far, taken as one case."""

import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError
from tensor_calls import Calls

from s4signal import Signals
from s4signal.errors import ShapeError
from s4signal.estimators import S4RandomFeatures, S4RidgeClassifier, S4RidgeRegressor
from s4signal.estimators.features.streaming import FeatureStream
from s4signal.random_features import filters, running

__all__: list[str] = []

SFREQ = 200.0


def cases(n_channels, n_times=1024, n=12):
    rng = np.random.default_rng(0)
    t = np.arange(n_times) / SFREQ
    hertz = np.where(np.arange(n) % 2, 7.0, 20.0)[:, None, None]
    return np.sin(2 * np.pi * (hertz * t + rng.random((n, n_channels, 1)))) + rng.standard_normal(
        (n, n_channels, n_times)
    )


def fitted(n_channels, kind=S4RandomFeatures, **changes):
    X = cases(n_channels)
    model = kind(n_oscillators=12, precision="64", sfreq=SFREQ, random_state=0, **changes)
    return model.fit(X) if kind is S4RandomFeatures else model.fit(X, np.arange(12) % 2)


@pytest.mark.parametrize("n_channels", [1, 3, 20])
@pytest.mark.parametrize("sizes", [(1,), (7, 64, 129), (1000,)])
def test_stream_features_equal_transform_after_every_chunk(n_channels, sizes):
    model, x = fitted(n_channels), cases(n_channels)[0]
    stream, n_pushed = model.stream(), 0
    for turn in range(40):
        size = sizes[turn % len(sizes)]
        output = stream.push(x[:, n_pushed : n_pushed + size])
        n_pushed = min(n_pushed + size, x.shape[1])
        if turn % 9 in (0, 4):
            np.testing.assert_allclose(output, model.transform(x[None, :, :n_pushed])[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n_channels", [1, 3])
@pytest.mark.parametrize("n_times", [513, 1537, 15_001, 2**14])
def test_stream_equals_transform_for_long_cases(n_channels, n_times):
    model = fitted(n_channels)
    x = np.random.default_rng(1).standard_normal((n_channels, n_times))
    stream = model.stream()
    for chunk in np.array_split(x, 11, axis=1):
        output = stream.push(chunk)
    longer = np.pad(x, ((0, 0), (0, 700)))  # padded in a batch with a longer case
    together = model.transform([longer, x])[1]
    np.testing.assert_allclose(output, model.transform(x[None])[0], rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(output, together, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("n_channels", [1, 3])
@pytest.mark.parametrize("kind", [S4RidgeClassifier, S4RidgeRegressor])
def test_stream_predictions_equal_predictions_of_the_whole_case(n_channels, kind):
    model, x = fitted(n_channels, kind), cases(n_channels)[1]
    predict = model.predict_proba if kind is S4RidgeClassifier else model.predict
    stream = model.stream()
    for chunk in np.array_split(x, 5, axis=1):
        output = stream.push(chunk)
    np.testing.assert_allclose(output, np.atleast_1d(predict(x[None])[0]), rtol=1e-5, atol=1e-5)
    half = x[:, ::2]
    slow = model.stream(sfreq=SFREQ / 2).push(half)
    np.testing.assert_allclose(slow, np.atleast_1d(predict(half[None], sfreq=SFREQ / 2)[0]), rtol=1e-5, atol=1e-5)


def test_memory_of_a_stream_does_not_grow():
    stream, rng = fitted(2).stream(), np.random.default_rng(0)

    def kept():
        groups = [group for running in stream._running for group in running._groups]
        return sum(v.size for g in groups for v in vars(g).values() if isinstance(v, np.ndarray))

    stream.push(rng.standard_normal((2, 6400)))
    before = kept()
    for _ in range(20):
        stream.push(rng.standard_normal((2, 6400)))
    assert kept() == before


def test_stream_in_single_precision_is_close_to_transform():
    X = cases(2)
    model = S4RandomFeatures(n_oscillators=12, sfreq=SFREQ, random_state=0).fit(X)
    stream = model.stream()
    for chunk in np.array_split(X[0], 5, axis=1):
        output = stream.push(chunk)
    expected = model.transform(X[:1])[0]
    np.testing.assert_allclose(output, expected, atol=1e-4)
    shares = np.array([name.startswith("PPV") for name in model.get_feature_names_out()])
    np.testing.assert_allclose(output[shares], expected[shares], atol=5e-6)  # counted, then divided once


@pytest.mark.parametrize("n_channels", [1, 3])
@pytest.mark.parametrize("kind", [S4RandomFeatures, S4RidgeClassifier])
def test_copied_and_pickled_streams_give_bit_identical_outputs(n_channels, kind):
    stream, x = fitted(n_channels, kind).stream(), cases(n_channels)[0]
    stream.push(x[:, :333])
    others = [copy.deepcopy(stream), pickle.loads(pickle.dumps(stream))]
    expected = [stream.push(x[:, 333:600]), stream.push(x[:, 600:])]
    for other in others:
        np.testing.assert_array_equal([other.push(x[:, 333:600]), other.push(x[:, 600:])], expected)


@pytest.mark.parametrize("n_channels", [1, 3])
def test_push_builds_no_tables_and_calls_few_tensor_operations(n_channels, monkeypatch):
    def refuse(*args, **options):
        raise AssertionError("a table was built")

    stream, x = fitted(n_channels, S4RidgeClassifier).stream(), cases(n_channels)[0]
    for module, name in ((running, "oscillator_blocks"), (filters, "cascade_tables"), (filters, "oscillator_blocks")):
        monkeypatch.setattr(module, name, refuse)
    stream.push(x[:, :100])
    with Calls() as calls:
        stream.push(x[:, 100:260])
    assert calls.n <= (60 if n_channels == 1 else 160)  # for any number of oscillators


@pytest.mark.slow
def test_single_precision_error_does_not_grow_over_a_million_samples():
    t = np.arange(8000)
    tone = np.stack([np.sin(2 * np.pi * t / period) for period in (40, 800)])
    single = S4RandomFeatures(n_oscillators=12, sfreq=SFREQ, random_state=0).fit(cases(2))
    exact = fitted(2)
    streams = [exact.stream(), single.stream()]
    errors = [np.abs(np.subtract(*(stream.push(tone) for stream in streams))).max() for _ in range(125)]
    assert errors[-1] <= 3 * errors[0] + 1e-5


def test_a_reset_within_a_gap_starts_anew():
    stream, x = fitted(2).stream(), cases(2)[0]
    stream.push(np.where(np.arange(300) > 250, np.nan, x[:, :300]))
    stream.reset()
    np.testing.assert_array_equal(stream.push(x[:, 300:]), fitted(2).stream().push(x[:, 300:]))


def test_invalid_chunks_and_models_are_refused():
    model = fitted(2)
    with pytest.raises(ShapeError, match=r"chunk must have shape \(2, n_times\), got \(3, 5\)"):
        model.stream().push(np.zeros((3, 5)))
    with pytest.raises(ShapeError, match="chunk is empty and nothing came before"):
        model.stream().push(np.zeros((2, 0)))
    with pytest.raises(ValueError, match="contains NaN"):
        model.stream().push(np.full((2, 5), np.nan))
    with pytest.raises(NotFittedError, match="S4RidgeClassifier instance is not fitted"):
        S4RidgeClassifier().stream()
    with pytest.raises(ValueError, match="sfreq=-1 must be a positive number"):
        model.stream(sfreq=-1)
    times = [(np.arange(1024) + 0.3 * (np.arange(1024) % 2)) / SFREQ] * 12
    timed = S4RandomFeatures(n_oscillators=4).fit(Signals(cases(2), times=times))
    with pytest.raises(ValueError, match="a stream is regular: pass its rate"):
        timed.stream()


@pytest.mark.parametrize(
    "wanted", [{"means", "ppv"}, {"combinations"}, {"energies"}, {"narrow bands", "means"}, {"spectral lines"}]
)
def test_unused_feature_blocks_are_not_computed_in_a_stream(wanted, monkeypatch):
    rng = np.random.default_rng(0)
    fitted = S4RandomFeatures(n_oscillators=8, precision="64", random_state=0).fit(rng.standard_normal((6, 3, 200)))
    features, chunks = fitted.feature_map_, rng.standard_normal((3, 3, 50))
    every, some = (
        FeatureStream(features, lambda values: values, period=1.0, **given) for given in ({}, {"wanted": wanted})
    )
    expected = [every.push(chunk) for chunk in chunks]
    if wanted <= {"means", "ppv", "combinations"}:
        monkeypatch.setattr(torch.linalg, "eigh", lambda *_: pytest.fail("a covariance was computed"))
    blocks = np.repeat(list(features.sizes), list(features.sizes.values()))
    for chunk, values in zip(chunks, expected, strict=True):
        output = some.push(chunk)
        read = np.isin(blocks, list(wanted))
        np.testing.assert_array_equal(output[read], values[read])
        assert np.isnan(output[np.isin(blocks, list({"energies", "narrow bands", "spectral lines"} - wanted))]).all()
