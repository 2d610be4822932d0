"""The outputs of blocks in one kernel launch, for float32 on a GPU; imported only if triton is installed.

Bytes of memory traffic per sample, for S states and R blocks per channel; counted, not measured:

| | samples and outputs | states | second read and write of outputs | tables | T = 128, S = 64, R = 128 |
| --- | --- | --- | --- | --- | --- |
| products | 8 | 4 S / T | 8 | 8 T / R for W, 4 S / R | 28 |
| this kernel, TF32 | 8 | 4 S / T | – | 4 S / R | 12 |
| this kernel, float32 | 8 | 4 S / T | – | 12 S / R | 16 |

In addition, the programs of a channel read the same responses and Q from the caches, 4 (T + S) / ROWS bytes per sample.
The separate product U P already reads samples and writes states only once.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def _kernel(  # type: ignore[no-untyped-def]
    U, kernel, X, Q, Y, rows, T, S,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, STEP: tl.constexpr, TF32: tl.constexpr,
):  # fmt: skip
    """Compute outputs; one program accumulates the outputs of some blocks of one channel in registers."""
    # Tensor cores read W and Q^T by columns, other cores by rows: numbers that are read together are contiguous.
    precision: tl.constexpr = "tf32" if TF32 else "ieee"
    h = tl.program_id(1).to(tl.int64)
    r, t, k = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, COLUMNS)[None, :], tl.arange(0, STEP)
    row, block = (r < rows)[:, None], (h * rows + r)[:, None]
    kernel, Q = kernel + h * (2 * T - 1) + T - 1, Q + h * T * S
    y = tl.zeros((ROWS, COLUMNS), tl.float32)
    for start in range(0, T, STEP):
        s = start + k
        u = tl.load(U + block * T + s[None, :], mask=row & (s < T)[None, :], other=0.0)
        lag = s[:, None] - t if TF32 else t - s[:, None]
        w = tl.load(kernel + lag, mask=(s < T)[:, None] & (t < T), other=0.0)
        y = tl.dot(u, w, y, input_precision=precision)
    for start in range(0, S, STEP):
        n = start + k
        x = tl.load(X + block * S + n[None, :], mask=row & (n < S)[None, :], other=0.0)
        at = t * S + n[:, None] if TF32 else n[:, None] * T + t
        q = tl.load(Q + at, mask=(n < S)[:, None] & (t < T), other=0.0)
        y = tl.dot(x, q, y, input_precision=precision)
    tl.store(Y + block * T + t, y, mask=row & (t < T))


def tiles(T: int, *, tf32: bool) -> dict[str, Any]:
    """Return the tile sizes, which are constants of the compiled kernel."""
    # Compiled for compute capabilities 8.0 and 9.0, no register is spilled, and 8 to 16 warps run at once. With TF32 a
    # program mostly arranges tables, so that more rows share this work. Without, 128 rows exclude a second program.
    cut = {"ROWS": 128, "num_warps": 8} if tf32 else {"ROWS": 64, "num_warps": 4}
    return {**cut, "COLUMNS": max(16, triton.next_power_of_2(T)), "STEP": 16, "TF32": tf32}


def fused_product(
    U: Tensor, kernel: Tensor, X: Tensor | None = None, Q: Tensor | None = None, *, transposed: bool = False
) -> Tensor:
    """Compute `s4signal.ssm.blocks.block_product`, in the precision that torch uses for matrix products."""
    d_model, rows, T = U.shape
    tf32 = torch.backends.cuda.matmul.fp32_precision == "tf32"
    U, kernel = U.contiguous(), kernel.contiguous() if transposed == tf32 else kernel.flip(1)
    states, S = (U, U), 0
    if X is not None and Q is not None:
        states, S = (X.contiguous(), (Q if tf32 else Q.mT).contiguous()), X.shape[-1]
    Y, cut = torch.empty_like(U), tiles(T, tf32=tf32)
    _kernel[triton.cdiv(rows, cut["ROWS"]), d_model](U, kernel, *states, Y, rows, T, S, **cut)
    return Y
