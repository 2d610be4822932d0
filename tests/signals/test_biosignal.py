"""WFDB records of PhysioNet."""

import sys

import numpy as np
import pytest

from s4signal.errors import MissingDependencyError, RecordingError
from s4signal.signals import Annotation, read_wfdb


def test_without_wfdb_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "wfdb", None)
    with pytest.raises(MissingDependencyError, match=r"s4signal\[biosignal\]"):
        read_wfdb("100")


@pytest.fixture
def record(tmp_path):
    pytest.importorskip("wfdb")
    millivolts, units = [0.5, -1.0, 0.25, 1.0], [7.0, 8.0, 9.0, 7.5]
    (tmp_path / "r1.hea").write_text(
        "r1 2 250 4\nr1.dat 16 1000(0)/mV 16 0 500 750 0 II\nr1.dat 16 10(0)/NU 16 0 70 315 0 PLETH\n"
    )
    counts = np.stack([np.array(millivolts) * 1000, np.array(units) * 10], axis=1)
    (tmp_path / "r1.dat").write_bytes(counts.astype("<i2").tobytes())
    # An annotation is six bits of code (1 is N, 5 is V) above ten bits of samples since the one before.
    (tmp_path / "r1.atr").write_bytes(np.array([1 << 10 | 1, 5 << 10 | 2, 0], dtype="<u2").tobytes())
    return tmp_path / "r1"


def test_voltages_become_volts_and_other_units_stay(record):
    signals = read_wfdb([record, record.with_suffix(".hea")])
    assert (len(signals), signals.sfreq, signals.ch_names) == (2, 250, ("II", "PLETH"))
    np.testing.assert_allclose(signals[1].data, [[5e-4, -1e-3, 2.5e-4, 1e-3], [7, 8, 9, 7.5]])


def test_channels_are_chosen_and_beats_become_annotations(record):
    signal = read_wfdb(record, picks=["PLETH"], annotator="atr")[0]
    assert signal.ch_names == ("PLETH",)
    assert signal.annotations == (Annotation(0.004, 0.0, "N"), Annotation(0.012, 0.0, "V"))


def test_damaged_records_are_named(record):
    with pytest.raises(RecordingError, match=r"has no channel V5\. It has: II, PLETH"):
        read_wfdb(record, picks=["V5"])
    with pytest.raises(RecordingError, match=r"gone\.hea does not exist"):
        read_wfdb(record.with_name("gone"))
    record.with_suffix(".dat").write_bytes(b"")
    with pytest.raises(RecordingError, match=r"r1\.hea cannot be read as a WFDB record"):
        read_wfdb(record)
