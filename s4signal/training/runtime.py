"""Where and how the numbers are computed: device, precision, mode."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import torch
from torch import nn

#: Precision to the dtype of parameters and signals; "bf16" adds autocast.
PRECISIONS = {"32": torch.float32, "64": torch.float64, "bf16": torch.float32}

# A forked child has torch's other threads in its books, but not as threads: without this it waits for them for ever.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=partial(torch.set_num_threads, 1))


def resolve_device(device: str | torch.device, *, precision: str = "32") -> torch.device:
    """Turn a device name into a device that has a precision."""
    if device == "auto":
        mac = torch.backends.mps.is_available() and precision != "64"
        name = "cuda" if torch.cuda.is_available() else "mps" if mac else "cpu"
        return _own_card() if name == "cuda" else torch.device(name)
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError):
        resolved = torch.device("meta")
    if resolved.type not in ("cpu", "cuda", "mps"):
        raise ValueError(f"device={device!r} is unknown; choose 'auto', 'cpu', 'cuda', 'cuda:0' … or 'mps'.")
    found = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (resolved.index or 0) >= found[resolved.type]:
        raise ValueError(f"device={device!r} is not available on this machine; device='auto' takes what there is.")
    if resolved.type == "mps" and precision == "64":
        raise ValueError("a Mac's graphics card has no float64; for precision='64' set device='cpu'.")
    return _own_card() if resolved == torch.device("cuda") else resolved


def _own_card() -> torch.device:
    """Return the graphics card of this process: torchrun numbers those of a machine."""
    number, n_cards = os.environ.get("LOCAL_RANK", ""), torch.cuda.device_count()
    if not number.isdigit() or (n_cards == 1 and "CUDA_VISIBLE_DEVICES" in os.environ):
        return torch.device("cuda")  # the current one, or the only one that this process is shown
    if int(number) >= n_cards:
        raise ValueError(
            f"process {number} of this machine has no graphics card of its own, there are {n_cards}. Start torchrun "
            f"with --nproc-per-node {n_cards}, or set device='cpu'."
        )
    return torch.device("cuda", int(number))


def autocast(device: torch.device, precision: str) -> AbstractContextManager[None]:
    """Return the autocast context of a precision."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode inside, and each of its modules back into its own afterwards."""
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
