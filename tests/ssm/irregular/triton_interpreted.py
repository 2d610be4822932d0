"""Compare the GPU kernels with the torch path on the CPU, in triton's interpreter; run by test_scan.py."""

import os

os.environ["TRITON_INTERPRET"] = "1"  # triton reads it when it is imported

import torch

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


if __name__ == "__main__":
    compare(2, 3, 40, 3, carried=False)
    compare(1, 9, 33, 4, carried=True)
