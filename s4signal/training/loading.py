"""Batches are loaded ahead, where that takes long: while one is computed on, a thread loads the next."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self

import numpy as np

from s4signal.training.batching import Batch, Indices

Loaded = list[tuple[Indices, Batch]]
WORTH_S = 2e-3  # from here on a thread gains more than it costs


class LoadedAhead:
    """Loads what is asked for; once that has taken ``worth_s``, in one thread, the next one ahead.

    ``load`` is never called twice at once. Who asks for something else than what was planned, since the memory was too
    small for it, gets it without the rest.
    """

    def __init__(
        self, load: Callable[[Indices], Loaded], planned: Iterable[Indices], *, worth_s: float = WORTH_S
    ) -> None:
        self._load, self._planned, self._worth_s = load, iter(planned), worth_s
        self._next = next(self._planned, None)
        self._coming: Future[Loaded] | None = None
        self._thread: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        if self._thread is not None:
            self._thread.shutdown()

    def __call__(self, indices: Indices) -> Loaded:
        """Return the batches of some cases, and begin to load those of the next."""
        coming = self._coming
        if self._next is None or not np.array_equal(self._next, indices):
            self._planned, coming = iter(()), None
        if self._thread is not None:
            batches = (coming or self._thread.submit(self._load, indices)).result()
        else:
            started = time.perf_counter()
            batches = self._load(indices)
            if time.perf_counter() - started >= self._worth_s:
                self._thread = ThreadPoolExecutor(1)
        self._next, self._coming = next(self._planned, None), None
        if self._thread is not None and self._next is not None:
            self._coming = self._thread.submit(self._load, self._next)
        return batches
