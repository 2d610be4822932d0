"""Resampling keeps frequencies below the new Nyquist frequency and removes the others."""

import sys

import numpy as np
import pytest
import recording_files as files

from s4signal.errors import MissingDependencyError, RecordingError
from s4signal.signals import Signals, drop_samples
from s4signal.signals.resampling import resample_array


def tone(sfreq, frequency, duration_s=4.0):
    return np.sin(2 * np.pi * frequency * np.arange(round(duration_s * sfreq)) / sfreq)[np.newaxis]


@pytest.mark.parametrize(
    ("old", "new", "frequency"),
    [(1000, 250, 7.0), (250, 1000, 7.0), (44100, 16000, 7.0), (256, 250.3, 7.0), (1000, 250, 110.0)],
)
def test_a_tone_below_the_nyquist_frequency_is_kept(old, new, frequency):
    resampled = resample_array(tone(old, frequency), old, new)
    expected = tone(new, frequency)[:, : resampled.shape[1]]
    middle = slice(resampled.shape[1] // 4, -resampled.shape[1] // 4)
    np.testing.assert_allclose(resampled[:, middle], expected[:, middle], atol=2e-3)


def test_a_tone_above_the_nyquist_frequency_is_removed():
    resampled = resample_array(tone(1000, 180.0), 1000, 100)
    assert np.abs(resampled[:, 50:-50]).max() < 2e-3


def test_an_offset_does_not_ring_at_the_ends():
    np.testing.assert_allclose(resample_array(np.full((1, 999), 2400.0), 1000, 300), 2400.0)


@pytest.mark.parametrize(("old", "new"), [(100, 50), (50, 100), (256, 250.3)])
def test_a_line_stays_a_line(old, new):
    line = resample_array(np.arange(300.0)[np.newaxis] + 7, old, new)[0]
    np.testing.assert_allclose(line, np.arange(len(line)) * old / new + 7, atol=1e-6)


@pytest.mark.parametrize(("old", "new"), [(100, 1), (1, 100), (250, 256.03), (44100, 16000), (7, 25)])
def test_the_duration_is_kept_to_half_a_sample_and_no_case_becomes_empty(old, new):
    for n_times in range(1, 40):
        data = np.zeros((1, n_times))
        data[0, -1] = np.nan
        resampled = resample_array(data, old, new)
        assert resampled.shape == (1, max(1, round(n_times * new / old)))
        assert np.isnan(resampled[0, -1]) or new < old


def test_missing_samples_stay_missing_and_do_not_spread():
    data = tone(1000, 3.0)
    expected = resample_array(data, 1000, 500)
    data[:, 1000:1200] = np.nan
    resampled = resample_array(data, 1000, 500)
    missing = np.isnan(resampled[0])
    assert missing[500:600].all()
    assert missing.sum() == 100
    np.testing.assert_allclose(resampled[0, 700:], expected[0, 700:], atol=1e-2)


def test_resampling_without_soxr_raises(monkeypatch):
    monkeypatch.setitem(sys.modules, "soxr", None)
    with pytest.raises(MissingDependencyError, match="Resampling needs soxr"):
        Signals(tone(100, 3.0), sfreq=100).resample(50)


def test_float32_is_kept():
    assert resample_array(tone(100, 3.0).astype(np.float32), 100, 50).dtype == np.float32


def test_signals_resample_keeps_names_and_regular_times():
    signals = Signals([tone(100, 3.0)], times=[5 + np.arange(400) / 100], ch_names=["Oz"]).resample(50)
    assert (signals.sfreq, signals.ch_names) == (50, ("Oz",))
    np.testing.assert_allclose(signals[0].times, 5 + np.arange(200) / 50)
    same = Signals([tone(64, 3.0)], times=[np.arange(256) / 64]).resample(64)
    np.testing.assert_array_equal(same[0].data, tone(64, 3.0))


@pytest.mark.parametrize(
    ("signals", "message"),
    [
        (Signals([np.zeros(4)]), "case 0: the sampling rate is unknown"),
        (Signals([np.zeros(4)], times=[[0, 1, 2, 4]], sfreq=1), "case 0: its times are irregular"),
        (Signals([np.zeros(1)], times=[[2.0]]), "case 0: its times are irregular"),
    ],
)
def test_unknown_rates_and_irregular_times_are_refused(signals, message):
    with pytest.raises(RecordingError, match=message):
        signals.resample(1)


def test_a_rate_must_be_positive():
    with pytest.raises(ValueError, match="sfreq=0 must be a positive number"):
        Signals(np.zeros((1, 4)), sfreq=2).resample(0)


@pytest.mark.parametrize("resample", [Signals.resample, Signals.to_grid])
def test_a_rate_must_be_a_number(resample):
    with pytest.raises(TypeError, match="sfreq='8000' must be a number of samples per second"):
        resample(Signals(np.zeros((1, 4)), sfreq=2), "8000")


def test_irregular_files_are_refused_before_a_case_is_accessed(tmp_path):
    pytest.importorskip("soundfile")
    on_disk = Signals.from_files(files.write_audio(tmp_path / "a.wav"))
    with pytest.raises(RecordingError, match=r"case 0 \(.*a\.wav\): its times are irregular"):
        drop_samples(on_disk, 0.5, random_state=0).resample(100)
