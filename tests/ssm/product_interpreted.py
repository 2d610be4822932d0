"""Compare the kernel for outputs of blocks with the products in float64, in triton's interpreter; run by a test."""

import os

os.environ["TRITON_INTERPRET"] = "1"  # triton reads it at import

from collections.abc import Iterator
from contextlib import nullcontext
from itertools import product
from unittest.mock import patch

import torch
from random_systems import BATCH, D_MODEL, Drawn, relative_error
from torch import Tensor

from s4signal.ssm import DenseSystem, DiagonalSystem, Pair, block_scan, blocks, fused_product

__all__: list[str] = []


def compare(T: int, rows: int, S: int) -> None:
    """Compare U W + X Q^T and U W^T + X Q^T in every memory layout; S = 0 is the first product alone.

    A NaN in a sample or a state stays within its block.
    """
    torch.manual_seed(1000 * T + rows)
    U, X, Q = (torch.randn(2, n, m, dtype=torch.float64).mT for n, m in ((T, rows), (S, rows), (S, T)))
    U[0, -1, 0] = X[0, rows // 2, :1] = torch.nan
    tables = [U, torch.randn(2, 2 * T - 1, dtype=torch.float64), *([X, Q] if S else [])]
    for transposed, tf32 in product((False, True), repeat=2):
        expected = blocks.block_product(*tables, transposed=transposed)
        torch.backends.cuda.matmul.allow_tf32 = tf32  # the interpreter does not round, but the table layout differs
        got = fused_product.fused_product(*(table.float() for table in tables), transposed=transposed)
        assert got.dtype == torch.float32
        assert got.is_contiguous()
        assert torch.equal(got.isnan(), expected.isnan())
        assert relative_error(got.nan_to_num(), expected.nan_to_num()) < 2e-6, (T, rows, S, transposed, tf32)


def dense_system(*, bidirectional: bool) -> DenseSystem:
    A_bar = 0.9 * torch.linalg.qr(torch.randn(D_MODEL, 6, 6, dtype=torch.float64))[0]
    B_bar, C, C_reverse, D = torch.randn(4, D_MODEL, 6, dtype=torch.float64)
    return DenseSystem(A_bar, B_bar, C, D[:, 0], C_reverse if bidirectional else None)


def leaves_of(system: DenseSystem | DiagonalSystem) -> Iterator[Tensor]:
    for part in system:
        if part is not None:
            yield from (leaf.requires_grad_() for leaf in (part if isinstance(part, Pair) else [part]))


def compare_scans(n_times: int, *, bidirectional: bool, dense: bool = False, carried: bool = False) -> None:
    """Compare outputs, last state and all gradients of the engine."""
    drawn = Drawn("legs", "zoh", 1.0, bidirectional, 6, n_times)
    torch.manual_seed(n_times)
    system = dense_system(bidirectional=bidirectional) if dense else drawn.system()
    u, state = (x.requires_grad_() for x in (drawn.signal(n_times, torch.float64), drawn.state(torch.float64)))
    leaves = [u, *leaves_of(system), *([state] if carried else [])]
    weights = [torch.randn(D_MODEL, BATCH, n, dtype=torch.float64) for n in (n_times, 6)]
    results = []
    kernel = patch.object(fused_product, "fused_product", wraps=fused_product.fused_product)
    for dtype in (torch.float64, torch.float32):
        with kernel as run:
            y, last = block_scan(system, u.to(dtype), state.to(dtype) if carried else None, return_state=carried)
            outputs = [y] if last is None else [y, last]
            grads = torch.autograd.grad(
                outputs, leaves, [w.to(dtype) for w in weights[: len(outputs)]], allow_unused=True
            )
            assert run.call_count == (2 if dtype == torch.float32 else 0)
        results.append([*outputs, *grads])
    for expected, got in zip(*results, strict=True):
        assert (got is None) == (expected is None)  # a single block does not use every part of the system
        if got is not None:
            assert (got - expected).abs().max() <= 1e-5 * expected.abs().max(), (n_times, bidirectional, dense)


if __name__ == "__main__":
    for shape in [(1, 1, 0), (5, 3, 0), (16, 20, 2), (17, 1, 6), (33, 70, 0), (64, 65, 48), (128, 129, 256)]:
        compare(*shape)
    # Float32 tensors are treated as if on a GPU; the recurrence over blocks has its own test.
    with (
        patch.object(blocks, "runs_triton", lambda x: x.dtype == torch.float32),
        patch.object(torch.cuda, "device", lambda device: nullcontext()),
        patch.dict(os.environ, S4SIGNAL_FUSED_PRODUCT="1"),
    ):
        for n_times, carried in ((1, False), (7, False), (100, True), (130, False), (301, True)):
            for bidirectional in (False, True):
                compare_scans(n_times, bidirectional=bidirectional, carried=carried)
        compare_scans(300, bidirectional=True, dense=True, carried=True)
        compare_scans(90, bidirectional=True, dense=True)
