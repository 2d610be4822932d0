"""The notebooks run from top to bottom, end in a picture, and are kept without outputs."""

import os
from functools import cache
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

__all__: list[str] = []

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))

NEED_RECORDINGS = ("eeg_with_mne", "speech")

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@each_notebook
def test_a_notebook_is_kept_without_outputs(path: Path) -> None:
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.source for cell in cells if cell.outputs or cell.execution_count is not None] == []


@cache
def executed(path: Path) -> nbformat.NotebookNode:
    """Run a notebook, once for all tests; an error in a cell is an error here."""
    notebook = nbformat.read(path, as_version=4)
    environment = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}  # as a reader's kernel
    return NotebookClient(notebook, timeout=300, kernel_name="python3").execute(env=environment)


@pytest.mark.slow
@each_notebook
def test_a_notebook_runs_and_ends_in_a_picture(path: Path, request: pytest.FixtureRequest) -> None:
    if path.stem in NEED_RECORDINGS:
        request.getfixturevalue("recordings")
    cells = [cell for cell in executed(path).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert "image/png" in {kind for output in cells[-1].outputs for kind in output.get("data", {})}
    assert [output.text for cell in cells for output in cell.outputs if output.get("name") == "stderr"] == []


@pytest.mark.slow
def test_the_first_steps_succeed() -> None:
    cells = executed(next(path for path in NOTEBOOKS if path.stem == "first_steps")).cells
    (score,) = (cell.outputs[0]["data"]["text/plain"] for cell in cells if cell.source.startswith("model.score"))
    assert float(score) > 0.9
