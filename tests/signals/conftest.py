"""What the tests of the recordings share."""

import os
from pathlib import Path

import pytest


@pytest.fixture
def data_home() -> Path:
    """The folder of real recordings; tests that need it skip where there is none."""
    chosen = os.environ.get("S4SIGNAL_DATA")
    if not chosen:
        pytest.skip("S4SIGNAL_DATA is not set: no real recordings")
    return Path(chosen)
