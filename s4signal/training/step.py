"""The gradient of a step: in as many passes as its cases and the memory ask for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from s4signal.training.batching import Batch, Cases, Indices
from s4signal.training.options import TrainingOptions
from s4signal.training.runtime import PRECISIONS, autocast

Loss = Callable[[Tensor, Tensor], Tensor]  # outputs and targets to a loss per case


def add_gradients(
    network: nn.Module,
    cases: Cases,
    passes: list[Indices],
    *,
    loss: Loss,
    options: TrainingOptions,
    generator: torch.Generator | None,
    total_weight: float,
    chances: NDArray[np.float64] | None = None,
) -> Tensor:
    """Add the gradients of the mean loss over ``total_weight`` to those that are there; return the summed loss.

    ``chances`` (n,) is a random number for each of all cases, for their augmentation at the load.
    """
    dtype = PRECISIONS[options.precision]
    summed = torch.zeros((), device=options.device, dtype=dtype)
    for indices in passes:
        drawn = None if chances is None else chances[indices]
        for _, batch in cases.batches(indices, dtype=dtype, device=options.device, chances=drawn):
            losses = (_losses(network, batch, loss, options, generator) * batch.weight).sum()
            (losses / total_weight).backward()
            summed += losses.detach()
    return summed


def _losses(
    network: nn.Module, batch: Batch, loss: Loss, options: TrainingOptions, generator: torch.Generator | None
) -> Tensor:
    """Return the loss of each case, (batch,)."""
    if options.losses is not None:
        with autocast(options.device, options.precision):
            return options.losses(network, batch, generator).to(batch.weight.dtype)
    with autocast(options.device, options.precision):
        outputs = options.forward(network, batch, generator)
    if batch.target is None:
        raise ValueError("there are no cases or no targets; pass at least one case with its target.")
    return loss(outputs.to(batch.weight.dtype), batch.target)
