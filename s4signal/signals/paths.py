"""Paths as a user names them: one or many, of files that are there."""

from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import TypeAlias

from s4signal.errors import RecordingError

__all__ = ["PathOrText", "as_paths", "check_file"]

PathOrText: TypeAlias = str | PathLike[str]


def as_paths(paths: PathOrText | Iterable[PathOrText], name: str) -> list[PathOrText]:
    """Make a list of one path or several; TypeError if it is something else, RecordingError if there is none."""
    if isinstance(paths, str | PathLike):
        return [paths]
    if not isinstance(paths, Iterable):
        raise TypeError(f"{name} must be a path or an iterable of paths, got {paths!r}.")
    items = list(paths)
    if not items:
        raise RecordingError(f"{name} names no file; at least one is needed.")
    return items


def check_file(path: PathOrText) -> None:
    """Refuse what is no file; RecordingError."""
    if not Path(path).is_file():
        problem = "is a folder; a file is needed" if Path(path).is_dir() else "does not exist"
        raise RecordingError(f"{path} {problem}. Check the path.")
