"""Make small_models importable in the tests of the estimators."""

import sys
from pathlib import Path

__all__: list[str] = []

# The importlib mode of pytest puts no test folder on the path; small_models.py is in this one.
sys.path.insert(0, str(Path(__file__).parent))
