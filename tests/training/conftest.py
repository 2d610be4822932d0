"""Put the folder of the tests of `training` on the path."""

import sys
from pathlib import Path

__all__: list[str] = []

# pytest's importlib mode puts no test folder on the path; small_training.py is here.
sys.path.insert(0, str(Path(__file__).parent))
