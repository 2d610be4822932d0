"""The distributions: a wheel with only the package, a source archive with everything; the core needs no extra."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from email import message_from_bytes
from email.message import Message
from importlib.metadata import distribution
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

import s4signal

__all__: list[str] = []

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
NOT_DISTRIBUTED = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "out", "*.egg-info")
CORE = """
import importlib
import pkgutil

import numpy as np

import s4signal
from s4signal import S4Classifier, S4RidgeClassifier

for module in pkgutil.walk_packages(s4signal.__path__, "s4signal."):
    if not module.name.endswith(("__main__", ".triton")):
        importlib.import_module(module.name)
print(s4signal.__file__)
X, y = np.random.default_rng(0).standard_normal((8, 2, 100)), np.arange(8) % 2
print(S4RidgeClassifier(random_state=0).fit(X, y).predict(X).shape)
print(S4Classifier(d_model=4, n_layers=1, max_epochs=1, sfreq=100).fit(X, y).predict(X).shape)
try:
    s4signal.read_eeg("a.edf")
except ImportError as error:
    print(error)
"""


def build(kind: str, source: Path, out: Path) -> Path:
    """Build the sdist or the wheel of a folder, as pip does, with the installed setuptools."""
    code = f"import sys; from setuptools import build_meta; print(build_meta.build_{kind}(sys.argv[1]))"
    command = [sys.executable, "-W", "ignore", "-c", code, str(out)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=source, check=False)
    assert result.returncode == 0, result.stderr
    return out / result.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the archive of a copy of this checkout."""
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("sdist")
    shutil.copytree(ROOT, folder / "checkout", ignore=NOT_DISTRIBUTED)
    return build("sdist", folder / "checkout", folder)


@pytest.fixture(scope="module")
def wheel(sdist: Path) -> Path:
    """Build the wheel from the source archive alone."""
    folder = sdist.parent
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    return build("wheel", folder / sdist.name.removesuffix(".tar.gz"), folder)


def tree(*folders: str) -> set[str]:
    """Return the files of folders of the checkout."""
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    return {path.relative_to(ROOT).as_posix() for path in files if "__pycache__" not in path.parts}


def metadata(wheel: Path) -> Message:
    with ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return message_from_bytes(archive.read(name))


@pytest.mark.slow
def test_the_source_archive_has_tests_recipes_notebooks_and_changelog(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames() if archive.getmember(name).isfile()}
    singles = {"CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "ARCHITECTURE.md", "LICENSE", "Makefile", "README.md"}
    assert (tree("s4signal", "tests", "pipelines", "notebooks") | singles) - names == set()
    unexpected = {name for name in names if name.split("/")[0] in (".venv", ".git", "build", "dist", "out")}
    assert unexpected == set()


@pytest.mark.slow
def test_the_wheel_has_exactly_the_package(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {name for name in names if ".dist-info/" not in name} == tree("s4signal")
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


@pytest.mark.slow
def test_the_metadata_have_version_pythons_urls_and_extras(wheel: Path) -> None:
    fields = metadata(wheel)
    assert fields["Version"] == s4signal.__version__
    assert fields["Requires-Python"] == ">=3.11"
    assert fields.get_all("Project-URL") == [f"{name}, {address}" for name, address in PROJECT["urls"].items()]
    assert fields.get_all("Provides-Extra") == list(PROJECT["optional-dependencies"])
    assert "Programming Language :: Python :: 3.13" in fields.get_all("Classifier", [])
    assert fields["Description-Content-Type"] == "text/markdown"


def closure(requirements: list[str]) -> set[str]:
    """Return the distributions of requirements and all their dependencies."""
    found: set[str] = set()
    pending = [(text, "") for text in requirements]
    while pending:
        text, extra = pending.pop()
        needed = Requirement(text)
        if (not needed.marker or needed.marker.evaluate({"extra": extra})) and needed.name not in found:
            found.add(needed.name)
            extras = needed.extras or {""}
            pending += [(text, extra) for text in distribution(needed.name).requires or [] for extra in extras]
    return found


@pytest.mark.slow
def test_the_wheel_works_with_the_core_dependencies_alone(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    with ZipFile(wheel) as archive:
        archive.extractall(site)  # noqa: S202 - built above
    for name in closure(PROJECT["dependencies"]):
        found = distribution(name)
        for top in {file.parts[0] for file in found.files or []} - {"..", "__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(found.locate_file(top))
    assert not (site / "pandas").exists()
    environment = os.environ | {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-S", "-c", CORE]  # -S: only PYTHONPATH is on the path
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert result.returncode == 0, result.stderr
    file, *shapes, missing = result.stdout.splitlines()
    assert Path(file) == tmp_path / "site" / "s4signal" / "__init__.py"
    assert shapes == ["(8,)", "(8,)"]
    assert re.search(r"pip install .*s4signal\[eeg\]", missing)


def test_importing_the_package_imports_no_other_package() -> None:
    code = "import sys; before = set(sys.modules); import s4signal; print(*sorted(set(sys.modules) - before))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = {name.split(".")[0] for name in result.stdout.split()} - sys.stdlib_module_names
    assert {name for name in imported if not name.startswith("__editable__")} == {"s4signal"}
