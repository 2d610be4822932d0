"""The gradient of a batch as a CUDA graph: a card is done with small kernels sooner than Python has launched them.

References
----------
PyTorch, "CUDA Graphs", https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from s4signal.training.batching import Batch

EAGER = 3  # times that a shape is computed kernel by kernel, which builds all that is kept
MOST = 16  # graphs of a training; they share the memory of one step

Run = Callable[[Batch], Tensor]  # leaves gradients behind, and returns a number
Record = Callable[[Callable[[], Tensor]], tuple[Callable[[], None], Tensor]]  # to what runs it again, and its result


class _Recorded(NamedTuple):
    """What is run again, on which memory."""

    replay: Callable[[], None]
    batch: Batch
    result: Tensor
    gradients: list[Tensor | None]


class Graphs:
    """Does what ``run`` does for a batch; from the fourth batch of the same shapes on by a graph.

    There are no gradients before, and ``run`` never waits for the device.
    """

    def __init__(self, run: Run, parameters: Sequence[Tensor], record: Record) -> None:
        self._run, self._parameters, self._record = run, parameters, record
        self._seen: Counter[Hashable] = Counter()
        self._most = MOST
        self._recorded: dict[Hashable, _Recorded] = {}

    def __call__(self, batch: Batch) -> Tensor:
        """Return the result; the gradients are overwritten by the next call."""
        key = tuple((x.shape, x.dtype) if isinstance(x, Tensor) else x for x in batch)
        if key not in self._recorded:
            self._seen[key] += 1
            if self._seen[key] <= EAGER or len(self._recorded) >= self._most:
                return self._run(batch)
            parts: tuple[Any, ...] = tuple(x.clone() if isinstance(x, Tensor) else x for x in batch)
            own = Batch(*parts)
            try:
                replay, result = self._record(partial(self._run, own))
            except RuntimeError as error:  # for lack of memory, too
                return self._without(batch, error)
            self._recorded[key] = _Recorded(replay, own, result, [p.grad for p in self._parameters])
        recorded = self._recorded[key]
        for memory, given in zip(recorded.batch, batch, strict=True):
            if isinstance(memory, Tensor) and isinstance(given, Tensor):
                memory.copy_(given, non_blocking=True)
        recorded.replay()
        for parameter, gradient in zip(self._parameters, recorded.gradients, strict=True):
            parameter.grad = gradient
        return recorded.result.clone()

    def _without(self, batch: Batch, error: RuntimeError) -> Tensor:
        """Go on without further graphs."""
        first = str(error).partition("\n")[0]
        warnings.warn(f"a step could not be recorded as a CUDA graph ({first}); the others go without.", stacklevel=2)
        self._most = 0
        for parameter in self._parameters:
            parameter.grad = None
        return self._run(batch)


def recorder(device: torch.device, generator: torch.Generator | None) -> Record:
    """Return what records graphs on a CUDA card; at each replay they draw anew from the generator."""
    pool = torch.cuda.graph_pool_handle()  # one for all

    def record(run: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        graph = torch.cuda.CUDAGraph()
        if generator is not None:
            graph.register_generator_state(generator)
        # Thread-local: the thread that loads ahead goes on meanwhile.
        with torch.cuda.device(device), torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            result = run()
        return graph.replay, result

    return record
