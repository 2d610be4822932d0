"""The rules of ARCHITECTURE.md: directions of imports, tables of objects, short files, four folders at the top."""

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
FOLDERS = {"s4signal", "pipelines", "notebooks", "tests"}
ARTEFACTS = {"__pycache__", "build", "dist", "out"}
LONGEST_FILE, LONGEST_TEST_FILE, LONGEST_FUNCTION = 300, 400, 40
MOST_LINES, MOST_CODE = 30_225, 18_692  # the present size: to add lines, delete others first, or raise the limit openly
SOURCES = sorted((ROOT / "s4signal").rglob("*.py"))
TREES = {path: ast.parse(path.read_text("utf-8")) for path in SOURCES}
# Documented in spite of their underscore: methods of named tuples; of scikit-learn, for callbacks; of torch, the
# number of changes of a tensor in place and the arguments of an operator.
PUBLIC_IN_SPITE_OF_ITS_NAME = {"_asdict", "_fields", "_make", "_replace"}
PUBLIC_IN_SPITE_OF_ITS_NAME |= {"_init_callback_context", "_schema", "_version"}
MODULES = ["s4signal", *sorted(m.name for m in pkgutil.walk_packages(s4signal.__path__, "s4signal."))]


def documented_objects(module: ModuleType) -> Iterator[str]:
    """Yield the names of the public functions and classes of a module, and of the public methods of its classes."""
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


def test_imports_follow_the_contracts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert lint_imports(no_cache=True, no_logo=True) == EXIT_STATUS_SUCCESS


@pytest.mark.parametrize("path", [p for p in SOURCES if p.name == "__init__.py"], ids=lambda p: p.parent.name)
def test_every_package_defines_all(path: Path) -> None:
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
def test_docstrings_describe_no_removed_parameters(name: str) -> None:
    faults = {path: validate(path)["errors"] for path in documented_objects(importlib.import_module(name))}
    assert {path: text for path, errors in faults.items() for code, text in errors if code == "PR02"} == {}


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports_of(path: Path) -> set[str]:
    """Return the modules of the package that a file imports, also under TYPE_CHECKING and in functions."""
    found = set()
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
            if any(f"{node.module}.{alias.name}" not in MODULES for alias in node.names):
                found.add(str(node.module))
    return (found & set(MODULES)) - {module_of(path)}


def test_there_are_no_import_cycles() -> None:
    cycle: list[str] = []
    try:
        TopologicalSorter({module_of(path): imports_of(path) for path in SOURCES}).prepare()
    except CycleError as error:
        cycle = error.args[1]
    assert cycle == []


def private_reads(path: Path) -> list[str]:
    """List where a file reads or imports private names of other modules."""
    tree, found = TREES[path], []
    nodes = list(ast.walk(tree))
    own = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    own |= {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    own |= {n.attr for n in nodes if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store) and is_self(n.value)}
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            found += [f"{path.name}:{node.lineno} imports {a.name}" for a in node.names if is_private(a.name)]
        if isinstance(node, ast.Attribute) and is_private(node.attr) and not is_self(node.value):
            allowed = node.attr in own | PUBLIC_IN_SPITE_OF_ITS_NAME
            found += [] if allowed else [f"{path.name}:{node.lineno} reads {ast.unparse(node)}"]
    return found


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def is_self(node: ast.expr) -> bool:
    """Whether an expression is self, cls, super() or a copy of self named draft."""
    name = node.func if isinstance(node, ast.Call) else node
    return isinstance(name, ast.Name) and name.id in ("self", "cls", "super", "draft")


def test_nothing_outside_a_class_reads_its_private_attributes() -> None:
    assert [line for path in SOURCES for line in private_reads(path)] == []


def test_no_file_is_too_long() -> None:
    others = [path for folder in FOLDERS - {"s4signal"} for path in (ROOT / folder).rglob("*.py")]
    longest = dict.fromkeys(SOURCES, LONGEST_FILE) | dict.fromkeys(others, LONGEST_TEST_FILE)
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in longest}
    assert {path.relative_to(ROOT).as_posix(): n for path, n in lengths.items() if n > longest[path]} == {}


def documentation(tree: ast.AST) -> set[int]:
    """Return the line numbers of all docstrings."""
    found: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            found |= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return found


def only_stores(node: ast.FunctionDef) -> bool:
    """Whether a function is a constructor that only stores its parameters."""
    names = [a.arg for a in node.args.kwonlyargs]
    pairs = [ast.unparse(s).split(" = ", 1) for s in node.body if isinstance(s, ast.Assign)]
    stored = [(f"self.{value}", value) for value in names]
    assigned = [
        pair for to, of in pairs for pair in zip(to.strip("()").split(", "), of.strip("()").split(", "), strict=False)
    ]
    return node.name == "__init__" and len(pairs) == len(node.body) and assigned == stored


def test_no_function_is_too_long() -> None:
    long = {}
    for path, tree in TREES.items():
        documented = documentation(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and not only_stores(node):
                lines = set(range(node.lineno, (node.end_lineno or 0) + 1)) - documented
                if len(lines) > LONGEST_FUNCTION:
                    long[f"{module_of(path)}.{node.name}"] = len(lines)
    assert long == {}


def test_the_package_keeps_to_its_line_limits() -> None:
    n_lines = n_code = 0
    for path, tree in TREES.items():
        lines, documented = path.read_text("utf-8").splitlines(), documentation(tree)
        n_lines += len(lines)
        stripped = [line.strip() for number, line in enumerate(lines, 1) if number not in documented]
        n_code += sum(bool(line) and not line.startswith("#") for line in stripped)
    assert n_lines <= MOST_LINES
    assert n_code <= MOST_CODE


def test_the_architecture_lists_every_file() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8").partition("## Every file")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([a-z_/]+)/` \| (.+) \|$", text, re.MULTILINE)
    named = {f"{folder}/{name}" for folder, names in rows for name in re.findall(r"`([a-z0-9_]+)`", names)}
    paths = {path.relative_to(ROOT / "s4signal").with_suffix("").as_posix() for path in SOURCES}
    assert named == {path for path in paths if "/" in path and not path.endswith("__init__")}


def test_the_top_level_has_four_folders_and_single_files() -> None:
    folders = {path.name for path in ROOT.iterdir() if path.is_dir()}
    unexpected = {
        name
        for name in folders - FOLDERS - ARTEFACTS
        if not name.startswith(".") and not name.endswith((".egg-info", ".dist-info"))
    }
    assert unexpected == set(), f"put what is in {sorted(unexpected)} into one of {sorted(FOLDERS)}"


def test_the_tests_mirror_the_packages() -> None:
    packages = {path.name for path in (ROOT / "s4signal").iterdir() if (path / "__init__.py").exists()}
    mirrors = {path.name for path in (ROOT / "tests").iterdir() if any(path.glob("**/*.py"))}
    assert mirrors - {"benchmarks"} == packages
