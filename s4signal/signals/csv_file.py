"""The rows of a CSV file with a header."""

import csv
from collections.abc import Sequence
from pathlib import Path

from s4signal.errors import RecordingError
from s4signal.signals.paths import check_file

__all__ = ["check_columns", "read_rows"]


def read_rows(path: Path, delimiter: str) -> tuple[list[str], list[list[str]]]:
    """Read the header and the rows below it, each as long as the header."""
    check_file(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, *rows = [line for line in csv.reader(file, delimiter=delimiter) if line] or [[]]
    except (UnicodeDecodeError, csv.Error) as error:
        raise RecordingError(f"{path} cannot be read as CSV ({error}).") from None
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise RecordingError(f"{path}, row {number}: {len(row)} cells, but the header has {len(header)}.")
    return [name.strip() for name in header], rows


def check_columns(source: object, header: Sequence[str], names: Sequence[str]) -> None:
    """Refuse a table in which a column is not there, or there twice; RecordingError."""
    missing = [name for name in names if name not in header]
    if missing:
        there = ", ".join(map(str, header[:10])) + (", …" if len(header) > 10 else "")
        raise RecordingError(f"{source} has no column {', '.join(missing)}; it has {there or 'none'}.")
    repeated = [name for name in dict.fromkeys(names) if header.count(name) > 1]
    if repeated:
        raise RecordingError(f"{source} has several columns {', '.join(repeated)}. Give each a name of its own.")
