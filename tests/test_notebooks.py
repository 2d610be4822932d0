"""The notebooks run from top to bottom, end with a figure, and are stored without outputs."""

import os
from importlib.util import find_spec
from pathlib import Path

import nbformat
import pytest
from jupyter_client.provisioning import local_provisioner
from nbclient import NotebookClient
from scripts import Fork

__all__: list[str] = []

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))

NEED_RECORDINGS = ("eeg_with_mne", "speech")

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@each_notebook
def test_a_notebook_is_stored_without_outputs(path: Path) -> None:
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.source for cell in cells if cell.outputs or cell.execution_count is not None] == []


def executed(path: Path) -> nbformat.NotebookNode:
    """Run a notebook in a standard kernel; an error in a cell is raised here."""
    notebook = nbformat.read(path, as_version=4)
    environment = os.environ | {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    return NotebookClient(notebook, timeout=300, kernel_name="python3").execute(env=environment)


@pytest.fixture
def forked_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start kernels as forks of a process that has done their imports."""
    launcher = find_spec("ipykernel_launcher").origin

    def launch(command: list[str], *, env: dict[str, str], cwd: str | None = None, **_: object) -> Fork:
        return Fork([launcher, *command[command.index("-f") :]], env=env, cwd=cwd or os.getcwd())

    if hasattr(os, "fork"):
        monkeypatch.setattr(local_provisioner, "launch_kernel", launch)


@pytest.mark.slow
@pytest.mark.usefixtures("forked_kernels")
@each_notebook
def test_a_notebook_runs_and_ends_with_a_figure(path: Path, request: pytest.FixtureRequest) -> None:
    if path.stem in NEED_RECORDINGS:
        request.getfixturevalue("recordings")
    cells = [cell for cell in executed(path).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert "image/png" in {kind for output in cells[-1].outputs for kind in output.get("data", {})}
    assert [output.text for cell in cells for output in cell.outputs if output.get("name") == "stderr"] == []
    scores = [cell.outputs[0]["data"]["text/plain"] for cell in cells if cell.source.startswith("model.score")]
    assert len(scores) == (path.stem == "first_steps")
    assert all(float(score) > 0.9 for score in scores)
