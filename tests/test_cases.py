"""Problems that were reported for other packages, as scripts next to the recordings: each prints ok."""

import os
from pathlib import Path

import pytest
from scripts import run_script

__all__: list[str] = []

FOLDER = Path(os.environ.get("S4SIGNAL_DATA", "nowhere")).resolve().parent / "cases"
CASES = [pytest.param(path, id=path.stem) for path in sorted(FOLDER.glob("*.py"))]


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", CASES or [pytest.param(None, marks=pytest.mark.skip("no cases next to the recordings"))]
)
def test_a_reported_problem_does_not_occur(path: Path) -> None:
    # One script starts others; one is named polars.py and must not shadow polars.
    result = run_script(path, safe_path=True, starts=True)
    # The exit status is not reliable: one script passes numpy's False to sys.exit, which exits with 1.
    assert result.stdout.startswith("ok"), result.stdout + result.stderr
