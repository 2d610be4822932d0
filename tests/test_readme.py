"""The code of README runs as pasted, block after block, beside a folder of recordings."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

soundfile = pytest.importorskip("soundfile")

__all__: list[str] = []

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def record(folder: Path) -> None:
    """Write low and high tones of two speakers, named as README names its recordings."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for take in range(4):
        for speaker in ("anna", "bert"):
            for label, hertz in (("low", 300), ("high", 1200)):
                tone = np.sin(2 * np.pi * hertz * np.arange(3200) / 8000) + 0.01 * rng.standard_normal(3200)
                soundfile.write(folder / f"{label}_{speaker}_{take}.wav", 0.3 * tone, 8000)


SHELL = re.findall(r"^(s4signal .*)$", README, re.MULTILINE)


@pytest.mark.slow
def test_the_commands_of_the_readme_run_in_order(tmp_path):
    record(tmp_path / "all")
    for path in sorted((tmp_path / "all").iterdir()):
        folder = tmp_path / "recordings" / path.name.split("_")[0]
        folder.mkdir(parents=True, exist_ok=True)
        path.rename(folder / path.name)
    soundfile.write(tmp_path / "recording.wav", np.sin(np.arange(3200)), 8000)
    assert [line.split()[1] for line in SHELL] == ["evaluate", "fit", "report", "stream"]
    for line in SHELL:
        command = [sys.executable, "-m", *line.split()]
        answer = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
        assert answer.returncode == 0, answer.stderr
    assert {"model.s4", "report.html"} <= {path.name for path in tmp_path.iterdir()}
    assert len(answer.stdout.splitlines()) == 4  # an answer each 0.1 s


def record_nights(folder: Path) -> None:
    """Write five minutes of slow and fast waves of four subjects, annotated as stages of sleep."""
    mne = pytest.importorskip("mne")
    folder.mkdir()
    rng = np.random.default_rng(0)
    for subject in range(4):
        wave = np.sin(2 * np.pi * np.repeat([1, 6], 7500) * np.arange(15000) / 50) + rng.standard_normal((2, 15000))
        raw = mne.io.RawArray(1e-5 * wave, mne.create_info(["C3", "C4"], 50.0, "eeg"), verbose="error")
        raw.set_annotations(mne.Annotations([0, 60, 150], [60, 90, 150], [f"Sleep stage {n}" for n in (4, 3, 2)]))
        raw.save(folder / f"s{subject}_raw.fif", verbose="error")


def test_every_promise_is_held_by_a_test_that_is_there():
    table = README.partition("## What you can rely on")[2].partition("\n## ")[0]
    promises = [line for line in table.splitlines() if line.startswith("| ")][2:]
    assert len(promises) > 10
    for line in promises:
        held_by = re.findall(r"`(tests/[^`]+)`", line.split("|")[2])
        assert held_by, line
        assert [path for path in held_by if not (ROOT / path).exists()] == []


@pytest.mark.slow
def test_the_blocks_of_the_readme_run_in_order(tmp_path):
    record(tmp_path / "recordings")
    record_nights(tmp_path / "nights")
    assert len(BLOCKS) >= 3
    command = [sys.executable, "-c", "\n".join(BLOCKS)]
    answer = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert answer.returncode == 0, answer.stderr
    assert re.match(r"0\.\d\d ± 0\.\d\d\n", answer.stdout), answer.stdout
