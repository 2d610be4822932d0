"""Features of the fixed part of a front end, computed once per case instead of once per epoch."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from s4signal.estimators.augmentation import CHANGED_LOADS
from s4signal.estimators.trained.feature_store import FeatureStore
from s4signal.nn import S4Network
from s4signal.nn.frontends import Frames, Frontend
from s4signal.training import PRECISIONS, Batch, Cases, Samples, TrainingOptions, run_in_parts, sequential_batches

VERSIONS = 2  # changed ones of each case, beside the case itself


@torch.no_grad()
def extract_features(
    features: Callable[[Batch], Frames],
    cases: Cases,
    *,
    max_samples: int,
    dtype: torch.dtype,
    device: torch.device,
    budget_gb: float = np.inf,
) -> Cases:
    """Run a function of batches over cases, and keep what it gives for each of them; beyond ``budget_gb`` on disk."""
    store, rates = FeatureStore(cases.lengths * cases.rates, budget_gb), np.empty(len(cases))

    def keep(indices: NDArray[np.intp], batch: Batch) -> None:
        frames = features(batch)
        mask, width = frames.mask, frames.features.shape[-1]
        n_steps = [width] * len(indices) if mask is None else mask.sum(-1).long().tolist()
        columns = frames.features.transpose(0, 1).cpu().numpy()
        for column, length, index in zip(columns, n_steps, indices, strict=True):
            store.put(int(index), column[:, :length])
        rates[indices] = frames.rate

    run_in_parts(keep, cases, max_samples=max_samples, dtype=dtype, device=device)
    return Cases(lambda index: Samples(store.get(index)), store.n_steps, rates, cases.weights, cases.targets)


@torch.no_grad()
def precompute(frontend: Frontend, cases: Cases, options: TrainingOptions, *, budget_gb: float = np.inf) -> Cases:
    """Return the features of cases; the cases themselves where the front end has none, or learns them."""
    if not frontend.precomputable:
        return cases
    return extract_features(
        lambda batch: frontend.features(Frames(batch.x, batch.mask, batch.rate)),
        cases,
        max_samples=options.max_samples,
        dtype=PRECISIONS[options.precision],
        device=options.device,
        budget_gb=budget_gb,
    )


def precompute_versions(
    frontend: Frontend, cases: Cases, options: TrainingOptions, *, seed: int, budget_gb: float = np.inf
) -> Cases:
    """Return the features of cases and of some changed versions of each; which one a load in training has is chance.

    Where the features are learned, or the samples themselves, each load makes a version of its own.
    """
    if cases.augment is None or not frontend.precomputable:
        return precompute(frontend, cases, options, budget_gb=budget_gb)
    n, change = len(cases), cases.augment
    chances = CHANGED_LOADS * np.random.default_rng(seed).random((n, VERSIONS))
    # All versions of a case follow each other, so that it is read once: the loop sorts by length, and stably.
    case, version = np.divmod(np.arange(n * (1 + VERSIONS)), 1 + VERSIONS)

    def load(place: int) -> Samples:
        index, which = int(case[place]), int(version[place])
        return change(index, float(chances[index, which - 1])) if which else cases.load(index)

    every = Cases(load, cases.lengths[case], cases.rates[case], cases.weights[case])
    features = precompute(frontend, every, options, budget_gb=budget_gb)

    def augment(index: int, chance: float) -> Samples:
        which = 1 + int(chance / CHANGED_LOADS * VERSIONS) if chance < CHANGED_LOADS else 0
        return features.load(index * (1 + VERSIONS) + which)

    first = features.take(np.flatnonzero(version == 0))
    return replace(first, weights=cases.weights, targets=cases.targets, augment=augment)


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
