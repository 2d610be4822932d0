"""Large matrix products in the faster of MKL and oneDNN."""

import platform
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from s4signal.ssm.operators import operator

_SETTING: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
LARGE = 1 << 24  # multiplications, above which oneDNN pays although a new shape costs 1 ms to compile


def large_products(x: Tensor, n_columns: int) -> AbstractContextManager[None]:
    """Use oneDNN for the matrix products inside if x times ``n_columns`` columns is large and MKL is slow.

    By default, torch uses MKL for products in float32, which runs at half speed on AMD processors with AVX-512. torch
    uses oneDNN if it may round to bfloat16; on these processors, oneDNN still computes in float32.
    """
    large = x.is_cpu and x.dtype == torch.float32 and x.numel() * n_columns >= LARGE
    if torch.compiler.is_compiling() or not large or _SETTING.fp32_precision != "none" or not _mkl_is_slow():
        return nullcontext()
    return _by_onednn()


@contextmanager
def _by_onednn() -> Iterator[None]:
    _SETTING.fp32_precision = "bf16"
    try:
        yield
    finally:
        _SETTING.fp32_precision = "none"  # not the value read before: another thread may have set it


def _product(weight: Tensor, x: Tensor) -> Tensor:
    with large_products(x, len(weight)):
        return weight @ x


def _product_backward(dy: Tensor, weight: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    with large_products(x, len(weight)):
        return dy @ x.t(), weight.t() @ dy


#: Product of weight (m, n) and x (n, n_columns), with a gradient
product = operator("product", _product, _product_backward, keep=lambda inputs, outputs: inputs)


@cache
def _mkl_is_slow() -> bool:
    """Return whether MKL does not use AVX-512 on this processor, and oneDNN does not round to bfloat16."""
    cpuinfo = Path("/proc/cpuinfo")
    names = platform.processor() + (cpuinfo.read_text("utf-8") if cpuinfo.exists() else "")
    half_used = "AuthenticAMD" in names and torch.backends.cpu.get_cpu_capability() == "AVX512"
    if not (half_used and torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()):
        return False
    x = torch.arange(1 << 16, dtype=torch.float64).cos().view(256, 256)
    with _by_onednn():
        error = (x.float() @ x.float() - x @ x).abs().max()
    return bool(error < 1e-3)  # 2e-6 in float32, 6e-2 in bfloat16
