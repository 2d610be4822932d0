"""Where and how the numbers are computed: device, precision, seed and memory."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

__all__ = ["PRECISIONS", "autocast", "isolated_seed", "resolve_device", "reused_memory"]

#: Precision to the dtype of parameters and signals; "bf16" adds autocast.
PRECISIONS = {"32": torch.float32, "64": torch.float64, "bf16": torch.float32}

# Parameters of glibc's mallopt.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4


def resolve_device(device: str | torch.device) -> torch.device:
    """Turn a device name into a device."""
    if device == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device(name)
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError):
        resolved = torch.device("meta")
    if resolved.type not in ("cpu", "cuda", "mps"):
        raise ValueError(f"device={device!r} is unknown; choose 'auto', 'cpu', 'cuda', 'cuda:0' … or 'mps'.")
    found = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (resolved.index or 0) >= found[resolved.type]:
        raise ValueError(f"device={device!r} is not available on this machine; device='auto' takes what there is.")
    return resolved


def autocast(device: torch.device, precision: str) -> AbstractContextManager[None]:
    """Return the autocast context of a precision."""
    if precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


@contextmanager
def isolated_seed(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch inside, and leave the caller's random state as it was."""
    accelerators = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=accelerators):
        torch.manual_seed(seed)
        yield


@contextmanager
def reused_memory() -> Iterator[None]:
    """Keep freed memory in the process inside, where the C library can (glibc).

    By default each large tensor is mapped and unmapped anew, and the page faults cost as much as the arithmetic
    (measured: a training step takes 1.8 times as long).
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if libc is None or not hasattr(libc, "mallopt") or not hasattr(libc, "malloc_trim"):
        yield
        return
    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield
    finally:
        libc.mallopt(_MMAP_MAX, 65536)
        libc.mallopt(_TRIM_THRESHOLD, 128 * 1024)
        libc.malloc_trim(0)
