"""WFDB records of PhysioNet."""

import sys
import warnings

import numpy as np
import pytest

from s4signal.errors import MissingDependencyError, RecordingError
from s4signal.signals import Annotation, read_wfdb


def test_missing_wfdb_names_the_extra(monkeypatch):
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
    # An annotation has six bits of code (1 is N, 5 is V) above ten bits of samples since the previous one.
    (tmp_path / "r1.atr").write_bytes(np.array([1 << 10 | 1, 5 << 10 | 2, 0], dtype="<u2").tobytes())
    return tmp_path / "r1"


def test_voltages_are_converted_to_volts_and_other_units_are_kept(record):
    signals = read_wfdb([record, record.with_suffix(".hea")])
    assert (len(signals), signals.sfreq, signals.ch_names) == (2, 250, ("II", "PLETH"))
    np.testing.assert_allclose(signals[1].data, [[5e-4, -1e-3, 2.5e-4, 1e-3], [7, 8, 9, 7.5]])


def test_channels_can_be_picked_and_beats_become_annotations(record):
    signal = read_wfdb(record, picks=["PLETH"], annotator="atr")[0]
    assert signal.ch_names == ("PLETH",)
    assert signal.annotations == (Annotation(0.004, 0.0, "N"), Annotation(0.012, 0.0, "V"))


def test_damaged_records_are_refused(record):
    with pytest.raises(RecordingError, match=r"has no channel V5\. It has: II, PLETH"):
        read_wfdb(record, picks=["V5"])
    with pytest.raises(RecordingError, match=r"gone\.hea does not exist"):
        read_wfdb(record.with_name("gone"))
    record.with_suffix(".dat").write_bytes(b"")
    with pytest.raises(RecordingError, match=r"r1\.hea cannot be read as a WFDB record"):
        read_wfdb(record)


def write_record(folder, units, names, *, rates=None, sfreq=250):
    """Write a record; a signal has as many counts per frame as its rate needs."""
    per_frame = [rate // sfreq for rate in rates or [sfreq] * len(names)]
    signals = zip(units, names, per_frame, strict=True)
    lines = [f"r2.dat 16x{n} 1000(0)/{unit} 16 0 0 0 0 {name}" for unit, name, n in signals]
    (folder / "r2.hea").write_text("\n".join([f"r2 {len(names)} {sfreq} 5", *lines]) + "\n")
    counts = np.arange(5 * sum(per_frame))
    (folder / "r2.dat").write_bytes(counts.astype("<i2").tobytes())
    return folder / "r2", counts.reshape(5, -1) / 1000


@pytest.mark.parametrize(
    ("unit", "volts"),
    [
        ("V", 1), ("mV", 1e-3), ("mv", 1e-3), ("uV", 1e-6), ("µV", 1e-6), ("\u03bcV", 1e-6), ("microvolts", 1e-6),
        ("nV", 1e-9), ("mmHg", 1), ("NU", 1),
    ],
)  # fmt: skip
def test_all_spellings_of_units_are_understood(tmp_path, unit, volts):
    pytest.importorskip("wfdb")
    record, values = write_record(tmp_path, [unit], ["x"])
    np.testing.assert_allclose(read_wfdb(record)[0].data[0], values[:, 0] * volts)


@pytest.mark.parametrize("unit", ["µV", "uV", "mV"])
def test_a_record_of_segments_has_the_units_of_its_segments(tmp_path, unit):
    pytest.importorskip("wfdb")
    record, _ = write_record(tmp_path, [unit, "NU"], ["II", "PLETH"])
    single = read_wfdb(record)
    (tmp_path / "many.hea").write_text("many/2 2 250 10\nr2 5\nr2 5\n")
    many = read_wfdb(tmp_path / "many")
    np.testing.assert_array_equal(many[0].data, np.tile(single[0].data, 2))
    assert (many.sfreq, many.ch_names) == (single.sfreq, single.ch_names)


def test_a_record_with_a_layout_segment_has_the_units_of_the_layout(tmp_path):
    pytest.importorskip("wfdb")
    write_record(tmp_path, ["µV"], ["II"])
    (tmp_path / "layout.hea").write_text("layout 1 250 0\n~ 0 1000(0)/µV 16 0 0 0 0 II\n", encoding="utf-8")
    (tmp_path / "many.hea").write_text("many/3 1 250 13\nlayout 0\n~ 8\nr2 5\n")
    data = read_wfdb(tmp_path / "many")[0].data[0]
    np.testing.assert_allclose(data[8:], np.arange(5) * 1e-9)
    assert np.isnan(data[:8]).all()


def test_annotations_use_their_own_rate(tmp_path, monkeypatch):
    wfdb = pytest.importorskip("wfdb")
    record, _ = write_record(tmp_path, ["mV"], ["II"])
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from pandas, inside wfdb
        wfdb.wrann("r2", "atr", sample=np.array([1000, 2000, 9000]), symbol=["N", "V", "N"], fs=1000)
    assert [mark.onset_s for mark in read_wfdb(record, annotator="atr")[0].annotations] == [1.0, 2.0, 9.0]


def test_signals_of_several_rates_are_not_averaged(tmp_path):
    pytest.importorskip("wfdb")
    record, values = write_record(tmp_path, ["mV"] * 3, ["II", "RESP", "V"], rates=[500, 250, 500])
    with pytest.raises(RecordingError, match=r"several rates \(II 500 Hz, RESP 250 Hz, V 500 Hz\)\. Select those of"):
        read_wfdb(record)
    fast = read_wfdb(record, picks=["V", "II"])
    assert (fast.sfreq, fast.lengths.tolist()) == (500, [10])
    np.testing.assert_allclose(fast[0].data * 1e3, [values[:, 3:].ravel(), values[:, :2].ravel()])
    assert read_wfdb(record, picks=["RESP"]).sfreq == 250


def test_signals_with_the_same_name_are_numbered(tmp_path):
    pytest.importorskip("wfdb")
    record, values = write_record(tmp_path, ["mV"] * 3, ["ECG", "PLETH", "ECG"])
    assert read_wfdb(record).ch_names == ("ECG-0", "PLETH", "ECG-1")
    np.testing.assert_allclose(read_wfdb(record, picks=["ECG-1"])[0].data[0] * 1e3, values[:, 2])
