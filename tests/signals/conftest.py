"""Settings and fixtures of the tests of `signals`."""

import os
import sys
from pathlib import Path

import pytest

# pytest's importlib mode puts no test folder on the path; recording_files.py is here.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def data_home() -> Path:
    """Return the folder of real recordings; skip the test if it is not set."""
    chosen = os.environ.get("S4SIGNAL_DATA")
    if not chosen:
        pytest.skip("S4SIGNAL_DATA is not set: no real recordings")
    return Path(chosen)
