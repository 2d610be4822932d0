"""Streams of both kinds of model: windows of the last seconds, dropped packets, chunks as from LSL."""

import functools
import itertools
import pickle

import numpy as np
import pytest
from small_models import classifier, waves

from s4signal import S4RidgeClassifier, S4RidgeRegressor, Signals
from s4signal.errors import ShapeError
from s4signal.signals import windows

__all__: list[str] = []

SFREQ = 60.0


def closed_form(**options):
    return S4RidgeClassifier(n_oscillators=8, precision="64", random_state=0, sfreq=SFREQ, **options)


def network(**options):
    return classifier(precision="64", bidirectional=False, frontend="linear", sfreq=SFREQ, n_layers=2, **options)


def pooled(**options):
    return network(pooling="attention", **options)


def ahead(**options):
    return classifier(precision="64", frontend="linear", sfreq=SFREQ, n_layers=2, **options)


MODELS = {"closed form": closed_form, "network": network, "attention": pooled}
each_model = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
in_windows = pytest.mark.parametrize("make", [*MODELS.values(), ahead], ids=[*MODELS, "looks ahead"])


def fitted(make, n_channels=3, **options):
    X, y = waves(n_channels=n_channels, **options)
    return make().fit(X, y)


def signal(n_times=400, n_channels=3):
    return np.random.default_rng(3).standard_normal((n_channels, n_times))


def chunks(x, sizes=(7, 1, 0, 23, 29, 64)):
    start, turn = 0, 0
    while start < x.shape[1]:
        n = sizes[turn % len(sizes)]
        yield x[:, start : start + n], min(start + n, x.shape[1])
        start, turn = start + n, turn + 1


def close(outputs, expected):
    np.testing.assert_allclose(outputs, expected, rtol=1e-6, atol=1e-8)


@in_windows
@pytest.mark.parametrize("step", [None, 20, 60, 7])
def test_windowed_stream_equals_prediction_of_the_samples_in_the_window(make, step):
    model, x, n_window = fitted(make), signal(), 60
    n_step = 30 if step is None else step
    stream = model.stream(window_s=1.0, step_s=None if step is None else step / SFREQ)
    for chunk, now in chunks(x):
        outputs = stream.push(chunk)
        start = -(-max(0, now - n_window) // n_step) * n_step
        close(outputs, model.predict_proba(x[None, :, start:now])[0])


def test_noncausal_network_streams_in_windows_with_dropped_packets():
    model, x = fitted(ahead), signal(120)
    x[:, 70:75], x[1, 90] = np.nan, np.nan
    stream, many = (model.stream(window_s=1.0, n_streams=n) for n in (None, 2))
    outputs = [stream.push(x[:, k : k + 10]) for k in range(0, 100, 10)]
    close(outputs[-1], model.predict_proba(Signals([x[:, 60:100]], sfreq=SFREQ))[0])
    copied = pickle.loads(pickle.dumps(stream))
    close(copied.push(x[:, 100:]), stream.push(x[:, 100:]))
    assert stream.n_missing == 16
    close(many.push(np.stack([x[:, :50], 2 * x[:, :50]]))[0], outputs[4])
    with pytest.raises(ValueError, match=r"this one looks ahead; .* or ask for windows: stream\(window_s=\.\.\.\)"):
        model.stream()


@in_windows
def test_full_windows_equal_windows_cut_offline(make):
    model, x = fitted(make), signal()
    cut, _, _ = windows(Signals([x], sfreq=SFREQ), duration_s=1.0, step_s=0.25)
    stream, outputs = model.stream(window_s=1.0, step_s=0.25), []
    for k in range(0, 400, 5):
        output = stream.push(x[:, k : k + 5])
        if k + 5 >= 60 and (k + 5 - 60) % 15 == 0:
            outputs.append(output)
    assert len(outputs) == len(cut)
    close(outputs, model.predict_proba(cut))


@each_model
def test_windowed_stream_ignores_samples_before_the_window(make):
    model, x = fitted(make), signal()
    stream = model.stream(window_s=1.0)
    stream.push(50 * x)
    stream.push(np.zeros((3, 50)))
    stream.push(x[:, :70])
    other = model.stream(window_s=1.0)
    other.push(np.zeros((3, 450)))
    close(stream.push(x[:, 70:]), other.push(x))


@each_model
def test_windowed_stream_keeps_a_bounded_number_of_inner_streams(make):
    stream = fitted(make).stream(window_s=1.0, step_s=0.25)
    for _ in range(20):
        stream.push(signal(33))
        assert len(stream._open) <= 4
    first = stream.push(signal(100))
    stream.reset()
    stream.push(np.zeros((3, 800)))  # a whole number of steps, as before
    stream.reset()
    stream.push(signal(33))
    assert first.shape == (2,)


def test_window_has_the_same_duration_at_another_rate():
    model, x = fitted(network), signal()
    stream = model.stream(sfreq=30.0, window_s=1.0, step_s=1.0)
    outputs = stream.push(x[:, :90])
    close(outputs, model.predict_proba(x[None, :, 60:90], sfreq=30.0)[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window_s": 0}, "window_s=0 must be a positive number of seconds"),
        ({"window_s": 1, "step_s": -1}, "step_s=-1 must be a positive number of seconds"),
        ({"window_s": 1, "step_s": 2}, r"window_s=1 must last a sample .* and step_s=2 no longer"),
        ({"window_s": "4"}, "window_s='4' must be a positive number"),
        ({"step_s": 1}, "step_s is given without window_s"),
    ],
)
def test_invalid_windows_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        fitted(closed_form).stream(**options)


def test_steps_of_windows_have_at_least_one_sample():
    stream = fitted(closed_form).stream(window_s=2 / SFREQ, step_s=1e-6)
    assert stream.push(signal(5)).shape == (2,)


def test_windows_need_a_rate():
    X, y = waves()
    with pytest.raises(ValueError, match="window_s needs a rate, but the model was fitted without one; fit with sfreq"):
        classifier(bidirectional=False).fit(X, y).stream(window_s=1)


@in_windows
def test_a_later_fit_does_not_change_an_open_stream(make):
    model, x = fitted(make), signal(90)
    expected, before = model.predict_proba(x[None, :, 30:]), dict(vars(model))
    stream = model.stream(window_s=1.0)
    assert vars(model) == before
    stream.push(x[:, :60])
    X, y = waves(n_channels=3, seed=1)
    model.fit(5 * X, 1 - y)
    close(stream.push(x[:, 60:]), expected[0])


@each_model
@pytest.mark.parametrize("options", [{}, {"window_s": 1.0}])
def test_empty_chunk_returns_the_last_output(make, options):
    stream = fitted(make).stream(**options)
    outputs = stream.push(signal(50))
    for empty in (np.zeros((3, 0)), [], np.zeros((0, 3))):
        np.testing.assert_array_equal(stream.push(empty), outputs)
    expected = outputs.copy()
    for mine in (outputs, stream.push([])):
        mine[:] = -1.0
    np.testing.assert_array_equal(stream.push([]), expected)
    with pytest.raises(ShapeError, match="chunk is empty and nothing came before"):
        fitted(make).stream(**options).push([])


@each_model
def test_chunks_with_time_first_need_the_option(make):
    model, x = fitted(make), signal(50)
    with pytest.raises(ShapeError, match=r"shape \(3, n_times\), got \(50, 3\).*stream\(time_first=True\), or chunk.T"):
        model.stream().push(x.T)
    expected = model.stream().push(x)
    with pytest.raises(ShapeError, match=r"got \(3,\).*stream\(time_first=True\), or chunk\[:, np.newaxis\]"):
        model.stream().push(x[:, 0])
    stream = model.stream(time_first=True)
    stream.push(x[:, :3].T.tolist())  # a square chunk
    stream.push(x[:, 3])  # one sample
    close(stream.push(x[:, 4:].T), expected)
    with pytest.raises(ShapeError, match=r"shape \(n_times, 3\), got \(3, 50\).*stream\(time_first=False\)"):
        stream.push(x)


@each_model
def test_square_chunk_gives_one_warning(make):
    model, x = fitted(make), signal(3)
    stream = model.stream()
    with pytest.warns(UserWarning, match=r"square, \(3, 3\), and is taken as \(n_channels, n_times\)"):
        outputs = stream.push(x)
    np.testing.assert_array_equal(model.stream(time_first=False).push(x), outputs)
    stream.push(x)  # warned once


def test_single_channel_needs_no_channel_axis():
    X, y = waves(n_channels=1)
    model = network().fit(X, y)
    for time_first in (None, False, True):
        close(model.stream(time_first=time_first).push(X[0, 0]), model.predict_proba(X[:1])[0])


def with_dropped_packets(n_times=200):
    x = signal(n_times)
    for first, n in ((5, 1), (20, 9), (64, 40), (150, 3), (158, 2)):
        x[:, first : first + n] = np.nan
    return x


@each_model
def test_different_units_late_in_a_stream_give_a_warning(make):
    stream, x = fitted(make).stream(), signal(210)
    for chunk, _ in chunks(x[:, :200], (7,)):
        stream.push(chunk)
    with pytest.warns(UserWarning, match="the chunk varies .* times as much as any training case: other units"):
        stream.push(1e4 * x[:, 200:])


@each_model
@pytest.mark.parametrize("sizes", [(1,), (7, 0, 23), (200,)])
def test_dropped_packets_equal_missing_samples_of_a_case(make, sizes):
    model, x = fitted(make), with_dropped_packets()
    stream, checked = model.stream(), 0
    for chunk, now in chunks(x, sizes):
        outputs = stream.push(chunk)
        if np.isfinite(x[0, now - 1]) and (now % 9 == 0 or now == 200):
            close(outputs, model.predict_proba(x[None, :, :now])[0])
            checked += 1
    assert checked


@each_model
def test_output_is_constant_while_packets_are_dropped(make):
    model, x = fitted(make), signal(60)
    stream = model.stream()
    outputs = stream.push(x)
    np.testing.assert_array_equal(stream.push(np.full((3, 25), np.nan)), outputs)
    assert stream.n_missing == 75
    late = np.concatenate([x, np.full((3, 25), np.nan), x[:, :10]], axis=1)
    close(stream.push(x[:, :10]), model.predict_proba(late[None])[0])


@each_model
def test_windowed_stream_accepts_dropped_packets(make):
    model, x = fitted(make), with_dropped_packets()
    stream = model.stream(window_s=0.5, step_s=0.25)
    for k in range(200):
        outputs = stream.push(x[:, k : k + 1])
    close(outputs, model.predict_proba(x[None, :, 180:])[0])


@each_model
def test_missing_first_chunk_is_refused_and_leaves_the_state_unchanged(make):
    model, x = fitted(make), signal(50)
    stream = model.stream()
    with pytest.raises(ValueError, match="contains NaN alone and nothing came before; push at least one observed"):
        stream.push(np.full((3, 5), np.nan))
    close(stream.push(x), model.predict_proba(x[None])[0])


def test_single_missing_channel_is_held_by_networks_and_refused_by_ridge():
    x = signal(80)
    x[1, 30:50], x[2, :10] = np.nan, np.nan
    X, y = waves(n_channels=3)
    X[3, 1, 10:20] = np.nan  # this channel has a mask
    for missing in ("auto", "mask"):
        model = network(missing=missing).fit(X, y)
        stream = model.stream()
        for chunk, _ in chunks(x):
            outputs = stream.push(chunk)
        close(outputs, model.predict_proba(x[None])[0])
    with pytest.raises(ValueError, match=r"NaN in some channels only.*Push NaN in all of them"):
        fitted(closed_form).stream().push(x)


@pytest.mark.parametrize("frontend", ["linear", "filterbank"])
def test_models_with_missing_error_refuse_dropped_packets(frontend):
    X, y = waves(n_channels=3, n_times=1000)
    model = classifier(bidirectional=False, sfreq=250.0, frontend=frontend, missing="error").fit(X, y)
    stream = model.stream()
    stream.push(X[0])
    with pytest.raises(ValueError, match=r"NaN: .*the chunk.* has 3 such samples of 300. Push the last value"):
        stream.push(np.where(np.arange(100) == 7, np.nan, X[0, :, :100]))


def test_regressor_stream_returns_the_units_of_the_targets():
    X, y = waves(n_channels=3)
    model = S4RidgeRegressor(n_oscillators=8, precision="64", random_state=0, sfreq=SFREQ).fit(X, 100.0 + y)
    outputs = model.stream(window_s=1.0, step_s=1.0).push(signal(120))
    close(outputs, model.predict(signal(120)[None, :, 60:]))


@each_model
def test_masked_chunk_is_refused_and_leaves_the_state_unchanged(make):
    stream, data = fitted(make).stream(), signal()
    before = stream.push(data)
    with pytest.raises(ValueError, match=r"chunk is masked; fill missing samples with NaN: chunk\.filled\(np\.nan\)"):
        stream.push(np.ma.array(data, mask=data > 1))
    np.testing.assert_array_equal(stream.push([]), before)
    assert np.isfinite(stream.push(np.ma.array(data, mask=False))).all()


def masked_network():
    X, y = waves(n_channels=3)
    X[3, 1, 10:20] = np.nan  # this channel has a mask
    return network(missing="mask").fit(X, y)


def sound_network():
    X, y = waves(12, n_channels=3, n_times=200)
    options = {"frontend": "filterbank", "precision": "64", "sfreq": 1000.0, "readout": "closed_form"}
    model = classifier(bidirectional=False, **options).fit(X, y)
    assert model.ridge_ is not None
    return model


PARALLEL = {name: functools.cache(functools.partial(fitted, make)) for name, make in MODELS.items()}
PARALLEL |= {"masks": functools.cache(masked_network), "filter bank, readout": functools.cache(sound_network)}


@pytest.mark.parametrize("make", PARALLEL.values(), ids=PARALLEL)
@pytest.mark.parametrize("options", [{}, {"window_s": 0.5, "step_s": 0.25}], ids=["all", "windows"])
def test_parallel_streams_equal_single_streams(make, options):
    model = make()
    x = np.random.default_rng(3).standard_normal((4, 3, 160)) * np.array([1, 0.5, 2, 1])[:, None, None]
    together, alone = model.stream(n_streams=4, **options), [model.stream(**options) for _ in x]
    for turn, (first, last) in enumerate(itertools.pairwise([0, 7, 8, 8, 31, 60, 124, 160])):
        together = pickle.loads(pickle.dumps(together)) if turn == 4 else together
        outputs = together.push(x[:, :, first:last])
        close(outputs, [stream.push(one[:, first:last]) for stream, one in zip(alone, x, strict=True)])
    together.reset()
    close(together.push(list(x[:, :, :40])), [model.stream(**options).push(one[:, :40]) for one in x])


@each_model
def test_invalid_input_of_parallel_streams_raises_an_error(make):
    model, x = fitted(make), np.stack([signal(40)] * 3)
    for wrong in (0, 2.5, "3"):
        with pytest.raises(ValueError, match="must be a positive integer, or None for one signal"):
            model.stream(n_streams=wrong)
    stream = model.stream(n_streams=3)
    with pytest.raises(ShapeError, match=r"the chunks of all 3 streams, of one shape, .* got 2 of \(3, 40\)"):
        stream.push(x[:2])
    with pytest.raises(ShapeError, match=r"of one shape, along a first axis; got 3 of \(3, 30\), \(3, 40\)"):
        stream.push([x[0], x[1], x[2, :, :30]])
    dropped = x.copy()
    dropped[1, :, 5] = np.nan
    with pytest.raises(ValueError, match="chunk 1 contains NaN, but parallel streams accept no gaps"):
        stream.push(dropped)
    close(stream.push(x.transpose(0, 2, 1)[:, :20].transpose(0, 2, 1)), [model.stream().push(x[0, :, :20])] * 3)
    with pytest.warns(UserWarning, match="the chunk varies .* as any training case: other units"):
        stream.push(np.stack([x[0], x[1], 1e5 * x[2]]))
