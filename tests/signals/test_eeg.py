"""EEG: channels, events, laziness, and the real formats."""

import pickle

import numpy as np
import pytest
import recording_files as files

from s4signal.errors import MissingDependencyError, RecordingError
from s4signal.signals import Signal, Signals, read_eeg

mne = pytest.importorskip("mne")


@pytest.fixture
def fif(tmp_path):
    return files.write_fif(tmp_path / "a_raw.fif")


def test_nothing_is_read_until_a_case_is_asked_for(fif):
    signals = read_eeg([fif, fif])
    assert not any(isinstance(case, Signal) for case in signals.cases)
    np.testing.assert_allclose(signals[1].data, files.DATA)


def test_a_stretch_is_read_alone(fif):
    part = read_eeg(fif).cases[0].crop(100, 150)
    np.testing.assert_allclose(part.crop(10, 20).load().data, files.DATA[:, 110:120])


def test_recordings_survive_pickling(fif):
    signals = read_eeg(fif)
    signals[0]
    data = pickle.dumps(signals)
    assert len(data) < 5000
    assert pickle.loads(data) == signals


def test_stimulus_events_become_annotations(fif):
    assert [(mark.onset_s, mark.description) for mark in read_eeg(fif)[0].annotations] == [(1.0, "1"), (3.0, "2")]


def test_annotations_count_from_the_first_sample_of_a_cropped_recording(tmp_path):
    raw = mne.io.read_raw(files.write_fif(tmp_path / "a_raw.fif"), verbose="error")
    raw.set_annotations(mne.Annotations([2.5], [0.5], ["blink"])).crop(1.5).save(
        tmp_path / "b_raw.fif", verbose="error"
    )
    signal = read_eeg(tmp_path / "b_raw.fif")[0]
    assert [(mark.onset_s, mark.duration_s, mark.description) for mark in signal.annotations] == [
        (1.0, 0.5, "blink"),
        (1.5, 0.0, "2"),
    ]
    assert signal.first_sample == 150


@pytest.mark.parametrize(
    ("picks", "names"),
    [
        ("eeg", ("Fz", "Oz")),
        ("data", ("Fz", "Oz")),
        ("all", ("Fz", "Oz", "STI")),
        ("stim", ("STI",)),
        (["Oz"], ("Oz",)),
    ],
)
def test_picks_choose_the_channels(fif, picks, names):
    assert read_eeg(fif, picks=picks)[0].ch_names == names


def test_unknown_channels_are_refused(fif):
    with pytest.raises(RecordingError, match=r"has no channel Cz\. It has: Fz, Oz, STI"):
        read_eeg(fif, picks=["Cz"])
    with pytest.raises(ValueError, match="picks='eog' is unknown; choose one of 'eeg', 'data', 'all'"):
        read_eeg(fif, picks="eog")


def test_a_file_without_eeg_says_what_it_has(tmp_path):
    info = mne.create_info(["ECG", "EOG left"], 100.0, ["eeg", "eeg"])
    mne.io.RawArray(files.DATA, info, verbose="error").save(tmp_path / "a_raw.fif", verbose="error")
    with pytest.raises(RecordingError, match=r"no eeg channel\. Pass picks= a list of names from: ECG, EOG left"):
        read_eeg(tmp_path / "a_raw.fif")


def test_the_filter_is_that_of_mne_and_resampling_comes_after(fif):
    filtered = mne.io.read_raw(fif, preload=True, verbose="error").pick("eeg").filter(5, 30, verbose="error").get_data()
    signals = read_eeg(fif, l_freq=5, h_freq=30)
    np.testing.assert_allclose(signals[0].data, filtered, atol=1e-12)
    resampled = read_eeg(fif, l_freq=5, h_freq=30, sfreq=80)
    assert (resampled.sfreq, resampled[0].length, len(resampled[0].annotations)) == (80, 320, 2)


def test_a_filter_beyond_half_the_rate_is_refused(fif):
    with pytest.raises(RecordingError, match=r"a_raw.fif \(100 Hz\) cannot be filtered"):
        read_eeg(fif, h_freq=60)


def test_without_mne_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "mne", None)
    with pytest.raises(MissingDependencyError, match=r"s4signal\[eeg\]"):
        read_eeg("a.edf")


@pytest.mark.parametrize(
    ("path", "n_channels", "n_times", "sfreq"),
    [
        ("eeg_formats/test.edf", 138, 3072, 512),
        ("eeg_formats/test.bdf", 72, 2048, 2048),
        ("eeg_formats/test.vhdr", 26, 7900, 1000),
        ("eeg_formats/test_edf_stim_channel.edf", 20, 1228, 128),
        ("eeg_formats/test_uneven_samp.edf", 2, 11000, 100),
        ("eeg_formats/duplicate_channel_labels.edf", 3, 2500, 250),
        ("eegmat/Subject00_1.edf", 19, 91000, 500),
        ("ssvep_exo/subject01/session1_raw.fif", 8, 57024, 256),
        ("ssvep_exo/subject01/session1.gdf", 8, 57024, 256),
    ],
)
def test_real_recordings_agree_with_mne(data_home, path, n_channels, n_times, sfreq):
    signals = read_eeg(data_home / path)
    assert (signals.n_channels, signals.lengths.tolist(), signals.sfreq) == (n_channels, [n_times], sfreq)
    raw = mne.io.read_raw(data_home / path, verbose="error")
    np.testing.assert_array_equal(signals[0].data, raw.get_data(picks=list(signals.ch_names)))


def test_real_recordings_become_signals_of_one_layout(data_home):
    signals = read_eeg(sorted((data_home / "eegmat").glob("*.edf")))
    assert repr(signals).startswith("Signals: 20 cases × 19 channels")
    assert isinstance(signals[3:5], Signals)
    assert signals.ch_names[0] == "EEG Fp1"
