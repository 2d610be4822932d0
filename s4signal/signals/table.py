"""Columns of a CSV file, data frame or mapping, converted to numbers, names and seconds."""

import csv
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt

from s4signal.errors import RecordingError, ShapeError
from s4signal.signals.checks import MISSING, FloatArray, check_file, few

_EMPTY = {"", *MISSING}
_NO_NUMBER = _EMPTY | {"NA", "N/A", "n/a", "null", "NULL"}


def read_columns(path: Path, delimiter: str, *, numeric: bool = False) -> tuple[list[str], list[Any]]:
    """Read the header of a CSV file and its columns as text; as floats if `numeric` and all cells are numbers."""
    check_file(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header = [name.strip() for name in next(filter(None, csv.reader(file, delimiter=delimiter)), [])]
            if not header:
                raise RecordingError(f"{path} is empty. A header and one row per sample are needed.")
            columns = _floats(file, len(header), delimiter) if numeric else None
            if columns is not None:
                return header, list(columns)
            file.seek(0)
            _, *rows = filter(None, csv.reader(file, delimiter=delimiter))
    except (UnicodeDecodeError, csv.Error) as error:
        raise RecordingError(f"{path} cannot be read as CSV ({error}). Save it as UTF-8.") from None
    n = len(header)
    wrong = next((number for number, row in enumerate(rows, start=2) if len(row) != n), None)
    if wrong is not None:
        raise RecordingError(f"{path}, row {wrong}: {len(rows[wrong - 2])} cells, but the header has {n}.")
    return header, list(zip(*rows, strict=True)) if rows else [()] * n


def _floats(file: TextIO, n: int, delimiter: str) -> FloatArray | None:
    """Parse all rows at once, three times as fast as cell by cell; None if a cell is not a number or a row is short."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warns if there are no rows
            rows = np.loadtxt(file, delimiter=delimiter, comments=None, quotechar='"', ndmin=2)
    except ValueError:
        return None
    return rows.T if rows.shape[1] == n and len(rows) else None


class Table:
    """Named columns of equal length, whose errors name the row."""

    def __init__(self, data: Any, *, delimiter: str = ",", case: str | None = None, numeric: bool = False) -> None:
        self.name, self.first_row, self.case = "the table", 0, case
        if isinstance(data, str | PathLike):
            self.name, self.first_row = str(data), 2
            self.header, columns = read_columns(Path(data), delimiter, numeric=numeric)
            self.columns = dict(zip(self.header, columns, strict=True)) if columns else {}
        elif isinstance(data, Mapping) or hasattr(data, "columns"):
            self.header = list(data if isinstance(data, Mapping) else data.columns)
            self.columns = {name: data[name] for name in self.header}
        else:
            raise TypeError(
                f"data is a {type(data).__name__}; a path, a pandas or polars data frame, or a mapping of columns is "
                "needed."
            )

    def check(self, names: Sequence[str]) -> None:
        """Raise if one of these columns is missing or duplicated, or if their lengths differ."""
        if missing := [name for name in names if name not in self.header]:
            raise RecordingError(f"{self.name} has no column {', '.join(missing)}; it has {few(self.header, 10)}.")
        if repeated := [name for name in dict.fromkeys(names) if self.header.count(name) > 1]:
            raise RecordingError(f"{self.name} has several columns {', '.join(repeated)}. Give each its own name.")
        lengths = {name: len(self.columns[name]) for name in names}
        if len(set(lengths.values())) > 1:
            raise ShapeError(f"the columns of {self.name} must be of one length, got {lengths}.")

    def names(self, name: str) -> list[str]:
        """Return a column as strings."""
        items = list(self.columns[name])
        text_of = {item: str(item).strip() for item in set(items)}
        texts = [text_of[item] for item in items]
        from_file = isinstance(self.columns[name], tuple)  # where "None" is an ordinary string
        empty = {""}.intersection(texts) if from_file else _EMPTY.intersection(text_of.values())
        if empty:
            raise RecordingError(f"{self._row(min(map(texts.index, empty)), name)} is empty. Leave the row out.")
        return texts

    def numbers(self, name: str) -> FloatArray:
        """Return a column as floats, NaN where a cell is empty."""
        column = self._array(name)
        if column.dtype.kind in "biuf":
            return column.astype(np.float64)
        return np.array([self.number(i, name, item) for i, item in enumerate(column.tolist())])

    def seconds(self, name: str, unit_s: float) -> npt.NDArray[Any]:
        """Return a column of times, in seconds or as dates."""
        column = self._array(name)
        if column.dtype.kind == "M":
            times = column.astype("M8[ns]")
        elif column.dtype.kind == "m":
            times = column / np.timedelta64(1, "s")
        elif column.dtype.kind in "biuf":
            times = column.astype(np.float64) * unit_s
            self._check_precision(name, column, unit_s)
        else:
            times = self._times(name, column.tolist(), unit_s)
        invalid = np.isnat(times) if times.dtype.kind == "M" else ~np.isfinite(times)
        if invalid.any():
            row = self._row(int(np.flatnonzero(invalid)[0]), name)
            raise RecordingError(f"{row} is not a time. Leave out rows whose time is unknown.")
        return times

    def _check_precision(self, name: str, column: npt.NDArray[Any], unit_s: float) -> None:
        """Refuse seconds since 1970 in float32, which cannot resolve them."""
        narrow = column.dtype.kind == "f" and column.dtype.itemsize < 8 and column.size
        if narrow and (coarse_s := float(np.spacing(np.nanmax(np.abs(column)))) * unit_s) > 1:
            raise RecordingError(
                f"{self.name}, column {name}: times as {column.dtype} have a resolution of {coarse_s:g} s. Keep "
                "float64, or subtract the first time before converting."
            )

    def _array(self, name: str) -> npt.NDArray[Any]:
        """Return a column as an array, strings and mixed cells as objects; masked values are NaN."""
        column = self.columns[name]
        if isinstance(column, list | tuple):
            array = np.empty(len(column), dtype=object)
            array[:] = column
            return array
        return np.ma.filled(column.astype(np.float64), np.nan) if np.ma.isMaskedArray(column) else np.asarray(column)

    def _times(self, name: str, items: list[Any], unit_s: float) -> npt.NDArray[Any]:
        texts = [str(item).strip() for item in items]
        parsed = {text: parse_time(text, unit_s) for text in dict.fromkeys(texts)}
        if None in parsed.values():
            i = [parsed[text] for text in texts].index(None)
            raise RecordingError(f"{self._row(i, name)}: {texts[i]!r} is not a number, HH:MM or date.")
        return as_time_array([parsed[text] for text in texts], f"column {name} of {self.name}")

    def number(self, i: int, name: str, item: Any) -> float:
        """Return a cell as a float, NaN if it is empty."""
        try:
            return float(item)
        except (TypeError, ValueError):
            if str(item).strip() in _NO_NUMBER:
                return np.nan
            advice = "Leave the cell empty if the value is missing, or pass other columns."
            raise RecordingError(f"{self._row(i, name)}: {item!r} is not a number. {advice}") from None

    def row(self, i: int) -> str:
        """Return the name of a row in messages, with the line number of the file."""
        owner = "" if self.case is None else f" (case {list(self.columns[self.case])[i]})"
        return f"{self.name}, row {i + self.first_row}{owner}"

    def _row(self, i: int, name: str) -> str:
        return f"{self.row(i)}, column {name}"


def as_seconds(times: npt.NDArray[Any]) -> FloatArray:
    """Convert dates of one case to seconds after the first; numbers are already seconds."""
    return times if times.dtype.kind != "M" else np.asarray((times - times.min()) / np.timedelta64(1, "s"))


def parse_time(text: str, unit_s: float) -> float | datetime | None:
    """Parse a number, hours:minutes[:seconds] or an ISO date, converted to UTC if it has a time zone."""
    parsers: list[Callable[[str], Any]] = [lambda text: float(text) * unit_s, _clock_seconds, datetime.fromisoformat]
    for parse in parsers:
        with suppress(ValueError):
            time: float | datetime = parse(text)
            if isinstance(time, datetime) and time.tzinfo is not None:
                time = time.astimezone(UTC).replace(tzinfo=None)
            return time
    return None


def as_time_array(times: Sequence[Any], where: str) -> npt.NDArray[Any]:
    """Return an array of parsed times, either seconds or dates; refuse a mixture."""
    dates = {isinstance(time, datetime) for time in times}
    if len(dates) > 1:
        raise RecordingError(f"{where} mixes dates with numbers. Write all times in one format.")
    return np.array(times, dtype="M8[us]" if dates == {True} else np.float64)


def _clock_seconds(text: str) -> float:
    hours, minutes, *rest = text.split(":")
    if len(rest) > 1:
        raise ValueError(text)
    return 3600.0 * int(hours) + 60 * int(minutes) + (float(rest[0]) if rest else 0.0)
