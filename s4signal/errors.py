"""The errors of s4signal: each says what came, what is needed and what to do."""

from collections.abc import Iterable
from typing import Any

__all__ = [
    "CheckpointError",
    "DistributedError",
    "DivergenceError",
    "MissingDependencyError",
    "ModelFileError",
    "RecordingError",
    "S4SignalError",
    "ShapeError",
]


class S4SignalError(Exception):
    """Base of every error that s4signal defines."""


class ShapeError(S4SignalError, ValueError):
    """An array has another shape, rank or length than is needed."""


class RecordingError(S4SignalError, ValueError):
    """A recording cannot be read, or its content cannot be used."""


class ModelFileError(S4SignalError, ValueError):
    """A file is not a model that s4signal saved, or it is damaged."""


class CheckpointError(S4SignalError, OSError):
    """A checkpoint cannot be written or its folder cannot be used."""


class DistributedError(S4SignalError, RuntimeError):
    """Processes that train together do not fit together, or one of them is gone."""


class DivergenceError(S4SignalError, ValueError):
    """A training has led to a loss or a gradient that is no finite number."""


class MissingDependencyError(S4SignalError, ImportError):
    """An optional package is missing; the message names the extra that brings it."""


def check_choice(option: str, value: Any, choices: Iterable[Any]) -> None:
    """Refuse a value that is none of the choices."""
    choices = tuple(choices)
    if value not in choices:
        raise ValueError(f"{option}={value!r} is unknown; choose one of {', '.join(map(repr, choices))}.")
