"""Batches of bounded size from cases of any length."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Indices = NDArray[np.intp]


class Samples(NamedTuple):
    """A case in the form that the network needs.

    Parameters
    ----------
    data : ndarray (n_inputs, n_times)
        Standardised samples.
    gaps : ndarray (n_times,), optional
        Time before each sample, in training sample periods; None if all gaps are 1.

    Examples
    --------
    >>> Samples(np.zeros((2, 100))).data.shape
    (2, 100)
    """

    data: NDArray[np.floating]
    gaps: NDArray[np.floating] | None = None


@dataclass(frozen=True)
class Cases:
    """Cases for training or evaluation, loaded when a batch needs them.

    Parameters
    ----------
    load : function
        Takes an index, returns `Samples`.
    lengths : ndarray (n,) of int
        Number of samples of each case, or an upper bound: samples may turn out to be missing when loaded.
    rates : ndarray (n,)
        Sample period of each case divided by the training sample period; a batch has cases of one rate only.
    weights : ndarray (n,)
        Weight of each case in the loss.
    targets : Tensor (n, ...), optional
        Targets, on the CPU.
    augment : function, optional
        Replaces ``load`` in training; takes an index and a random number in [0, 1).
    offsets : ndarray (n, n_outputs), optional
        Added to the outputs of the network for each case.

    Examples
    --------
    >>> cases = Cases.of([np.zeros((1, 30)), np.ones((1, 50))], torch.tensor([0, 1]))
    >>> len(cases), cases.lengths.tolist()
    (2, [30, 50])
    """

    load: Callable[[int], Samples]
    lengths: NDArray[np.int64]
    rates: NDArray[np.float64]
    weights: NDArray[np.float64]
    targets: Tensor | None = None
    augment: Callable[[int, float], Samples] | None = None
    offsets: NDArray[np.floating] | None = None

    @classmethod
    def of(
        cls,
        signals: Sequence[NDArray[np.floating]],
        targets: Tensor | None = None,
        *,
        weights: NDArray[np.float64] | None = None,
    ) -> "Cases":
        """Create cases from arrays in memory, in the same order.

        Parameters
        ----------
        signals : sequence of ndarray (n_inputs, n_times_i)
            Standardised signals, all at the same rate.
        targets : Tensor (n, ...), optional
            Targets.
        weights : ndarray (n,), optional
            Weight of each case in the loss; 1 by default.
        """
        n = len(signals)
        lengths = np.array([signal.shape[1] for signal in signals], dtype=np.int64)
        ones = np.ones(n)
        return cls(lambda i: Samples(signals[i]), lengths, ones, ones if weights is None else weights, targets)

    def __len__(self) -> int:
        return len(self.lengths)

    def take(self, indices: Indices) -> "Cases":
        """Select cases.

        Parameters
        ----------
        indices : ndarray of int
            Indices of the cases, in the new order.
        """
        load, augment = self.load, self.augment
        lengths, rates, weights = self.lengths[indices], self.rates[indices], self.weights[indices]
        targets = None if self.targets is None else self.targets[torch.from_numpy(indices)]
        changed = augment and (lambda i, chance: augment(int(indices[i]), chance))
        offsets = None if self.offsets is None else self.offsets[indices]
        return Cases(lambda i: load(int(indices[i])), lengths, rates, weights, targets, changed, offsets)

    def batches(
        self, indices: Indices, *, dtype: torch.dtype, device: torch.device, chances: NDArray[np.float64] | None = None
    ) -> "Iterator[tuple[Indices, Batch]]":
        """Load cases of one rate, padded to the longest, in separate batches with and without gaps.

        Parameters
        ----------
        indices : ndarray of int
            Indices of the cases.
        dtype : torch.dtype
            Dtype of the samples.
        device : torch.device
            Device of the batches.
        chances : ndarray, optional
            A random number in [0, 1) per case for ``augment``; None for no augmentation.

        Yields
        ------
        ndarray of int, Batch
            Indices of the cases in a batch, and the batch.
        """
        if chances is None or self.augment is None:
            samples = list(map(self.load, indices.tolist()))
        else:
            samples = list(map(self.augment, indices.tolist(), chances.tolist()))
        # Regular cases always take the fast path, so that a prediction does not depend on the other cases of a batch.
        irregular = [case.gaps is not None for case in samples]
        for kind in sorted(set(irregular)):
            chosen = [i for i, other in enumerate(irregular) if other is kind]
            yield indices[chosen], self._batch(indices[chosen], [samples[i] for i in chosen], dtype, device)

    def _batch(self, indices: Indices, samples: list[Samples], dtype: torch.dtype, device: torch.device) -> "Batch":
        lengths = [case.data.shape[1] for case in samples]
        n_times = padded_length(max(lengths))
        if device.type == "cuda" and min(lengths) < n_times:
            n_times = -(-n_times // 32) * 32  # few distinct shapes, so that graphs can be replayed
        numpy_dtype = np.float64 if dtype == torch.float64 else np.float32
        x = np.zeros((samples[0].data.shape[0], len(indices), n_times), dtype=numpy_dtype)
        gaps = None if samples[0].gaps is None else np.zeros((len(indices), n_times))
        for position, (case, length) in enumerate(zip(samples, lengths, strict=True)):
            x[:, position, :length] = case.data
            if gaps is not None:
                gaps[position, :length] = case.gaps
        move, mask = partial(_moved, device=device), None
        if min(lengths) < n_times:
            mask = move((np.arange(n_times) < np.array(lengths)[:, None]).astype(numpy_dtype))
        weights, rate = move(self.weights[indices], dtype=dtype), float(self.rates[indices[0]])
        targets = None if self.targets is None else move(self.targets[torch.from_numpy(indices)])
        # Times need float64, which MPS does not support.
        when = None if gaps is None else move(gaps, dtype=torch.float32 if device.type == "mps" else torch.float64)
        offsets = None if self.offsets is None else move(self.offsets[indices], dtype=dtype)
        return Batch(move(x), mask, weights, rate, targets, when, offsets)


class Batch(NamedTuple):
    """Cases of one rate, all with gaps or all without.

    Parameters
    ----------
    x : Tensor (n_inputs, batch, n_times)
        Samples, zero where padded.
    mask : Tensor (batch, n_times) or None
        1 where a sample is valid; None if all are valid.
    weight : Tensor (batch,)
        Weight in the loss.
    rate : float
        Sample period divided by the training sample period.
    target : Tensor (batch, ...) or None
        Targets.
    gaps : Tensor (batch, n_times), optional
        Time before each sample in training sample periods, 0 where padded.
    offset : Tensor (batch, n_outputs), optional
        Added to the outputs of the network.

    Examples
    --------
    >>> cases = Cases.of([np.zeros((1, 30)), np.ones((1, 50))])
    >>> [(_, batch)] = cases.batches(np.arange(2), dtype=torch.float32, device=torch.device("cpu"))
    >>> batch.x.shape, batch.mask.sum(-1).tolist()
    (torch.Size([1, 2, 50]), [30.0, 50.0])
    """

    x: Tensor
    mask: Tensor | None
    weight: Tensor
    rate: float
    target: Tensor | None
    gaps: Tensor | None = None
    offset: Tensor | None = None


def padded_length(n_times: int) -> int:
    """Round a length up to a multiple of the block length."""
    multiple = 128 if n_times > 2048 else 32 if n_times > 128 else 1
    return -(-n_times // multiple) * multiple


def plan_steps(
    cases: Cases, *, batch_size: int | None, max_samples: int, rng: np.random.RandomState
) -> list[list[Indices]]:
    """Draw the steps of an epoch; each is a list of index arrays that fit into memory.

    Cases of similar length share a step, so that there is little padding; the order of the steps is random.
    """
    n = len(cases)
    if batch_size is None or batch_size >= n:
        return [pieces(cases, np.arange(n), max_samples)]
    order = rng.permutation(n)
    pool = 16 * batch_size
    by_length = [
        chunk[np.argsort(cases.lengths[chunk], kind="stable")]
        for chunk in (order[start : start + pool] for start in range(0, n, pool))
    ]
    steps = [chunk[start : start + batch_size] for chunk in by_length for start in range(0, len(chunk), batch_size)]
    return [pieces(cases, steps[position], max_samples) for position in rng.permutation(len(steps))]


def sequential_batches(
    cases: Cases, *, max_samples: int, dtype: torch.dtype, device: torch.device
) -> Iterator[tuple[Indices, Batch]]:
    """Iterate over all cases once, grouped by length."""
    for indices in pieces(cases, np.arange(len(cases)), max_samples):
        yield from cases.batches(indices, dtype=dtype, device=device)


def pieces(cases: Cases, indices: Indices, max_samples: int) -> list[Indices]:
    """Cut indices into arrays of one rate and at most ``max_samples`` padded samples, sorted by length."""
    order = indices[np.lexsort((cases.lengths[indices], cases.rates[indices]))]
    same_rate = len(order) > 0 and cases.rates[order[0]] == cases.rates[order[-1]]
    if same_rate and len(order) * padded_length(int(cases.lengths[order[-1]])) <= max_samples:  # the usual case
        return [order]
    parts: list[Indices] = []
    start = 0
    for stop in range(1, len(order) + 1):
        full = stop == len(order)
        if not full:
            samples = (stop + 1 - start) * padded_length(int(cases.lengths[order[stop]]))
            full = samples > max_samples or cases.rates[order[stop]] != cases.rates[order[start]]
        if full:
            parts.append(order[start:stop])
            start = stop
    return parts


def _moved(values: NDArray[np.generic] | Tensor, *, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """Copy an array to a device, asynchronously on CUDA."""
    tensor = values if isinstance(values, Tensor) else torch.from_numpy(values)
    tensor = tensor if dtype is None else tensor.to(dtype)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
