"""What the tests of the recordings share."""

import os
import sys
from pathlib import Path

import pytest

# pytest's importlib mode puts no test folder on the path; recording_files.py lies here.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def data_home() -> Path:
    """The folder of real recordings; tests that need it skip where there is none."""
    chosen = os.environ.get("S4SIGNAL_DATA")
    if not chosen:
        pytest.skip("S4SIGNAL_DATA is not set: no real recordings")
    return Path(chosen)
