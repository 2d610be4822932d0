"""The walls of ARCHITECTURE.md hold: imports point down, tables hold objects, files stay short, rooms stay four."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports
from numpydoc.validate import validate

import s4signal

__all__: list[str] = []

ROOT = Path(__file__).parents[1]
ROOMS = {"s4signal", "pipelines", "notebooks", "tests"}
ARTEFACTS = {"__pycache__", "build", "dist", "out"}
LONGEST_FILE = 400
SOURCES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
MODULES = ["s4signal", *sorted(m.name for m in pkgutil.walk_packages(s4signal.__path__, "s4signal."))]


def documented_objects(module: ModuleType) -> Iterator[str]:
    """Name what a module promises, and the public methods of its classes."""
    for name in getattr(module, "__all__", []):
        member = getattr(module, name)
        if inspect.isclass(member):
            yield f"{module.__name__}.{name}"
            for attribute, method in vars(member).items():
                if inspect.isfunction(method) and not attribute.startswith("_"):
                    yield f"{module.__name__}.{name}.{attribute}"
        elif inspect.isfunction(member):
            yield f"{module.__name__}.{name}"


def test_imports_point_down_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert lint_imports(no_cache=True, no_logo=True) == EXIT_STATUS_SUCCESS


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_promises(name: str) -> None:
    module = importlib.import_module(name)
    assert hasattr(module, "__all__"), f"{name} has no __all__: list the names that others may import, even if none"
    assert [n for n in module.__all__ if not hasattr(module, n)] == []


# Tables in signals/ hold data (names of channels, checksums of files), not parts of the library.
@pytest.mark.parametrize("name", [name for name in MODULES if not name.startswith("s4signal.signals")])
def test_tables_hold_classes_and_functions_never_strings(name: str) -> None:
    members = vars(importlib.import_module(name)).items()
    tables = {key: table for key, table in members if key.isupper() and isinstance(table, Mapping)}
    assert [key for key, table in tables.items() if any(isinstance(value, str) for value in table.values())] == []


@pytest.mark.parametrize("name", MODULES)
def test_no_docstring_speaks_of_a_parameter_that_is_gone(name: str) -> None:
    faults = {path: validate(path)["errors"] for path in documented_objects(importlib.import_module(name))}
    assert {path: text for path, errors in faults.items() for code, text in errors if code == "PR02"} == {}


def test_no_file_is_longer_than_a_reader_can_hold() -> None:
    lengths = {path.relative_to(ROOT).as_posix(): len(path.read_text("utf-8").splitlines()) for path in SOURCES}
    assert {path: n for path, n in lengths.items() if n > LONGEST_FILE} == {}


def test_the_top_holds_four_rooms_and_single_files() -> None:
    folders = {path.name for path in ROOT.iterdir() if path.is_dir()}
    strangers = {
        name
        for name in folders - ROOMS - ARTEFACTS
        if not name.startswith(".") and not name.endswith((".egg-info", ".dist-info"))
    }
    assert strangers == set(), f"put what is in {sorted(strangers)} into one of {sorted(ROOMS)}"


def test_the_tests_mirror_the_rooms() -> None:
    rooms = {path.name for path in (ROOT / "s4signal").iterdir() if (path / "__init__.py").exists()}
    mirrors = {path.name for path in (ROOT / "tests").iterdir() if any(path.glob("**/*.py"))}
    assert mirrors - {"benchmarks", "pipelines", "notebooks"} <= rooms
