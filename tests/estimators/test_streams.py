"""Streams of both wings: windows of the last seconds, lost packets, chunks as LSL gives them."""

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


WINGS = {"closed form": closed_form, "network": network, "attention": pooled}
each_wing = pytest.mark.parametrize("make", WINGS.values(), ids=WINGS)
in_windows = pytest.mark.parametrize("make", [*WINGS.values(), ahead], ids=[*WINGS, "looks ahead"])


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


def close(said, expected):
    np.testing.assert_allclose(said, expected, rtol=1e-6, atol=1e-8)


@in_windows
@pytest.mark.parametrize("step", [None, 20, 60, 7])
def test_a_window_answers_as_the_prediction_of_its_samples(make, step):
    model, x, n_window = fitted(make), signal(), 60
    n_step = 30 if step is None else step
    stream = model.stream(window_s=1.0, step_s=None if step is None else step / SFREQ)
    for chunk, now in chunks(x):
        said = stream.push(chunk)
        start = -(-max(0, now - n_window) // n_step) * n_step
        close(said, model.predict_proba(x[None, :, start:now])[0])


def test_a_network_that_looks_ahead_follows_lost_packets_and_many_signals_in_windows():
    model, x = fitted(ahead), signal(120)
    x[:, 70:75], x[1, 90] = np.nan, np.nan
    stream, many = (model.stream(window_s=1.0, n_streams=n) for n in (None, 2))
    said = [stream.push(x[:, k : k + 10]) for k in range(0, 100, 10)]
    close(said[-1], model.predict_proba(Signals([x[:, 60:100]], sfreq=SFREQ))[0])
    copied = pickle.loads(pickle.dumps(stream))
    close(copied.push(x[:, 100:]), stream.push(x[:, 100:]))
    assert stream.n_missing == 16
    close(many.push(np.stack([x[:, :50], 2 * x[:, :50]]))[0], said[4])
    with pytest.raises(ValueError, match=r"this one looks ahead; .* or ask for windows: stream\(window_s=\.\.\.\)"):
        model.stream()


@in_windows
def test_full_windows_are_those_that_are_cut_offline(make):
    model, x = fitted(make), signal()
    cut, _, _ = windows(Signals([x], sfreq=SFREQ), duration_s=1.0, step_s=0.25)
    stream, said = model.stream(window_s=1.0, step_s=0.25), []
    for k in range(0, 400, 5):
        answer = stream.push(x[:, k : k + 5])
        if k + 5 >= 60 and (k + 5 - 60) % 15 == 0:
            said.append(answer)
    assert len(said) == len(cut)
    close(said, model.predict_proba(cut))


@each_wing
def test_a_window_forgets_what_was_before(make):
    model, x = fitted(make), signal()
    stream = model.stream(window_s=1.0)
    stream.push(50 * x)
    stream.push(np.zeros((3, 50)))
    stream.push(x[:, :70])
    other = model.stream(window_s=1.0)
    other.push(np.zeros((3, 450)))
    close(stream.push(x[:, 70:]), other.push(x))


@each_wing
def test_a_window_keeps_a_bounded_number_of_streams(make):
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


def test_a_window_at_another_rate_lasts_as_long():
    model, x = fitted(network), signal()
    stream = model.stream(sfreq=30.0, window_s=1.0, step_s=1.0)
    said = stream.push(x[:, :90])
    close(said, model.predict_proba(x[None, :, 60:90], sfreq=30.0)[0])


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
def test_windows_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        fitted(closed_form).stream(**options)


def test_windows_need_a_rate():
    X, y = waves()
    with pytest.raises(ValueError, match="window_s needs a rate, but the model was fitted without one; fit with sfreq"):
        classifier(bidirectional=False).fit(X, y).stream(window_s=1)


@each_wing
@pytest.mark.parametrize("options", [{}, {"window_s": 1.0}])
def test_an_empty_chunk_of_any_form_gives_the_last_answer(make, options):
    stream = fitted(make).stream(**options)
    said = stream.push(signal(50))
    for empty in (np.zeros((3, 0)), [], np.zeros((0, 3))):
        np.testing.assert_array_equal(stream.push(empty), said)
    with pytest.raises(ShapeError, match="chunk is empty and nothing came before"):
        fitted(make).stream(**options).push([])


@each_wing
def test_chunks_of_lsl_are_told_or_said(make):
    model, x = fitted(make), signal(50)
    with pytest.raises(ShapeError, match=r"shape \(3, n_times\), got \(50, 3\).*stream\(time_first=True\), or pass"):
        model.stream().push(x.T)
    expected = model.stream().push(x)
    stream = model.stream(time_first=True)
    stream.push(x[:, :3].T.tolist())  # square, as it came
    stream.push(x[:, 3])  # one sample
    close(stream.push(x[:, 4:].T), expected)
    with pytest.raises(ShapeError, match=r"shape \(n_times, 3\), got \(3, 50\).*stream\(time_first=False\)"):
        stream.push(x)


@each_wing
def test_a_square_chunk_is_taken_as_documented_with_a_word(make):
    model, x = fitted(make), signal(3)
    stream = model.stream()
    with pytest.warns(UserWarning, match=r"square, \(3, 3\), and is taken as \(n_channels, n_times\)"):
        said = stream.push(x)
    np.testing.assert_array_equal(model.stream(time_first=False).push(x), said)
    stream.push(x)  # said once


def test_one_channel_needs_no_axis():
    X, y = waves(n_channels=1)
    model = network().fit(X, y)
    for time_first in (None, False, True):
        close(model.stream(time_first=time_first).push(X[0, 0]), model.predict_proba(X[:1])[0])


def with_lost_packets(n_times=200):
    x = signal(n_times)
    for first, n in ((5, 1), (20, 9), (64, 40), (150, 3), (158, 2)):
        x[:, first : first + n] = np.nan
    return x


@each_wing
def test_other_units_are_said_however_late_they_begin(make):
    stream, x = fitted(make).stream(), signal(210)
    for chunk, _ in chunks(x[:, :200], (7,)):
        stream.push(chunk)
    with pytest.warns(UserWarning, match="the chunk varies .* times as much as any training case: other units"):
        stream.push(1e4 * x[:, 200:])


@each_wing
@pytest.mark.parametrize("sizes", [(1,), (7, 0, 23), (200,)])
def test_lost_packets_are_gaps_as_in_a_case(make, sizes):
    model, x = fitted(make), with_lost_packets()
    stream, checked = model.stream(), 0
    for chunk, now in chunks(x, sizes):
        said = stream.push(chunk)
        if np.isfinite(x[0, now - 1]) and (now % 9 == 0 or now == 200):
            close(said, model.predict_proba(x[None, :, :now])[0])
            checked += 1
    assert checked


@each_wing
def test_while_packets_are_lost_the_answer_stays(make):
    model, x = fitted(make), signal(60)
    stream = model.stream()
    said = stream.push(x)
    np.testing.assert_array_equal(stream.push(np.full((3, 25), np.nan)), said)
    assert stream.n_missing == 75
    late = np.concatenate([x, np.full((3, 25), np.nan), x[:, :10]], axis=1)
    close(stream.push(x[:, :10]), model.predict_proba(late[None])[0])


@each_wing
def test_windows_take_lost_packets_too(make):
    model, x = fitted(make), with_lost_packets()
    stream = model.stream(window_s=0.5, step_s=0.25)
    for k in range(200):
        said = stream.push(x[:, k : k + 1])
    close(said, model.predict_proba(x[None, :, 180:])[0])


@each_wing
def test_a_first_chunk_that_is_lost_is_refused_and_not_heard(make):
    model, x = fitted(make), signal(50)
    stream = model.stream()
    with pytest.raises(ValueError, match="contains NaN alone and nothing came before; push at least one observed"):
        stream.push(np.full((3, 5), np.nan))
    close(stream.push(x), model.predict_proba(x[None])[0])


def test_a_channel_that_is_lost_alone_is_held_by_a_network_and_refused_by_the_closed_form():
    x = signal(80)
    x[1, 30:50], x[2, :10] = np.nan, np.nan
    X, y = waves(n_channels=3)
    X[3, 1, 10:20] = np.nan  # this channel has a mask
    for missing in ("auto", "mask"):
        model = network(missing=missing).fit(X, y)
        stream = model.stream()
        for chunk, _ in chunks(x):
            said = stream.push(chunk)
        close(said, model.predict_proba(x[None])[0])
    with pytest.raises(ValueError, match=r"NaN in some channels alone.*Push NaN for all of them"):
        fitted(closed_form).stream().push(x)


@pytest.mark.parametrize("frontend", ["linear", "filterbank"])
def test_models_that_take_no_gaps_refuse_lost_packets(frontend):
    X, y = waves(n_channels=3, n_times=1000)
    model = classifier(bidirectional=False, sfreq=250.0, frontend=frontend, missing="error").fit(X, y)
    stream = model.stream()
    stream.push(X[0])
    with pytest.raises(ValueError, match=r"NaN: .*the chunk.* has 3 such samples of 300. Push the last value"):
        stream.push(np.where(np.arange(100) == 7, np.nan, X[0, :, :100]))


def test_a_regressor_streams_windows_in_its_own_units():
    X, y = waves(n_channels=3)
    model = S4RidgeRegressor(n_oscillators=8, precision="64", random_state=0, sfreq=SFREQ).fit(X, 100.0 + y)
    said = model.stream(window_s=1.0, step_s=1.0).push(signal(120))
    close(said, model.predict(signal(120)[None, :, 60:]))


@each_wing
def test_a_masked_chunk_is_refused_and_not_heard(make):
    stream, data = fitted(make).stream(), signal()
    before = stream.push(data)
    with pytest.raises(ValueError, match=r"the chunk is masked; fill what is lost with NaN: chunk\.filled\(np\.nan\)"):
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


SIDE_BY_SIDE = {name: functools.cache(functools.partial(fitted, make)) for name, make in WINGS.items()}
SIDE_BY_SIDE |= {"masks": functools.cache(masked_network), "filter bank, readout": functools.cache(sound_network)}


@pytest.mark.parametrize("make", SIDE_BY_SIDE.values(), ids=SIDE_BY_SIDE)
@pytest.mark.parametrize("options", [{}, {"window_s": 0.5, "step_s": 0.25}], ids=["all", "windows"])
def test_streams_side_by_side_say_what_each_says_alone(make, options):
    model = make()
    x = np.random.default_rng(3).standard_normal((4, 3, 160)) * np.array([1, 0.5, 2, 1])[:, None, None]
    together, alone = model.stream(n_streams=4, **options), [model.stream(**options) for _ in x]
    for turn, (first, last) in enumerate(itertools.pairwise([0, 7, 8, 8, 31, 60, 124, 160])):
        together = pickle.loads(pickle.dumps(together)) if turn == 4 else together
        said = together.push(x[:, :, first:last])
        close(said, [stream.push(one[:, first:last]) for stream, one in zip(alone, x, strict=True)])
    together.reset()
    close(together.push(list(x[:, :, :40])), [model.stream(**options).push(one[:, :40]) for one in x])


@each_wing
def test_what_streams_side_by_side_cannot_take_is_one_clear_line(make):
    model, x = fitted(make), np.stack([signal(40)] * 3)
    for wrong in (0, 2.5, "3"):
        with pytest.raises(ValueError, match="must be a positive integer, or None for one signal"):
            model.stream(n_streams=wrong)
    stream = model.stream(n_streams=3)
    with pytest.raises(ShapeError, match=r"the chunks of all 3 streams, of one shape, .* got 2 of \(3, 40\)"):
        stream.push(x[:2])
    with pytest.raises(ShapeError, match=r"of one shape, along a first axis; got 3 of \(3, 30\), \(3, 40\)"):
        stream.push([x[0], x[1], x[2, :, :30]])
    lost = x.copy()
    lost[1, :, 5] = np.nan
    with pytest.raises(ValueError, match="chunk 1 contains NaN, but parallel streams accept no gaps"):
        stream.push(lost)
    close(stream.push(x.transpose(0, 2, 1)[:, :20].transpose(0, 2, 1)), [model.stream().push(x[0, :, :20])] * 3)
    with pytest.warns(UserWarning, match="the chunk varies .* as any training case: other units"):
        stream.push(np.stack([x[0], x[1], 1e5 * x[2]]))
