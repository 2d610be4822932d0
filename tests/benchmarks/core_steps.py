"""One training step of the core, by blocks and by FFT, and the memory that it takes in a process of its own."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from reference import FFTS4D

from s4signal.nn import S4Layer
from s4signal.training.runtime import reused_memory

__all__ = ["D_MODEL", "D_STATE", "FORMS", "core_step", "peak_mib"]

D_MODEL, D_STATE = 64, 64
FORMS = ("blocks", "fft")


def core_step(form: str, batch: int, n_times: int) -> Callable[[], None]:
    """Prepare a forward and backward pass in float32, gradients of parameters and input included.

    Parameters
    ----------
    form : {"blocks", "fft"}
        `S4Layer`, or the usual way, `FFTS4D`; each in its own layout.
    batch, n_times : int
        Cases and samples.

    Returns
    -------
    callable
        Runs one step.
    """
    torch.manual_seed(0)
    layer = S4Layer(D_MODEL, D_STATE) if form == "blocks" else FFTS4D(D_MODEL, D_STATE)
    shape = (D_MODEL, batch, n_times) if form == "blocks" else (batch, D_MODEL, n_times)
    u = torch.randn(shape, requires_grad=True)
    weight = torch.randn(shape)

    def step() -> None:
        u.grad = None
        layer.zero_grad()
        layer(u).backward(weight)

    return step


def peak_mib(form: str, batch: int, n_times: int) -> float:
    """Measure the peak memory of the first step beyond imports, parameters, input and output gradient, in MiB.

    Parameters
    ----------
    form : {"blocks", "fft"}
        As for `core_step`.
    batch, n_times : int
        Cases and samples.

    Returns
    -------
    float
        Peak resident memory in a fresh process, less the resident memory before the step; Linux only.
    """
    command = [sys.executable, __file__, form, str(batch), str(n_times), str(torch.get_num_threads())]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _status_mib(field: str) -> float:
    # Not getrusage: its peak is the parent's, when that was larger, even after exec.
    lines = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[field].split()[0]) / 1024


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[4]))
    with reused_memory():
        core_step(sys.argv[1], 1, 64)()  # libraries are loaded and threads started before the baseline
        prepared = core_step(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
        baseline = _status_mib("VmRSS")
        prepared()
    sys.stdout.write(str(_status_mib("VmHWM") - baseline))
