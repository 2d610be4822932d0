"""Batches are loaded ahead where that takes long, and computed in smaller parts where the memory is too small."""

import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self

import numpy as np
import torch

from s4signal.training.batching import Batch, Cases, Indices, padded_length, pieces

Loaded = list[tuple[Indices, Batch]]
WORTH_S = 2e-3  # from here on a thread gains more than it costs
# Of the CPU; of CUDA (torch.OutOfMemoryError says so by its class) and a Mac's card; of libraries such as cuBLAS.
_MESSAGES = ("DefaultCPUAllocator", "out of memory", "_ALLOC_FAILED")


class LoadedAhead:
    """Loads what is asked for; while that takes ``worth_s`` on average, in one thread, the next one ahead.

    ``load`` is never called twice at once. Who asks for something else than what was planned, since the memory was too
    small for it, gets it without the rest.
    """

    def __init__(
        self, load: Callable[[Indices], Loaded], planned: Iterable[Indices], *, worth_s: float = WORTH_S
    ) -> None:
        self._load, self._planned, self._worth_s = load, iter(planned), worth_s
        self._next = next(self._planned, None)
        self._coming: Future[Loaded] | None = None
        self._thread = ThreadPoolExecutor(1)  # begins with what is loaded ahead
        self._n_loads, self._seconds = 0, 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        self._thread.shutdown()

    def __call__(self, indices: Indices) -> Loaded:
        """Return the batches of some cases, and begin to load those of the next."""
        batches = None if self._coming is None else self._coming.result()
        if self._next is None or not np.array_equal(self._next, indices):
            self._planned, batches = iter(()), None
        if batches is None:
            batches = self._timed(indices)
        self._next, self._coming = next(self._planned, None), None
        if self._next is not None and self._seconds >= self._worth_s * self._n_loads:
            self._coming = self._thread.submit(self._timed, self._next)
        return batches

    def _timed(self, indices: Indices) -> Loaded:
        started = time.perf_counter()
        batches = self._load(indices)
        self._n_loads, self._seconds = self._n_loads + 1, self._seconds + time.perf_counter() - started
        return batches


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
