"""The gradient of a step: in as many passes as its cases and the memory ask for."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from s4signal.training.batching import Batch, Indices
from s4signal.training.loading import Loaded
from s4signal.training.options import TrainingOptions
from s4signal.training.runtime import PRECISIONS, autocast

Loss = Callable[[Tensor, Tensor], Tensor]  # outputs and targets to a loss per case


def add_gradients(
    network: nn.Module,
    passes: list[Indices],
    load: Callable[[Indices], Loaded],
    *,
    loss: Loss,
    options: TrainingOptions,
    generator: torch.Generator | None,
    total_weight: float,
) -> Tensor:
    """Add the gradients of the mean loss over ``total_weight`` to those that are there; return the summed loss."""
    summed = torch.zeros((), device=options.device, dtype=PRECISIONS[options.precision])
    for indices in passes:
        for _, batch in load(indices):
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
