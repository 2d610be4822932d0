"""Outputs of a network, without training."""

import torch
from torch import Tensor, nn

from s4signal.training.batching import Cases, sequential_batches
from s4signal.training.options import TrainingOptions
from s4signal.training.runtime import PRECISIONS, autocast, evaluating


@torch.no_grad()
def evaluate_network(network: nn.Module, cases: Cases, *, options: TrainingOptions) -> Tensor:
    """Score cases without training, (n, n_outputs) in float64 on the CPU; the network stays in its mode."""
    dtype = PRECISIONS[options.precision]
    batches = sequential_batches(cases, max_samples=4 * options.max_samples, dtype=dtype, device=options.device)
    outputs: Tensor | None = None
    with evaluating(network):
        for indices, batch in batches:
            with autocast(options.device, options.precision):
                scores = options.forward(network, batch, None).cpu().double()  # in this order: MPS has no float64
            if outputs is None:
                outputs = scores.new_empty(len(cases), scores.shape[1])
            outputs[torch.from_numpy(indices)] = scores
    if outputs is None:
        raise ValueError("there are no cases or no targets; pass at least one case with its target.")
    return outputs
