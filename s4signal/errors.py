"""The exceptions of s4signal. Each message states what was received, what is required and what to do."""

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
    """Base class of all exceptions of s4signal."""


class ShapeError(S4SignalError, ValueError):
    """An array has the wrong shape, number of dimensions or length."""


class RecordingError(S4SignalError, ValueError):
    """A recording cannot be read, or its content cannot be used."""


class ModelFileError(S4SignalError, ValueError):
    """A file is not a model saved by s4signal, or it is damaged."""


class CheckpointError(S4SignalError, OSError):
    """A checkpoint cannot be written or its folder cannot be used."""


class DistributedError(S4SignalError, RuntimeError):
    """The processes of a distributed training do not match, or one of them has stopped."""


class DivergenceError(S4SignalError, ValueError):
    """Training produced a loss or a gradient that is not finite."""


class MissingDependencyError(S4SignalError, ImportError):
    """An optional package is missing; the message names the extra that installs it."""


def check_choice(option: str, value: Any, choices: Iterable[Any]) -> None:
    """Raise ValueError if a value is not one of the choices."""
    choices = tuple(choices)
    if value not in choices:
        raise ValueError(f"{option}={value!r} is unknown; choose one of {', '.join(map(repr, choices))}.")
