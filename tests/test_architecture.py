"""The walls of ARCHITECTURE.md hold: imports point down, tables hold objects, files stay short, rooms stay four."""

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
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
LONGEST_FILE, LONGEST_TEST_FILE, LONGEST_FUNCTION = 300, 400, 40
MOST_LINES, MOST_CODE = 29_922, 18_523  # what stands; whoever needs more takes away first, or raises it in the open
SOURCES = sorted((ROOT / "s4signal").rglob("*.py"))
TREES = {path: ast.parse(path.read_text("utf-8")) for path in SOURCES}
# Documented for everybody, whatever they begin with: of named tuples; of scikit-learn, for its callbacks; of
# torch, how often a tensor was changed in place, and which arguments an operator takes.
PUBLIC_IN_SPITE_OF_ITS_NAME = {"_asdict", "_fields", "_make", "_replace"}
PUBLIC_IN_SPITE_OF_ITS_NAME |= {"_init_callback_context", "_schema", "_version"}
MODULES = ["s4signal", *sorted(m.name for m in pkgutil.walk_packages(s4signal.__path__, "s4signal."))]


def documented_objects(module: ModuleType) -> Iterator[str]:
    """Name what a module defines for others, and the public methods of its classes."""
    for name, member in vars(module).items():
        if name.startswith("_") or getattr(member, "__module__", "") != module.__name__:
            continue
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


@pytest.mark.parametrize("path", [p for p in SOURCES if p.name == "__init__.py"], ids=lambda p: p.parent.name)
def test_every_room_says_what_others_may_import(path: Path) -> None:
    module = importlib.import_module(module_of(path))
    assert hasattr(module, "__all__"), f"{path} has no __all__: list the names that others may import, even if none"
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


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports_of(path: Path) -> set[str]:
    """Name the modules of the package that a file imports anywhere, under TYPE_CHECKING and in functions too."""
    found = set()
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
            if any(f"{node.module}.{alias.name}" not in MODULES for alias in node.names):
                found.add(str(node.module))
    return (found & set(MODULES)) - {module_of(path)}


def test_no_two_modules_import_each_other_by_whatever_way() -> None:
    cycle: list[str] = []
    try:
        TopologicalSorter({module_of(path): imports_of(path) for path in SOURCES}).prepare()
    except CycleError as error:
        cycle = error.args[1]
    assert cycle == []


def private_reads(path: Path) -> list[str]:
    """List where a file reads what is private to an object of another module, or imports such a name."""
    tree, found = TREES[path], []
    nodes = list(ast.walk(tree))
    own = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    own |= {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    own |= {n.attr for n in nodes if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store) and is_self(n.value)}
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            found += [f"{path.name}:{node.lineno} imports {a.name}" for a in node.names if is_private(a.name)]
        if isinstance(node, ast.Attribute) and is_private(node.attr) and not is_self(node.value):
            known = node.attr in own | PUBLIC_IN_SPITE_OF_ITS_NAME
            found += [] if known else [f"{path.name}:{node.lineno} reads {ast.unparse(node)}"]
    return found


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def is_self(node: ast.expr) -> bool:
    """Whether an expression is self, cls, super() or a draft of oneself."""
    name = node.func if isinstance(node, ast.Call) else node
    return isinstance(name, ast.Name) and name.id in ("self", "cls", "super", "draft")


def test_nothing_outside_a_class_reads_its_private_attributes() -> None:
    assert [line for path in SOURCES for line in private_reads(path)] == []


def test_no_file_is_longer_than_a_reader_can_hold() -> None:
    others = [path for room in ROOMS - {"s4signal"} for path in (ROOT / room).rglob("*.py")]
    longest = dict.fromkeys(SOURCES, LONGEST_FILE) | dict.fromkeys(others, LONGEST_TEST_FILE)
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in longest}
    assert {path.relative_to(ROOT).as_posix(): n for path, n in lengths.items() if n > longest[path]} == {}


def documentation(tree: ast.AST) -> set[int]:
    """Number the lines of all docstrings."""
    found: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            found |= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return found


def only_stores(node: ast.FunctionDef) -> bool:
    """Whether a function is the constructor of an estimator, which keeps its parameters and does nothing else."""
    names = [a.arg for a in node.args.kwonlyargs]
    pairs = [ast.unparse(s).split(" = ", 1) for s in node.body if isinstance(s, ast.Assign)]
    stored = [(f"self.{value}", value) for value in names]
    told = [
        pair for to, of in pairs for pair in zip(to.strip("()").split(", "), of.strip("()").split(", "), strict=False)
    ]
    return node.name == "__init__" and len(pairs) == len(node.body) and told == stored


def test_no_function_is_longer_than_a_reader_can_hold() -> None:
    long = {}
    for path, tree in TREES.items():
        documented = documentation(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and not only_stores(node):
                lines = set(range(node.lineno, (node.end_lineno or 0) + 1)) - documented
                if len(lines) > LONGEST_FUNCTION:
                    long[f"{module_of(path)}.{node.name}"] = len(lines)
    assert long == {}


def test_the_package_stays_small() -> None:
    n_lines = n_code = 0
    for path, tree in TREES.items():
        lines, documented = path.read_text("utf-8").splitlines(), documentation(tree)
        n_lines += len(lines)
        stripped = [line.strip() for number, line in enumerate(lines, 1) if number not in documented]
        n_code += sum(bool(line) and not line.startswith("#") for line in stripped)
    assert n_lines <= MOST_LINES
    assert n_code <= MOST_CODE


def test_the_architecture_names_every_file() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8").partition("## Every file")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([a-z_/]+)/` \| (.+) \|$", text, re.MULTILINE)
    named = {f"{folder}/{name}" for folder, names in rows for name in re.findall(r"`([a-z0-9_]+)`", names)}
    paths = {path.relative_to(ROOT / "s4signal").with_suffix("").as_posix() for path in SOURCES}
    assert named == {path for path in paths if "/" in path and not path.endswith("__init__")}


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
    assert mirrors - {"benchmarks"} == rooms
