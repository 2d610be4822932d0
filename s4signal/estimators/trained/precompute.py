"""Features of the fixed part of a front end, computed once per case and not once per epoch."""

import errno
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import FileIO
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from s4signal.estimators.augmentation import CHANGED_LOADS
from s4signal.estimators.trained.plan import Plan
from s4signal.nn import S4Network
from s4signal.nn.frontends import Frames, Frontend
from s4signal.training import PRECISIONS, Batch, Cases, Samples, TrainingOptions, run_in_parts, sequential_batches

VERSIONS = 2  # changed versions of each case, in addition to the case itself

Floats = NDArray[np.floating]


class FeatureStore:
    """Arrays (n_features, n_steps) of cases, whose sizes are proportional to ``durations`` (n,), in any unit.

    The file is read, not memory-mapped: mapped pages count as memory of the process. It has no name, so it disappears
    with the store or the process, however that ends.
    """

    def __init__(self, durations: NDArray[np.float64], budget_gb: float) -> None:
        self.n_steps = np.zeros(len(durations), dtype=np.int64)
        self._durations, self._budget_gb = durations, budget_gb
        self._kept: dict[int, Floats] = {}
        self._file: FileIO | None = None
        self._end, self._offsets = 0, np.zeros(len(durations), dtype=np.int64)
        self._like: Floats | None = None  # (n_features, 0)

    def put(self, index: int, features: Floats) -> None:
        """Store a copy of the features of a case; the first one determines the size of all."""
        if self._like is None:
            self._like = features[:, :0].copy()
            size_gb = features.nbytes / 1e9 * float(self._durations.sum() / self._durations[index])
            if size_gb > self._budget_gb:
                self._file = self._open(size_gb)
        self.n_steps[index] = features.shape[1]
        if self._file is None:
            self._kept[index] = features.copy()  # a view would keep its whole batch
            return
        self._offsets[index] = self._end
        data = np.ascontiguousarray(features)
        try:
            if self._file.write(data.data) < data.nbytes:
                raise OSError(errno.ENOSPC, "no space left")
        except OSError as error:
            raise self._no_room(f"after {self._end / 1e9:.3g} GB: {error.strerror}") from error
        self._end += data.nbytes

    def get(self, index: int) -> Floats:
        """Return the features of a case."""
        if self._file is None or self._like is None:
            return self._kept[index]
        features = np.empty((len(self._like), int(self.n_steps[index])), dtype=self._like.dtype)
        self._file.seek(int(self._offsets[index]))
        if self._file.readinto(features.data) < features.nbytes:
            raise OSError("the temporary file of features has been truncated by another program; fit again.")
        return features

    def _open(self, size_gb: float) -> FileIO:
        try:
            free_gb = shutil.disk_usage(tempfile.gettempdir()).free / 1e9
            if free_gb < size_gb:
                raise self._no_room(f"{free_gb:.3g} GB are free, {size_gb:.3g} GB are needed")
            file = tempfile.TemporaryFile(prefix="s4signal-", buffering=0)  # noqa: SIM115 - closed with the store
        except FileNotFoundError as error:  # no folder that can be written
            raise self._no_room(str(error)) from error
        weakref.finalize(self, file.close)
        return file

    def _no_room(self, why: str) -> OSError:
        return OSError(
            f"the features of {len(self.n_steps)} cases take more than memory_budget_gb={self._budget_gb:g} and do not "
            f"fit into the temporary folder, {tempfile.gettempdir()!r} ({why}). Free space there, set TMPDIR to "
            "another folder, or raise memory_budget_gb."
        )


@torch.no_grad()
def extract_features(
    features: Callable[[Batch], Frames], cases: Cases, options: TrainingOptions, *, budget_gb: float = np.inf
) -> Cases:
    """Apply a function to batches of cases, and store its result for each case; beyond ``budget_gb`` on disk."""
    store, rates = FeatureStore(cases.lengths * cases.rates, budget_gb), np.empty(len(cases))

    def keep(indices: NDArray[np.intp], batch: Batch) -> None:
        frames = features(batch)
        mask, width = frames.mask, frames.features.shape[-1]
        n_steps = [width] * len(indices) if mask is None else mask.sum(-1).long().tolist()
        columns = frames.features.transpose(0, 1).cpu().numpy()
        for column, length, index in zip(columns, n_steps, indices, strict=True):
            store.put(int(index), column[:, :length])
        rates[indices] = frames.rate

    dtype = PRECISIONS[options.precision]
    run_in_parts(keep, cases, max_samples=options.max_samples, dtype=dtype, device=options.device)
    return Cases(lambda index: Samples(store.get(index)), store.n_steps, rates, cases.weights, cases.targets)


@torch.no_grad()
def precompute(frontend: Frontend, cases: Cases, options: TrainingOptions, *, budget_gb: float = np.inf) -> Cases:
    """Return the features of cases; the cases themselves if the front end has none, or learns them."""
    if not frontend.precomputable:
        return cases
    return extract_features(
        lambda batch: frontend.features(Frames(batch.x, batch.mask, batch.rate)), cases, options, budget_gb=budget_gb
    )


def precompute_versions(
    frontend: Frontend, cases: Cases, options: TrainingOptions, *, seed: int, budget_gb: float = np.inf
) -> Cases:
    """Return the features of cases and of some changed versions of each; a load in training picks one at random.

    If the features are learned, or are the samples themselves, each load makes a new version.
    """
    if cases.augment is None or not frontend.precomputable:
        return precompute(frontend, cases, options, budget_gb=budget_gb)
    n, change = len(cases), cases.augment
    chances = CHANGED_LOADS * np.random.default_rng(seed).random((n, VERSIONS))
    # The versions of a case are adjacent, so that it is read once: the loop's sort by length is stable.
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
    """Yield features of cases and weights for `Frontend.calibrate`, in small batches, which it copies to float64."""
    few, dtype = max(1, options.max_samples // 16), PRECISIONS[options.precision]
    for _, batch in sequential_batches(cases, max_samples=few, dtype=dtype, device=options.device):
        frames = Frames(batch.x, batch.mask, batch.rate)
        yield frontend.features(frames) if frontend.learned else frames, batch.weight


def score_features(network: nn.Module, batch: Batch, generator: torch.Generator | None) -> Tensor:
    """Run the learned part of a network on precomputed features, (batch, n_outputs)."""
    frames = Frames(batch.x, batch.mask, batch.rate, batch.gaps)
    return cast(S4Network, network).from_features(frames, offset=batch.offset, generator=generator)


def prepare_training(
    network: S4Network, cases: Cases, options: TrainingOptions, plan: Plan, seed: int, *, first: bool, budget_gb: float
) -> Cases:
    """Return training cases, with changed versions if there is an augmentation.

    In the ``first`` training of a network, its front end is calibrated; with a readout, its head starts at zero.
    """
    frontend = network.frontend.eval()
    cases = precompute_versions(frontend, cases, options, seed=seed, budget_gb=budget_gb)
    if first and plan.readout == "closed_form":
        nn.init.zeros_(network.head.weight)
        nn.init.zeros_(network.head.bias)
    if first:
        frontend.calibrate(feature_batches(frontend, cases, options))
    return cases
