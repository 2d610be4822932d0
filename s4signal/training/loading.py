"""Prefetching of batches if loading is slow, and smaller batches if memory is too small."""

import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self

import numpy as np
import torch

from s4signal.training.batching import Batch, Cases, Indices, padded_length, pieces

Loaded = list[tuple[Indices, Batch]]
WORTH_S = 2e-3  # loading time above which a thread gains more than it costs
# Messages of the CPU; of CUDA (besides the class torch.OutOfMemoryError) and MPS; of libraries such as cuBLAS.
_MESSAGES = ("DefaultCPUAllocator", "out of memory", "_ALLOC_FAILED")


class LoadedAhead:
    """Load batches on request; if that takes at least ``worth_s`` on average, prefetch the next ones in a thread.

    Calls of ``load`` never overlap. A request that differs from ``planned``, because memory was too small for the
    planned one, is loaded directly, and ends the prefetching.
    """

    def __init__(
        self, load: Callable[[Indices], Loaded], planned: Iterable[Indices], *, worth_s: float = WORTH_S
    ) -> None:
        self._load, self._planned, self._worth_s = load, iter(planned), worth_s
        self._next = next(self._planned, None)
        self._pending: Future[Loaded] | None = None
        self._thread = ThreadPoolExecutor(1)  # starts with the first prefetch
        self._n_loads, self._seconds = 0, 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        self._thread.shutdown()

    def __call__(self, indices: Indices) -> Loaded:
        """Return the batches of some cases, and start to prefetch the next ones."""
        batches = None if self._pending is None else self._pending.result()
        if self._next is None or not np.array_equal(self._next, indices):
            self._planned, batches = iter(()), None
        if batches is None:
            batches = self._timed(indices)
        self._next, self._pending = next(self._planned, None), None
        if self._next is not None and self._seconds >= self._worth_s * self._n_loads:
            self._pending = self._thread.submit(self._timed, self._next)
        return batches

    def _timed(self, indices: Indices) -> Loaded:
        started = time.perf_counter()
        batches = self._load(indices)
        self._n_loads, self._seconds = self._n_loads + 1, self._seconds + time.perf_counter() - started
        return batches


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error is a lack of memory."""
    by_class = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return by_class or (isinstance(error, RuntimeError) and any(message in str(error) for message in _MESSAGES))


def half_the_samples(cases: Cases, parts: Sequence[Indices], error: BaseException) -> int:
    """Return half the size of the largest part, in padded samples; raise MemoryError if all parts are single cases."""
    sizes = [len(part) * padded_length(int(cases.lengths[part].max())) for part in parts]
    if all(len(part) == 1 for part in parts):
        raise MemoryError(
            f"a single case of {max(sizes):,} steps does not fit into memory ({str(error).splitlines()[0][:120]}). "
            "Cut it into windows, use a smaller d_model or fewer layers, precision='bf16', or another device."
        ) from error
    return max(1, max(size for size, part in zip(sizes, parts, strict=True) if len(part) > 1) // 2)


def free_memory(device: torch.device, *, warned: bool) -> None:
    """Release the memory of a failed attempt, and warn once that batches are halved."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    if not warned:
        warnings.warn(
            f"a batch did not fit into the memory of {device}: from now on batches are computed in halves, whose "
            "gradients have the same sum. A smaller batch_size would change the training.",
            stacklevel=2,
        )


def run_in_parts(
    run: Callable[[Indices, Batch], None], cases: Cases, *, max_samples: int, dtype: torch.dtype, device: torch.device
) -> None:
    """Call a function with batches of all cases, grouped by length; a batch too large for memory is halved.

    A thread may prefetch the next batch.
    """

    def load(indices: Indices) -> Loaded:
        return list(cases.batches(indices, dtype=dtype, device=device))

    todo, warned = pieces(cases, np.arange(len(cases)), max_samples), False
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
        # Outside of the handler, whose traceback keeps the tensors of the failed attempt alive.
        free_memory(device, warned=warned)
        todo, warned = [part for piece in todo for part in pieces(cases, piece, largest)], True
