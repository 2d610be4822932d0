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
