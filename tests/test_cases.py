"""Troubles that people reported for other packages of the trade, as scripts beside the recordings: each says ok."""

import os
from pathlib import Path

import pytest
from scripts import run_script

__all__: list[str] = []

FOLDER = Path(os.environ.get("S4SIGNAL_DATA", "nowhere")).resolve().parent / "cases"
CASES = [pytest.param(path, id=path.stem) for path in sorted(FOLDER.glob("*.py"))]


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", CASES or [pytest.param(None, marks=pytest.mark.skip("no cases beside the recordings"))]
)
def test_a_reported_trouble_is_none_here(path: Path) -> None:
    # One starts others; one is called polars.py, and must not be imported for polars.
    answer = run_script(path, safe_path=True, starts=True)
    # The exit status says no more: one hands numpy's False to sys.exit, which is 1 for it.
    assert answer.stdout.startswith("ok"), answer.stdout + answer.stderr
