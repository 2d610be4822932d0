"""The public interface: promised names, light imports and complete docstrings."""

import ast
import functools
import importlib
import inspect
import subprocess
import sys
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from numpydoc.validate import validate

import s4signal

__all__: list[str] = []

# Removing a name from this table breaks the code of users: CHANGELOG.md must mention it.
PROMISE: dict[str, list[str]] = {
    "s4signal": [
        "S4Classifier",
        "S4Regressor",
        "S4RidgeClassifier",
        "S4RidgeRegressor",
        "Signals",
        "__version__",
        "read_audio",
        "read_eeg",
    ],
    "s4signal.errors": [
        "CheckpointError",
        "DistributedError",
        "DivergenceError",
        "MissingDependencyError",
        "ModelFileError",
        "RecordingError",
        "S4SignalError",
        "ShapeError",
    ],
    "s4signal.signals": [
        "Annotation",
        "EegRecordings",
        "LabelledSignals",
        "Signal",
        "Signals",
        "datasets",
        "decimate",
        "drop_samples",
        "epoch_labels",
        "epochs_from_events",
        "read_audio",
        "read_audio_folder",
        "read_audio_manifest",
        "read_csv",
        "read_eeg",
        "read_events",
        "read_ts",
        "read_wfdb",
        "windows",
    ],
    "s4signal.ssm": [
        "BASES",
        "DENSE_DISCRETIZATIONS",
        "DIAGONAL_INITS",
        "DISCRETIZATIONS",
        "DenseSystem",
        "DiagonalSystem",
        "HiPPO",
        "MEASURES",
        "Pair",
        "SharedSystem",
        "block_scan",
        "fft_convolve",
        "impulse_response",
        "low_rank_form",
        "recurrent_scan",
    ],
    "s4signal.nn": [
        "FRONTENDS",
        "FilterBank",
        "Frames",
        "KERNELS",
        "Kernel",
        "S4Backbone",
        "S4Layer",
        "S4Network",
        "StackOptions",
        "for_inference",
        "space_bands",
    ],
    "s4signal.training": [
        "Batch",
        "Cases",
        "Samples",
        "TrainingOptions",
        "TrainingResult",
        "evaluate_network",
        "fit_network",
    ],
    "s4signal.estimators": [
        "AlignRecordings",
        "BandPass",
        "Baseline",
        "Clip",
        "InterpolateBads",
        "Notch",
        "Rereference",
        "Resample",
        "RobustScale",
        "S4Classifier",
        "S4Features",
        "S4FilterBank",
        "S4RandomFeatures",
        "S4Regressor",
        "S4RidgeClassifier",
        "S4RidgeRegressor",
        "S4Segmenter",
        "Segment",
        "ToArray",
        "check_leakage",
        "load_pipeline",
        "save_pipeline",
        "stream_pipeline",
    ],
    "s4signal.inspection": [
        "BandImportanceDisplay",
        "ChannelImportanceDisplay",
        "FrequencyResponseDisplay",
        "GroupScoresDisplay",
        "KernelDisplay",
        "MemoryDisplay",
        "PolesDisplay",
        "RobustnessDisplay",
        "SaliencyDisplay",
        "TopographyDisplay",
        "TrainingCurveDisplay",
    ],
}
# pandas is not listed: scikit-learn imports it wherever it is installed.
HEAVY = ["librosa", "matplotlib", "mne", "pooch", "soundfile", "soxr", "torchaudio", "wfdb"]
# s4signal itself has only names of its packages.
NAMES = [(module_name, name) for module_name, names in PROMISE.items() if module_name != "s4signal" for name in names]
# Checks of numpydoc: a docstring exists and describes every parameter, its type, and the returned value.
COMPLETE = {"GL08", "PR01", "PR02", "PR03", "PR04", "PR07", "RT01", "RT03"}
LONGEST_NOTE = 5  # lines of a docstring of a name that is not promised, without references
ROOT = Path(__file__).parents[1]

each_name = pytest.mark.parametrize(("module_name", "name"), NAMES)


def promised(module_name: str, name: str) -> Any:
    """Return the object of a promised name."""
    return getattr(importlib.import_module(module_name), name)


def reachable() -> list[Any]:
    """List the classes and functions that users see: promised ones, entries of tables, types that methods return."""
    found = [promised(module_name, name) for module_name, name in NAMES]
    for member in found:  # grows during the loop
        if inspect.ismodule(member):
            found += [getattr(member, name) for name in member.__all__]
        elif isinstance(member, Mapping):
            found += list(member.values())
        elif inspect.isclass(member):
            methods = [m for m in public_methods(member).values() if inspect.isfunction(m)]
            returned = [typing.get_type_hints(method).get("return") for method in methods]
            found += [m for m in (*member.__mro__, *returned) if inspect.isclass(m) and m not in found]
    return [m for m in found if (getattr(m, "__module__", None) or "").startswith("s4signal")]


def faults(path: str, codes: set[str]) -> list[str]:
    """Return the errors that numpydoc finds in the docstring of an object."""
    return [f"{path}: {text}" for code, text in validate(path)["errors"] if code in codes]


def faults_of_entry(key: str, entry: Any) -> list[str]:
    """Return what is missing in the documentation of an entry of a table: a function, a class or a partial of one."""
    text = inspect.getdoc(entry.func if isinstance(entry, functools.partial) else entry)
    documented = (inspect.isclass(entry) or callable(entry)) and bool(text) and text.split("\n\n")[0].endswith(".")
    return [] if documented else [f"{key} is {entry!r}, which has no docstring of its own"]


def faults_of(path: str, member: Any) -> list[str]:
    """Return what is missing in the documentation of anything that can be promised."""
    if inspect.ismodule(member):
        return [fault for name in member.__all__ for fault in faults_of(f"{path}.{name}", getattr(member, name))]
    if isinstance(member, Mapping):
        found = [fault for key, entry in member.items() for fault in faults_of_entry(f"{path}[{key!r}]", entry)]
        return found if member else [f"{path} is empty"]
    if inspect.isclass(member) and issubclass(member, Exception):
        return faults(path, {"GL08"})
    if inspect.isclass(member) or inspect.isfunction(member):
        return faults(path, COMPLETE | {"EX01"})
    return [f"{path}: a {type(member).__name__} cannot be checked; promise a class, a function, a module or a table"]


def public_methods(member: type) -> dict[str, Any]:
    """Return the methods and properties that users of a class can reach, inherited ones of this package included."""
    found = {name: inspect.getattr_static(member, name) for name in dir(member) if not name.startswith("_")}
    plain = {n: m.__func__ if isinstance(m, classmethod | staticmethod) else m for n, m in found.items()}
    modules = {n: getattr(m.fget if isinstance(m, property) else m, "__module__", None) for n, m in plain.items()}
    shown = [n for n, m in plain.items() if inspect.isfunction(m) or isinstance(m, property)]
    return {name: plain[name] for name in shown if (modules[name] or "").startswith("s4signal")}


@pytest.mark.parametrize("module_name", PROMISE)
def test_public_names_are_the_promised_ones(module_name: str) -> None:
    names = getattr(importlib.import_module(module_name), "__all__", [])
    # ssm and training have more names, for the packages that import them: those may change.
    inner = module_name in ("s4signal.ssm", "s4signal.training")
    assert sorted(set(names) & set(PROMISE[module_name]) if inner else names) == PROMISE[module_name]


def test_importing_the_packages_imports_no_heavy_package() -> None:
    code = (
        f"import sys\nfor package in {[*PROMISE]}:\n"
        f"    exec(f'from {{package}} import *', {{}})\n    print(package, *sorted(set({HEAVY}) & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines() == [*PROMISE]


def test_reading_recordings_imports_no_torch() -> None:
    code = "import sys; from s4signal import Signals, read_audio, read_eeg; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


@each_name
def test_a_promised_name_has_a_full_docstring_with_an_example(module_name: str, name: str) -> None:
    assert faults_of(f"{module_name}.{name}", promised(module_name, name)) == []


@pytest.mark.parametrize(("module_name", "name"), [(r, n) for r, n in NAMES if inspect.isclass(promised(r, n))])
def test_the_methods_of_a_promised_class_are_documented(module_name: str, name: str) -> None:
    found = []
    for method, member in public_methods(promised(module_name, name)).items():
        # RT01: "Return the …" in one line is enough for a method.
        codes = {"GL08"} if isinstance(member, property) else COMPLETE - {"RT01"}
        found += faults(f"{module_name}.{name}.{method}", codes)
    assert found == []


def test_entries_without_docstrings_and_other_types_are_reported() -> None:
    assert faults_of("s4signal.__version__", s4signal.__version__) != []
    assert faults_of("table", {"zoh": lambda x: x}) != []
    assert faults_of("table", {}) != []


def test_docstrings_of_other_names_are_short() -> None:
    shown = [m for m in reachable() if inspect.isclass(m) or inspect.isfunction(m)]
    promised_members = {(m.__module__, m.__qualname__) for m in shown}
    promised_members |= {
        (m.__module__, f"{m.__qualname__}.{name}") for m in shown for name in vars(m) if name[0] != "_"
    }
    long = {
        f"{module}.{name}": n_lines
        for module, name, n_lines in docstrings()
        if n_lines > LONGEST_NOTE and (module, name) not in promised_members
    }
    assert long == {}


def docstrings() -> Iterator[tuple[str, str, int]]:
    """Yield module, qualified name and length of every docstring of a class or function, references left out."""
    for path in sorted((ROOT / "s4signal").rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        pending: list[tuple[str, ast.AST]] = [("", ast.parse(path.read_text("utf-8")))]
        while pending:
            prefix, node = pending.pop()
            for child in ast.iter_child_nodes(node):
                name = prefix
                if isinstance(child, ast.ClassDef | ast.FunctionDef):
                    name = f"{prefix}.{child.name}".lstrip(".")
                    text = (ast.get_docstring(child) or "").split("\n\nReferences\n")[0]
                    yield module, name, len(text.splitlines())
                pending.append((name, child))


def test_the_citation_names_the_version() -> None:
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"\nversion: {s4signal.__version__}\n" in citation
