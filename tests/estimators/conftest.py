"""What the tests of the estimators share."""

import sys
from pathlib import Path

__all__: list[str] = []

# pytest's importlib mode puts no test folder on the path; small_models.py lies here.
sys.path.insert(0, str(Path(__file__).parent))
