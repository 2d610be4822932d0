"""Outputs of a network, without training."""

import math
from typing import cast

import torch
from torch import Tensor, nn

from s4signal.training.batching import Batch, Cases, Indices
from s4signal.training.loading import run_in_parts
from s4signal.training.options import TrainingOptions
from s4signal.training.result import Score
from s4signal.training.runtime import PRECISIONS, autocast, evaluating
from s4signal.training.step import Loss


@torch.no_grad()
def evaluate_network(network: nn.Module, cases: Cases, *, options: TrainingOptions) -> Tensor:
    """Score cases without training; the network stays in its mode.

    Parameters
    ----------
    network : Module
        Of any kind that ``options.forward`` can run.
    cases : Cases
        What to score.
    options : TrainingOptions
        Device, precision, ``forward`` and ``max_samples``.

    Returns
    -------
    Tensor (n, n_outputs) of float64
        Outputs, on the CPU.

    Raises
    ------
    ValueError
        If there are no cases.

    Examples
    --------
    >>> import numpy as np
    >>> from s4signal.training import Cases, TrainingOptions, evaluate_network
    >>> options = TrainingOptions(forward=lambda network, batch, generator: network(batch.x.mean(-1).t()))
    >>> evaluate_network(torch.nn.Linear(2, 3), Cases.of([np.zeros((2, 30))]), options=options).shape
    torch.Size([1, 3])
    """
    kept: list[Tensor] = []

    def score(indices: Indices, batch: Batch) -> None:
        with autocast(options.device, options.precision):
            scores = options.forward(network, batch, None).cpu().double()  # in this order: MPS has no float64
        if not kept:
            kept.append(scores.new_empty(len(cases), scores.shape[1]))
        kept[0][torch.from_numpy(indices)] = scores

    dtype = PRECISIONS[options.precision]
    with evaluating(network):
        run_in_parts(score, cases, max_samples=4 * options.max_samples, dtype=dtype, device=options.device)
    if not kept:
        raise ValueError("there are no cases or no targets; pass at least one case with its target.")
    return kept[0]


def validated(outputs: Tensor, cases: Cases, loss: Loss, score: Score | None) -> dict[str, float | None]:
    """Return the mean loss of outputs (n, n_outputs) of cases with targets, and their score, for the history."""
    weights, targets = torch.from_numpy(cases.weights), cast(Tensor, cases.targets).cpu()
    losses = loss(outputs, targets.to(outputs.dtype) if targets.is_floating_point() else targets)
    mean = float((losses * weights).sum() / weights.sum())
    scored = score(outputs, targets, weights) if score is not None and math.isfinite(mean) else None
    return {"validation_loss": mean, "validation_score": scored}
