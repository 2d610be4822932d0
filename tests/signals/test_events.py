"""Long tables become cases: each value at its time on its channel, without interpolation."""

import numpy as np
import pytest

from s4signal.errors import RecordingError, ShapeError
from s4signal.signals import Signals, read_events

COLUMNS = {"case": "who", "time": "when", "variable": "what", "value": "number"}
TABLE = {
    "who": ["b", "a", "b", "b", "a", "b"],
    "when": [3.0, 0.0, 1.0, 1.0, 2.0, 3.0],
    "what": ["HR", "Temp", "Temp", "HR", "HR", "HR"],
    "number": [80.0, 36.6, 37.0, 70.0, 60.0, 90.0],
}
NAN = np.nan


def read(table, **options):
    return read_events(table, **(COLUMNS | options))


def changed(**columns):
    return TABLE | columns


def write(path, table):
    rows = zip(*table.values(), strict=True)
    path.write_text("\n".join([",".join(table), *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


def forms(tmp_path):
    pandas = pytest.importorskip("pandas")
    arrays = {name: np.array(column) for name, column in TABLE.items()}
    frame = pandas.DataFrame(TABLE)
    nullable = frame.astype({"who": "category", "number": "Float64"})
    masked = arrays | {"number": np.ma.masked_array(arrays["number"], mask=[False] * 6)}
    return [TABLE, arrays, masked, frame, nullable, write(tmp_path / "stays.csv", TABLE)]


def test_polars_frames_are_tables():
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame(changed(number=[80.0, 36.6, None, 70.0, 60.0, 90.0]))
    assert read(frame)[0] == read(changed(number=[80.0, 36.6, NAN, 70.0, 60.0, 90.0]))[0]
    dated = frame.with_columns(when=polars.datetime(2012, 5, 1) + polars.duration(hours=polars.col("when").cast(int)))
    assert [signal.times.tolist() for signal in read(dated)] == [[0.0, 7200.0], [0.0, 7200.0]]


def test_polars_frames_are_cases():
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"a": [1.0, None, 3.0], "b": [4, 5, 6]})
    np.testing.assert_array_equal(Signals(frame).to_numpy()[:, 0], [[1, 4], [np.nan, 5], [3, 6]])
    np.testing.assert_array_equal(Signals([frame, frame])[1].data, Signals(frame).to_numpy()[:, 0])


def test_masked_values_are_not_observations():
    masked = np.ma.masked_array(TABLE["number"], mask=[0, 0, 1, 0, 0, 0])
    assert read(changed(number=masked)) == read(changed(number=[80.0, 36.6, NAN, 70.0, 60.0, 90.0]))


def test_every_form_of_a_table_gives_the_same_cases(tmp_path):
    for table in forms(tmp_path):
        signals = read(table)
        assert (signals.sources, signals.ch_names) == (("b", "a"), ("HR", "Temp"))
        assert [signal.times.tolist() for signal in signals] == [[1, 3], [0, 2]]
        np.testing.assert_array_equal(signals[0].data, [[70, 85], [37, NAN]])
        np.testing.assert_array_equal(signals[1].data, [[NAN, 60], [36.6, NAN]])


def test_cases_equal_a_row_by_row_formulation(rng):
    n = 3000
    table = {
        "who": rng.integers(7, size=n), "when": rng.integers(40, size=n) / 4, "what": rng.choice(list("xyz"), size=n),
        "number": rng.normal(size=n),
    }  # fmt: skip
    found: dict = {}
    for who, when, what, number in zip(*table.values(), strict=True):
        found.setdefault((str(who), what, when), []).append(number)
    for duplicates, pick in (("mean", np.mean), ("last", lambda values: values[-1])):
        signals = read(table, duplicates=duplicates)
        seen = {
            (signal.source, name, signal.times[j]): signal.data[i, j]
            for signal in signals
            for i, name in enumerate(signal.ch_names)
            for j in np.flatnonzero(signal.observed[i])
        }
        assert seen == pytest.approx({key: pick(values) for key, values in found.items()})


def test_cases_and_variables_are_in_the_requested_order():
    signals = read(changed(who=[2, 1, 2, 2, 1, 2]), cases=[1, 2], picks=["Temp", "pH", "HR"])
    assert (signals.sources, signals.ch_names) == (("1", "2"), ("Temp", "pH", "HR"))
    assert np.isnan(signals[0].data[1]).all()
    assert read(changed(what=["x", "b", "a", "x", "b", "a"])).ch_names == ("a", "b", "x")  # sorted by default


def test_rows_of_other_variables_add_no_times():
    assert [signal.times.tolist() for signal in read(TABLE, picks=["Temp"])] == [[1.0], [0.0]]


@pytest.mark.parametrize("empty", [None, NAN, "", "nan"])
def test_a_row_without_value_is_not_an_observation(empty):
    signals = read(changed(number=[80, 36.6, empty, 70, 60, 90]))
    np.testing.assert_array_equal(signals[0].data, [[70, 85], [NAN, NAN]])


@pytest.mark.parametrize(
    ("when", "options"),
    [
        ([1.0, 2.5], {"time_unit_s": 3600}),
        (["1", "2.5"], {"time_unit_s": 3600}),
        (["01:00", "02:30"], {}),
        (["1:00:00", "2:29:60.0"], {}),
        (np.array([3600, 9000], dtype="m8[s]"), {}),
    ],
)
def test_times_are_converted_to_seconds(when, options):
    table = {"who": [1, 1], "when": when, "what": ["x", "x"], "number": [1, 2]}
    assert read(table, **options)[0].times.tolist() == [3600, 9000]


@pytest.mark.parametrize(
    "when",
    [
        ["2012-05-01 23:00", "2012-05-02T01:30:00", "2013-01-01"],
        ["2012-05-01T23:00+00:00", "2012-05-02T03:30:00+02:00", "2013-01-01"],
        np.array(["2012-05-01T23:00", "2012-05-02T01:30", "2013-01-01"], dtype="M8[s]"),
    ],
)
def test_dates_are_relative_to_the_first_of_their_case(when):
    table = {"who": [1, 1, 2], "when": when, "what": ["x"] * 3, "number": [1, 2, 3]}
    assert [signal.times.tolist() for signal in read(table)] == [[0, 9000], [0]]


def test_dates_of_pandas_are_understood():
    pandas = pytest.importorskip("pandas")
    when = pandas.to_datetime(["2012-05-01 23:00", "2012-05-02 01:30"]).tz_localize("Europe/Vienna")
    frame = pandas.DataFrame({"who": [1, 1], "when": when, "what": ["x", "x"], "number": [1, 2]})
    assert read(frame)[0].times.tolist() == [0, 9000]
    assert read(frame.assign(when=when.tz_localize(None)))[0].times.tolist() == [0, 9000]


@pytest.mark.parametrize(
    ("table", "options", "error", "message"),
    [
        (TABLE, {"value": "x"}, RecordingError, "the table has no column x; it has who, when, what, number"),
        (TABLE, {"duplicates": "max"}, ValueError, "duplicates='max' is unknown; choose one of 'mean', 'last'"),
        (TABLE, {"time_unit_s": 0}, ValueError, "time_unit_s=0 must be a positive"),
        (TABLE, {"cases": ["a", "c"]}, RecordingError, "case c has no observation in the table. Leave it out"),
        (TABLE, {"picks": ["pH"]}, RecordingError, "no observation of pH. Variables are HR, Temp"),
        (changed(what=["HR", "x", "HR", "HR", "x", "HR"]), {"picks": ["HR"]}, RecordingError, "case a has no obs"),
        (changed(number=[NAN, 1, NAN, NAN, 2, NAN]), {}, RecordingError, "case b has no observation"),
        (changed(number=[1] * 5 + ["high"]), {}, RecordingError, r"row 5 \(case b\), column number: 'high' is not a"),
        (changed(when=[1, 2, NAN, 4, 5, 6]), {}, RecordingError, r"row 2 \(case b\), column when is not a time"),
        (
            changed(when=np.float32([1.6e9] * 6)),
            {},
            RecordingError,
            "column when: times as float32 have a resolution of 128 s",
        ),
        (changed(when=["1:2:3:4"] * 6), {}, RecordingError, r"row 0 \(case b\).*'1:2:3:4' is not a number, HH:MM"),
        (changed(when=["1"] * 5 + ["noon"]), {}, RecordingError, r"row 5 \(case b\).*'noon' is not a number, HH:MM"),
        (changed(when=["1"] * 5 + ["2012-01-01"]), {}, RecordingError, "column when of the table mixes dates"),
        (changed(what=["HR", ""] + ["HR"] * 4), {}, RecordingError, r"row 1 \(case a\), column what is empty"),
        (changed(what=["HR"]), {}, ShapeError, "columns of the table must be of one length, got .*'what': 1"),
        (changed(number=[np.inf] + [1] * 5), {}, ValueError, "b: it contains infinity"),
        (changed(number=[np.inf] + [1] * 5), {}, RecordingError, "the table, case b: it contains infinity"),
        ({name: [] for name in TABLE}, {}, RecordingError, "the table holds no row"),
        ([1, 2], {}, TypeError, "data is a list; a path, a pandas or polars data frame, or a mapping"),
    ],
)
def test_a_bad_table_is_refused(table, options, error, message):
    with pytest.raises(error, match=message):
        read(table, **options)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "does not exist"),
        ("", "is empty"),
        ("a,b\n1,2\n", "has no column who, when, what, number; it has a, b"),
        ("who,when,what,number\n", "holds no row"),
        ("who,when,what,number,who\na,1,HR,73,b\n", "has several columns who"),
        ("who,when,what,number\na,1,HR\n", "row 2: 3 cells, but the header has 4"),
        ("who,when,what,number\na,1,HR,high\n", r"row 2 \(case a\), column number: 'high'"),
        (b"\xff\xfe\x00", "cannot be read as CSV"),
    ],
)
def test_errors_name_the_bad_file(tmp_path, text, message):
    path = tmp_path / "stays.csv"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(RecordingError, match=rf"stays\.csv.*{message}"):
        read(path)


def test_float32_times_are_read_if_they_resolve_a_second():
    assert len(read(changed(when=np.float32([1.6e9] * 6)), time_unit_s=1e-3)) == 2


def test_none_is_a_name_in_a_file(tmp_path):
    assert read(write(tmp_path / "stays.csv", changed(what=["None"] * 6))).ch_names == ("None",)


def test_other_delimiters_are_read(tmp_path):
    path = tmp_path / "stays.txt"
    path.write_text("who;when;what;number\na;00:07;HR;73\n")
    assert read(path, delimiter=";")[0].times.tolist() == [420.0]
