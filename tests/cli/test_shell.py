"""The program started from a shell: imports, help, 80 columns, exit codes and completion."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from scripts import run_script

from s4signal import cli
from s4signal.cli.app import COMMANDS

__all__: list[str] = []

TERMINAL = {"COLUMNS": "80", "TERM": "dumb"}
NAMES = [command.__name__ for command, _ in COMMANDS]


def shell(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m s4signal` in a terminal of 80 columns."""
    command = [sys.executable, "-m", "s4signal", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | TERMINAL, check=False)


def test_help_imports_no_heavy_packages() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from s4signal.cli import app; "
        "CliRunner().invoke(app, ['--help']); CliRunner().invoke(app, ['fit', '--help']); "
        "print(*sorted({'numpy', 'torch', 'sklearn', 'scipy', 'mne', 'matplotlib', 'pandas'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []


@pytest.mark.parametrize("name", NAMES)
def test_each_help_has_an_example_and_fits_80_columns(run, name: str) -> None:
    result = run(name, "--help", env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"})
    assert result.exit_code == 0
    assert f"Example: s4signal {name} " in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_tables_fit_80_columns(tones: Path) -> None:
    pattern = "{label}_{group}_{take}.wav"
    arguments = ("evaluate", str(tones), "--pattern", pattern, "--set", "n_oscillators=16")
    result = run_script(Path(cli.__file__).parents[1] / "__main__.py", *arguments, safe_path=True, **TERMINAL)
    assert result.returncode == 0, result.stderr
    tables = result.stdout[result.stdout.index("score") :].splitlines()
    assert max(map(len, tables)) <= 80
    accuracy = next(line for line in tables if line.strip().startswith("accuracy"))
    assert accuracy.split() == ["accuracy", "1.000", "0.824", "to", "1.000"]
    anna = next(line for line in tables if line.strip().startswith("anna"))
    assert anna.split() == ["anna", "6", "1.000", "0.610", "to", "1.000"]


def test_help_lists_the_commands_and_an_unknown_one_exits_with_2() -> None:
    result = shell("--help")
    assert result.returncode == 0
    assert "Usage: s4signal " in result.stdout  # and completion is that of s4signal
    assert [name for name in NAMES if name not in result.stdout] == []
    assert "Exit codes: 0 success, 1 internal error, 2 invalid input, 130 interrupted." in result.stdout
    wrong = shell("predct")
    assert wrong.returncode == 2
    assert "Traceback" not in wrong.stderr
    assert "predct" in wrong.stderr


def test_completion_completes_commands(run) -> None:
    variables = {"_S4SIGNAL_COMPLETE": "complete_bash", "COMP_WORDS": "s4signal ev", "COMP_CWORD": "1"}
    result = run(env=variables, prog_name="s4signal")
    assert result.stdout.split() == ["evaluate"]
