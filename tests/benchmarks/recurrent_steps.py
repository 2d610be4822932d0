"""One training step of S4, of LSSL as published and of recurrent networks, and the memory that it takes."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from reference_lssl import KrylovLSSL
from torch import Tensor, nn

from s4signal.nn import S4Layer
from s4signal.training.runtime import reused_memory

__all__ = ["FORMS", "peak_mib", "recurrent_step"]

D_MODEL, D_STATE = 64, 64
# Each form with the layout of its own.
FORMS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "s4": (lambda: S4Layer(D_MODEL, D_STATE, kernel="s4"), "dbt"),
    "lssl": (lambda: S4Layer(D_MODEL, D_STATE, kernel="lssl"), "dbt"),
    "krylov": (lambda: KrylovLSSL(D_MODEL, D_STATE), "bdt"),
    "rnn": (lambda: nn.RNN(D_MODEL, D_MODEL), "tbd"),
    "gru": (lambda: nn.GRU(D_MODEL, D_MODEL), "tbd"),
}


def recurrent_step(form: str, batch: int, n_times: int) -> Callable[[], None]:
    """Prepare a forward and backward pass in float32, gradients of parameters and input included.

    Parameters
    ----------
    form : str
        A key of `FORMS`.
    batch, n_times : int
        Cases and samples.

    Returns
    -------
    callable
        Runs one step.
    """
    torch.manual_seed(0)
    make, layout = FORMS[form]
    layer, sizes = make(), {"d": D_MODEL, "b": batch, "t": n_times}
    u = torch.randn([sizes[axis] for axis in layout], requires_grad=True)
    weight = torch.randn(u.shape)

    def step() -> None:
        u.grad = None
        layer.zero_grad()
        y: Tensor | tuple[Tensor, ...] = layer(u)
        (y if isinstance(y, Tensor) else y[0]).backward(weight)

    return step


def peak_mib(form: str, batch: int, n_times: int) -> float:
    """Measure the peak memory of the first step beyond imports, parameters, input and output gradient, in MiB.

    Parameters
    ----------
    form : str
        A key of `FORMS`.
    batch, n_times : int
        Cases and samples.

    Returns
    -------
    float
        Peak resident memory in a fresh process, less the resident memory before the step; Linux only.
    """
    command = [sys.executable, __file__, form, str(batch), str(n_times)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _status_mib(field: str) -> float:
    lines = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[field].split()[0]) / 1024


if __name__ == "__main__":
    torch.set_num_threads(1)
    with reused_memory():
        recurrent_step(sys.argv[1], 1, 64)()  # libraries are loaded before the baseline
        prepared = recurrent_step(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
        baseline = _status_mib("VmRSS")
        prepared()
    sys.stdout.write(str(_status_mib("VmHWM") - baseline))
