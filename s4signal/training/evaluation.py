"""Evaluation of a network."""

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
    """Compute the outputs of a network in evaluation mode; its own mode is restored.

    Parameters
    ----------
    network : Module
        Any module that ``options.forward`` can run.
    cases : Cases
        The cases.
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
    results: list[Tensor] = []

    def score(indices: Indices, batch: Batch) -> None:
        with autocast(options.device, options.precision):
            scores = options.forward(network, batch, None).cpu().double()  # in this order: MPS has no float64
        if not results:
            results.append(scores.new_empty(len(cases), scores.shape[1]))
        results[0][torch.from_numpy(indices)] = scores

    dtype = PRECISIONS[options.precision]
    with evaluating(network):
        run_in_parts(score, cases, max_samples=4 * options.max_samples, dtype=dtype, device=options.device)
    if not results:
        raise ValueError("there are no cases or no targets; pass at least one case with its target.")
    return results[0]


def validated(outputs: Tensor, cases: Cases, loss: Loss, score: Score | None) -> dict[str, float | None]:
    """Return the mean loss and the score of outputs (n, n_outputs) for cases with targets, for the history."""
    weights, targets = torch.from_numpy(cases.weights), cast(Tensor, cases.targets).cpu()
    losses = loss(outputs, targets.to(outputs.dtype) if targets.is_floating_point() else targets)
    mean = float((losses * weights).sum() / weights.sum())
    scored = score(outputs, targets, weights) if score is not None and math.isfinite(mean) else None
    return {"validation_loss": mean, "validation_score": scored}
