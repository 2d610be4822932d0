"""The code of README and of the guides runs as pasted, block after block, next to small recordings."""

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from scripts import run_script
from test_pipelines import EVERY_EIGHTH_TRIAL

soundfile = pytest.importorskip("soundfile")

__all__: list[str] = []

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
PAGES = sorted((ROOT / "notebooks" / "guides").glob("*.md"))
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]


def blocks(text: str, language: str = r"\w*") -> list[str]:
    """List the blocks of code in a page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


# 20 training steps test a page as well as 200.
QUICKLY = f"""{EVERY_EIGHTH_TRIAL}
from s4signal.estimators.trained import plan
plan.FEWEST_STEPS, plan.MOST_EPOCHS = 20, 20
"""
GUIDES = [path for path in PAGES if blocks(path.read_text("utf-8"), "python")]
SHELL = [line for block in blocks(README, "sh") for line in block.splitlines()]


def write_tones(folder: Path, labels: Sequence[str], takes: range) -> None:
    """Write tones of two speakers, with another pitch for each label, named {label}_{speaker}_{take}.wav."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for take in takes:
        for speaker in ("anna", "bert"):
            for label in labels:
                hertz = 1200 if label in ("high", "1") else 300
                tone = np.sin(2 * np.pi * hertz * np.arange(3200) / 8000) + 0.01 * rng.standard_normal(3200)
                soundfile.write(folder / f"{label}_{speaker}_{take}.wav", 0.3 * tone, 8000)


def write_eeg(folder: Path) -> None:
    """Write rest and task of four subjects, 10 s of three channels, named {subject}_{task}_raw.fif."""
    mne = pytest.importorskip("mne")
    folder.mkdir(parents=True)
    info = mne.create_info(["C3", "Cz", "C4"], 100.0, "eeg")
    rng, seconds = np.random.default_rng(0), np.arange(1000) / 100
    for subject in ("ada", "ben", "cleo", "dan"):
        for task, hertz in (("rest", 10), ("task", 20)):
            data = 1e-5 * (np.sin(2 * np.pi * hertz * seconds) + rng.standard_normal((3, 1000)))
            mne.io.RawArray(data, info, verbose="error").save(folder / f"{subject}_{task}_raw.fif", verbose="error")


def write_nights(folder: Path) -> None:
    """Write three minutes of slow and fast waves of four subjects, annotated as stages of sleep."""
    mne = pytest.importorskip("mne")
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for subject in range(4):
        wave = np.sin(2 * np.pi * np.repeat([1, 3], 900) * np.arange(1800) / 10) + rng.standard_normal((2, 1800))
        raw = mne.io.RawArray(1e-5 * wave, mne.create_info(["C3", "C4"], 10.0, "eeg"), verbose="error")
        raw.set_annotations(mne.Annotations([0, 60, 90], [60, 30, 90], [f"Sleep stage {n}" for n in (4, 3, 2)]))
        raw.save(folder / f"s{subject}_raw.fif", verbose="error")


def test_every_promise_names_existing_tests() -> None:
    table = (ROOT / "notebooks" / "guides" / "promises.md").read_text("utf-8")
    promises = [line for line in table.splitlines() if line.startswith("| ")][2:]
    assert len(promises) > 10
    for line in promises:
        paths = re.findall(r"`(tests/[^`]+)`", line.split("|")[2])
        assert paths, line
        assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create the recordings that the pages use, and work next to them; the digits have their published layout."""
    write_tones(tmp_path / "recordings", ("low", "high"), range(4))
    write_tones(tmp_path / "data" / "fsdd" / "recordings", ("0", "1"), range(5, 8))
    write_eeg(tmp_path / "eeg")
    write_nights(tmp_path / "nights")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("S4SIGNAL_DATA", str(tmp_path / "data"))
    return tmp_path


def test_every_block_of_the_readme_is_tested() -> None:
    assert len(blocks(README)) == len(blocks(README, "python")) + len(blocks(README, "sh"))
    assert [line for line in SHELL if not line.startswith(("pip install ", "s4signal "))] == []


def test_the_extras_in_the_readme_exist() -> None:
    words = [word.strip('"') for line in re.findall(r"pip install [^`\n#]*", README) for word in line.split()[2:]]
    own = [Requirement(f"s4signal{word[1:]}") for word in words if word.startswith(".")]
    assert {extra for requirement in own for extra in requirement.extras} == {"audio", "data", "eeg", "plot"}
    assert {extra for requirement in own for extra in requirement.extras} <= set(EXTRAS)


@pytest.mark.slow
def test_the_commands_of_the_readme_run_in_order(tmp_path: Path) -> None:
    for label in ("low", "high"):
        write_tones(tmp_path / "recordings" / label, (label,), range(3))
    soundfile.write(tmp_path / "recording.wav", np.sin(np.arange(3200)), 8000)
    commands = [line.split() for line in SHELL if line.startswith("s4signal")]
    assert [command[1] for command in commands] == ["evaluate", "fit", "report", "stream"]
    for _, *arguments in commands:
        result = run_script(ROOT / "s4signal" / "__main__.py", *arguments, cwd=tmp_path, safe_path=True)
        assert result.returncode == 0, result.stderr
    assert {"model.s4", "report.html"} <= {path.name for path in tmp_path.iterdir()}
    assert len(result.stdout.splitlines()) == 4  # one line per 0.1 s


@pytest.mark.slow
def test_the_blocks_of_the_readme_run_in_order(workspace: Path) -> None:
    (workspace / "readme.py").write_text("\n".join([QUICKLY, *blocks(README, "python")]), "utf-8")
    result = run_script(workspace / "readme.py", cwd=workspace)
    assert result.returncode == 0, result.stderr
    assert re.match(r"0\.\d\d ± 0\.\d\d\n", result.stdout), result.stdout
    assert re.search(r"^[01] of 0$", result.stdout, re.MULTILINE), result.stdout


@pytest.mark.slow
@pytest.mark.usefixtures("workspace")
@pytest.mark.filterwarnings("ignore:.*slated for removal:DeprecationWarning")  # by librosa, for old formats
@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.stem)
def test_the_blocks_of_a_guide_run_in_order(path: Path) -> None:
    code = "\n".join(blocks(path.read_text("utf-8"), "python"))
    if "librosa" in code:
        pytest.importorskip("librosa")
    exec(compile(code, path.name, "exec"), {"__name__": "__main__"})  # noqa: S102 - our own pages
