"""The recipes for keywords in streams, the 35 words and environmental sounds run on small synthetic data sets."""

from pathlib import Path

import numpy as np
import pytest
from test_pipelines import run

soundfile = pytest.importorskip("soundfile")

__all__: list[str] = []


def write(path: Path, hertz: float, seconds: float, sfreq: int, rng: np.random.Generator) -> None:
    """Write a tone in noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    t = np.arange(round(seconds * sfreq)) / sfreq
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * hertz * t) + 0.01 * rng.standard_normal(len(t)), sfreq)


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """Return a folder in the published layout of Speech Commands, with three words and few clips."""
    rng, lists = np.random.default_rng(0), {"validation": [], "testing": []}
    for word, hertz in (("up", 300.0), ("down", 900.0), ("go", 2000.0)):
        for speaker, part in (("ann", ""), ("bob", ""), ("eve", "validation"), ("joe", "testing")):
            for take in range(2):
                name = f"{word}/{speaker}_nohash_{take}.wav"
                write(tmp_path / "words" / name, hertz, 0.1 + 0.02 * take, 16000, rng)
                if part:
                    lists[part].append(name)
    write(tmp_path / "words" / "_background_noise_" / "hum.wav", 50.0, 1.0, 16000, rng)
    for part, names in lists.items():
        (tmp_path / "words" / f"{part}_list.txt").write_text("\n".join(names) + "\n")
    return tmp_path / "words"


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """Return a folder in the layout of ESC-50: three folds, two takes of each recording."""
    rng, rows = np.random.default_rng(0), ["filename,fold,target,category,esc10,src_file,take"]
    for target, (category, hertz) in enumerate((("rain", 12000.0), ("dog", 500.0))):
        for fold in (1, 2, 3):
            for source in (1, 2):
                for take in "AB":
                    name = f"{fold}-{source}-{take}-{target}.wav"
                    write(tmp_path / "sounds" / "audio" / name, hertz * rng.uniform(0.9, 1.1), 0.2, 44100, rng)
                    rows.append(f"{name},{fold},{target},{category},False,{source},{take}")
    (tmp_path / "sounds" / "meta").mkdir()
    (tmp_path / "sounds" / "meta" / "esc50.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "sounds"


@pytest.mark.slow
def test_speech_commands_35_runs_on_a_folder(words: Path) -> None:
    result = run("speech_commands_35.py", "--root", str(words), "--max-epochs", "1")
    assert result.returncode == 0, result.stderr
    for text in ("3 words: 12 clips to train on, 6 to test on", "as recorded", "every second sample", "low-passed"):
        assert text in result.stdout


def test_an_unknown_preset_exits_with_2_and_the_choices(words: Path) -> None:
    result = run("speech_commands_35.py", "--root", str(words), "--preset", "speech")
    assert result.returncode == 2
    assert "preset='speech' is unknown; choose one of 'speech-small'" in result.stderr


@pytest.mark.slow
def test_environmental_sounds_are_scored_per_fold(sounds: Path) -> None:
    result = run("audio_events.py", "--root", str(sounds), "--max-epochs", "1", "--folds", "1", "3")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert "24 cases × 1 channel, 8820 samples, 44100 Hz (0.2 s)" in lines[0]
    assert lines[-4].split() == ["fold", "log-mel", "+", "logistic", "S4RidgeClassifier", "S4Classifier"]
    assert [line.split()[0] for line in lines[-3:]] == ["1", "3", "mean"]
    assert [float(score) for score in lines[-1].split()[1:3]] == [1.0, 1.0]  # both in closed form


def test_an_unknown_fold_of_a_set_found_by_name_exits_with_2(sounds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sounds.rename(sounds.with_name("ESC-50-master"))
    monkeypatch.setenv("S4SIGNAL_DATA", str(sounds.parent))
    result = run("audio_events.py", "--folds", "9")
    assert result.returncode == 2
    assert "there is no fold 9; choose from 1, 2, 3" in result.stderr


@pytest.mark.slow
def test_keywords_are_spotted_in_synthetic_streams() -> None:
    result = run("keyword_spotting.py", "--data", "synthetic", "--keywords", "0", "3", "--max-epochs", "1")
    assert result.returncode == 0, result.stderr
    heading, closed_form, trained = result.stdout.splitlines()
    assert heading.split()[:3] == ["model", "seed", "threshold"]
    assert (closed_form.split()[0], trained.split()[0]) == ("S4RidgeClassifier", "S4Classifier")
    threshold, hits_chosen, per_hour_chosen, hits, _ = map(float, closed_form.split()[2:])
    assert 0 <= threshold <= 1
    assert per_hour_chosen <= 20
    assert hits_chosen > 0.5
    assert hits > 0.5


def test_an_unknown_keyword_exits_with_2() -> None:
    result = run("keyword_spotting.py", "--data", "synthetic", "--keywords", "maybe")
    assert result.returncode == 2
    assert "there is no word maybe; choose from 0, 1, 2, 3, 4, 5" in result.stderr
