"""Signals in text: the .ts files of the UEA and TSER archives, and CSV."""

from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path

import numpy as np
import numpy.typing as npt

from s4signal.errors import RecordingError
from s4signal.signals.case import Case, Signal
from s4signal.signals.checks import check_positive
from s4signal.signals.collection import Signals
from s4signal.signals.csv_file import check_columns, read_rows
from s4signal.signals.paths import as_paths, check_file
from s4signal.signals.ts_file import parse_ts

__all__ = ["read_csv", "read_ts"]


def read_ts(
    path: str | PathLike[str], *, sfreq: float | None = None
) -> tuple[Signals, npt.NDArray[np.str_] | npt.NDArray[np.float64] | None]:
    """Read a .ts file of the UEA, UCR or TSER archive.

    Parameters
    ----------
    path : path
        The file; series may be unequal in length, have several dimensions, missing values and timestamps.
    sfreq : float, optional
        Samples per second [Hz]; such files do not tell.

    Returns
    -------
    signals : Signals
        Channels are the dimensions; "?" is NaN. Timestamps become times: numbers as seconds, dates as seconds after the
        first of the case; dimensions with other timestamps meet on the union of them.
    y : ndarray of shape (n,) or None
        Class labels as strings, targets as floats, None if the file has neither.

    Raises
    ------
    RecordingError
        If the file is missing, empty or malformed; the message names the line.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "vowels.ts"
    ...     _ = path.write_text("@classLabel true a e\\n@data\\n1,2,3:4,5,?:a\\n6,7:8,9:e\\n")
    ...     read_ts(path, sfreq=100)
    (Signals: 2 cases × 2 channels, 2–3 samples, 100 Hz (0.02–0.03 s), array(['a', 'e'], dtype='<U1'))
    """
    check_file(path)
    cases, y = parse_ts(Path(path))
    return Signals(cases, sfreq=sfreq), y


def read_csv(
    path: str | PathLike[str] | Iterable[str | PathLike[str]],
    *,
    time: str | None = None,
    time_unit_s: float = 1.0,
    sfreq: float | None = None,
    channels: Sequence[str] | None = None,
    case: str | None = None,
    label: str | None = None,
    delimiter: str = ",",
) -> tuple[Signals, npt.NDArray[np.str_] | None]:
    """Read CSV files with a header and one row a sample.

    Parameters
    ----------
    path : path or iterable of paths
        One case a file, unless `case` says otherwise.
    time : str, optional
        The column of times, never decreasing within a case; they are kept with the case.
    time_unit_s : float, positive
        Seconds in one unit of that column: 0.001 for milliseconds.
    sfreq : float, optional
        Samples per second [Hz].
    channels : sequence of str, optional
        The columns of the channels; all others than `time`, `case` and `label` if missing.
    case : str, optional
        The column that tells the case of a row.
    label : str, optional
        The column of the label, the same in all rows of a case.
    delimiter : str
        What separates the columns.

    Returns
    -------
    signals : Signals
        An empty cell is NaN.
    y : ndarray of shape (n,) or None
        The labels as strings.

    Raises
    ------
    RecordingError
        If a file is missing or empty, a column is not there or there twice, a cell is no number, or a case has two
        labels.
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
    cases: list[Case] = []
    labels: list[str] = []
    for file in map(Path, as_paths(path, "path")):
        header, rows = read_rows(file, delimiter)
        if not rows:
            raise RecordingError(f"{file} holds no row of samples. A header and one row a sample are needed.")
        special = [name for name in (time, case, label) if name is not None]
        names = list(channels) if channels is not None else [name for name in header if name not in special]
        check_columns(file, header, [*special, *names])
        if not names:
            raise RecordingError(f"{file} has no column of a channel; it has {', '.join(header)}.")
        numbers = _columns(file, header, rows, names if time is None else [*names, time])
        keys = _texts(header, rows, case) if case is not None else [""] * len(rows)
        marks = None if label is None else np.array(_texts(header, rows, label))
        rows_of: dict[str, list[int]] = {}
        for row, key in enumerate(keys):
            rows_of.setdefault(key, []).append(row)
        for key, chosen in rows_of.items():
            moments = None if time is None else numbers[-1, chosen] * time_unit_s
            try:
                cases.append(Signal(numbers[: len(names), chosen], moments, sfreq, tuple(names), source=str(file)))
            except ValueError as error:
                reason = str(error).removeprefix(f"{file}: ")  # an infinite sample is named with its source
                raise RecordingError(f"{file}{key and f', case {key}'}: {reason}") from None
            if marks is not None:
                labels.append(_one_label(file, key, marks[chosen]))
    return Signals.from_cases(cases), None if label is None else np.array(labels)


def _texts(header: list[str], rows: list[list[str]], name: str) -> list[str]:
    column = header.index(name)
    return [row[column].strip() for row in rows]


def _columns(path: Path, header: list[str], rows: list[list[str]], names: list[str]) -> npt.NDArray[np.float64]:
    numbers = np.empty((len(names), len(rows)))
    for i, name in enumerate(names):
        for j, text in enumerate(_texts(header, rows, name)):
            try:
                numbers[i, j] = float(text) if text else np.nan
            except ValueError:
                raise RecordingError(
                    f"{path}, row {j + 2}, column {name}: {text!r} is no number. Name the columns to read by channels=."
                ) from None
    return numbers


def _one_label(path: Path, key: str, labels: npt.NDArray[np.str_]) -> str:
    different = np.unique(labels)
    if len(different) != 1:
        raise RecordingError(f"{path}{key and f', case {key}'} has several labels: {', '.join(different[:5])}.")
    return str(different[0])
