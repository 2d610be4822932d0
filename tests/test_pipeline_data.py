"""The sets that the recipes keep in folders of their own."""

import numpy as np
import pytest
from data import load_ppg_bp, load_speech_commands, load_ssvep_exo

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
def test_sets_with_groups_are_complete_and_split_between_them(data_home, load, text, n_test, n_groups):
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


@pytest.mark.parametrize("load", [load_ppg_bp, load_speech_commands, load_ssvep_exo])
def test_a_missing_folder_and_its_variable_are_named(load, monkeypatch, tmp_path):
    monkeypatch.setenv("S4SIGNAL_DATA", str(tmp_path))
    with pytest.raises(RecordingError, match=f"{tmp_path}.* does not exist. Set S4SIGNAL_DATA"):
        load()
