"""The data sets that the recipes read from their own folders."""

import numpy as np
import pytest
from data import (
    load_eegmat,
    load_physionet2012,
    load_ppg_bp,
    load_speech_commands,
    load_ssvep_exo,
    load_welltory_ppg,
)
from data.irregular import observations

from s4signal.errors import RecordingError

__all__: list[str] = []


@pytest.fixture
def data_home(recordings, monkeypatch):
    monkeypatch.setenv("S4SIGNAL_DATA", str(recordings))
    return recordings


@pytest.mark.parametrize(
    ("load", "text", "n_test", "n_groups"),
    [
        (load_speech_commands, "1000 cases × 1 channel, 16000 samples, 16000 Hz", 215, 162),
        (load_ppg_bp, "480 cases × 1 channel, 2100–4200 samples, 1000 Hz", 132, 160),
    ],
)
def test_data_sets_are_complete_and_split_by_group(data_home, load, text, n_test, n_groups):
    signals, y, groups = load()
    assert repr(signals).startswith(f"Signals: {text}")
    assert len(y) == len(groups) == len(signals)
    assert len(set(groups)) == n_groups
    train, test = (load(split) for split in ("train", "test"))
    assert len(test[0]) == n_test
    assert not set(train[2]) & set(test[2])
    assert [*train[1], *test[1]] == y.tolist()


def test_ssvep_trials_are_volts_and_grouped_by_subject(data_home):
    signals, y, groups = load_ssvep_exo(session=1)
    assert repr(signals) == "Signals: 224 cases × 8 channels, 1280 samples, 256 Hz (5 s)"
    assert sorted(set(y)) == ["13 Hz", "17 Hz", "21 Hz", "rest"]
    assert len(set(groups)) == 7
    assert np.median([signal.data.std() for signal in signals]) < 1e-3


@pytest.mark.parametrize(
    "load", [load_eegmat, load_physionet2012, load_ppg_bp, load_speech_commands, load_ssvep_exo, load_welltory_ppg]
)
def test_error_names_the_missing_folder_and_its_variable(load, monkeypatch, tmp_path):
    monkeypatch.setenv("S4SIGNAL_DATA", str(tmp_path))
    with pytest.raises(RecordingError, match=f"{tmp_path}.* does not exist. Set S4SIGNAL_DATA"):
        load()


def test_eegmat_windows_are_balanced_and_grouped_by_subject(data_home):
    signals, y, groups = load_eegmat()
    assert repr(signals) == "Signals: 300 cases × 19 channels, 2000 samples, 500 Hz (4 s)"
    assert (np.sum(y == "rest"), np.sum(y == "arithmetic"), len(set(groups))) == (150, 150, 10)


def test_intensive_care_stays_are_complete(data_home):
    signals, y = load_physionet2012()
    assert (len(signals), signals.n_channels, int(y.sum())) == (2000, 41, 284)
    assert signals.sources[0] == "132539"
    assert list(signals.sources) == sorted(signals.sources)
    first = signals[0]
    assert (first.times[0], first.times[1]) == (0, 7 * 60)
    start = dict(zip(first.ch_names, first.data[:, 0], strict=True))
    assert (start["Age"], start["Gender"], start["ICUType"]) == (54, 0, 4)
    assert np.isnan([start["Height"], start["Weight"]]).all()
    assert max(signal.times[-1] for signal in signals) <= 48 * 3600


def test_intensive_care_stays_are_split_in_the_order_of_their_numbers(data_home):
    train, test = (load_physionet2012(split) for split in ("train", "test"))
    assert (len(train[0]), len(train[1]), len(test[0]), len(test[1])) == (1500, 1500, 500, 500)
    assert train[0].ch_names == test[0].ch_names
    assert max(map(int, train[0].sources)) < min(map(int, test[0].sources))


def test_camera_ppg_has_the_times_of_its_frames(data_home):
    signals, y, groups = load_welltory_ppg(duration_s=8, step_s=4)
    assert (signals.ch_names, signals.has_times, len(set(groups))) == (("R", "G", "B"), True, 14)
    assert len(signals) == len(y) == len(groups)
    assert signals.durations_s.max() < 8
    assert ((y > 40) & (y < 120)).all()


def test_a_descriptor_of_minus_one_is_a_missing_value(tmp_path):
    (tmp_path / "7.txt").write_text("Time,Parameter,Value\n00:00,Height,-1\n00:00,Weight,70\n01:30,HR,-1\n")
    assert observations([tmp_path / "7.txt"])["value"] == ["", "70", "-1"]
