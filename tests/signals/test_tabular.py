"""The grammar of .ts files, and CSV."""

import numpy as np
import pytest

from s4signal.errors import RecordingError
from s4signal.signals import read_csv, read_ts


def ts(tmp_path, body, header="@problemName x\n@classLabel true a b"):
    path = tmp_path / "x.ts"
    path.write_text(f"#a comment\n\n{header}\n@data\n{body}\n")
    return path


def test_unequal_lengths_dimensions_and_labels(tmp_path):
    signals, y = read_ts(ts(tmp_path, "1,2,3:4,5,6:a\n7,8 : 9,1e1 : b"), sfreq=10)
    np.testing.assert_array_equal(signals[0].data, [[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(signals[1].data, [[7, 8], [9, 10]])
    assert (y.tolist(), signals.sfreq) == (["a", "b"], 10)


def test_question_marks_are_missing_samples(tmp_path):
    signals, _ = read_ts(ts(tmp_path, "1,?,NaN:a"))
    np.testing.assert_array_equal(signals[0].data, [[1, np.nan, np.nan]])


def test_targets_are_floats(tmp_path):
    _, y = read_ts(ts(tmp_path, "1,2:61.5\n3,4:-2", "@targetlabel true"))
    assert y.dtype == np.float64
    assert y.tolist() == [61.5, -2.0]


def test_without_labels_there_is_no_y(tmp_path):
    signals, y = read_ts(ts(tmp_path, "1,2:3,4", "@classLabel false"))
    assert y is None
    assert signals.n_channels == 2


def test_timestamps_become_times_and_dimensions_meet_on_their_union(tmp_path):
    signals, _ = read_ts(ts(tmp_path, "(0,1),(0.5,2),(2,?):(0.5,7),(1,8):a", "@timeStamps true\n@classLabel true a"))
    assert signals[0].times.tolist() == [0, 0.5, 1, 2]
    nan = np.nan
    np.testing.assert_array_equal(signals[0].data, [[1, 2, nan, nan], [nan, 7, 8, nan]])


def test_dates_become_seconds_after_the_first(tmp_path):
    body = "(2004-10-01 12:00:00,1),(2004-10-01 12:00:30,2):(2004-10-01 12:01:00,3):a"
    signals, _ = read_ts(ts(tmp_path, body, "@timestamps true\n@classlabel true a"))
    assert signals[0].times.tolist() == [0, 30, 60]


@pytest.mark.parametrize(
    ("body", "header", "message"),
    [
        ("1,2:a\n1,2:c", "@classLabel true a b", r"line 6: it ends with 'c', which is not its label \(a, b\)"),
        ("1,2,3", "@classLabel true a b", "line 5: it ends with .* cut off"),
        ("1,x:a", "@classLabel true a", "line 5: could not convert .*'x'.* numbers or '\\?'"),
        ("1,,2:a", "@classLabel true a", "line 5: could not convert"),
        ("1,2:3:a", "@classLabel true a", "line 5: its dimensions have 1 to 2 values"),
        ("1,2:a", "@dimensions 2\n@classLabel true a", "line 6: it has 1 dimensions, but @dimensions says 2"),
        ("1,2:a", "@dimensions two", "line 3: '@dimensions two' needs a whole number"),
        ("1,2:a", "problem x", "line 3: 'problem x' stands before @data"),
        ("(1,2),(1,3):a", "@timestamps true\n@classLabel true a", "line 6: a time stands twice"),
        ("(1,2),3:a", "@timestamps true\n@classLabel true a", r"line 6: .* written \(time,value\)"),
        ("(x,2):a", "@timestamps true\n@classLabel true a", "line 6: 'x' is neither a number of seconds nor a date"),
        ("1,2:high", "@targetlabel true", "could not convert .*'high'.*promises numbers"),
        ("", "@classLabel true a", "holds no case"),
    ],
)
def test_a_malformed_file_names_its_line(tmp_path, body, header, message):
    with pytest.raises(RecordingError, match=message):
        read_ts(ts(tmp_path, body, header))


def csv(tmp_path, text, name="x.csv"):
    (tmp_path / name).write_text(text)
    return tmp_path / name


def test_a_csv_is_one_case_whose_columns_are_channels(tmp_path):
    signals, y = read_csv(csv(tmp_path, "a,b\n1,2\n3,\n"), sfreq=5)
    np.testing.assert_array_equal(signals[0].data, [[1, 3], [2, np.nan]])
    assert (signals.ch_names, signals.sfreq, y) == (("a", "b"), 5, None)


def test_times_cases_and_labels_have_their_columns(tmp_path):
    text = "who,ms,x,note,kind\n1,0,5,n,up\n2,0,7,n,down\n1,20,6,n,up\n1,50,4,n,up\n"
    signals, y = read_csv(csv(tmp_path, text), time="ms", time_unit_s=0.001, picks=["x"], case="who", label="kind")
    assert [signal.data.tolist() for signal in signals] == [[[5, 6, 4]], [[7]]]
    np.testing.assert_allclose(signals[0].times, [0, 0.02, 0.05])
    assert y.tolist() == ["up", "down"]


def test_several_files_are_several_cases(tmp_path):
    paths = [csv(tmp_path, f"a,y\n{i},{i}\n{i},{i}\n", f"{i}.csv") for i in (3, 4)]
    signals, y = read_csv(paths, label="y", delimiter=",")
    assert [source[-5:] for source in signals.sources] == ["3.csv", "4.csv"]
    assert y.tolist() == ["3", "4"]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("a,b\n1,2\n", {"time": "t"}, "has no column t; it has a, b"),
        ("a,b\n1,2\n", {"time": "a", "label": "b"}, "has no column of a channel"),
        (
            "a,b\n1,x\n",
            {},
            "row 2, column b: 'x' is no number. Leave the cell empty if it is missing, or name other columns",
        ),
        ("a,b\n1,2\n3\n", {}, "row 3: 1 cells, but the header has 2"),
        ("a,b\n", {}, "holds no row of samples"),
        ("t,b\n1,2\n0,3\n", {"time": "t"}, "times must increase"),
        ("c,b\n1,2\n2,3\n", {"label": "c"}, "has several labels: 1, 2"),
        ("a,b,a\n1,2,3\n", {}, "has several columns a. Give each a name"),
        ("a,b\n1,inf\n", {}, r"^[^:]*: it contains infinity, in 1 of 2 samples"),
    ],
)
def test_a_bad_csv_is_refused(tmp_path, text, options, message):
    with pytest.raises(RecordingError, match=message):
        read_csv(csv(tmp_path, text), **options)


def test_columns_of_one_name_that_nobody_asks_for_do_no_harm(tmp_path):
    signals, _ = read_csv(csv(tmp_path, "a,,\n1,,\n2,,\n"), picks=["a"])
    assert signals[0].data.tolist() == [[1, 2]]


@pytest.mark.parametrize("unit", [0, -1, float("nan")])
def test_a_unit_of_time_must_be_positive(tmp_path, unit):
    with pytest.raises(ValueError, match=f"time_unit_s={unit} must be a positive number of seconds"):
        read_csv(csv(tmp_path, "t,a\n1,2\n"), time="t", time_unit_s=unit)
