"""Figures are closed after each test: pyplot warns when many stay open."""

import pytest
from matplotlib import pyplot

__all__: list[str] = []


@pytest.fixture(autouse=True)
def _closed_figures():
    yield
    pyplot.close("all")
