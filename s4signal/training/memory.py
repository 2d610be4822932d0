"""What does not fit into the memory of a device is computed in smaller parts."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch

from s4signal.training.batching import Batch, Cases, Indices, padded_length, pieces
from s4signal.training.loading import Loaded, LoadedAhead

# Of CUDA (torch.OutOfMemoryError says so by its class), of the CPU, of a Mac's graphics card.
_MESSAGES = ("can't allocate memory", "out of memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Tell a lack of memory from other errors."""
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return known or (isinstance(error, RuntimeError) and any(message in str(error) for message in _MESSAGES))


def half_the_samples(cases: Cases, parts: Sequence[Indices], error: BaseException) -> int:
    """Return how many samples, padding included, make half of the largest part; refuse to cut a case."""
    sizes = [len(part) * padded_length(int(cases.lengths[part].max())) for part in parts]
    if all(len(part) == 1 for part in parts):
        raise MemoryError(
            f"a case of {max(sizes):,} steps is more than the memory holds ({str(error).splitlines()[0][:120]}). "
            "Cut it into windows, take a smaller d_model or fewer layers, precision='bf16', or another device."
        ) from error
    return max(1, max(size for size, part in zip(sizes, parts, strict=True) if len(part) > 1) // 2)


def free_memory(device: torch.device, *, said: bool) -> None:
    """Give back what a failed attempt has left, and say once that parts are halved."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    if not said:
        warnings.warn(
            f"the memory of {device} did not hold a batch: it is computed in halves from here on, and their gradients "
            "add up to the same. A smaller batch_size would be another training.",
            stacklevel=2,
        )


def run_in_parts(
    run: Callable[[Indices, Batch], None], cases: Cases, *, max_samples: int, dtype: torch.dtype, device: torch.device
) -> None:
    """Call a function with batches of all cases, similar lengths together; a batch too large comes again in halves.

    A thread loads the cases of the next batch meanwhile.
    """

    def load(indices: Indices) -> Loaded:
        return list(cases.batches(indices, dtype=dtype, device=device))

    todo, said = pieces(cases, np.arange(len(cases)), max_samples), False
    while todo:
        try:
            with LoadedAhead(load, tuple(todo)) as ahead:
                while todo:
                    batches = ahead(todo[0])
                    while batches:
                        run(*batches.pop(0))
                    todo.pop(0)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            largest = half_the_samples(cases, todo[:1], error)
        else:
            return
        # Out of the handler, whose traceback holds what the attempt has computed.
        free_memory(device, said=said)
        todo, said = [part for piece in todo for part in pieces(cases, piece, largest)], True
