"""The gradient of a step, in one or several passes, and the running mean of the weights.

On a GPU, small kernels run faster than Python launches them: gradients can be recorded as CUDA graphs.

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

EAGER = 3  # calls per shape without a graph, which fill all caches
MOST = 16  # graphs per training; they share the memory of one step

Run = Callable[[Batch], Tensor]  # computes gradients, and returns a number
Record = Callable[[Callable[[], Tensor]], tuple[Callable[[], None], Tensor]]  # returns a replay function and the result


class _Recorded(NamedTuple):
    """A recorded graph and its static memory."""

    replay: Callable[[], None]
    batch: Batch
    result: Tensor
    gradients: list[Tensor | None]


class Graphs:
    """Call ``run`` for a batch; from the fourth batch of the same shapes on, replay it as a CUDA graph.

    Gradients must be None before a call, and ``run`` must not synchronise with the device.
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
            static = Batch(*parts)
            try:
                replay, result = self._record(partial(self._run, static))
            except RuntimeError as error:  # includes a lack of memory
                return self._without(batch, error)
            self._recorded[key] = _Recorded(replay, static, result, [p.grad for p in self._parameters])
        recorded = self._recorded[key]
        for memory, new in zip(recorded.batch, batch, strict=True):
            if isinstance(memory, Tensor) and isinstance(new, Tensor):
                memory.copy_(new, non_blocking=True)
        recorded.replay()
        for parameter, gradient in zip(self._parameters, recorded.gradients, strict=True):
            parameter.grad = gradient
        return recorded.result.clone()

    def _without(self, batch: Batch, error: RuntimeError) -> Tensor:
        """Run without a graph, and record no further graphs."""
        first = str(error).partition("\n")[0]
        warnings.warn(f"a step could not be recorded as a CUDA graph ({first}); no more are recorded.", stacklevel=2)
        self._most = 0
        for parameter in self._parameters:
            parameter.grad = None
        return self._run(batch)


def recorder(device: torch.device, generator: torch.Generator | None) -> Record:
    """Return a recorder of CUDA graphs; each replay draws new random numbers from the generator."""
    pool = torch.cuda.graph_pool_handle()  # shared by all graphs

    def record(run: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        graph = torch.cuda.CUDAGraph()
        if generator is not None:
            graph.register_generator_state(generator)
        # Thread-local: the prefetching thread may continue meanwhile.
        with torch.cuda.device(device), torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            result = run()
        return graph.replay, result

    return record


Loss = Callable[[Tensor, Tensor], Tensor]  # outputs and targets to a loss per case


class Gradients:
    """Compute the gradients of a loss of a network, with random numbers from a generator."""

    def __init__(
        self, network: nn.Module, *, loss: Loss, options: TrainingOptions, generator: torch.Generator | None
    ) -> None:
        self.network, self.loss, self.options, self.generator = network, loss, options, generator
        self._one_pass: Callable[[Batch], Tensor] = self._add
        if options.cuda_graphs and options.device.type == "cuda":
            parameters = [p for p in network.parameters() if p.requires_grad]
            self._one_pass = Graphs(self._add, parameters, recorder(options.device, generator))

    def __call__(self, passes: list[Indices], load: Callable[[Indices], Loaded], *, total_weight: float) -> Tensor:
        """Compute the gradients of the summed loss divided by ``total_weight``; return the summed loss."""
        sums = []
        for indices in passes:
            batches = load(indices)
            for _, batch in batches:
                alone = len(passes) == len(batches) == 1 and batch.gaps is None  # with gaps, scans are not static
                add = self._one_pass if alone else self._add
                sums.append(total_weight * add(batch._replace(weight=batch.weight / total_weight)))
        if not sums:
            sums = [torch.zeros((), device=self.options.device, dtype=PRECISIONS[self.options.precision])]
        return sum(sums[1:], sums[0])

    def _add(self, batch: Batch) -> Tensor:
        """Add the gradients of the weighted losses of a batch; return the sum of these losses."""
        losses = self._losses(batch)
        if losses.shape != batch.weight.shape:
            raise ShapeError(
                f"the loss must be one number per case, of shape {tuple(batch.weight.shape)}, got "
                f"{tuple(losses.shape)}. Use reduction='none' in losses of torch, and average over all other axes."
            )
        loss = (losses * batch.weight).sum()
        loss.backward()
        return loss.detach()

    def _losses(self, batch: Batch) -> Tensor:
        """Return the loss of each case, (batch,)."""
        options, arguments = self.options, (self.network, batch, self.generator)
        with autocast(options.device, options.precision):
            if options.losses is not None:
                return options.losses(*arguments).to(batch.weight.dtype)
            outputs = options.forward(*arguments)
        if batch.target is None:
            raise ValueError("there are no cases or no targets; pass at least one case with its target.")
        return self.loss(outputs.to(batch.weight.dtype), batch.target)


class RunningMean:
    """Running mean of the weights of a network: first over all steps, then exponential with decay ``kept``."""

    def __init__(self, network: nn.Module, kept: float) -> None:
        self.module, self.kept, self.n_steps = copy.deepcopy(network), kept, 0
        # Iterating over the modules at each step would cost as much as the means.
        self._parameters = list(zip(self.module.parameters(), network.parameters(), strict=True))
        self._buffered = [network] if any(True for _ in network.buffers()) else []

    @torch.no_grad()
    def follow(self) -> None:
        """Update the mean with the weights of the network; copy its buffers."""
        self.n_steps += 1
        share = max(1.0 - self.kept, 1.0 / self.n_steps)
        for mean, parameter in self._parameters:
            mean.lerp_(parameter, share)
        for network in self._buffered:
            for copied, buffer in zip(self.module.buffers(), network.buffers(), strict=True):
                copied.copy_(buffer)
