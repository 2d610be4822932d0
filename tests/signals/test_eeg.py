"""EEG: channels, events, lazy reading, and real formats."""

import pickle
import warnings
from datetime import UTC, datetime

import numpy as np
import pytest
import recording_files as files

from s4signal.errors import MissingDependencyError, RecordingError
from s4signal.signals import Signal, Signals, epochs_from_events, read_eeg, windows

mne = pytest.importorskip("mne")


@pytest.fixture
def fif(tmp_path):
    return files.write_fif(tmp_path / "a_raw.fif")


def test_nothing_is_read_until_a_case_is_accessed(fif):
    signals = read_eeg([fif, fif])
    assert not any(isinstance(case, Signal) for case in signals.cases)
    np.testing.assert_allclose(signals[1].data, files.DATA)


def test_a_segment_is_read_without_the_rest(fif):
    part = read_eeg(fif).cases[0].crop(100, 150)
    np.testing.assert_allclose(part.crop(10, 20).load().data, files.DATA[:, 110:120])


def test_consecutive_windows_share_one_read_and_are_copies(tmp_path, monkeypatch):
    path, reads = tmp_path / "a.edf", []
    files.write_edf_signals(path, {"Fz": ("uV", 100), "Oz": ("uV", 100)})
    cuts, _, _ = windows(read_eeg(path), duration_s=0.5, step_s=0.25)
    whole, get_data = mne.io.read_raw(path, verbose="error").get_data(), mne.io.BaseRaw.get_data
    monkeypatch.setattr(
        mne.io.BaseRaw, "get_data", lambda *args, **kwargs: reads.append(1) or get_data(*args, **kwargs)
    )
    for order in (range(len(cuts)), range(len(cuts))[::-1], [0, 3, 1, 2, 2]):
        for i in order:
            np.testing.assert_array_equal((data := cuts[i].data), whole[:, 25 * i : 25 * i + 50])
            data[:] = 0.0
        reads.append(0)
    assert "".join(map(str, reads)).index("0") == 2  # one read for the first window, one for the others
    assert pickle.loads(pickle.dumps(cuts)) == cuts


def test_recordings_survive_pickling(fif):
    signals = read_eeg(fif)
    signals[0]
    data = pickle.dumps(signals)
    assert len(data) < 5000
    assert pickle.loads(data) == signals


def test_stimulus_events_become_annotations(fif):
    assert [(mark.onset_s, mark.description) for mark in read_eeg(fif)[0].annotations] == [(1.0, "1"), (3.0, "2")]


def test_annotations_are_relative_to_the_start_of_a_cropped_recording(tmp_path):
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
def test_picks_select_channels(fif, picks, names):
    assert read_eeg(fif, picks=picks)[0].ch_names == names


def test_unknown_channels_are_refused(fif):
    with pytest.raises(RecordingError, match=r"has no channel Cz\. It has: Fz, Oz, STI"):
        read_eeg(fif, picks=["Cz"])
    with pytest.raises(ValueError, match="picks='eog' is unknown; choose one of 'eeg', 'data', 'all'"):
        read_eeg(fif, picks="eog")


def test_the_error_for_a_file_without_eeg_lists_its_channels(tmp_path):
    info = mne.create_info(["ECG", "EOG left"], 100.0, ["eeg", "eeg"])
    mne.io.RawArray(files.DATA, info, verbose="error").save(tmp_path / "a_raw.fif", verbose="error")
    with pytest.raises(RecordingError, match=r"no eeg channel\. Pass picks= a list of names from: ECG, EOG left"):
        read_eeg(tmp_path / "a_raw.fif")


def test_filtering_equals_mne_and_precedes_resampling(fif):
    filtered = mne.io.read_raw(fif, preload=True, verbose="error").pick("eeg").filter(5, 30, verbose="error").get_data()
    signals = read_eeg(fif, l_freq=5, h_freq=30)
    np.testing.assert_allclose(signals[0].data, filtered, atol=1e-12)
    resampled = read_eeg(fif, l_freq=5, h_freq=30, sfreq=80)
    assert (resampled.sfreq, resampled[0].length, len(resampled[0].annotations)) == (80, 320, 2)


def test_a_cutoff_above_the_nyquist_frequency_is_refused(fif):
    with pytest.raises(RecordingError, match=r"a_raw.fif \(100 Hz\) cannot be filtered"):
        read_eeg(fif, h_freq=60)


def test_missing_mne_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "mne", None)
    with pytest.raises(MissingDependencyError, match=r"s4signal\[eeg\]"):
        read_eeg("a.edf")


CLINICAL = {
    "EEG Fpz-Cz": "uV", "C3-M2": "uV", "POL T3": "uV", "EOG horizontal": "uV", "ROC-M1": "uV", "EKG": "mV",
    "Resp oro-nasal": "", "Flow": "L/min", "THOR": "", "EMG submental": "uV", "Chin": "uV", "Temp rectal": "DegC",
    "Event marker": "", "SpO2": "%", "Pulse": "bpm", "PHOTIC-REF": "uV", "EtCO2": "mmHg", "EEG X1": "kOhm",
    "POL DC01": "uV", "EEG A2-A1": "uV", "Position": "", "PO3": "", "O2": "µV", "Cz": "uV",
}  # fmt: skip


def test_sensors_that_edf_declares_as_eeg_are_left_out(tmp_path):
    files.write_edf_signals(tmp_path / "sleep.edf", {name: (unit, 100) for name, unit in CLINICAL.items()})
    with pytest.warns(UserWarning, match=r"leaves out EOG horizontal, ROC-M1, EKG.*sleep\.edf") as caught:
        signals = read_eeg([tmp_path / "sleep.edf"] * 2)
    assert signals.ch_names == ("EEG Fpz-Cz", "C3-M2", "POL T3", "PO3", "O2", "Cz")
    assert len(caught) == 1
    assert read_eeg(tmp_path / "sleep.edf", picks=["SpO2", "Cz"]).ch_names == ("SpO2", "Cz")
    assert len(read_eeg(tmp_path / "sleep.edf", picks="all").ch_names) == len(CLINICAL)


@pytest.mark.parametrize(
    ("unit", "volts"), [("uV", 1e-6), ("µV", 1e-6), ("uv", 1e-6), ("mV", 1e-3), ("mv", 1e-3), ("V", 1), ("nV", 1e-9)]
)
def test_edf_is_read_in_volts_for_all_spellings_of_units(tmp_path, unit, volts):
    values = files.write_edf_signals(tmp_path / "a.edf", {"Fz": (unit, 100)})
    np.testing.assert_allclose(read_eeg(tmp_path / "a.edf")[0].data[0], values["Fz"] * volts, rtol=1e-9)


def test_eeg_beside_a_faster_signal_keeps_its_own_rate(tmp_path):
    path = tmp_path / "night.edf"
    values = files.write_edf_signals(path, {"Fz": ("uV", 100), "ECG": ("mV", 500), "Oz": ("uV", 100)})
    with pytest.warns(UserWarning, match="leaves out ECG"):
        signals = read_eeg(path)
    assert (signals.sfreq, signals.ch_names, signals.lengths.tolist()) == (100, ("Fz", "Oz"), [400])
    np.testing.assert_allclose(signals[0].data, 1e-6 * np.array([values["Fz"], values["Oz"]]), rtol=1e-9)
    np.testing.assert_allclose(signals.cases[0].crop(150, 260).load().data, signals[0].data[:, 150:260])
    assert read_eeg(path, picks=["Oz", "Fz"])[0].data.tolist() == signals[0].data[::-1].tolist()
    ecg = read_eeg(path, picks=["ECG"])[0]
    assert ecg.sfreq == 500
    np.testing.assert_allclose(ecg.data[0], 1e-3 * values["ECG"], rtol=1e-9)
    # MNE counts the events of this file at 500 Hz.
    epochs, _, _ = epochs_from_events(signals, events=np.array([[1000, 0, 1]]), tmax=0.5)
    np.testing.assert_array_equal(epochs[0].data, signals[0].data[:, 200:251])
    assert pickle.loads(pickle.dumps(signals)) == signals


def test_a_segment_of_channels_of_several_rates_equals_that_of_the_whole(tmp_path):
    files.write_edf_signals(tmp_path / "a.edf", {"Fz": ("uV", 100), "Oz": ("uV", 250), "Cz": ("uV", 125)})
    signals = read_eeg(tmp_path / "a.edf")
    whole = mne.io.read_raw(tmp_path / "a.edf", preload=True, verbose="error").get_data()
    assert signals.sfreq == 250
    for start, stop in ((0, 1000), (0, 333), (333, 500), (999, 1000)):
        np.testing.assert_array_equal(signals.cases[0].crop(start, stop).load().data, whole[:, start:stop])


def test_channels_with_the_same_name_are_numbered_with_a_warning(tmp_path):
    path = tmp_path / "a.edf"
    files.write_edf_signals(path, {"Fz": ("uV", 100), "Fy": ("uV", 100)})
    path.write_bytes(path.read_bytes().replace(b"Fy", b"Fz"))
    with pytest.warns(UserWarning, match=r"a\.edf: .*not unique.*Duplicate names are numbered: .*Fz-0.*Fz-1"):
        assert read_eeg(path).ch_names == ("Fz-0", "Fz-1")


@pytest.mark.parametrize("n_bytes", [1, 4, 12])
def test_brainvision_that_ends_within_a_sample_is_refused(tmp_path, n_bytes):
    files.write_brainvision(tmp_path / "a.vhdr")
    data = (tmp_path / "a.eeg").read_bytes()
    (tmp_path / "a.eeg").write_bytes(data[:-n_bytes])
    with pytest.raises(RecordingError, match=r"a\.vhdr is incomplete \(a\.eeg has .* bytes"):
        read_eeg(tmp_path / "a.vhdr")


@pytest.mark.parametrize("measured", [None, datetime(2020, 1, 1, tzinfo=UTC)])
@pytest.mark.parametrize("first", [0, 250])
@pytest.mark.parametrize("change", ["nothing", "cropped", "concatenated", "concatenated and cropped", "resampled"])
def test_events_equal_those_of_mne_after_any_operation(tmp_path, rng, measured, first, change):
    def recording():
        info = mne.create_info(["Fz", "Oz"], 100.0, "eeg")
        raw = mne.io.RawArray(rng.normal(size=(2, 1000)), info, first_samp=first, verbose="error")
        raw.set_meas_date(measured)
        return raw.set_annotations(mne.Annotations([1.5, 4.0, 7.25], [0.2, 0, 0], ["a", "b", "c"]))

    raw = recording()
    if "concatenated" in change:
        raw = mne.concatenate_raws([raw, recording()], verbose="error")
    if "cropped" in change:
        raw.crop(2.0)
    if change == "resampled":
        raw.resample(64, verbose="error")
    raw.save(tmp_path / "a_raw.fif", fmt="double", verbose="error")
    raw = mne.io.read_raw(tmp_path / "a_raw.fif", verbose="error")
    events, _ = mne.events_from_annotations(raw, regexp="^[abc]$", verbose="error")
    options = {"tmin": 0, "tmax": 0.5, "baseline": None, "reject_by_annotation": False, "verbose": "error"}
    expected = mne.Epochs(raw, events, **options).get_data()
    signals = read_eeg(tmp_path / "a_raw.fif")
    for given in (None, events):
        np.testing.assert_allclose(epochs_from_events(signals, events=given, tmax=0.5)[0].to_numpy(), expected)


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
def test_real_recordings_equal_mne(data_home, path, n_channels, n_times, sfreq):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about channels left out or numbered
        signals = read_eeg(data_home / path)
    assert (signals.n_channels, signals.lengths.tolist(), signals.sfreq) == (n_channels, [n_times], sfreq)
    raw = mne.io.read_raw(data_home / path, verbose="error")
    np.testing.assert_array_equal(signals[0].data, raw.get_data(picks=list(signals.ch_names)))


def test_real_recordings_become_signals_with_the_same_channels(data_home):
    with pytest.warns(UserWarning, match="picks='eeg' leaves out EEG A2-A1, ECG ECG"):
        signals = read_eeg(sorted((data_home / "eegmat").glob("*.edf")))
    assert repr(signals).startswith("Signals: 20 cases × 19 channels")
    assert isinstance(signals[3:5], Signals)
    assert signals.ch_names[0] == "EEG Fp1"
