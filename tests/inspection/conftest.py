"""Close all figures after each test, because pyplot warns about many open ones."""

import pytest
from matplotlib import pyplot

__all__: list[str] = []


@pytest.fixture(autouse=True)
def _closed_figures():
    yield
    pyplot.close("all")
