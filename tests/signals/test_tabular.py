"""Files of the .ts format and CSV."""

import re

import numpy as np
import pytest

from s4signal.errors import RecordingError
from s4signal.signals import read_csv, read_events, read_ts


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


def test_timestamps_become_times_on_the_union_of_dimensions(tmp_path):
    signals, _ = read_ts(ts(tmp_path, "(0,1),(0.5,2),(2,?):(0.5,7),(1,8):a", "@timeStamps true\n@classLabel true a"))
    assert signals[0].times.tolist() == [0, 0.5, 1, 2]
    nan = np.nan
    np.testing.assert_array_equal(signals[0].data, [[1, 2, nan, nan], [nan, 7, 8, nan]])


def test_regular_timestamps_become_a_rate(tmp_path):
    body = ",".join(f"({i / 50},{i})" for i in range(20))
    signals, _ = read_ts(ts(tmp_path, body + ":a", "@timestamps true\n@classlabel true a"))
    assert (signals.has_times, signals.sfreq) == (False, 50)


def test_mixed_dates_and_numbers_are_refused(tmp_path):
    for body in ("(0,1),(2004-10-01,2):a", "(0,1):(2004-10-01,2):a"):
        with pytest.raises(RecordingError, match="line 6: it mixes dates with numbers"):
            read_ts(ts(tmp_path, body, "@timestamps true\n@classlabel true a"))


def test_dates_become_seconds_after_the_first(tmp_path):
    body = "(2004-10-01 12:00:00,1),(2004-10-01 12:00:30,2):(2004-10-01 12:01:00,3):a"
    signals, _ = read_ts(ts(tmp_path, body, "@timestamps true\n@classlabel true a"))
    assert signals[0].times.tolist() == [0, 30, 60]


@pytest.mark.parametrize(
    ("body", "header", "message"),
    [
        ("1,2:a\n1,2:c", "@classLabel true a b", r"line 6: it ends with 'c', which is not a label \(a, b\)"),
        ("1,2,3", "@classLabel true a b", "line 5: it ends with .* truncated"),
        ("1,x:a", "@classLabel true a", "line 5: could not convert .*'x'.* numbers or '\\?'"),
        ("1,,2:a", "@classLabel true a", "line 5: could not convert"),
        ("1,2:3:a", "@classLabel true a", "line 5: its dimensions have 1 to 2 values"),
        ("1,2:a", "@dimensions 2\n@classLabel true a", "line 6: it has 1 dimensions, but @dimensions is 2"),
        ("1,2:a", "@dimensions two", "line 3: '@dimensions two' needs a whole number"),
        ("1,2:a", "problem x", "line 3: 'problem x' is before @data"),
        ("(1,2),(1,3):a", "@timestamps true\n@classLabel true a", "line 6: a dimension has a time twice"),
        ("(1,2),3:a", "@timestamps true\n@classLabel true a", r"line 6: .* written \(time,value\)"),
        ("(x,2):a", "@timestamps true\n@classLabel true a", "line 6: 'x' is neither a number of seconds nor a date"),
        ("1,2:high", "@targetlabel true", "could not convert .*'high'.*targets must be numbers"),
        ("", "@classLabel true a", "holds no case"),
    ],
)
def test_errors_name_the_malformed_line(tmp_path, body, header, message):
    with pytest.raises(RecordingError, match=message):
        read_ts(ts(tmp_path, body, header))


def csv(tmp_path, text, name="x.csv"):
    (tmp_path / name).write_text(text)
    return tmp_path / name


def test_a_csv_is_one_case_whose_columns_are_channels(tmp_path):
    signals, y = read_csv(csv(tmp_path, "a,b\n1,2\n3,\n"), sfreq=5)
    np.testing.assert_array_equal(signals[0].data, [[1, 3], [2, np.nan]])
    assert (signals.ch_names, signals.sfreq, y) == (("a", "b"), 5, None)


def test_a_byte_order_mark_is_not_part_of_the_first_name(tmp_path):
    assert read_csv(csv(tmp_path, "\ufeffa,b\n1,2\n"))[0].ch_names == ("a", "b")  # as Excel writes it


def test_columns_give_times_cases_and_labels(tmp_path):
    text = "who,ms,x,note,kind\n1,0,5,n,up\n2,0,7,n,down\n1,20,6,n,up\n1,50,4,n,up\n"
    signals, y = read_csv(csv(tmp_path, text), time="ms", time_unit_s=0.001, picks=["x"], case="who", label="kind")
    assert [signal.data.tolist() for signal in signals] == [[[5, 6, 4]], [[7]]]
    np.testing.assert_allclose(signals[0].times, [0, 0.02, 0.05])
    assert y.tolist() == ["up", "down"]


@pytest.mark.parametrize(
    "stamps",
    [
        ["2025-03-30T01:59:59.500+01:00", "2025-03-30T03:00:00.000+02:00", "2025-03-30T03:00:00.500+02:00"],
        ["2025-03-30 01:59:59.5", "2025-03-30 02:00:00", "2025-03-30 02:00:00.5"],
        ["2025-03-30T01:59:59.5Z", "2025-03-30T02:00:00Z", "2025-03-30T02:00:00.5Z"],
    ],
)
def test_dates_are_relative_to_the_first_row_as_in_read_events(tmp_path, stamps):
    rows = [f"a,{stamp},ppg,{i}" for i, stamp in enumerate(stamps)]
    path = csv(tmp_path, "\n".join(["who,when,what,value", *rows]))
    (times,) = [signal.times.tolist() for signal in read_csv(path, time="when", picks=["value"])[0]]
    assert times == [0.0, 0.5, 1.0]
    events = read_events(path, case="who", time="when", variable="what", value="value")
    assert events[0].times.tolist() == times
    both = csv(tmp_path, "\n".join(["who,when,what,value", *rows, *("b" + row[1:] for row in rows[1:])]))
    assert [signal.times.tolist() for signal in read_csv(both, time="when", case="who", picks=["value"])[0]] == [
        [0.0, 0.5, 1.0],
        [0.0, 0.5],
    ]


def test_clock_times_are_understood(tmp_path):
    signals, _ = read_csv(csv(tmp_path, "at,x\n23:59,1\n24:01,2\n25:00:30,3\n"), time="at")
    assert signals[0].times.tolist() == [86340, 86460, 90030]


NAMES_OF_TIMES = ["time", "Time", "timestamp", "Time [s]", "unix_time", "datetime", "Date", "time_ms", "device_time"]


@pytest.mark.parametrize("name", [*NAMES_OF_TIMES, "t", "t (s)", "seconds", "ms", "index", "Unnamed: 0", ""])
def test_a_column_of_times_becomes_a_channel_only_on_request(tmp_path, name):
    path = csv(tmp_path, f"{name},x\n0,1\n1,2\n")
    with pytest.raises(RecordingError, match=rf"column {re.escape(repr(name))} looks like times. Pass time="):
        read_csv(path)
    assert read_csv(path, time=name)[0].ch_names == ("x",)
    assert read_csv(path, time="x")[0].ch_names == (name,)
    assert read_csv(path, picks=[name, "x"])[0].ch_names == (name, "x")


@pytest.mark.parametrize("text", ["t,x\n0,1\n0,2\n", "T7,x\n0,1\n1,2\n", "s,x\n0,1\n"])
def test_a_channel_with_the_name_of_a_time_column_is_kept(tmp_path, text):
    assert len(read_csv(csv(tmp_path, text))[0].ch_names) == 2


@pytest.mark.parametrize(
    ("write", "n", "unit_s", "sfreq"),
    [
        (lambda i: f"{i / 100:.2f}", 50, 1, 100),
        (lambda i: repr(i / 100), 50, 1, 100),
        (lambda i: repr(i / 30), 50, 1, 30),
        (lambda i: f"{i / 30:.3f}", 900, 1, 30),
        (lambda i: str(i * 1000 // 128), 900, 1e-3, 128),
        (lambda i: f"{i / 29.97:.4f}", 5000, 1, 29.97),
        (lambda i: f"{i / 240:.3f}", 900, 60, 4),
        (lambda i: f"{1.7e9 + i / 130:.3f}", 500, 1, 130),
        (lambda i: str(60 * i), 20, 1, 1 / 60),
        (lambda i: f"2025-01-01T00:00:{i / 25:05.2f}", 50, 1, 25),
    ],
)
def test_times_that_are_regular_up_to_rounding_become_a_rate(tmp_path, write, n, unit_s, sfreq):
    path = csv(tmp_path, "at,x\n" + "".join(f"{write(i)},{i}\n" for i in range(n)))
    signals, _ = read_csv([path, path], time="at", time_unit_s=unit_s)
    assert (signals.has_times, signals.sfreq) == (False, pytest.approx(sfreq, rel=1e-9))
    assert read_csv(path, time="at", time_unit_s=unit_s, sfreq=signals.sfreq)[0].has_times is False


@pytest.mark.parametrize(
    "times",
    [
        [0.0, 0.01, 0.02, 0.03],  # too few samples for a rate
        [round(0.01 * i, 2) for i in range(40) if i != 20],
        [round(0.01 * i, 2) for i in range(400) if i != 398],
        [round(i / 128, 3) for i in range(400) if i != 200],
        [round(i / 99.7, 2) for i in range(400)],  # or samples are missing
        [round(0.01 * i + 0.002 * (i % 3), 3) for i in range(40)],
        [5.0] * 40,
    ],
)
def test_other_times_are_kept(tmp_path, times):
    path = csv(tmp_path, "at,x\n" + "".join(f"{at!r},1\n" for at in times))
    assert read_csv(path, time="at")[0][0].times.tolist() == times


def test_one_irregular_file_keeps_the_times_of_all(tmp_path):
    regular = csv(tmp_path, "at,x\n" + "".join(f"{i / 10},1\n" for i in range(20)), "a.csv")
    other = csv(tmp_path, "at,x\n" + "".join(f"{i**2 / 10},1\n" for i in range(20)), "b.csv")
    assert read_csv(regular, time="at")[0].sfreq == 10
    assert [case.has_times for case in read_csv([regular, other], time="at")[0].cases] == [True, True]


def test_columns_of_text_do_not_change_how_numbers_are_read(tmp_path, rng):
    numbers = rng.normal(size=(30, 2)) * 10.0 ** rng.integers(-9, 9, (30, 2))
    rows = [f"{a!r},{b!r}" for a, b in numbers.tolist()]
    plain = csv(tmp_path, "\n".join(["a,b", *rows]), "plain.csv")
    quoted = csv(tmp_path, "\ufeffa,b\n" + "\n".join(f'"{row}"'.replace(",", '","') for row in rows), "quoted.csv")
    texts = csv(tmp_path, "\n".join(["a,b,who", *(f"{row},me" for row in rows)]), "texts.csv")
    for signals in (read_csv(plain)[0], read_csv(quoted)[0], read_csv(texts, case="who")[0]):
        np.testing.assert_array_equal(signals[0].data, numbers.T)


@pytest.mark.parametrize("empty", ["", "NaN", "nan", "NA", "N/A", "null", " "])
def test_a_cell_without_a_number_is_missing(tmp_path, empty):
    signals, _ = read_csv(csv(tmp_path, f"a,b\n1,2\n{empty},4\n"))
    np.testing.assert_array_equal(signals[0].data, [[1, np.nan], [2, 4]])


def test_several_files_are_several_cases(tmp_path):
    paths = [csv(tmp_path, f"a,y\n{i},{i}\n{i},{i}\n", f"{i}.csv") for i in (3, 4)]
    signals, y = read_csv(paths, label="y", delimiter=",")
    assert [source[-5:] for source in signals.sources] == ["3.csv", "4.csv"]
    assert y.tolist() == ["3", "4"]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("a,b\n1,2\n", {"time": "t"}, "has no column t; it has a, b"),
        ("a,b\n1,2\n", {"time": "a", "label": "b"}, "has no column left for a channel"),
        (
            "a,b\n1,x\n",
            {},
            "row 2, column b: 'x' is not a number. Leave the cell empty if the value is missing, or pass",
        ),
        ("a,b\n1,2,3\n4,5,6\n", {}, "row 2: 3 cells, but the header has 2"),
        ("a,b\n1,2\n3\n", {}, "row 3: 1 cells, but the header has 2"),
        ("a,b\n", {}, "holds no row of samples"),
        ("t,b\n1,2\n0,3\n", {"time": "t"}, "times must increase"),
        ("c,b\n1,2\n2,3\n", {"label": "c"}, "has several labels: 1, 2"),
        ("a,b,a\n1,2,3\n", {}, "has several columns a. Give each its own name"),
        ("a,b\n1,inf\n", {}, r"^[^:]*: it contains infinity, in 1 of 2 samples"),
    ],
)
def test_a_bad_csv_is_refused(tmp_path, text, options, message):
    with pytest.raises(RecordingError, match=message):
        read_csv(csv(tmp_path, text), **options)


def test_unused_columns_may_have_duplicate_names(tmp_path):
    signals, _ = read_csv(csv(tmp_path, "a,,\n1,,\n2,,\n"), picks=["a"])
    assert signals[0].data.tolist() == [[1, 2]]


@pytest.mark.parametrize("unit", [0, -1, float("nan")])
def test_a_unit_of_time_must_be_positive(tmp_path, unit):
    with pytest.raises(ValueError, match=f"time_unit_s={unit} must be a positive number of seconds"):
        read_csv(csv(tmp_path, "t,a\n1,2\n"), time="t", time_unit_s=unit)
