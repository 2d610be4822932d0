"""Tests of every reader: rate, names, dtype, units, and errors for damaged files."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import recording_files as files

from s4signal.errors import RecordingError
from s4signal.signals import Signals, read_audio, read_csv, read_eeg, read_ts


class Reader(NamedTuple):
    file: str
    read: Callable[[Path], Signals]
    write: Callable[[Path], Path]
    packages: tuple[str, ...] = ()
    sfreq: float | None = files.SFREQ
    ch_names: tuple[str, ...] | None = files.NAMES
    dtype: type = np.float64
    tolerance: float = 0.0
    cut: str = ""  # extension of the file to truncate


READERS = [
    Reader("a.edf", read_eeg, files.write_edf, ("mne",), tolerance=2e-9),
    Reader("a.vhdr", read_eeg, files.write_brainvision, ("mne",), tolerance=1e-10, cut=".eeg"),
    Reader("a_raw.fif", read_eeg, files.write_fif, ("mne",)),
    *[
        Reader(f"a.{ending}", read_audio, files.write_audio, ("soundfile",), 16000.0, None, np.float32, 1.0)
        for ending in ("wav", "flac", "ogg", "mp3")
    ],
    Reader("a.ts", lambda path: read_ts(path)[0], files.write_ts, sfreq=None, ch_names=None),
    Reader("a.csv", lambda path: read_csv(path, time="time", sfreq=100)[0], files.write_csv),
]

each_reader = pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.file)


def written(reader: Reader, folder: Path) -> Path:
    for package in reader.packages:
        pytest.importorskip(package)
    return reader.write(folder / reader.file)


@each_reader
def test_rate_names_and_dtype_are_kept(reader, tmp_path):
    signals = reader.read(written(reader, tmp_path))
    assert (len(signals), signals.sfreq, signals.ch_names) == (1, reader.sfreq, reader.ch_names)
    assert signals[0].data.dtype == reader.dtype
    assert signals[0].data.shape == (signals.n_channels, signals.lengths[0])


@each_reader
def test_values_have_the_units_of_the_file(reader, tmp_path):
    data = reader.read(written(reader, tmp_path))[0].data
    if reader.read is read_audio:
        assert 0.3 < np.abs(data).max() <= 1.0
    else:
        np.testing.assert_allclose(data, files.DATA, rtol=0, atol=reader.tolerance)


def damage(reader: Reader, folder: Path, kind: str) -> Path:
    if kind == "missing":
        return folder / reader.file
    path = written(reader, folder)
    damaged = path.with_suffix(reader.cut) if reader.cut and kind == "truncated" else path
    content = damaged.read_bytes()
    random = np.random.default_rng(1).bytes(3000)
    damaged.write_bytes({"empty": b"", "truncated": content[: int(len(content) * 0.6)], "random": random}[kind])
    return path


@each_reader
@pytest.mark.parametrize("kind", ["missing", "empty", "truncated", "random"])
def test_a_damaged_file_is_reported_in_one_line(reader, kind, tmp_path):
    path = damage(reader, tmp_path, kind)
    message = {"missing": "does not exist", "empty": "empty|holds no"}.get(kind, "")
    with pytest.raises(RecordingError, match=f"{path.name}.*({message})") as caught:
        list(reader.read(path))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@each_reader
def test_a_truncated_file_is_refused_before_a_case_is_accessed(reader, tmp_path):
    with pytest.raises(RecordingError, match=r"a\.|a_raw"):
        reader.read(damage(reader, tmp_path, "truncated"))


@pytest.mark.parametrize("read", [partial(read_audio, []), partial(read_eeg, []), partial(read_csv, [])])
def test_an_empty_list_of_paths_is_refused(read):
    with pytest.raises(RecordingError, match="names no file; at least one is needed"):
        read()


@pytest.mark.parametrize("read", [read_audio, read_eeg, read_csv])
def test_other_objects_than_paths_are_refused(read):
    with pytest.raises(TypeError, match="must be a path or an iterable of paths, got NoneType"):
        read(None)
    with pytest.raises(TypeError, match=r"must be a path or an iterable of paths, got DataFrame\.$"):
        read(pytest.importorskip("pandas").DataFrame({"HR": [70.0]}))


@pytest.mark.parametrize("read", [read_audio, read_csv, read_ts])
def test_a_folder_is_not_a_recording(read, tmp_path):
    with pytest.raises(RecordingError, match=f"{tmp_path} is a folder; a file is needed"):
        read(tmp_path)
