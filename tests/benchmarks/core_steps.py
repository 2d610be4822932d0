"""One training step of the core or of a network, in several forms, and the memory it takes in a process of its own."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from reference import FFTS4D
from reference_s4 import FFTS4
from torch import Tensor, nn

from s4signal.nn import KERNELS, S4Backbone, S4Layer
from s4signal.training.runtime import reused_memory

__all__ = ["D_MODEL", "D_STATE", "FORMS", "core_step", "network_step", "peak_mib"]

D_MODEL, D_STATE, BLOCK = 64, 64, 128
#: Kernels of s4signal, in its layout (d_model, batch, n_times); then yardsticks, in the papers' own.
YARDSTICKS = ("fft", "cauchy", "cauchy-product")
FORMS = (*KERNELS, "products", *YARDSTICKS)


class Products(nn.Module):
    """The bare batched products that a causal diagonal core is made of, forward and backward, without the rest."""

    def __init__(self) -> None:
        super().__init__()
        self.W, self.P, self.Q = (
            nn.Parameter(torch.randn(D_MODEL, BLOCK, n) / BLOCK) for n in (BLOCK, D_STATE, D_STATE)
        )

    def forward(self, u: Tensor) -> Tensor:
        """Multiply (d_model, batch, n_times), a whole number of blocks."""
        U = u.view(D_MODEL, -1, BLOCK)
        return torch.baddbmm(U @ self.W, U @ self.P, self.Q.transpose(1, 2)).view(u.shape)


class FFTCore(nn.Module):
    """The yardstick in the place of a layer: `FFTS4D` in the layout of the network."""

    def __init__(self) -> None:
        super().__init__()
        self.core = FFTS4D(D_MODEL, D_STATE, bidirectional=True)

    def forward(self, u: Tensor, *, rate: float = 1.0, gaps: None = None) -> Tensor:
        """Run (d_model, batch, n_times)."""
        y: Tensor = self.core(u.transpose(0, 1)).transpose(0, 1)
        return y


def core_step(form: str, batch: int, n_times: int) -> Callable[[], None]:
    """Prepare a forward and backward pass in float32, gradients of parameters and input included.

    Parameters
    ----------
    form : str
        One of ``FORMS``: a kernel of `S4Layer`, its bare products, or the usual way by FFT, `FFTS4D` and `FFTS4`; each
        in its own layout.
    batch, n_times : int
        Cases and samples.

    Returns
    -------
    callable
        Runs one step.
    """
    torch.manual_seed(0)
    makers: dict[str, Callable[[], nn.Module]] = {
        "products": Products,
        "fft": lambda: FFTS4D(D_MODEL, D_STATE),
        "cauchy": lambda: FFTS4(D_MODEL, D_STATE, n_times, published=True),
        "cauchy-product": lambda: FFTS4(D_MODEL, D_STATE, n_times),
    }
    layer = makers[form]() if form in makers else S4Layer(D_MODEL, D_STATE, kernel=form)
    shape = (batch, D_MODEL, n_times) if form in YARDSTICKS else (D_MODEL, batch, n_times)
    u = torch.randn(shape, requires_grad=True)
    weight = torch.randn(shape)

    def step() -> None:
        u.grad = None
        layer.zero_grad()
        layer(u).backward(weight)

    return step


def network_step(form: str, batch: int, n_times: int, *, checkpointing: bool = False) -> Callable[[], None]:
    """Prepare a forward and backward pass of a backbone of four bidirectional layers on 8 channels, in float32.

    Parameters
    ----------
    form : {"s4d", "fft"}
        Its core: the block engine or `FFTS4D`.
    batch, n_times : int
        Cases and samples.
    checkpointing : bool, default=False
        Whether blocks are computed again in the backward pass.

    Returns
    -------
    callable
        Runs one step.
    """
    torch.manual_seed(0)
    net = S4Backbone(8, D_MODEL, 4, d_state=D_STATE, bidirectional=True, checkpointing=checkpointing)
    if form == "fft":
        for block in net.blocks:
            block.layer = FFTCore()
    x, weight = torch.randn(batch, n_times, 8), torch.randn(batch, n_times, D_MODEL)

    def step() -> None:
        net.zero_grad()
        net(x).backward(weight)

    return step


def peak_mib(form: str, batch: int, n_times: int, *, network: bool = False) -> float:
    """Measure the peak memory of the first step beyond imports, parameters, input and output gradient, in MiB.

    Parameters
    ----------
    form : str
        As for `core_step`, or for `network_step` with checkpointing.
    batch, n_times : int
        Cases and samples.
    network : bool, default=False
        Whether to measure a network.

    Returns
    -------
    float
        Peak resident memory in a fresh process, less the resident memory before the step; Linux only.
    """
    what = "network" if network else "core"
    command = [sys.executable, __file__, what, form, str(batch), str(n_times), str(torch.get_num_threads())]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _status_mib(field: str) -> float:
    # Not getrusage: its peak is the parent's, when that was larger, even after exec.
    lines = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[field].split()[0]) / 1024


def _prepare(what: str, form: str, batch: int, n_times: int) -> Callable[[], None]:
    return (
        network_step(form, batch, n_times, checkpointing=True) if what == "network" else core_step(form, batch, n_times)
    )


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[5]))
    with reused_memory():
        _prepare(sys.argv[1], sys.argv[2], 1, 128)()  # libraries are loaded and threads started before the baseline
        prepared = _prepare(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
        baseline = _status_mib("VmRSS")
        prepared()
    sys.stdout.write(str(_status_mib("VmHWM") - baseline))
