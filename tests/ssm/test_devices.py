"""Operators keep tensors on their device and never wait for it; tested with fake tensors, without a GPU."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from s4signal.ssm import blocks, carry, shared, tables
from s4signal.ssm.irregular import steps

__all__: list[str] = []

D_MODEL, BATCH, N = 4, 2, 8
# One by one, the blocks would be 100 operations: on a device, groups of them are joined.
T, N_BLOCKS = 16, 100


@pytest.fixture(params=["cuda:0", "meta"])
def device(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    with FakeTensorMode():
        yield torch.device(request.param)


def check(device: torch.device, *results: Tensor) -> None:
    assert {result.device for result in results} == {device}


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("directions", [1, 2])
def test_the_block_engine_stays_on_its_device(device: torch.device, directions: int, dense: bool) -> None:
    u = torch.randn(D_MODEL, BATCH, T * N_BLOCKS, device=device)
    kernel = torch.randn(D_MODEL, 2 * T - 1, device=device)
    P, Q = (torch.randn(D_MODEL, T, directions * N, device=device) for _ in range(2))
    transition = torch.randn(*([D_MODEL, N, N] if dense else [D_MODEL, N]), device=device)
    y, last, X = blocks._scan(u, kernel, P, Q, transition, None)
    check(device, y, X, last, *blocks._scan_backward(y, last, u, X, kernel, P, Q, transition))
    y = blocks._one_block(u[..., :T], kernel)
    check(device, y, *blocks._one_block_backward(y, u[..., :T], kernel))


@pytest.mark.parametrize("alone", [False, True])
def test_tables_stay_on_their_device(device: torch.device, alone: bool) -> None:
    Lambda_bar, *G = (torch.randn(D_MODEL, N // 2, 2, device=device, dtype=torch.float64) for _ in range(3))
    outputs = torch.stack(G, 1)
    *results, powers = tables._diagonal_tables(Lambda_bar, outputs, T, torch.float32, alone)
    gradients = [results[0], *(3 * [None] if alone else results[1:])]
    check(device, *results, *tables._diagonal_tables_backward(*gradients, powers, outputs))


@pytest.mark.parametrize("reverse", [False, True])
def test_shared_modes_stay_on_their_device(device: torch.device, reverse: bool) -> None:
    Lambda_bar = torch.randn(N // 2, 2, device=device, dtype=torch.float64)
    V = torch.randn(2, N // 2, BATCH, 1000, device=device)
    X = shared._modal(Lambda_bar, V, reverse)
    check(device, X, *shared._modal_backward(X, X, Lambda_bar, reverse))


def test_kernels_are_launched_on_the_gpu_of_their_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    current: list[torch.device] = []

    @contextmanager
    def set_device(device: torch.device) -> Iterator[None]:
        current.append(device)
        yield
        current.pop()

    def launch(x: Tensor, *arguments: Tensor, **options: bool) -> tuple[bool, None]:
        return current == [x.device], None

    kernels = SimpleNamespace(fused_product=launch, fused_carry=launch, FusedScan=SimpleNamespace(apply=launch))
    for kernel in ("fused_product", "fused_carry", "irregular.triton"):
        monkeypatch.setitem(sys.modules, f"s4signal.ssm.{kernel}", kernels)
    for module in (blocks, carry, steps):
        monkeypatch.setattr(module, "runs_triton", lambda x: True)
    monkeypatch.setattr(torch.cuda, "device", set_device)
    monkeypatch.setenv("S4SIGNAL_FUSED_PRODUCT", "1")
    with FakeTensorMode():
        x = torch.empty(2, 3, 4, device="cuda:1")
        launched = blocks.block_product(x, x[0]), carry.carry(x, x[0]), steps.stepped_scan(x, x, x, x)
    assert launched == 3 * ((True, None),)
