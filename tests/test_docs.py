"""The documentation site builds without warnings and contains every promised name, notebook, guide and recipe."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from scripts import run_script
from test_front_door import NAMES

__all__: list[str] = []

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site as `make docs` does, but without running the notebooks, which have their own tests."""
    for package in ("furo", "myst_parser", "numpydoc"):
        pytest.importorskip(package)
    out = tmp_path_factory.mktemp("site")
    sphinx = Path(find_spec("sphinx.__main__").origin)
    options = ["-W", "--keep-going", "-q", "-c", "notebooks", "-d", str(out / "cache"), ".", str(out / "html")]
    result = run_script(sphinx, *options, cwd=ROOT, safe_path=True, S4SIGNAL_RUN_NOTEBOOKS="")
    assert result.returncode == 0, result.stderr
    return out / "html"


@pytest.mark.slow
def test_every_promised_name_is_in_the_site(site: Path) -> None:
    from sphinx.util.inventory import InventoryFile

    found = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="").data
    names = {name for kind, items in found.items() if kind.startswith("py:") for name in items}
    assert {f"{module}.{name}" for module, name in NAMES} - names == set()


@pytest.mark.slow
def test_every_notebook_guide_and_recipe_is_in_the_site(site: Path) -> None:
    pages = [path.relative_to(ROOT) for end in ("ipynb", "md") for path in (ROOT / "notebooks").rglob(f"*.{end}")]
    assert [str(page) for page in pages if not (site / page.with_suffix(".html")).is_file()] == []
    recipes = (site / "pipelines" / "README.html").read_text("utf-8")
    assert [p.name for p in (ROOT / "pipelines").glob("*.py") if f"python pipelines/{p.name}" not in recipes] == []
    assert 'url=README.html"' in (site / "index.html").read_text("utf-8")
