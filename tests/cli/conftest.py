"""Small folders of recordings, and a function that runs the program in this process."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from s4signal.cli import app
from s4signal.cli.demo import write_wave

__all__: list[str] = []

QUICK = ["--set", "n_oscillators=16"]
sys.path.insert(0, str(Path(__file__).parent))  # makes documents.py importable
Program = Callable[..., Result]


@pytest.fixture(scope="session")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of low and high tones of three speakers, a folder per class, named {label}_{group}_{take}.wav."""
    folder, rng = tmp_path_factory.mktemp("tones"), np.random.default_rng(0)
    for label, hertz in (("low", 300), ("high", 1200)):
        (folder / label).mkdir()
        for speaker in ("anna", "bert", "cleo"):
            for take in range(3):
                tone = np.sin(2 * np.pi * hertz * np.arange(1600) / 8000) + 0.05 * rng.standard_normal(1600)
                write_wave(folder / label / f"{label}_{speaker}_{take}.wav", 0.3 * tone)
    return folder


@pytest.fixture
def run() -> Program:
    """Return a function that runs the program on arguments."""
    runner = CliRunner()

    def call(*arguments: Any, **settings: Any) -> Result:
        return runner.invoke(app, [str(argument) for argument in arguments], **settings)

    return call


@pytest.fixture(scope="session")
def model(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a ridge model of the tones, fitted by the program."""
    path = tmp_path_factory.mktemp("model") / "tones.s4"
    pattern = "{label}_{group}_{take}.wav"
    result = CliRunner().invoke(app, ["fit", str(tones), "--pattern", pattern, "-o", str(path), *QUICK])
    assert result.exit_code == 0, result.output
    return path
