"""The gradient of a step: in as many passes as its cases and the memory ask for."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from s4signal.training.batching import Batch, Indices
from s4signal.training.graphs import Graphs, recorder
from s4signal.training.loading import Loaded
from s4signal.training.options import TrainingOptions
from s4signal.training.runtime import PRECISIONS, autocast

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
        loss = (self._losses(batch) * batch.weight).sum()
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
