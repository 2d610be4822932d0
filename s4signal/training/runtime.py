"""Device, precision and evaluation mode."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import torch
from torch import nn

#: Dtype of parameters and signals for each precision; "bf16" adds autocast.
PRECISIONS = {"32": torch.float32, "64": torch.float64, "bf16": torch.float32}

# A forked child inherits the state of torch's thread pool, but not its threads: without this it waits forever.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=partial(torch.set_num_threads, 1))


def resolve_device(device: str | torch.device, *, precision: str = "32") -> torch.device:
    """Return the device for a name, and check that it supports a precision."""
    if device == "auto":
        mac = torch.backends.mps.is_available() and precision != "64"
        name = "cuda" if torch.cuda.is_available() else "mps" if mac else "cpu"
        return _own_gpu() if name == "cuda" else torch.device(name)
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError):
        resolved = torch.device("meta")
    if resolved.type not in ("cpu", "cuda", "mps"):
        raise ValueError(f"device={device!r} is unknown; choose 'auto', 'cpu', 'cuda', 'cuda:0' … or 'mps'.")
    available = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (resolved.index or 0) >= available[resolved.type]:
        raise ValueError(f"device={device!r} is not available on this machine; device='auto' uses an available one.")
    if resolved.type == "mps" and precision == "64":
        raise ValueError("device='mps' has no float64; for precision='64' set device='cpu'.")
    return _own_gpu() if resolved == torch.device("cuda") else resolved


def _own_gpu() -> torch.device:
    """Return the GPU of this process, by torchrun's local rank."""
    number, n_gpus = os.environ.get("LOCAL_RANK", ""), torch.cuda.device_count()
    if not number.isdigit() or (n_gpus == 1 and "CUDA_VISIBLE_DEVICES" in os.environ):
        return torch.device("cuda")  # the current one, or the only visible one
    if int(number) >= n_gpus:
        raise ValueError(
            f"process {number} of this machine has no GPU of its own: there are {n_gpus}. Start torchrun with "
            f"--nproc-per-node {n_gpus}, or set device='cpu'."
        )
    return torch.device("cuda", int(number))


def autocast(device: torch.device, precision: str) -> AbstractContextManager[None]:
    """Return the autocast context for a precision."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode; restore the mode of each of its modules afterwards."""
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
