"""What the fixed part of a front end hears, once for each case."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from s4signal.estimators.trained.missing import thinned
from s4signal.nn import S4Network
from s4signal.nn.frontends import Frames
from s4signal.nn.frontends.augmentation import SampleDropout
from s4signal.training import PRECISIONS, Batch, Cases, Samples, TrainingOptions, sequential_batches

__all__ = ["hear", "hear_cases", "hear_thinned", "heard_batches", "score_heard"]


@torch.no_grad()
def hear(
    features: Callable[[Batch], Frames],
    cases: Cases,
    *,
    max_samples: int,
    dtype: torch.dtype,
    device: torch.device,
) -> Cases:
    """Run a function of signals over cases."""
    heard: list[NDArray[np.floating]] = [np.empty(0)] * len(cases)
    rates = np.empty(len(cases))
    for indices, batch in sequential_batches(cases, max_samples=max_samples, dtype=dtype, device=device):
        frames = features(batch)
        steps, mask = frames.features, frames.mask
        n_steps = [steps.shape[-1]] * len(indices) if mask is None else mask.sum(-1).long().tolist()
        columns = steps.transpose(0, 1).cpu().numpy()
        for column, length, index in zip(columns, n_steps, indices, strict=True):
            # A copy: a view would keep the padded batch alive.
            heard[index] = column[:, :length].copy()
        rates[indices] = frames.rate
    lengths = np.array([case.shape[1] for case in heard], dtype=np.int64)
    return Cases(lambda index: Samples(heard[index]), lengths, rates, cases.weights, cases.targets)


def hear_cases(network: S4Network, cases: Cases, options: TrainingOptions) -> Cases:
    """Run the fixed part of the front end over training cases once, instead of once an epoch."""
    frontend = network.frontend.eval()
    if not frontend.precomputable:
        return cases
    return hear(
        lambda batch: frontend.features(Frames(batch.x, batch.mask, batch.rate)),
        cases,
        max_samples=options.max_samples,
        dtype=PRECISIONS[options.precision],
        device=options.device,
    )


def hear_thinned(network: S4Network, cases: Cases, heard: Cases, options: TrainingOptions, *, seed: int) -> Cases:
    """Hear a share of the training cases again with samples missing, and let chance choose at every load.

    What is drawn across missing samples is not what was there: its error is loudest in the upper bands, and a network
    that never heard it takes it for sound.
    """
    rng = np.random.RandomState(seed)
    chosen = rng.permutation(len(cases))[: round(SampleDropout.CASES * len(cases))]
    if not len(chosen):
        return heard
    shares = rng.uniform(SampleDropout.LEAST, SampleDropout.MOST, len(chosen))
    seeds = rng.randint(2**31 - 1, size=len(chosen))
    again = Cases(
        lambda i: thinned(cases.load(chosen[i]), shares[i], seed=seeds[i]),
        cases.lengths[chosen],
        cases.rates[chosen],
        cases.weights[chosen],
    )
    second = hear_cases(network, again, options)
    places = {int(index): place for place, index in enumerate(chosen)}

    def augment(index: int, chance: float) -> Samples:
        return second.load(places[index]) if index in places and chance < SampleDropout.LOADS else heard.load(index)

    return replace(heard, augment=augment)


@torch.no_grad()
def heard_batches(network: S4Network, cases: Cases, options: TrainingOptions) -> Iterator[tuple[Frames, Tensor]]:
    """Yield the features of training cases and their weights, for `Frontend.calibrate`."""
    frontend, dtype = network.frontend.eval(), PRECISIONS[options.precision]
    for _, batch in sequential_batches(cases, max_samples=options.max_samples, dtype=dtype, device=options.device):
        computed = Frames(batch.x, batch.mask)
        if frontend.learned:
            computed = frontend.features(Frames(batch.x, batch.mask, batch.rate))
        yield computed, batch.weight


def score_heard(network: nn.Module, batch: Batch, generator: torch.Generator | None) -> Tensor:
    """Run what is learned, on cases that the fixed part of the front end has heard already.

    Shape: (batch, n_outputs).
    """
    frames = Frames(batch.x, batch.mask, batch.rate, batch.gaps)
    return cast(S4Network, network).from_features(frames, generator=generator)
