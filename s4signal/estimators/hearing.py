"""What the fixed part of a front end hears, once for each case."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from s4signal.nn import S4Network
from s4signal.nn.frontend import FilterBankFrontend, Steps
from s4signal.training import PRECISIONS, Batch, Cases, Samples, TrainingOptions, sequential_batches

__all__ = ["hear", "hear_cases", "score_heard"]


@torch.no_grad()
def hear(
    features: Callable[[Tensor, Tensor | None, float], Steps],
    cases: Cases,
    *,
    max_samples: int,
    dtype: torch.dtype,
    device: torch.device,
) -> Cases:
    """Run a function of signals over cases.

    Parameters
    ----------
    features : callable
        (x, mask, rate) to (features, mask, rate), as `s4signal.nn.frontend` has them.
    cases : Cases
        Raw, standardised signals.
    max_samples : int
        Most samples in memory at once.
    dtype : torch.dtype
        Real dtype of the signals.
    device : torch.device
        Where to hear them.

    Returns
    -------
    Cases
        What was heard, in memory, each case at its own length.
    """
    heard: list[NDArray[np.floating]] = [np.empty(0)] * len(cases)
    rates = np.empty(len(cases))
    for indices, batch in sequential_batches(cases, max_samples=max_samples, dtype=dtype, device=device):
        steps, mask, rate = features(batch.x, batch.mask, batch.rate)
        n_steps = [steps.shape[-1]] * len(indices) if mask is None else mask.sum(-1).long().tolist()
        columns = steps.transpose(0, 1).cpu().numpy()
        for column, length, index in zip(columns, n_steps, indices, strict=True):
            # A copy: a view would keep the padded batch alive.
            heard[index] = column[:, :length].copy()
        rates[indices] = rate
    lengths = np.array([case.shape[1] for case in heard], dtype=np.int64)
    return Cases(lambda index: Samples(heard[index]), lengths, rates, cases.weights, cases.targets)


def hear_cases(network: S4Network, cases: Cases, options: TrainingOptions) -> Cases:
    """Run the fixed part of the front end over training cases once, instead of once an epoch.

    Parameters
    ----------
    network : S4Network
        On the device of the options.
    cases : Cases
        Raw, standardised signals.
    options : TrainingOptions
        Device, precision and max_samples are used.

    Returns
    -------
    Cases
        What the rest of the network trains on; the same cases if there is no fixed part.
    """
    frontend = network.frontend
    if not isinstance(frontend, FilterBankFrontend):
        return cases
    return hear(
        lambda x, mask, rate: frontend.features(x, mask, rate=rate),
        cases,
        max_samples=options.max_samples,
        dtype=PRECISIONS[options.precision],
        device=options.device,
    )


def score_heard(network: nn.Module, batch: Batch) -> Tensor:
    """Run what is learned, on cases that the fixed part of the front end has heard already.

    Parameters
    ----------
    network : S4Network
        The network.
    batch : Batch
        Of cases as `hear_cases` gives them.

    Returns
    -------
    Tensor (batch, n_outputs)
        Logits or standardised targets.
    """
    outputs: Tensor = cast(S4Network, network).from_features(batch.x, batch.mask, batch.rate, batch.gaps)
    return outputs
