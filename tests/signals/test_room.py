"""Imports of the package `signals`."""

import subprocess
import sys

from s4signal import signals

HEAVY = ("torch", "mne", "soundfile", "soxr", "pandas", "matplotlib", "wfdb", "pooch")


def test_importing_signals_imports_no_heavy_package():
    code = f"import sys, s4signal.signals.datasets; print([name for name in {HEAVY} if name in sys.modules])"
    # The package alone: s4signal/__init__.py may import torch.
    code = (
        "import sys, types; m = types.ModuleType('s4signal'); m.__path__ = [sys.argv[1]]; sys.modules['s4signal'] = m\n"
        + code
    )
    package = signals.__file__.rpartition("signals")[0]
    output = subprocess.run([sys.executable, "-c", code, package], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"
