"""What the tests of the commands share."""

import json
from typing import Any

from typer.testing import Result

__all__: list[str] = []

QUICK = ["--set", "n_oscillators=16"]


def document(answer: Result) -> Any:
    """Return the one JSON document that a command printed."""
    assert answer.exit_code == 0, answer.output
    return json.loads(answer.stdout)
