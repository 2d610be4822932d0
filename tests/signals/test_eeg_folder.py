"""A folder, a glob, a list or a BIDS root of recordings is read in one call with one montage."""

import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import recording_files as files
from sklearn.model_selection import GroupKFold, cross_val_score

from s4signal import S4RidgeClassifier, Signals, read_eeg
from s4signal.cli.data import read_cases
from s4signal.cli.options import Reading
from s4signal.errors import MissingDependencyError, RecordingError
from s4signal.signals import EegRecordings, windows

mne = pytest.importorskip("mne")

TEN = ["Fp1", "Cz", "T7", "Oz"]


def edf(path: Path, names=TEN, *, rate=100, n_records=4, count=None):
    """Write an EDF of these channels; `count` is the number of records that its header gives."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = files.write_edf_signals(path, dict.fromkeys(names, ("uV", rate)), n_records)
    header = path.read_bytes().replace(b"patient".ljust(80), b"X X X X".ljust(80), 1)
    if count is not None:
        header = header[:236] + str(count).ljust(8).encode() + header[244:]
    path.write_bytes(header)
    return 1e-6 * np.array(list(values.values()))


def fif(path: Path, *, bads=(), names=TEN, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = mne.io.RawArray(
        1e-5 * np.random.default_rng(seed).standard_normal((len(names), 400)),
        mne.create_info(list(names), 100.0, "eeg"),
        verbose="error",
    )
    raw.set_montage("biosemi32")
    raw.info["bads"] = list(bads)
    raw.save(path, fmt="double", verbose="error")
    return raw


def test_a_folder_is_read_with_subjects_and_sessions(tmp_path):
    for name in ("anna_1", "anna_2", "ben_1"):
        edf(tmp_path / "data" / f"{name}.edf")
    (tmp_path / "data" / "notes.txt").write_text("none")
    (tmp_path / "data" / "._anna_1.edf").write_bytes(b"metadata of macOS")
    recordings = read_eeg(tmp_path / "data", pattern="{subject}_{session}.edf")
    assert isinstance(recordings, EegRecordings)
    assert recordings.metadata["subject"].tolist() == ["anna", "anna", "ben"]
    assert recordings.metadata["session"].tolist() == ["1", "2", "1"]
    assert recordings.groups.tolist() == ["anna", "anna", "ben"]
    assert repr(recordings).splitlines()[1] == "3 recordings of 2 subjects"
    assert type(recordings[:2]) is type(recordings.resample(50)) is Signals
    assert recordings[1:].groups.tolist() == ["anna", "ben"]
    assert pickle.loads(pickle.dumps(recordings)).groups.tolist() == ["anna", "anna", "ben"]


def test_a_glob_a_list_and_a_folder_give_the_same(tmp_path):
    for name in ("b", "a", "c"):
        edf(tmp_path / "deep" / f"{name}.edf")
    paths = [tmp_path / "deep" / f"{name}.edf" for name in "abc"]
    by_list = read_eeg(paths)
    assert by_list.sources == tuple(map(str, paths))
    assert read_eeg(tmp_path) == read_eeg(str(tmp_path / "**" / "*.edf")) == by_list
    assert type(read_eeg(paths[0])) is Signals


def test_a_folder_with_one_file_gives_a_collection(tmp_path):
    edf(tmp_path / "a.edf")
    assert isinstance(read_eeg(tmp_path), EegRecordings)


def test_bids_file_names_give_the_metadata(tmp_path):
    edf(tmp_path / "sub-01_ses-b_task-rest_run-2_eeg.edf")
    edf(tmp_path / "sub-02_task-rest_eeg.edf")
    metadata = read_eeg(tmp_path).metadata
    assert metadata["subject"].tolist() == ["01", "02"]
    assert metadata["session"].tolist() == ["b", None]
    assert metadata["task"].tolist() == ["rest", "rest"]
    assert metadata["run"].tolist() == ["2", None]


def test_a_pattern_may_contain_folders_and_other_files_are_listed(tmp_path):
    for name in ("s1/rest_raw.fif", "s2/task_raw.fif"):
        fif(tmp_path / name)
    edf(tmp_path / "other.edf")
    with pytest.warns(
        UserWarning, match=r"1 of 3 files are left out, the first: .*other\.edf does not follow pattern="
    ):
        recordings = read_eeg(tmp_path, pattern="{subject}/{task}_raw.fif")
    assert recordings.metadata["subject"].tolist() == ["s1", "s2"]
    assert recordings.metadata["task"].tolist() == ["rest", "task"]
    assert recordings.skipped[0].path.endswith("other.edf")
    with pytest.raises(RecordingError, match=r"no recording follows pattern='x\{subject\}'; one of them is other.edf"):
        read_eeg(tmp_path, pattern="x{subject}")
    with pytest.raises(ValueError, match=r"pattern='a.edf' has no field. Write it like '\{subject\}_\{session\}.edf'"):
        read_eeg(tmp_path, pattern="a.edf")


def test_other_files_of_mne_are_not_recordings(tmp_path):
    raw = fif(tmp_path / "s1_raw.fif")
    epochs = mne.make_fixed_length_epochs(raw, 1.0, preload=True, verbose="error")
    epochs.save(tmp_path / "s1-epo.fif", verbose="error")
    mne.write_events(tmp_path / "s1-eve.fif", epochs.events)
    (tmp_path / "s1_raw-1.fif").write_bytes(b"the second part")
    assert [Path(source).name for source in read_eeg(tmp_path).sources] == ["s1_raw.fif"]


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(RecordingError, match=r"nowhere does not exist\. Check the path"):
        read_eeg(tmp_path / "nowhere", pattern="{subject}.edf")


def test_the_error_for_a_folder_without_eeg_lists_its_files(tmp_path):
    (tmp_path / "a.csv").write_text("1")
    with pytest.raises(RecordingError, match=r"holds no EEG recording \(.edf, .*\), only 1 .csv. Check the path"):
        read_eeg(tmp_path)
    with pytest.raises(RecordingError, match=r"no file matches .*\*.edf. Check the path"):
        read_eeg(tmp_path / "*.edf")


SPELLINGS = [
    ["Fp1", "Cz", "T7", "Oz"],
    ["EEG FP1-REF", "EEG CZ-REF", "EEG T3-REF", "EEG OZ-REF"],
    ["Oz..", "Cz..", "T7..", "Fp1."],
    ["fp1", "EXG1", "cz", "t3", "oz"],
]


def test_names_and_order_are_unified_and_reported(tmp_path):
    expected = []
    for i, names in enumerate(SPELLINGS):
        data = edf(tmp_path / f"{i}.edf", names)
        expected.append(data)
    expected[2] = expected[2][[3, 1, 2, 0]]
    expected[3] = expected[3][[0, 2, 3, 4]]
    with pytest.warns(UserWarning, match=r"brought to one montage; channels are renamed: EEG FP1-REF to") as caught:
        recordings = read_eeg(tmp_path)
    assert recordings.ch_names == tuple(TEN)
    for signal, data in zip(recordings, expected, strict=True):
        np.testing.assert_allclose(signal.data, data, rtol=1e-9)
    assert len(caught) == 1
    assert any("reordered: " in text and "2.edf" in text for text in recordings.changes)
    assert any("left out: " in text and "3.edf (EXG1)" in text for text in recordings.changes)
    assert "channels are reordered" in repr(recordings)
    part = recordings.cases[2].crop(100, 150).load()
    np.testing.assert_allclose(part.data, expected[2][:, 100:150], rtol=1e-9)


def test_names_are_kept_if_all_files_agree(tmp_path):
    for name in "ab":
        edf(tmp_path / f"{name}.edf", SPELLINGS[1])
    recordings = read_eeg(tmp_path)
    assert (recordings.ch_names, recordings.changes) == (tuple(SPELLINGS[1]), ())
    with pytest.warns(UserWarning, match="EEG T3-REF to T7"):
        assert read_eeg(tmp_path, ch_names="standard").ch_names == tuple(TEN)
    assert read_eeg(tmp_path / "a.edf", ch_names="standard").ch_names == tuple(TEN)
    edf(tmp_path / "both.edf", ["T3", "T7"])  # two names of one electrode
    assert read_eeg(tmp_path / "both.edf", ch_names="standard").ch_names == ("T3", "T7")


def test_picked_channels_have_the_names_of_picks(tmp_path):
    data = edf(tmp_path / "a.edf", SPELLINGS[1])
    signal = read_eeg(tmp_path / "a.edf", picks=["T7", "Fp1"])[0]
    assert signal.ch_names == ("T7", "Fp1")
    np.testing.assert_allclose(signal.data, data[[2, 0]], rtol=1e-9)


def test_a_channel_that_is_bad_in_some_files_is_nan_there(tmp_path):
    good, bad = fif(tmp_path / "a_raw.fif"), fif(tmp_path / "b_raw.fif", bads=["Cz"], seed=1)
    with pytest.warns(UserWarning, match=r"bad channels are missing \(NaN\): .*b_raw.fif \(Cz\)"):
        recordings = read_eeg(tmp_path)
    assert recordings.ch_names == tuple(TEN)
    np.testing.assert_allclose(recordings[0].data, good.get_data())
    assert np.isnan(recordings[1].data[1]).all()
    np.testing.assert_allclose(recordings[1].data[[0, 2, 3]], bad.get_data()[[0, 2, 3]])
    np.testing.assert_allclose(recordings[1].positions, recordings[0].positions, equal_nan=True, atol=1e-9)
    assert np.isfinite(recordings[0].positions).all()


def test_a_channel_that_is_bad_everywhere_is_left_out(tmp_path):
    for name in "ab":
        fif(tmp_path / f"{name}_raw.fif", bads=["Cz"])
    assert read_eeg(tmp_path).ch_names == ("Fp1", "T7", "Oz")


def write_unequal_files(folder: Path):
    for name in ("a", "b", "c"):
        edf(folder / f"{name}.edf")
    edf(folder / "few.edf", TEN[:2])
    edf(folder / "fast.edf", rate=200)
    edf(folder / "short.edf", n_records=1)
    edf(folder / "unknown.edf", count=-1)
    (folder / "random.edf").write_bytes(np.random.default_rng(0).bytes(2000))


def test_unusable_files_are_skipped_on_request_and_listed(tmp_path):
    write_unequal_files(tmp_path)
    with pytest.warns(UserWarning, match="5 of 8 files are left out"):
        recordings = read_eeg(tmp_path, on_error="skip", min_duration_s=2)
    assert [Path(source).stem for source in recordings.sources] == ["a", "b", "c"]
    reasons = {Path(path).stem: reason for path, reason in recordings.skipped}
    assert "lasts 1.00 s, less than min_duration_s=2.00" in reasons["short"]
    assert "has no channel T7, Oz, which others have; it has Fp1, Cz" in reasons["few"]
    assert "is sampled at 200 Hz and others at 100 Hz" in reasons["fast"]
    assert "unknown.edf is incomplete" in reasons["unknown"]
    assert "cannot be read as a recording" in reasons["random"]
    assert "skipped: 5, the first: " in repr(recordings)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("few", {}, r"few\.edf has no channel T7, Oz.*Pass picks= a list of the channels.*on_error=.skip. leaves"),
        ("fast", {}, r"fast\.edf is sampled at 200 Hz and others at 100 Hz\. Pass sfreq="),
        ("short", {"min_duration_s": 2}, r"short\.edf lasts 1\.00 s, less than min_duration_s=2\.00"),
        ("unknown", {}, r"unknown\.edf is incomplete.*pass incomplete='warn'"),
        ("random", {}, r"random\.edf cannot be read as a recording"),
    ],
)
def test_unusable_files_raise_by_default(tmp_path, name, options, message):
    write_unequal_files(tmp_path)
    with pytest.raises(RecordingError, match=message):
        read_eeg([tmp_path / f"{stem}.edf" for stem in ("a", "b", name)], **options)


def test_a_folder_without_usable_files_raises(tmp_path):
    (tmp_path / "a.edf").write_bytes(b"x" * 500)
    with pytest.raises(RecordingError, match=r"none of 1 recordings can be used; the first: .*a.edf cannot be read"):
        read_eeg(tmp_path, on_error="skip")


@pytest.mark.parametrize("count", [-1, 9])
def test_a_file_without_a_correct_length_is_read_as_far_as_possible(tmp_path, count):
    data = edf(tmp_path / "a.edf", count=count)
    with pytest.warns(UserWarning, match=r"Incomplete recordings are read as far as possible: .*a\.edf"):
        signals = read_eeg(tmp_path / "a.edf", incomplete="warn")
    np.testing.assert_allclose(signals[0].data, data, rtol=1e-9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pickle.loads(pickle.dumps(signals)) == signals


def test_recordings_of_several_rates_are_resampled(tmp_path):
    edf(tmp_path / "a.edf")
    edf(tmp_path / "b.edf", rate=200)
    recordings = read_eeg(tmp_path, sfreq=50)
    assert (recordings.sfreq, recordings.lengths.tolist()) == (50, [200, 200])


@pytest.mark.parametrize("option", ["on_error", "incomplete", "ch_names"])
def test_unknown_options_are_refused(option):
    with pytest.raises(ValueError, match=f"{option}='x' is unknown; choose one of"):
        read_eeg("a.edf", **{option: "x"})


def test_a_bids_data_set_gives_its_metadata(tmp_path):
    bids = pytest.importorskip("mne_bids")
    for subject in ("01", "02"):
        edf(tmp_path / f"{subject}.edf", n_records=20)
        raw = mne.io.read_raw(tmp_path / f"{subject}.edf", verbose="error")
        raw.info["line_freq"] = 50
        raw.set_montage("biosemi32")
        raw.set_annotations(mne.Annotations([2.0, 10.0], [5.0, 5.0], ["rest", "task"]))
        raw.info["bads"] = ["Cz"] if subject == "02" else []
        path = bids.BIDSPath(subject=subject, session="a", task="x", run="1", datatype="eeg", root=tmp_path / "set")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            bids.write_raw_bids(raw, path, verbose="error")
    with pytest.warns(UserWarning, match=r"bad channels are missing \(NaN\): .*sub-02.* \(Cz\)"):
        recordings = read_eeg(tmp_path / "set")
    assert recordings.metadata["subject"].tolist() == ["01", "02"]
    assert recordings.metadata["task"].tolist() == ["x", "x"]
    assert recordings.groups.tolist() == ["01", "02"]
    assert [mark.description for mark in recordings[0].annotations] == ["rest", "task"]
    assert np.isfinite(recordings[0].positions).all()
    again = pickle.loads(pickle.dumps(recordings))
    assert again == recordings
    _, y, groups = windows(recordings, duration_s=1, labels=["rest", "task"])
    assert sorted(set(zip(y.tolist(), groups.tolist(), strict=True))) == [
        ("rest", "01"), ("rest", "02"), ("task", "01"), ("task", "02"),
    ]  # fmt: skip
    with warnings.catch_warnings():  # the program reads the same, and no folder is a class
        warnings.simplefilter("ignore")
        cases, uncut = (read_cases(tmp_path / "set", how) for how in (Reading(tmax=1), Reading()))
    assert (cases.labels.tolist(), cases.split_by.tolist()) == (["rest", "task"] * 2, ["01", "01", "02", "02"])
    assert cases.facts()["labels from"] == "events, 0 to 1 s after each; groups: the names of BIDS"
    assert "\n" not in uncut.facts()["cases"]
    with pytest.raises(RecordingError, match=r"events: rest \(2\), task \(2\): no label is known"):
        uncut.labelled()


def test_missing_mne_bids_names_the_extra(tmp_path, monkeypatch):
    (tmp_path / "dataset_description.json").write_text("{}")
    monkeypatch.setitem(__import__("sys").modules, "mne_bids", None)
    with pytest.raises(MissingDependencyError, match=r"s4signal\[bids\]"):
        read_eeg(tmp_path)


def test_a_folder_can_be_scored_by_subject(tmp_path):
    for subject in "abc":
        fif(tmp_path / f"{subject}_raw.fif", seed=ord(subject), bads=["Cz"] if subject == "b" else [])
    with pytest.warns(UserWarning, match="brought to one montage"):
        recordings = read_eeg(tmp_path, pattern="{subject}_raw.fif")
    X, _, groups = windows(recordings, duration_s=0.5)
    y = np.arange(len(X)) % 2
    model = S4RidgeClassifier(n_oscillators=4, random_state=0)
    scores = cross_val_score(model, X, y, groups=groups, cv=GroupKFold(3), error_score="raise")
    assert len(scores) == 3


def test_real_recordings_are_read_by_subject(data_home):
    with pytest.warns(UserWarning, match="picks='eeg' leaves out EEG A2-A1, ECG ECG"):
        recordings = read_eeg(data_home / "eegmat" / "*.edf", pattern="Subject{subject}_{run}.edf")
    assert len(set(recordings.groups)) == 10
    assert recordings.ch_names[0] == "EEG Fp1"
