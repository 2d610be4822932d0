"""Features of the fixed part of a front end, computed once per case instead of once per epoch."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from s4signal.estimators.trained.missing import drop_samples
from s4signal.nn import S4Network
from s4signal.nn.frontends import Frames, Frontend
from s4signal.nn.frontends.augmentation import SampleDropout
from s4signal.training import PRECISIONS, Batch, Cases, Samples, TrainingOptions, run_in_parts, sequential_batches


@torch.no_grad()
def extract_features(
    features: Callable[[Batch], Frames],
    cases: Cases,
    *,
    max_samples: int,
    dtype: torch.dtype,
    device: torch.device,
) -> Cases:
    """Run a function of batches over cases, and keep what it gives for each of them."""
    kept: list[NDArray[np.floating]] = [np.empty(0)] * len(cases)
    rates = np.empty(len(cases))

    def keep(indices: NDArray[np.intp], batch: Batch) -> None:
        frames = features(batch)
        mask, width = frames.mask, frames.features.shape[-1]
        n_steps = [width] * len(indices) if mask is None else mask.sum(-1).long().tolist()
        columns = frames.features.transpose(0, 1).cpu().numpy()
        for column, length, index in zip(columns, n_steps, indices, strict=True):
            # A copy: a view would keep the padded batch alive.
            kept[index] = column[:, :length].copy()
        rates[indices] = frames.rate

    run_in_parts(keep, cases, max_samples=max_samples, dtype=dtype, device=device)
    lengths = np.array([case.shape[1] for case in kept], dtype=np.int64)
    return Cases(lambda index: Samples(kept[index]), lengths, rates, cases.weights, cases.targets)


@torch.no_grad()
def precompute(frontend: Frontend, cases: Cases, options: TrainingOptions) -> Cases:
    """Return the features of cases; the cases themselves where the front end has none, or learns them."""
    if not frontend.precomputable:
        return cases
    return extract_features(
        lambda batch: frontend.features(Frames(batch.x, batch.mask, batch.rate)),
        cases,
        max_samples=options.max_samples,
        dtype=PRECISIONS[options.precision],
        device=options.device,
    )


def with_offsets(cases: Cases, offsets: NDArray[np.floating] | None) -> Cases:
    """Return cases with numbers (n, n_outputs) that are added to the outputs of the network, if there are any."""
    if offsets is None:
        return cases
    augment = cases.augment

    def load(index: int) -> Samples:
        return cases.load(index)._replace(offset=offsets[index])

    def changed(index: int, chance: float) -> Samples:
        return load(index) if augment is None else augment(index, chance)._replace(offset=offsets[index])

    return replace(cases, load=load, augment=augment and changed)


def with_sample_dropout(frontend: Frontend, cases: Cases, options: TrainingOptions, *, seed: int) -> Cases:
    """Return the features of cases; a share of the loads in training has other ones, of a case with samples removed."""
    rng = np.random.RandomState(seed)
    chosen = rng.permutation(len(cases))[: round(SampleDropout.CASES * len(cases))]
    shares = rng.uniform(SampleDropout.LEAST, SampleDropout.MOST, len(chosen))
    seeds = rng.randint(2**31 - 1, size=len(chosen))
    removal = {int(i): (float(share), int(s)) for i, share, s in zip(chosen, shares, seeds, strict=True)}
    # Both versions of a case follow each other, so that it is read once: the loop sorts by length, and stably.
    original = np.repeat(np.arange(len(cases)), 1 + np.isin(np.arange(len(cases)), chosen))
    dropped = np.concatenate([[False], original[1:] == original[:-1]])
    read: dict[int, Samples] = {}

    def load(position: int) -> Samples:
        index = int(original[position])
        samples = read.pop(index, None) or cases.load(index)
        if dropped[position]:
            return drop_samples(samples, removal[index][0], seed=removal[index][1])
        if index in removal and frontend.precomputable:
            read[index] = samples
        return samples

    both = Cases(load, cases.lengths[original], cases.rates[original], cases.weights[original])

    features = precompute(frontend, both, options)
    first = np.flatnonzero(~dropped)
    second = dict(zip(original[dropped].tolist(), np.flatnonzero(dropped).tolist(), strict=True))

    def augment(index: int, chance: float) -> Samples:
        dropped = index in second and chance < SampleDropout.LOADS
        return features.load(second[index] if dropped else int(first[index]))

    lengths, rates = features.lengths[first], features.rates[first]
    return Cases(lambda index: features.load(int(first[index])), lengths, rates, cases.weights, cases.targets, augment)


@torch.no_grad()
def feature_batches(frontend: Frontend, cases: Cases, options: TrainingOptions) -> Iterator[tuple[Frames, Tensor]]:
    """Yield the features of training cases and their weights, for `Frontend.calibrate`."""
    for _, batch in _batches(cases, options):
        frames = Frames(batch.x, batch.mask, batch.rate)
        if frontend.learned:
            frames = frontend.features(Frames(batch.x, batch.mask, batch.rate))
        yield frames, batch.weight


def score_features(network: nn.Module, batch: Batch, generator: torch.Generator | None) -> Tensor:
    """Run what is learned, on features that are computed already, (batch, n_outputs)."""
    frames = Frames(batch.x, batch.mask, batch.rate, batch.gaps)
    return cast(S4Network, network).from_features(frames, offset=batch.offset, generator=generator)


def _batches(cases: Cases, options: TrainingOptions) -> Iterator[tuple[NDArray[np.intp], Batch]]:
    dtype = PRECISIONS[options.precision]
    return sequential_batches(cases, max_samples=options.max_samples, dtype=dtype, device=options.device)
