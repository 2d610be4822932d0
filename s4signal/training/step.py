"""The gradient of a step, in as many passes as its cases and the memory ask for, and the mean of the weights.

A card is done with small kernels sooner than Python has launched them: there a gradient is recorded as a CUDA graph.

References
----------
PyTorch, "CUDA Graphs", https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs.
"""

import copy
import warnings
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from s4signal.errors import ShapeError
from s4signal.training.batching import Batch, Indices
from s4signal.training.loading import Loaded
from s4signal.training.options import TrainingOptions
from s4signal.training.runtime import PRECISIONS, autocast

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


Loss = Callable[[Tensor, Tensor], Tensor]  # outputs and targets to a loss per case


class Gradients:
    """Computes the gradients of a network by a loss, drawing from a generator."""

    def __init__(
        self, network: nn.Module, *, loss: Loss, options: TrainingOptions, generator: torch.Generator | None
    ) -> None:
        self.network, self.loss, self.options, self.generator = network, loss, options, generator
        self._one_pass: Callable[[Batch], Tensor] = self._add
        if options.cuda_graphs and options.device.type == "cuda":
            parameters = [p for p in network.parameters() if p.requires_grad]
            self._one_pass = Graphs(self._add, parameters, recorder(options.device, generator))

    def __call__(self, passes: list[Indices], load: Callable[[Indices], Loaded], *, total_weight: float) -> Tensor:
        """Compute those of the mean loss over ``total_weight``, where there are none; return the summed loss."""
        sums = []
        for indices in passes:
            batches = load(indices)
            for _, batch in batches:
                alone = len(passes) == len(batches) == 1 and batch.gaps is None  # on gaps hangs how a scan goes
                add = self._one_pass if alone else self._add
                sums.append(total_weight * add(batch._replace(weight=batch.weight / total_weight)))
        if not sums:
            sums = [torch.zeros((), device=self.options.device, dtype=PRECISIONS[self.options.precision])]
        return sum(sums[1:], sums[0])

    def _add(self, batch: Batch) -> Tensor:
        """Add those of the weighed losses of a batch to the gradients that are there; return the sum of the losses."""
        losses = self._losses(batch)
        if losses.shape != batch.weight.shape:
            raise ShapeError(
                f"the loss must be one number per case, of shape {tuple(batch.weight.shape)}, got "
                f"{tuple(losses.shape)}. Losses of torch have reduction='none' for that; average over all other axes."
            )
        loss = (losses * batch.weight).sum()
        loss.backward()
        return loss.detach()

    def _losses(self, batch: Batch) -> Tensor:
        """Return the loss of each case, (batch,)."""
        options, given = self.options, (self.network, batch, self.generator)
        with autocast(options.device, options.precision):
            if options.losses is not None:
                return options.losses(*given).to(batch.weight.dtype)
            outputs = options.forward(*given)
        if batch.target is None:
            raise ValueError("there are no cases or no targets; pass at least one case with its target.")
        return self.loss(outputs.to(batch.weight.dtype), batch.target)


class RunningMean:
    """What a network was, on average: over all steps at first, then by a mean that keeps a share of what it was."""

    def __init__(self, network: nn.Module, kept: float) -> None:
        self.module, self.kept, self.n_steps = copy.deepcopy(network), kept, 0
        # Walking through the modules costs as much as all of the means.
        self._parameters = list(zip(self.module.parameters(), network.parameters(), strict=True))
        self._buffered = [network] if any(True for _ in network.buffers()) else []

    @torch.no_grad()
    def follow(self) -> None:
        """Take in the weights of the network after a step; buffers are those of the network."""
        self.n_steps += 1
        share = max(1.0 - self.kept, 1.0 / self.n_steps)
        for mean, parameter in self._parameters:
            mean.lerp_(parameter, share)
        for network in self._buffered:
            for copied, buffer in zip(self.module.buffers(), network.buffers(), strict=True):
                copied.copy_(buffer)
