"""Troubles that people reported for other packages of the trade, as scripts beside the recordings: each says ok."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

__all__: list[str] = []

FOLDER = Path(os.environ.get("S4SIGNAL_DATA", "nowhere")).resolve().parent / "cases"
CASES = sorted(FOLDER.glob("*.py"))
LONGEST_S = 900  # on a busy machine


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", CASES or [pytest.param(None, marks=pytest.mark.skip("no cases beside the recordings"))]
)
def test_a_reported_trouble_is_none_here(path: Path) -> None:
    # -P: one is called polars.py, and must not be imported for polars.
    command = [sys.executable, "-P", str(path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    answer = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=LONGEST_S, check=False)
    # The exit status says no more: one hands numpy's False to sys.exit, which is 1 for it.
    assert answer.stdout.startswith("ok"), answer.stdout + answer.stderr
