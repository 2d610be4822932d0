"""Tables of recordings and of their segments."""

import json

import numpy as np
import pytest

from s4signal.errors import RecordingError
from s4signal.signals import read_audio_folder, read_audio_manifest

soundfile = pytest.importorskip("soundfile")

RAMP = np.arange(8000, dtype=np.float32) / 10000  # 1 s


@pytest.fixture
def folder(tmp_path):
    for name in ("a.wav", "b c.wav"):
        soundfile.write(tmp_path / name, RAMP, 8000, subtype="FLOAT")
    return tmp_path


def write_rows(path, rows):
    """Write rows, the header first, in the format of the file extension."""
    if path.suffix == ".jsonl":
        header, *rest = rows
        objects = [{k: v for k, v in zip(header, row, strict=True) if v != ""} for row in rest]
        path.write_text("\n".join(map(json.dumps, objects)) + "\n")
    else:
        delimiter = {".tsv": "\t", ".csv": ",", ".txt": ";"}[path.suffix]
        path.write_text("\n".join(delimiter.join(map(str, row)) for row in rows) + "\n")
    return path


ROWS = [("path", "label", "group", "start", "end"), ("a.wav", "low", "ann", 0.25, 0.5), ("b c.wav", "all", "", "", "")]


@pytest.mark.parametrize("name", ["x.csv", "x.tsv", "x.txt", "x.jsonl"])
def test_every_format_gives_the_same(folder, name):
    data = read_audio_manifest(write_rows(folder / name, ROWS))
    assert (data.y.tolist(), data.groups.tolist()) == (["low", "all"], ["ann", str(folder / "b c.wav")])
    assert data.signals.lengths.tolist() == [2000, 8000]
    assert [case.first_sample for case in data.signals.cases] == [2000, 0]
    np.testing.assert_array_equal(data.signals[0].data[0], RAMP[2000:4000])


def test_an_end_may_be_rounded_and_cells_may_have_spaces(folder):
    data = read_audio_manifest({"path": [" a.wav"], "label": ["low "], "end": [1.01]}, root=folder)
    assert (data.y.tolist(), data.signals.lengths.tolist()) == (["low"], [8000])


@pytest.mark.parametrize("kind", ["frame", "mapping"])
def test_tables_in_memory_are_accepted(folder, kind):
    columns = {"file": ["a.wav"], "what": ["low"], "start": [0.5]}
    if kind == "frame":
        columns = pytest.importorskip("pandas").DataFrame(columns)
    data = read_audio_manifest(columns, root=folder, path_column="file", label_column="what")
    np.testing.assert_array_equal(data.signals[0].data[0], RAMP[4000:])


def test_missing_cells_of_a_data_frame_are_empty(folder):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"path": ["a.wav", "b c.wav"], "label": ["x", "y"], "group": ["ann", pandas.NA]})
    assert read_audio_manifest(frame, root=folder).groups.tolist() == ["ann", str(folder / "b c.wav")]


@pytest.mark.parametrize("ending", ["mp3", "flac"])
@pytest.mark.parametrize("sfreq", [None, 4000])
def test_a_segment_equals_that_of_the_whole_in_every_format(folder, ending, sfreq):
    soundfile.write(folder / f"long.{ending}", np.sin(np.arange(48000) / 5), 16000)
    columns = {"path": [f"long.{ending}"] * 2, "label": ["x", "y"], "start": [0.5, 1], "end": [1, np.nan]}
    signals = read_audio_manifest(columns, root=folder, sfreq=sfreq).signals
    rate = sfreq or 16000
    assert signals.lengths.tolist() == [rate // 2, 2 * rate]
    assert [signal.length for signal in signals] == signals.lengths.tolist()
    if sfreq is None:
        whole = read_audio_manifest({"path": [f"long.{ending}"], "label": ["x"]}, root=folder).signals[0]
        np.testing.assert_array_equal(signals[0].data, whole.data[:, 8000:16000])


def test_ignored_columns_of_times_are_reported(folder):
    rows = [
        ("path", "label", "onset", "offset"),
        ("a.wav", "x", 0, 0.5),
        ("a.wav", "y", 0.5, 1),
        ("b c.wav", "x", "", ""),
    ]
    with pytest.warns(
        UserWarning, match=r"row 3: .*a\.wav has the label 'y', but 'x' in .*row 2 \(1 such rows\)\. Only col"
    ):
        data = read_audio_manifest(write_rows(folder / "x.csv", rows))
    assert repr(data).splitlines()[-1] == "ignored: columns: onset, offset"
    rows[0] = ("path", "label", "start", "end")
    assert "ignored" not in repr(read_audio_manifest(write_rows(folder / "x.csv", rows)))


def test_both_unicode_forms_of_accents_are_one_label(folder):
    columns = {"path": ["a.wav", "b c.wav"], "label": ["caf\u00e9", "cafe\u0301"], "group": ["\u00fc", "u\u0308"]}
    data = read_audio_manifest(columns, root=folder)
    assert (data.y.tolist(), data.groups.tolist()) == (["caf\u00e9"] * 2, ["\u00fc"] * 2)


def test_only_newlines_end_a_line_of_json(folder):
    (folder / "x.jsonl").write_text(
        '{"path": "a.wav", "label": "x\u2028y"}\r\n\r\n{"path": "b c.wav", "label": "z"}', "utf-8-sig"
    )
    assert read_audio_manifest(folder / "x.jsonl").y.tolist() == ["x\u2028y", "z"]


def test_a_column_gives_the_parts(folder):
    rows = [("path", "label", "split"), ("a.wav", "x", "train"), ("b c.wav", "y", "test")]
    path = write_rows(folder / "x.csv", rows)
    assert read_audio_manifest(path).splits.tolist() == ["train", "test"]
    assert read_audio_manifest(path, split="test").y.tolist() == ["y"]
    assert read_audio_folder(folder, manifest="x.csv", split="test").y.tolist() == ["y"]


BAD = [
    ([("file", "label"), ("a.wav", "x")], "x.csv has no column path; it has file, label"),
    ([("path", "label"), ("a.wav", "")], "x.csv, row 2, column label is empty. Leave the row out"),
    ([("path", "label"), ("", "x")], "x.csv, row 2, column path is empty"),
    ([("path", "label", "start", "end"), ("a.wav", "x", 0.5, 0.25)], "row 2: start=0.5 s .* before end=0.25 s"),
    ([("path", "label", "start", "end"), ("a.wav", "x", 0.5, 0.5)], "row 2: start=0.5 s .* before end=0.5 s"),
    ([("path", "label", "start"), ("a.wav", "x", -1)], "row 2: start=-1 s must be at least 0"),
    ([("path", "label", "start"), ("a.wav", "x", 2)], r"row 2: .*a\.wav lasts 1.00 s, but the row is from 2 s"),
    ([("path", "label", "end"), ("a.wav", "x", 3)], "lasts 1.00 s, but the row is from 0 s to 3 s. Correct it"),
    ([("path", "label", "start", "end"), ("a.wav", "x", 0.5, 0.50001)], "no sample lies between"),
    ([("path", "label", "start"), ("a.wav", "x", "soon")], "row 2, column start: 'soon' is not a number"),
    ([("path", "label"), ("gone.wav", "x")], r"gone\.wav does not exist"),
]


@pytest.mark.parametrize(("rows", "message"), BAD)
def test_a_bad_row_is_refused_in_one_line(folder, rows, message):
    with pytest.raises(RecordingError, match=message) as caught:
        read_audio_manifest(write_rows(folder / "x.csv", rows))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("rows", [rows for rows, _ in BAD[1:]])
def test_a_bad_row_is_skipped_on_request_and_listed(folder, rows):
    header, row = rows
    good = tuple({"path": "a.wav", "label": "good"}.get(name, "") for name in header)
    with pytest.warns(UserWarning, match="1 of 2 files are left out"):
        data = read_audio_manifest(write_rows(folder / "x.csv", [header, row, good]), on_error="skip")
    assert data.y.tolist() == ["good"]
    assert len(data.skipped) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"{", "line 1 is not a JSON object"),
        (b"\n[1]", "line 2 is not a JSON object"),
        (b'{"path": "\xe9.wav"}', r"x\.jsonl, line 1 is not a JSON object \('utf-8' codec"),
        (b'{"path": "a.wav", "label": ["x", "y"]}', r"x\.jsonl, column label: \['x', 'y'\] is not a single string"),
    ],
)
def test_lines_that_are_not_objects_of_strings_are_refused(folder, text, message):
    (folder / "x.jsonl").write_bytes(text)
    with pytest.raises(RecordingError, match=message):
        read_audio_manifest(folder / "x.jsonl")


def test_a_missing_manifest_is_refused(folder):
    with pytest.raises(RecordingError, match=r"gone\.csv does not exist"):
        read_audio_manifest(folder / "gone.csv")
