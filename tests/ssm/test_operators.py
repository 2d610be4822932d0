"""Custom operators satisfy autograd and the compiler: schema, shapes, strides, gradients."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.library import opcheck

import s4signal.nn
import s4signal.random_features

__all__: list[str] = []

D_MODEL, BATCH, N, T, N_BLOCKS = 3, 2, 4, 8, 5


def normal(*shape: int, grad: bool = True) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64).requires_grad_(grad)


def restrided(x: Tensor) -> Tensor:
    """Return the same values in another memory layout."""
    return x.detach().transpose(0, 1).contiguous().transpose(0, 1).requires_grad_(x.requires_grad)


def poles(*shape: int, grad: bool = True) -> Tensor:
    return (0.5 * torch.rand(*shape, 2, dtype=torch.float64)).requires_grad_(grad)


def block_scan(dense: bool, directions: int, carried: bool, grad: bool = True) -> list[Any]:
    u = restrided(normal(D_MODEL, BATCH, T * N_BLOCKS, grad=grad))
    P, Q = (normal(D_MODEL, T, directions * N, grad=grad) for _ in range(2))
    transition = normal(*([D_MODEL, N, N] if dense else [D_MODEL, N]), grad=grad)
    first = normal(D_MODEL, BATCH, N, grad=grad) if carried else None
    return [u, normal(D_MODEL, 2 * T - 1, grad=grad), P, Q, transition, first]


def block_scan_backward(dense: bool, directions: int, carried: bool) -> list[Any]:
    u, kernel, P, Q, transition, _ = block_scan(dense, directions, carried, grad=False)
    X = normal(D_MODEL, BATCH * N_BLOCKS, directions * N, grad=False)
    dlast = normal(D_MODEL, BATCH, N, grad=False) if carried else None
    return [restrided(u), dlast, u, X, kernel, P, Q, transition]


def tables(directions: int, alone: bool, grad: bool = True) -> list[Any]:
    return [poles(D_MODEL, N, grad=grad), normal(D_MODEL, directions, N, 2, grad=grad), T, torch.float64, alone]


def tables_backward(directions: int, alone: bool) -> list[Any]:
    inputs = tables(directions, alone, grad=False)
    outputs = torch.ops.s4signal.diagonal_tables(*inputs)
    carried = [None, None] if alone else map(torch.randn_like, outputs[1:3])
    return [torch.randn_like(outputs[0]), *carried, None, outputs[4], inputs[1]]


SAMPLES: dict[str, Callable[[], list[list[Any]]]] = {
    "one_block": lambda: [[restrided(normal(D_MODEL, BATCH, T)), normal(D_MODEL, 2 * T - 1)]],
    "one_block_backward": lambda: [
        [restrided(normal(D_MODEL, BATCH, T, grad=False)) for _ in range(2)] + [normal(D_MODEL, 2 * T - 1, grad=False)]
    ],
    "block_scan": lambda: [block_scan(False, 1, False), block_scan(False, 2, True), block_scan(True, 2, True)],
    "block_scan_backward": lambda: [block_scan_backward(False, 2, True), block_scan_backward(True, 1, False)],
    "diagonal_tables": lambda: [tables(1, False), tables(2, False), tables(2, True)],
    "diagonal_tables_backward": lambda: [
        tables_backward(1, False),
        tables_backward(2, False),
        tables_backward(1, True),
    ],
    "zero_order_hold": lambda: [[poles(D_MODEL, N), torch.rand(D_MODEL, 1).double().requires_grad_()]],
    "zero_order_hold_backward": lambda: [
        [poles(D_MODEL, N, grad=False) if i != 3 else normal(D_MODEL, 1, grad=False) for i in range(6)]
    ],
    "product": lambda: [[normal(3, 4), normal(4, 70)], [normal(3, 4), normal(70, 4).t()]],
    "product_backward": lambda: [[normal(3, 70, grad=False), normal(3, 4, grad=False), normal(4, 70, grad=False)]],
    "modal_scan": lambda: [[poles(N), restrided(normal(2, N, BATCH, 70)), reverse] for reverse in (False, True)],
    "modal_scan_backward": lambda: [
        [*(restrided(normal(2, N, BATCH, 70, grad=False)) for _ in range(2)), poles(N, grad=False), True]
    ],
}


def registered() -> set[str]:
    names = torch._C._dispatch_get_all_op_names()
    return {name.removeprefix("s4signal::") for name in names if name.startswith("s4signal::")}


def test_every_operator_of_the_package_is_checked() -> None:
    assert set(SAMPLES) == registered()


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # raised by opcheck itself
@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_operators_pass_opcheck(name: str) -> None:
    for sample in SAMPLES[name]():
        opcheck(getattr(torch.ops.s4signal, name).default, tuple(sample))


@pytest.mark.parametrize("kernel", ["s4d", "s5", "s4"])
def test_compiled_gradients_equal_eager_gradients(kernel: str) -> None:
    torch.manual_seed(0)
    layer = s4signal.nn.S4Layer(4, 8, kernel=kernel, bidirectional=True)
    u = torch.randn(2, 150, 4).permute(2, 0, 1)  # the layout in a network: time before channels

    def loss(u: Tensor) -> Tensor:
        return layer(u).square().mean()

    gradients = []
    for run in (loss, torch.compile(loss, fullgraph=True, backend="aot_eager")):
        layer.zero_grad()
        run(u).backward()
        gradients.append([p.grad for p in layer.parameters() if p.grad is not None])
    torch.testing.assert_close(*gradients)
