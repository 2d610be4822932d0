"""Helpers for the tests of the commands."""

import json
from typing import Any

from typer.testing import Result

__all__: list[str] = []

QUICK = ["--set", "n_oscillators=16"]


def document(result: Result) -> Any:
    """Return the one JSON document that a command printed."""
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)
