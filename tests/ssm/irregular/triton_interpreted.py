"""Compare the GPU kernels with the torch path on the CPU, in triton's interpreter; run by test_scan.py."""

import os

os.environ["TRITON_INTERPRET"] = "1"  # triton reads it at import

import torch

from s4signal.ssm.carry import carry
from s4signal.ssm.fused_carry import BLOCKS, fused_carry
from s4signal.ssm.irregular.steps import SteppedScan
from s4signal.ssm.irregular.triton import FusedScan

__all__: list[str] = []


def compare(d_model: int, batch: int, n_times: int, n: int, *, carried: bool) -> None:
    torch.manual_seed(n_times)
    u = torch.randn(d_model, batch, n_times).requires_grad_()
    gaps = torch.empty(batch, n_times, dtype=torch.float64).exponential_()
    gaps[:, ::5] = 0.0
    decay, frequency = torch.rand(2, d_model, n, dtype=torch.float64).add(1e-3).pow(3)
    Lambda = torch.stack([-decay, 9.0 * frequency], -1).requires_grad_()
    G = torch.randn(d_model, n, 2, dtype=torch.float64).requires_grad_()
    first = torch.randn(d_model, batch, 2 * n).requires_grad_() if carried else None
    leaves = [u, Lambda, G, *([first] if first is not None else [])]
    weights = [torch.randn(d_model, batch, n_times), torch.randn(d_model, batch, 2 * n)]
    results = []
    for scan in (SteppedScan, FusedScan):
        outputs = scan.apply(u, gaps, Lambda, G, first)
        results.append([*outputs, *torch.autograd.grad(outputs, leaves, weights)])
    for expected, got in zip(*results, strict=True):
        assert got.dtype == expected.dtype
        assert got.shape == expected.shape
        error = ((got - expected).abs().max() / expected.abs().max()).item()
        assert error < 1e-5, error


def compare_carries(n_blocks: int, *, reverse: bool, carried: bool) -> None:
    torch.manual_seed(n_blocks)
    d_model, batch, n = 2, 3, 3
    transition = torch.view_as_real(torch.polar(torch.rand(d_model, n), 6.0 * torch.rand(d_model, n))).flatten(1)
    first = torch.randn(d_model, batch, 2 * n) if carried else None
    both = torch.randn(d_model, batch, n_blocks, 4 * n)  # states of two directions; only one of them changes
    results = []
    for run in (carry, fused_carry):
        states = both.clone()
        results.append((run(states[..., 2 * n :], transition, first, reverse=reverse), states))
    for expected, got in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


if __name__ == "__main__":
    for n_blocks in (1, 5, BLOCKS, 2 * BLOCKS + 3):
        for reverse in (False, True):
            compare_carries(n_blocks, reverse=reverse, carried=n_blocks % 2 == 1)
    compare(2, 3, 40, 3, carried=False)
    compare(1, 9, 33, 4, carried=True)
