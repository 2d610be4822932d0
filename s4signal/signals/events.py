"""Long tables of observations: one row says which variable of which case had which value, and when."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from s4signal.errors import RecordingError, ShapeError
from s4signal.signals.case import Signal
from s4signal.signals.checks import FloatArray, check_positive
from s4signal.signals.collection import Signals
from s4signal.signals.csv_file import check_columns, read_rows

__all__ = ["read_events"]

_DUPLICATES = ("mean", "last")
_EMPTY = {"", "nan", "None", "NaT", "<NA>"}


def read_events(
    data: str | PathLike[str] | Mapping[str, Any] | Any,
    *,
    case: str,
    time: str,
    variable: str,
    value: str,
    time_unit_s: float = 1.0,
    variables: Sequence[str] | None = None,
    cases: Iterable[Any] | None = None,
    duplicates: Literal["mean", "last"] = "mean",
    delimiter: str = ",",
) -> Signals:
    """Collect observations of many variables at any times, such as those of an intensive care unit, into cases.

    Parameters
    ----------
    data : path, pandas.DataFrame, or mapping of name to column
        One row an observation, in any order; a path is a CSV file with a header.
    case, time, variable, value : str
        The columns that tell the case, when, what was observed, and the number. A row without a value is no
        observation.
    time_unit_s : float, positive
        Seconds in one unit of a numeric `time`: 3600 for hours. Texts such as "26:45" are hours and minutes, and may
        have seconds; dates become seconds after the first observation of their case.
    variables : sequence of str, optional
        The channels, in this order; rows of other variables are left out. All that occur, sorted, if missing: name
        them where training and test data are read apart.
    cases : iterable, optional
        The cases wanted, in this order, as `y` has them; in the order of their first row if missing.
    duplicates : {"mean", "last"}
        What remains of several values of one variable at one time.
    delimiter : str
        What separates the columns of a CSV file.

    Returns
    -------
    Signals
        A case is (n_variables, n_distinct_times), NaN where a variable was not observed; ``sources`` are the names of
        the cases.

    Raises
    ------
    RecordingError
        If the file is missing, a column is not there or there twice, a time or value is no number or infinite, or a
        case has no observation.
    ShapeError
        If the columns differ in length.
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
    if duplicates not in _DUPLICATES:
        raise ValueError(f"duplicates={duplicates!r} is unknown; choose one of 'mean', 'last'.")
    check_positive("time_unit_s", time_unit_s)
    table = _Table(data, (case, time, variable, value), delimiter)
    owners, what = table.names(case), table.names(variable)
    chosen = sorted(set(what)) if variables is None else [str(name) for name in variables]
    numbers = table.numbers(value)
    channels = {name: i for i, name in enumerate(chosen)}
    rows = np.array([channels.get(name, -1) for name in what])
    observed = (rows >= 0) & ~np.isnan(numbers)
    if not observed.any():
        raise RecordingError(
            f"{table.name} holds no observation of {_some(chosen)}. Its variables are {_some(sorted(set(what)))}."
        )
    seconds = table.seconds(time, time_unit_s)
    wanted = list(dict.fromkeys(owners)) if cases is None else [str(name) for name in cases]
    parts = _rows_by_owner(owners, observed)
    signals = []
    for name in wanted:
        part = parts.get(name)
        if part is None:
            there = "" if name in set(owners) else f" in {table.name}"
            raise RecordingError(f"case {name} has no observation{there}. Leave it out by cases=.")
        times, filled = _filled(rows[part], seconds[part], numbers[part], len(chosen), duplicates)
        try:
            signals.append(Signal(filled, times, ch_names=tuple(chosen), source=name))
        except ValueError as error:  # a value is infinite; the source stands in front
            raise RecordingError(f"{table.name}, case {error}") from None
    return Signals(signals)


def _rows_by_owner(owners: Sequence[str], observed: npt.NDArray[np.bool_]) -> dict[str, npt.NDArray[np.int64]]:
    codes = {name: i for i, name in enumerate(dict.fromkeys(owners))}
    code = np.array([codes[name] for name in owners])
    order = np.flatnonzero(observed)
    order = order[np.argsort(code[order], kind="stable")]
    edges = np.searchsorted(code[order], np.arange(len(codes) + 1))
    spans = zip(codes, edges[:-1], edges[1:], strict=True)
    return {name: order[a:b] for name, a, b in spans if b > a}


def _filled(
    rows: npt.NDArray[np.int64], seconds: FloatArray, numbers: FloatArray, n_channels: int, duplicates: str
) -> tuple[FloatArray, FloatArray]:
    if isinstance(seconds[0], np.datetime64):
        seconds = (seconds - seconds.min()) / np.timedelta64(1, "s")
    times, column = np.unique(seconds, return_inverse=True)
    data = np.full((n_channels, len(times)), np.nan)
    if duplicates == "last":
        data[rows, column] = numbers
        return times, data
    where = rows * len(times) + column
    counts = np.bincount(where, minlength=data.size)
    sums = np.bincount(where, weights=numbers, minlength=data.size)
    with np.errstate(invalid="ignore"):  # 0 / 0: not observed
        return times, (sums / counts).reshape(data.shape)


class _Table:
    """Named columns of equal length; says which row is wrong."""

    def __init__(self, data: Any, names: tuple[str, ...], delimiter: str) -> None:
        self.name, self.first_row, self.case = "the table", 0, names[0]
        if isinstance(data, str | PathLike):
            self.name, self.first_row = str(data), 2
            header, rows = read_rows(Path(data), delimiter)
            columns = zip(*rows, strict=True) if rows else [()] * len(header)
            data = dict(zip(header, map(list, columns), strict=True))
        elif isinstance(data, Mapping) or hasattr(data, "columns"):
            header = list(data)
        else:
            raise TypeError(
                f"data is a {type(data).__name__}; a path, a pandas.DataFrame or a mapping of columns is needed."
            )
        check_columns(self.name, header, names)
        self.columns = {name: data[name] for name in names}
        lengths = {name: len(column) for name, column in self.columns.items()}
        if len(set(lengths.values())) != 1:
            raise ShapeError(f"the columns of {self.name} must be of one length, got {lengths}.")
        if not lengths[names[0]]:
            raise RecordingError(f"{self.name} holds no row. One row an observation is needed.")

    def names(self, name: str) -> list[str]:
        """Return a column as texts."""
        items = list(self.columns[name])
        known = {item: str(item).strip() for item in set(items)}
        texts = [known[item] for item in items]
        empty = _EMPTY.intersection(known.values())
        if empty:
            first = min(texts.index(text) for text in empty)
            raise RecordingError(f"{self._row(first, name)} is empty. Leave the row out.")
        return texts

    def numbers(self, name: str) -> FloatArray:
        """Return a column as floats, NaN where a cell is empty."""
        column = self.columns[name]
        if not isinstance(column, list):
            column = np.asarray(column)
            if column.dtype.kind in "biuf":
                return column.astype(np.float64)
        return np.array([self._number(i, name, item) for i, item in enumerate(column)], dtype=np.float64)

    def seconds(self, name: str, unit_s: float) -> npt.NDArray[Any]:
        """Return a column of times in seconds, or as dates."""
        column = self.columns[name]
        kind = "" if isinstance(column, list) else np.asarray(column).dtype.kind
        if kind == "M":
            seconds = np.asarray(column).astype("M8[ns]")
        elif kind == "m":
            seconds = np.asarray(column) / np.timedelta64(1, "s")
        elif kind and kind in "biuf":
            seconds = np.asarray(column).astype(np.float64) * unit_s
        else:
            seconds = self._moments(name, [str(item).strip() for item in column], unit_s)
        unknown = np.isnat(seconds) if seconds.dtype.kind == "M" else ~np.isfinite(seconds)
        if unknown.any():
            row = self._row(int(np.flatnonzero(unknown)[0]), name)
            raise RecordingError(f"{row} is no time. Leave out rows whose time is unknown.")
        return seconds

    def _moments(self, name: str, texts: list[str], unit_s: float) -> npt.NDArray[Any]:
        known: dict[str, Any] = {}
        for i, text in enumerate(texts):
            if text not in known:
                moment = _moment(text, unit_s)
                if moment is None:
                    raise RecordingError(f"{self._row(i, name)}: {text!r} is no number, no HH:MM and no date.")
                known[text] = moment
        kinds = {isinstance(moment, datetime) for moment in known.values()}
        if len(kinds) > 1:
            raise RecordingError(f"column {name} of {self.name} mixes dates with numbers. Write all times alike.")
        return np.array([known[text] for text in texts], dtype="M8[ns]" if kinds == {True} else np.float64)

    def _number(self, i: int, name: str, item: Any) -> float:
        if str(item).strip() in _EMPTY:
            return np.nan
        try:
            return float(item)
        except (TypeError, ValueError):
            raise RecordingError(f"{self._row(i, name)}: {item!r} is no number. Leave it empty if missing.") from None

    def _row(self, i: int, name: str) -> str:
        owner = list(self.columns[self.case])[i]
        return f"{self.name}, row {i + self.first_row} (case {owner}), column {name}"


def _moment(text: str, unit_s: float) -> float | datetime | None:
    """Understand a number, hours:minutes[:seconds] or an ISO date."""
    try:
        return float(text) * unit_s
    except ValueError:
        pass
    try:
        hours, minutes, *rest = text.split(":")
        if len(rest) < 2:
            return 3600.0 * int(hours) + 60 * int(minutes) + (float(rest[0]) if rest else 0.0)
    except ValueError:
        pass
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        return None
    return date.astimezone(UTC).replace(tzinfo=None) if date.tzinfo else date


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(str, names[:10])) + (", …" if len(names) > 10 else "")
