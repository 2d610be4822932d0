"""Read signals from tables: one row per sample (`read_csv`) or per observation of one variable (`read_events`)."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from s4signal.errors import RecordingError, check_choice
from s4signal.signals.case import Signal
from s4signal.signals.checks import FloatArray, PathOrText, as_paths, check_positive, few
from s4signal.signals.clock import without_regular_times
from s4signal.signals.collection import Signals
from s4signal.signals.table import Table, as_seconds

_TIMES = re.compile(r"((unix|sample)?[ _]?(time|timestamp|datetime|date))s?(?![a-z]).*", re.IGNORECASE)
# Ambiguous names: these are times or row numbers if their values increase from row to row.
_COUNTERS = re.compile(r"(.*[ _]time(stamp)?|t|m?s|(milli)?sec(ond)?s?|index|unnamed: 0|)([ _\[(].*)?", re.IGNORECASE)


def read_csv(
    path: PathOrText | Iterable[PathOrText],
    *,
    time: str | None = None,
    time_unit_s: float = 1.0,
    sfreq: float | None = None,
    picks: Sequence[str] | None = None,
    case: str | None = None,
    label: str | None = None,
    delimiter: str = ",",
) -> tuple[Signals, npt.NDArray[np.str_] | None]:
    """Read CSV files with a header and one row per sample.

    Parameters
    ----------
    path : path or iterable of paths
        CSV files, one case per file unless `case` is given.
    time : str, optional
        The column of times, non-decreasing within a case: numbers, "HH:MM[:SS]", or ISO dates, with or without a time
        zone, which are converted to seconds after the first row of their case. If all cases are on one regular grid,
        within the precision of the column, they get its rate instead of times.
    time_unit_s : float, positive
        Seconds in one unit of a numeric `time`: 0.001 for milliseconds.
    sfreq : float, optional
        Samples per second [Hz].
    picks : sequence of str, optional
        The columns of the channels; by default all except `time`, `case` and `label`.
    case : str, optional
        The column that identifies the case of a row.
    label : str, optional
        The column of the label, the same in all rows of a case.
    delimiter : str
        The separator of columns.

    Returns
    -------
    signals : Signals
        The cases; empty cells are NaN.
    y : ndarray of shape (n,) or None
        The labels as strings; None without `label`.

    Raises
    ------
    RecordingError
        If a file is missing or empty, a column is missing or duplicated, a column of times would become a channel, a
        cell is not a number, or a case has two labels.
    ValueError
        If `time_unit_s` is not positive.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "pulse.csv"
    ...     _ = path.write_text("ms,red,green\\n0,7,9\\n31,8,9\\n66,8,7\\n")
    ...     signals, y = read_csv(path, time="ms", time_unit_s=0.001)
    >>> signals
    Signals: 1 case × 2 channels, 3 samples, irregular times (0.066 s)
    """
    check_positive("time_unit_s", time_unit_s)
    cases: list[Signal] = []
    labels: list[str] = []
    for file in map(str, as_paths(path, "path")):
        table = Table(file, delimiter=delimiter, numeric=case is None and label is None)
        names = _channels(table, picks, time, [name for name in (time, case, label) if name is not None])
        numbers = np.array([table.numbers(name) for name in names])
        seconds = None if time is None else table.seconds(time, time_unit_s)
        marks = None if label is None else np.array(table.names(label))
        for key, rows in _rows_by_key([""] * numbers.shape[1] if case is None else table.names(case)).items():
            where = f"{file}{key and f', case {key}'}"
            times = None if seconds is None else as_seconds(seconds[rows])
            try:
                cases.append(Signal(numbers[:, rows], times, sfreq, tuple(names), source=file))
            except ValueError as error:
                reason = str(error).removeprefix(f"{file}: ")  # errors of infinite samples begin with the source
                raise RecordingError(f"{where}: {reason}") from None
            if marks is not None:
                different = np.unique(marks[rows])
                if len(different) > 1:
                    raise RecordingError(f"{where} has several labels: {', '.join(different[:5])}.")
                labels.append(str(different[0]))
    return Signals(without_regular_times(cases, time_unit_s)), None if label is None else np.array(labels)


def _channels(table: Table, picks: Sequence[str] | None, time: str | None, special: list[str]) -> list[str]:
    """Return the columns of the channels; raise if one of them looks like times."""
    names = list(picks) if picks is not None else [name for name in table.header if name not in special]
    table.check([*special, *names])
    if not names:
        raise RecordingError(f"{table.name} has no column left for a channel; it has {', '.join(table.header)}.")
    if not len(table.columns[names[0]]):
        raise RecordingError(f"{table.name} holds no row of samples. A header and one row per sample are needed.")
    if picks is not None or time is not None:
        return names
    times = [name for name in names if _TIMES.fullmatch(name)]
    counters = {name: np.diff(table.numbers(name)) for name in names if _COUNTERS.fullmatch(name)}
    times += [name for name, steps in counters.items() if len(steps) and (steps > 0).all()]
    if times:
        raise RecordingError(
            f"{table.name}: column {times[0]!r} looks like times. Pass time={times[0]!r} (and time_unit_s= if it is "
            "not in seconds), or pass the columns of the channels as picks=."
        )
    return names


def _rows_by_key(keys: Sequence[str]) -> dict[str, npt.NDArray[np.int64]]:
    """Return the rows of each key, keys in the order of their first row."""
    rows: dict[str, list[int]] = {}
    for row, key in enumerate(keys):
        rows.setdefault(key, []).append(row)
    return {key: np.array(found) for key, found in rows.items()}


def read_events(
    data: PathOrText | Mapping[str, Any] | Any,
    *,
    case: str,
    time: str,
    variable: str,
    value: str,
    time_unit_s: float = 1.0,
    picks: Sequence[str] | None = None,
    cases: Iterable[Any] | None = None,
    duplicates: Literal["mean", "last"] = "mean",
    delimiter: str = ",",
) -> Signals:
    """Read observations of many variables at irregular times, such as intensive care records.

    Parameters
    ----------
    data : path, pandas or polars data frame, or mapping of name to column
        One row per observation, in any order; a path is a CSV file with a header.
    case, time, variable, value : str
        The columns of the case, the time, the observed variable, and its value. Rows without a value are
        ignored.
    time_unit_s : float, positive
        Seconds in one unit of a numeric `time`: 3600 for hours. Strings such as "26:45" are hours and minutes, with
        optional seconds; ISO dates, with or without a time zone, become seconds after the first observation of a case.
    picks : sequence of str, optional
        The variables that become channels, in this order; other rows are ignored. By default all variables in the
        table, sorted: pass the names if training and test data are read separately.
    cases : iterable, optional
        The cases to return, in this order, to match `y`; by default all, in the order of their first row.
    duplicates : {"mean", "last"}
        How to combine several values of one variable at one time.
    delimiter : str
        The separator of columns in a CSV file.

    Returns
    -------
    Signals
        A case is (n_variables, n_distinct_times), NaN where a variable was not observed; ``sources`` has the names of
        the cases.

    Raises
    ------
    RecordingError
        If the file is missing, a column is missing or duplicated, a time or value is not a number or infinite, or a
        case has no observation.
    ShapeError
        If the columns have different lengths.
    ValueError
        If `duplicates` is unknown or `time_unit_s` is not positive.

    Examples
    --------
    >>> table = {
    ...     "stay": ["a", "a", "a", "b"],
    ...     "hour": [0.0, 0.5, 0.5, 2.0],
    ...     "what": ["HR", "HR", "Temp", "HR"],
    ...     "number": [73, 77, 36.5, 90],
    ... }
    >>> stays = read_events(table, case="stay", time="hour", variable="what", value="number", time_unit_s=3600)
    >>> stays.ch_names, stays.sources
    (('HR', 'Temp'), ('a', 'b'))
    >>> stays[0].times, stays[0].data
    (array([   0., 1800.]), array([[73. , 77. ],
           [ nan, 36.5]]))
    """
    check_choice("duplicates", duplicates, ("mean", "last"))
    check_positive("time_unit_s", time_unit_s)
    table = Table(data, delimiter=delimiter, case=case)
    table.check((case, time, variable, value))
    owners, variables, numbers = table.names(case), table.names(variable), table.numbers(value)
    if not owners:
        raise RecordingError(f"{table.name} holds no row. One row per observation is needed.")
    names = sorted(set(variables)) if picks is None else [str(name) for name in picks]
    channels = {name: i for i, name in enumerate(names)}
    channel = np.array([channels.get(name, -1) for name in variables])
    observed = (channel >= 0) & ~np.isnan(numbers)
    if not observed.any():
        raise RecordingError(
            f"{table.name} holds no observation of {few(names, 10)}. Variables are {few(sorted(set(variables)), 10)}."
        )
    seconds, rows_of, signals = table.seconds(time, time_unit_s), _rows_by_key(owners), list[Signal]()
    for name in rows_of if cases is None else map(str, cases):
        rows = rows_of.get(name, np.empty(0, dtype=np.int64))
        if not len(rows := rows[observed[rows]]):
            what = "observation" if name in rows_of else f"observation in {table.name}"
            raise RecordingError(f"case {name} has no {what}. Leave it out of cases=.")
        times, filled = _filled(channel[rows], as_seconds(seconds[rows]), numbers[rows], len(names), duplicates)
        try:
            signals.append(Signal(filled, times, ch_names=tuple(names), source=name))
        except ValueError as error:  # a value is infinite; the message begins with the source
            raise RecordingError(f"{table.name}, case {error}") from None
    return Signals(signals)


def _filled(
    channel: npt.NDArray[np.int64], seconds: FloatArray, numbers: FloatArray, n_channels: int, duplicates: str
) -> tuple[FloatArray, FloatArray]:
    """Return the distinct times, and the values (n_channels, n_distinct_times), NaN where not observed."""
    times, column = np.unique(seconds, return_inverse=True)
    data = np.full((n_channels, len(times)), np.nan)
    if duplicates == "mean":
        sums, counts = np.zeros_like(data), np.zeros_like(data)
        np.add.at(sums, (channel, column), numbers)
        np.add.at(counts, (channel, column), 1)
        np.divide(sums, counts, out=data, where=counts > 0)
    else:
        data[channel, column] = numbers
    return times, data
