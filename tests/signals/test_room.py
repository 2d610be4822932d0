"""The room as a whole: what it imports."""

import subprocess
import sys

from s4signal import signals

HEAVY = ("torch", "mne", "soundfile", "soxr", "pandas", "matplotlib", "wfdb", "pooch")


def test_importing_the_room_imports_no_heavy_package():
    code = f"import sys, s4signal.signals.datasets; print([name for name in {HEAVY} if name in sys.modules])"
    # The room by itself: the front door of the library may import torch.
    code = (
        "import sys, types; m = types.ModuleType('s4signal'); m.__path__ = [sys.argv[1]]; sys.modules['s4signal'] = m\n"
        + code
    )
    package = signals.__file__.rpartition("signals")[0]
    said = subprocess.run([sys.executable, "-c", code, package], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"
