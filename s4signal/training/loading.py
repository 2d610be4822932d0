"""Batches are loaded ahead: while one is computed on, a thread loads the next."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self

import numpy as np

from s4signal.training.batching import Batch, Indices

Loaded = list[tuple[Indices, Batch]]


class LoadedAhead:
    """Loads what is asked for, in one thread all through: ``load`` is never called twice at once.

    Who asks for something else than what was planned, since the memory was too small for it, gets it without the rest.
    """

    def __init__(self, load: Callable[[Indices], Loaded], planned: Iterable[Indices]) -> None:
        self._load, self._planned, self._thread = load, iter(planned), ThreadPoolExecutor(1)
        self._coming = self._following()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        self._thread.shutdown()

    def __call__(self, indices: Indices) -> Loaded:
        """Return the batches of some cases, and begin to load those of the next."""
        planned, coming = self._coming
        if coming is None or not np.array_equal(planned, indices):
            self._planned, coming = iter(()), self._thread.submit(self._load, indices)
        batches = coming.result()
        self._coming = self._following()
        return batches

    def _following(self) -> tuple[Indices, Future[Loaded] | None]:
        indices = next(self._planned, None)
        return (
            (np.empty(0, dtype=np.intp), None)
            if indices is None
            else (indices, self._thread.submit(self._load, indices))
        )
