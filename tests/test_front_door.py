"""What users were promised: names that stay, a light import, and docstrings that say everything."""

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from numpydoc.validate import validate

import s4signal

__all__: list[str] = []

# A name that leaves this table breaks somebody's code: say so in CHANGELOG.md.
PROMISE: dict[str, list[str]] = {
    "s4signal": ["S4Classifier", "S4Regressor", "Signals", "__version__"],
    "s4signal.signals": [
        "Annotation",
        "Signal",
        "Signals",
        "datasets",
        "decimate",
        "drop_samples",
        "epochs_from_events",
        "read_audio",
        "read_audio_folder",
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
        "Frontend",
        "KERNELS",
        "Kernel",
        "S4Backbone",
        "S4Layer",
        "S4Network",
        "StackOptions",
        "for_inference",
        "space_bands",
    ],
    "s4signal.estimators": [
        "S4Classifier",
        "S4FilterBank",
        "S4RandomFeatures",
        "S4Regressor",
        "S4RidgeClassifier",
        "S4RidgeRegressor",
    ],
    "s4signal.inspection": ["BandImportanceDisplay", "TrainingCurveDisplay"],
}
# pandas is left out: scikit-learn imports it wherever it is installed.
HEAVY = ["librosa", "matplotlib", "mne", "pooch", "soundfile", "soxr", "torchaudio", "wfdb"]
NAMES = [(room, name) for room, names in PROMISE.items() for name in names if not name.startswith("__")]
# Sections of numpydoc: there is a docstring, with every parameter, its type and meaning, and what comes back.
COMPLETE = {"GL08", "PR01", "PR02", "PR03", "PR04", "PR07", "RT01", "RT03"}


def faults(path: str, codes: set[str]) -> list[str]:
    """Say what numpydoc misses in the docstring of a live object."""
    return [f"{path}: {text}" for code, text in validate(path)["errors"] if code in codes]


@pytest.mark.parametrize("room", PROMISE)
def test_public_names_are_the_promised_ones(room: str) -> None:
    names = getattr(importlib.import_module(room), "__all__", [])
    # The mathematics has more names, for the rooms above it: those may move.
    assert sorted(set(names) & set(PROMISE[room]) if room == "s4signal.ssm" else names) == PROMISE[room]


@pytest.mark.parametrize("room", PROMISE)
def test_importing_a_room_imports_no_heavy_package(room: str) -> None:
    code = f"import sys; from {room} import *; print(*sorted(set({HEAVY}) & set(sys.modules)))"
    came_along = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert came_along == []


@pytest.mark.parametrize(("room", "name"), NAMES)
def test_a_promised_name_is_documented_in_full_with_an_example(room: str, name: str) -> None:
    member = getattr(importlib.import_module(room), name)
    if inspect.isclass(member) and issubclass(member, Exception):
        assert faults(f"{room}.{name}", {"GL08"}) == []
    elif inspect.isclass(member) or inspect.isfunction(member):
        assert faults(f"{room}.{name}", COMPLETE | {"EX01"}) == []


@pytest.mark.parametrize(("room", "name"), NAMES)
def test_the_methods_of_a_promised_class_are_documented(room: str, name: str) -> None:
    member = getattr(importlib.import_module(room), name)
    if not inspect.isclass(member):
        return
    methods = [n for n, m in vars(member).items() if inspect.isfunction(m) and not n.startswith("_")]
    # RT01: "Return the …" in one line is enough for a method.
    assert [fault for n in methods for fault in faults(f"{room}.{name}.{n}", COMPLETE - {"RT01"})] == []


def test_the_citation_names_the_version() -> None:
    citation = (Path(__file__).parents[1] / "CITATION.cff").read_text("utf-8")
    assert f"\nversion: {s4signal.__version__}\n" in citation
