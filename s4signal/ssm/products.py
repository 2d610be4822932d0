"""Large matrix products at the speed of the processor."""

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
LARGE = 1 << 27  # multiplications: from here on it pays even for a shape that does not come again (1 ms to compile)


def large_products(x: Tensor, n_columns: int) -> AbstractContextManager[None]:
    """Let oneDNN compute the matrix products inside where x times so many columns is large, and MKL would be slow.

    MKL, which torch asks for products in float32, runs at half speed on processors of AMD with AVX-512. torch asks
    oneDNN where it may round to bfloat16, and on these processors oneDNN then computes in float32 all the same.
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
        _SETTING.fp32_precision = "none"  # not what was read before: another thread may have set that


def _product(weight: Tensor, x: Tensor) -> Tensor:
    with large_products(x, len(weight)):
        return weight @ x


def _product_backward(dy: Tensor, weight: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    with large_products(x, len(weight)):
        return dy @ x.t(), weight.t() @ dy


#: weight (m, n) times x (n, many), with a gradient
product = operator("product", _product, _product_backward, keep=lambda inputs, outputs: inputs)


@cache
def _mkl_is_slow() -> bool:
    """Tell whether MKL leaves AVX-512 unused here, and oneDNN rounds nothing."""
    cpuinfo = Path("/proc/cpuinfo")
    names = platform.processor() + (cpuinfo.read_text("utf-8") if cpuinfo.exists() else "")
    half_used = "AuthenticAMD" in names and torch.backends.cpu.get_cpu_capability() == "AVX512"
    if not (half_used and torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()):
        return False
    x = torch.arange(1 << 16, dtype=torch.float64).cos().view(256, 256)
    with _by_onednn():
        error = (x.float() @ x.float() - x @ x).abs().max()
    return bool(error < 1e-3)  # 2e-6 in float32, 6e-2 in bfloat16
