"""One training step of a layer or of a network, in several forms."""

from collections.abc import Callable

import torch
from reference import FFTS4D
from reference_lssl import KrylovLSSL
from reference_s4 import FFTS4
from torch import Tensor, nn

from s4signal.nn import KERNELS, S4Backbone, S4Layer
from s4signal.ssm.products import large_products

__all__ = ["FORMS", "core_step", "network_step"]

D_MODEL, D_STATE, BLOCK = 64, 64, 128


class Products(nn.Module):
    """The batched matrix products of a causal diagonal core, forward and backward, without anything else."""

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
    """The reference in place of a layer: `FFTS4D` in the layout of the network."""

    def __init__(self) -> None:
        super().__init__()
        self.core = FFTS4D(D_MODEL, D_STATE, bidirectional=True)

    def forward(self, u: Tensor, *, rate: float = 1.0, gaps: None = None) -> Tensor:
        """Run (d_model, batch, n_times)."""
        y: Tensor = self.core(u.transpose(0, 1)).transpose(0, 1)
        return y


def _kernel(name: str) -> Callable[[int], nn.Module]:
    return lambda n_times: S4Layer(D_MODEL, D_STATE, kernel=name)


#: How to make each form for a length, and its layout, as a permutation of d_model, batch, time.
FORMS: dict[str, tuple[Callable[[int], nn.Module], str]] = {
    **{name: (_kernel(name), "dbt") for name in KERNELS},
    "products": (lambda n_times: Products(), "dbt"),
    "fft": (lambda n_times: FFTS4D(D_MODEL, D_STATE), "bdt"),
    "cauchy": (lambda n_times: FFTS4(D_MODEL, D_STATE, n_times, published=True), "bdt"),
    "cauchy-product": (lambda n_times: FFTS4(D_MODEL, D_STATE, n_times), "bdt"),
    "krylov": (lambda n_times: KrylovLSSL(D_MODEL, D_STATE), "bdt"),
    "rnn": (lambda n_times: nn.RNN(D_MODEL, D_MODEL), "tbd"),
    "gru": (lambda n_times: nn.GRU(D_MODEL, D_MODEL), "tbd"),
}


def core_step(form: str, batch: int, n_times: int) -> Callable[[], None]:
    """Prepare a forward and backward pass in float32, gradients of parameters and input included.

    Parameters
    ----------
    form : str
        A key of `FORMS`: a kernel of `S4Layer`, its matrix products, the usual forms (`FFTS4D`, `FFTS4`, `KrylovLSSL`),
        or a recurrent network.
    batch, n_times : int
        Cases and samples.

    Returns
    -------
    callable
        Runs one step.
    """
    torch.manual_seed(0)
    make, layout = FORMS[form]
    layer, sizes = make(n_times), {"d": D_MODEL, "b": batch, "t": n_times}
    u = torch.randn([sizes[axis] for axis in layout], requires_grad=True)
    weight = torch.randn(u.shape)

    def step() -> None:
        u.grad = None
        layer.zero_grad()
        y: Tensor | tuple[Tensor, ...] = layer(u)
        (y if isinstance(y, Tensor) else y[0]).backward(weight)

    def bare_step() -> None:
        with large_products(u, BLOCK):  # as in the engine
            step()

    return bare_step if form == "products" else step


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
