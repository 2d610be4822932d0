"""Sphinx settings of the documentation site: `make docs` builds it in out/docs, with the figures of the notebooks.

Its pages are files of the checkout (README, guides, notebooks, recipes) and the docstrings of public names.
"""

import ast
import os
import sys
from pathlib import Path
from types import BuiltinFunctionType, GetSetDescriptorType, MethodDescriptorType, WrapperDescriptorType
from typing import Any

import nbformat
from docutils import nodes
from myst_parser.parsers.sphinx_ import MystParser
from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from s4signal import __version__  # noqa: E402 - of this checkout

project, author, release = "s4signal", "The s4signal developers", __version__
project_copyright = "The s4signal developers"
extensions = ["sphinx.ext.autodoc", "sphinx.ext.mathjax", "numpydoc", "myst_parser"]
root_doc = "README"
include_patterns = ["*.md", "notebooks/**", "pipelines/README.md", "tests/benchmarks/README.md"]
exclude_patterns = [".*", "out", "build", "dist", "s4signal", "*.egg-info"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext", ".ipynb": "notebook"}

html_theme, html_title = "furo", f"s4signal {release}"
html_copy_source = html_show_sourcelink = False
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
autodoc_default_options = {"members": True, "inherited-members": True}
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings contain the types
numpydoc_show_class_members = False

CONTENTS = """
```{{toctree}}
:hidden:
:glob:
:caption: {}

{}
```
"""
SECTIONS = {  # pages in their order; those matched by a wildcard come last
    "Guides": "notebooks/guides/eeg notebooks/guides/sound notebooks/guides/scikit_learn notebooks/guides/*",
    "Notebooks": "notebooks/first_steps notebooks/eeg_with_mne notebooks/speech notebooks/*",
    "Recipes": "pipelines/README",
    "Reference": "notebooks/reference/*",
    "Project": "CHANGELOG ARCHITECTURE CONTRIBUTING tests/benchmarks/README",
}
BUILT_IN = (BuiltinFunctionType, GetSetDescriptorType, MethodDescriptorType, WrapperDescriptorType)


class NotebookParser(MystParser):
    """Parse a notebook as Markdown: text, code and outputs."""

    supported = ("notebook",)

    def parse(self, inputstring: str, document: nodes.document) -> None:
        """Parse a notebook into a page; S4SIGNAL_RUN_NOTEBOOKS executes it first."""
        notebook = nbformat.reads(inputstring, as_version=4)
        if os.environ.get("S4SIGNAL_RUN_NOTEBOOKS"):
            from nbclient import NotebookClient

            notebook = NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
        super().parse("\n\n".join(text for cell in notebook.cells for text in shown(cell)), document)


def shown(cell: Any) -> list[str]:
    """Convert a cell and its outputs to Markdown."""
    if cell.cell_type != "code":
        return [cell.source]
    texts = [f"```python\n{cell.source}\n```"]
    for output in cell.get("outputs", []):
        data = output.get("data", {"text/plain": output.get("text", "")})
        if "image/png" in data:
            texts.append(f"![Figure drawn by the code above](data:image/png;base64,{data['image/png'].strip()})")
        elif data.get("text/plain"):
            texts.append(f"```text\n{data['text/plain']}\n```")
    return texts


def add_contents(_app: Sphinx, name: str, source: list[str]) -> None:
    """Add the table of contents to the front page, and docstrings of recipes and modules to their pages."""
    if name == root_doc:
        source[0] += "".join(CONTENTS.format(caption, "\n".join(of.split())) for caption, of in SECTIONS.items())
    elif name == "pipelines/README":
        for path in sorted((ROOT / "pipelines").glob("*.py")):
            text = ast.get_docstring(ast.parse(path.read_text("utf-8")))
            source[0] += f"\n## {path.name}\n\n```text\n{text}\n```\n"
    elif name == "ARCHITECTURE":
        source[0] += "\n## Contents of every file\n\n"
        for path in sorted((ROOT / "s4signal").rglob("*.py")):
            first, *_ = (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").splitlines()
            source[0] += f"- `{path.relative_to(ROOT)}`: {first}\n"


def skip_foreign(_app: Sphinx, _what: str, _name: str, member: Any, _skip: bool, _options: Any) -> bool | None:
    """Skip members that a class inherits from another library."""
    member = getattr(member, "fget", None) or getattr(member, "__func__", member)
    module = getattr(member, "__module__", None)
    foreign = isinstance(member, BUILT_IN) or (isinstance(module, str) and not module.startswith("s4signal"))
    return True if foreign else None


def add_entrance(app: Sphinx, error: Exception | None) -> None:
    """Redirect index.html to the front page."""
    if error is None and app.builder.name == "html":
        page = '<!doctype html><title>s4signal</title><meta http-equiv="refresh" content="0; url=README.html">\n'
        Path(app.outdir, "index.html").write_text(page, "utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the parser and the event handlers."""
    app.add_source_parser(NotebookParser)
    app.connect("source-read", add_contents)
    app.connect("autodoc-skip-member", skip_foreign)
    app.connect("build-finished", add_entrance)
    return {"parallel_read_safe": True}
