"""Decimation and dropped samples: the remaining samples are unchanged."""

import numpy as np
import pytest
import recording_files as files

from s4signal.errors import RecordingError
from s4signal.signals import Annotation, Signal, Signals, decimate, drop_samples


def recorded(rng, n=200):
    marks = (Annotation(0.0, 0.0, "start"), Annotation(1.0, 0.0, "late"))
    return Signals([Signal(rng.normal(size=(2, n)), sfreq=100, ch_names=("a", "b"), annotations=marks)] * 2)


def test_decimation_is_every_nth_sample(rng):
    signals = recorded(rng)
    thinned = decimate(signals, 3)
    assert (thinned.sfreq, thinned.ch_names) == (pytest.approx(100 / 3), ("a", "b"))
    np.testing.assert_array_equal(thinned[0].data, signals[0].data[:, ::3])
    assert thinned[0].annotations == signals[0].annotations


def test_decimation_keeps_times():
    thinned = decimate(Signals([np.arange(5.0)], times=[[0, 1, 3, 4, 9]]), 2)
    np.testing.assert_array_equal(thinned[0].data, [[0, 2, 4]])
    np.testing.assert_array_equal(thinned[0].times, [0, 3, 9])


def test_decimation_aliases_and_resampling_does_not():
    signals = Signals(np.sin(2 * np.pi * 80 * np.arange(2000) / 200)[np.newaxis], sfreq=200)
    assert np.std(decimate(signals, 2)[0].data) > 0.7
    assert np.std(signals.resample(100)[0].data[:, 100:-100]) < 0.01


@pytest.mark.parametrize("factor", [0, 1.5, -2, float("nan"), float("inf"), None])
def test_a_factor_must_be_a_whole_number(factor):
    with pytest.raises(ValueError, match=f"factor={factor} must be a whole number of at least 1"):
        decimate([[1.0, 2.0]], factor)


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.7, 0.99])
def test_remaining_samples_keep_time_and_value(rng, fraction):
    signals = recorded(rng)
    thinned = drop_samples(signals, fraction, random_state=0)
    assert thinned.lengths.tolist() == [round(200 * (1 - fraction))] * 2
    for before, after in zip(signals, thinned, strict=True):
        np.testing.assert_array_equal(after.data, before.data[:, np.rint(after.times * 100).astype(int)])
        assert (after.sfreq, after.ch_names) == (100, ("a", "b"))


def test_dropped_samples_differ_between_cases_and_follow_the_seed(rng):
    signals = recorded(rng)
    thinned = drop_samples(signals, 0.5, random_state=1)
    assert thinned == drop_samples(signals, 0.5, random_state=1)
    assert thinned != drop_samples(signals, 0.5, random_state=2)
    assert thinned[0] != thinned[1]


def test_as_nan_drops_the_same_samples(rng):
    signals = recorded(rng)
    with_nan = drop_samples(signals, 0.4, random_state=0, as_nan=True)
    thinned = drop_samples(signals, 0.4, random_state=0)
    assert not with_nan.has_times
    np.testing.assert_array_equal(with_nan[0].data[:, with_nan[0].observed[0]], thinned[0].data)


def test_annotations_keep_their_times(rng):
    thinned = drop_samples(recorded(rng), 0.9, random_state=0)[0]
    late = thinned.annotations[-1]
    assert late.description == "late"
    assert late.onset_s + thinned.times[0] == pytest.approx(1.0)
    assert thinned.first_sample == pytest.approx(thinned.times[0] * thinned.sfreq)
    assert thinned.first_sample > 0


def test_irregular_cases_lose_samples_and_keep_times():
    signals = Signals([np.arange(10.0)], times=[np.arange(10.0) ** 2])
    thinned = drop_samples(signals, 0.5, random_state=0)[0]
    np.testing.assert_array_equal(thinned.times, thinned.data[0] ** 2)


def test_one_sample_always_remains():
    assert drop_samples(Signals([[1.0, 2.0]], sfreq=1), 0.99, random_state=0).lengths.tolist() == [1]


@pytest.mark.parametrize("fraction", [-0.1, 1.0])
def test_a_fraction_must_be_below_one(fraction):
    with pytest.raises(ValueError, match=f"fraction={fraction} must be at least 0 and less than 1"):
        drop_samples([[1.0, 2.0]], fraction)


def test_dropping_samples_needs_times_or_a_rate():
    with pytest.raises(RecordingError, match="case 0: neither its times nor its rate are known"):
        drop_samples([[1.0, 2.0]], 0.5)
    assert np.isnan(drop_samples([[1.0, 2.0]], 0.5, as_nan=True)[0].data).sum() == 1


@pytest.mark.parametrize(
    "thin",
    [
        lambda signals: decimate(signals, 7),
        lambda signals: drop_samples(signals, 0.5, random_state=0),
        lambda signals: drop_samples(signals, 0.5, random_state=0, as_nan=True),
        lambda signals: drop_samples(drop_samples(signals, 0.5, random_state=0), 0.5, random_state=0, as_nan=True),
    ],
)
def test_files_are_not_read_until_a_case_is_accessed(tmp_path, thin):
    pytest.importorskip("soundfile")
    on_disk = Signals.from_files(files.write_audio(tmp_path / "a.wav"))
    thinned = thin(on_disk)
    assert not isinstance(thinned.cases[0], Signal)
    assert thinned == thin(Signals(list(on_disk)))
    case = thinned.cases[0]
    loaded = case.load()
    assert (case.length, case.sfreq, case.has_times) == (loaded.length, loaded.sfreq, loaded.has_times)
    assert "1 case × 1 channel" in repr(thinned)
