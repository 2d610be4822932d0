"""The one text about an option that is none of its choices."""

from collections.abc import Iterable
from typing import Any


def check_choice(option: str, value: Any, choices: Iterable[Any]) -> None:
    """Refuse a value that is none of the choices."""
    choices = tuple(choices)
    if value not in choices:
        raise ValueError(f"{option}={value!r} is unknown; choose one of {', '.join(map(repr, choices))}.")
