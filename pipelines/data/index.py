"""Index files of the data sets: a header, and one row per recording."""

import csv
from pathlib import Path

import numpy as np
import numpy.typing as npt

from s4signal.errors import RecordingError
from s4signal.signals import datasets

__all__ = ["column", "in_split", "read_index"]


def read_index(name: str) -> list[dict[str, str]]:
    """Return the rows of an index file in the folder of recordings."""
    path: Path = datasets.data_home() / name
    if not path.is_file():
        raise RecordingError(f"{path} does not exist. Set S4SIGNAL_DATA to the folder with {path.parent.name}/.")
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def in_split(rows: list[dict[str, str]], split: str | None) -> list[dict[str, str]]:
    """Return the rows of one split, or those of both, train first."""
    return [row for part in ("train", "test") if split in (None, part) for row in rows if row["split"] == part]


def column(rows: list[dict[str, str]], name: str) -> npt.NDArray[np.str_]:
    """Return one column of an index."""
    return np.array([row[name] for row in rows])
