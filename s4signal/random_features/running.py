"""Pooled statistics of frozen oscillators while the signal arrives, in bounded memory.

A frame is read at the first sample of its hop, so that each is added once and for good, however samples are cut into
chunks. All is done in numpy, whose calls cost a fraction of torch's on arrays as small as those of a chunk.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from s4signal.random_features.combinations import soft_edges
from s4signal.random_features.filters import OscillatorBlocks, oscillator_blocks
from s4signal.random_features.spatial_filters import SpatialFilters
from s4signal.random_features.statistics import SEGMENTS, STATISTICS, OscillatorGroup, PooledStatistics

_FRAMES_AT_ONCE = 512
_BLOCK = 64  # samples

Floats = NDArray[np.floating]


class RunningStatistics:
    """What `PooledStatistics.pool` says of all samples so far as one case, after every chunk, of what is wanted."""

    def __init__(
        self, statistics: PooledStatistics, *, rate: float = 1.0, wanted: Set[str] = frozenset(STATISTICS)
    ) -> None:
        self.n_times = 0
        self._statistics = statistics
        by_hop = groupby(sorted(statistics.groups(rate) if wanted else (), key=_hop), key=_hop)
        groups = [list(groups) for _, groups in by_hop]
        self._groups = [_RunningGroup(statistics, group, rate, wanted) for group in groups]
        self._places = statistics.places(_joined([group for part in groups for group in part], 0))
        self._empty = statistics.empty(1, statistics.spatial_filters)

    @torch.no_grad()
    def push(self, x: Tensor) -> None:
        """Take a chunk (n_channels, n_times)."""
        self.n_times += x.shape[1]
        samples = x.numpy()
        for group in self._groups:
            group.push(samples)

    @torch.no_grad()
    def value(self) -> dict[str, Tensor]:
        """Return the statistics of all samples so far, for n = 1."""
        weights = dict[int, NDArray[np.float64]]()
        means = [group.means(weights, self.n_times) for group in self._groups]
        table = {name: part.clone() for name, part in self._empty.items()}
        for name in means[0] if means else ():
            whole = torch.from_numpy(np.concatenate([part[name] for part in means]))
            self._statistics.enter(table, self._places, {name: whole.unsqueeze(0)})
        return self._statistics.finished(table)


def _hop(group: OscillatorGroup) -> int:
    return group.hop


def _joined(groups: Sequence[OscillatorGroup], n_filters: int) -> OscillatorGroup:
    """Put oscillators side by side; members count the outputs of all of them, ``n_filters`` of each."""
    none, first = torch.zeros(0, dtype=torch.long), 0
    oscillators, combinations, members = [none], [none], []
    for group in groups:
        oscillators.append(group.oscillators)
        combinations.append(group.combinations)
        members.append(group.members + first * n_filters)
        first += len(group.oscillators)
    hop, order = (groups[0].hop, max(group.order for group in groups)) if groups else (0, 0)
    every = torch.cat(members) if members else none
    return OscillatorGroup(torch.cat(oscillators), hop, order, torch.cat(combinations), every)


def _bank(statistics: PooledStatistics, groups: Sequence[OscillatorGroup], rate: float) -> OscillatorBlocks:
    """Build the matrices of oscillators of one hop and several orders; what a state has too much stays zero."""
    sfreq, dtype = statistics.sfreq / rate, statistics.spatial_filters.dtype
    most, parts = max(2 * group.order for group in groups), []
    for group in groups:
        bands = (values[group.oscillators] / sfreq for values in (statistics.frequencies_hz, statistics.bandwidths_hz))
        bank = oscillator_blocks(*bands, order=group.order, hop=group.hop, longest=_BLOCK, dtype=dtype)
        n = most - 2 * group.order
        into, out, transition = pad(bank.into, (0, n)), pad(bank.out, (0, 0, 0, n)), pad(bank.transition, (0, n, 0, n))
        parts.append((into, out, transition))
    return OscillatorBlocks(*(torch.cat([part[i] for part in parts]) for i in range(3)))


class _SpatialFilters:
    """`SpatialFilters` in numpy, for one case."""

    def __init__(self, spatial: SpatialFilters) -> None:
        self._filters, components = spatial.filters.numpy(), spatial.components.numpy()
        self._chosen = spatial.has_covariance.numpy()
        self.before = None if spatial.before is None else spatial.before.numpy()
        # Of one channel the filters are ones, and of few channels the components are these themselves.
        self._as_they_are = self._filters.shape[1:] == (1, 1) and bool((self._filters == 1.0).all())
        self._components = components if components.shape[0] < components.shape[1] else None

    def split(self, frames: Floats) -> tuple[Floats, Floats]:
        """Sort frames (f, R, 2, m): (f, J, 2, m) of the filters, (f', K, 2, m) of the components."""
        J, chosen = self._filters.shape[1], frames[self._chosen]
        if self.before is not None:
            return frames[:, :J], chosen[:, J:]
        m = frames.shape[-1]
        if not self._as_they_are:
            frames = np.matmul(self._filters, frames.reshape(*frames.shape[:2], 2 * m)).reshape(len(frames), J, 2, m)
        if self._components is not None:
            chosen = np.matmul(self._components, chosen.reshape(*chosen.shape[:2], 2 * m)).reshape(
                len(chosen), -1, 2, m
            )
        return frames, chosen


class _RunningGroup:
    """Oscillators of one hop: their state, and sums over segments of their frames.

    Shapes: f oscillators with J spatial filters each, R signals that each of them filters, m frames.
    """

    def __init__(
        self, statistics: PooledStatistics, groups: Sequence[OscillatorGroup], rate: float, wanted: Set[str]
    ) -> None:
        dtype, (_, J, C) = statistics.spatial_filters.dtype, statistics.spatial_filters.shape
        group, K = _joined(groups, J), len(statistics.components)
        f, bank = len(group.oscillators), _bank(statistics, groups, rate)
        self._into, self._out, self._transition = (part.numpy() for part in bank)
        self._hop, self._block = group.hop, bank.block
        spatial = statistics.spatial(group, dtype, covariance="energies" in wanted)
        self._filters = _SpatialFilters(spatial)
        self._state = bank.at_rest(spatial.rows(1)).numpy()
        self._unfinished = np.zeros((C, 0), self._into.dtype)  # samples of the block that is not full
        edges = soft_edges(statistics.thresholds[group.oscillators], statistics.scales[group.oscillators])
        self._start, self._slope = (edge.to(dtype).numpy()[..., None] for edge in edges)
        self._combinations, self._members = None, group.members.numpy()
        if statistics.combinations is not None and "combinations" in wanted:
            weights, thresholds = statistics.combinations.weights, statistics.combinations.thresholds
            starts = (thresholds[group.combinations] - 0.5).numpy()[..., None]
            self._combinations = weights[group.combinations].numpy(), starts
        self._n_windows, self._shape = statistics.n_windows, (f, J, 2)
        self._count, self._length = 0, 1  # frames, and how many a segment has
        self._with_energies = C == 1
        rows = 2 * f * J * 2 + f * self._with_energies
        self._sums = np.zeros((rows, SEGMENTS))  # of outputs, of how far they lie above thresholds, of energies
        self._totals: dict[str, NDArray[np.float64]] = {}  # of what the windows do not have
        if self._combinations is not None:
            self._totals["combinations"] = np.zeros(self._combinations[1].shape[:-1])
        if not self._with_energies and "energies" in wanted:
            self._totals["energies"] = np.zeros((int(spatial.has_covariance.sum()), K, K))

    def push(self, x: Floats) -> None:
        """Filter a chunk (C, n), and add its frames; the block that is not full comes again."""
        longest = max(1, _FRAMES_AT_ONCE * self._hop // self._block) * self._block
        for first in range(0, x.shape[1], longest):
            self._take(x[:, first : first + longest])

    def means(self, weights: dict[int, NDArray[np.float64]], n_times: int) -> dict[str, NDArray[np.float64]]:
        """Return the means over all frames so far, and over equal windows of all samples so far.

        ``weights`` of segments, by hop, are the same for all groups.
        """
        if self._hop not in weights:
            weights[self._hop] = self._weights(n_times)
        pooled = self._sums[:, : -(-self._count // self._length)] @ weights[self._hop]
        f, J, _ = self._shape
        n = f * J * 2
        shape = (*self._shape, self._n_windows + 1)
        means = {"means": pooled[:n].reshape(shape), "ppv": pooled[n : 2 * n].reshape(shape)}
        if self._with_energies:
            means["energies"] = pooled[2 * n :]
        return means | {name: total / self._count for name, total in self._totals.items()}

    def _take(self, x: Floats) -> None:
        counted = -(-self._unfinished.shape[1] // self._hop)  # of the frames to come
        waited = self._unfinished.shape[1]
        n, T = waited + x.shape[1], self._block
        padded = np.zeros((len(x), -(-n // T) * T), x.dtype)
        padded[:, :waited], padded[:, waited:n] = self._unfinished, x
        frames = self._run(padded, n // T)
        self._unfinished = padded[:, n // T * T : n].copy()
        if (new := frames[..., counted : -(-n // self._hop)]).shape[-1]:
            self._add(new)

    def _run(self, x: Floats, n_kept: int) -> Floats:
        """(C, n), whole blocks -> frames (f, R, 2, m); the state moves on by ``n_kept`` blocks."""
        T, (S, Z) = self._block, self._out.shape[1:]
        before = self._filters.before
        inputs = x[None] if before is None else np.matmul(before, x)
        R = inputs.shape[1]
        product = np.matmul(inputs.reshape(len(inputs), -1, T), self._into)
        left = product[..., Z:].reshape(len(product), R, -1, S)
        states = [self._state]
        for i in range(left.shape[2]):
            states.append(left[:, :, i] + states[-1] @ self._transition)
        self._state = states[n_kept]
        z = product[..., :Z] + np.matmul(np.stack(states[:-1], 2).reshape(len(product), -1, S), self._out)
        frames: Floats = z.reshape(len(product), R, -1, 2, Z // 2).swapaxes(2, 3).reshape(len(product), R, 2, -1)
        return frames

    def _add(self, frames: Floats) -> None:
        """Add frames (f, R, 2, m) to the sums."""
        m = frames.shape[-1]
        while self._count + m > SEGMENTS * self._length:
            self._sums[:, : SEGMENTS // 2] = self._sums[:, ::2] + self._sums[:, 1::2]
            self._sums[:, SEGMENTS // 2 :] = 0.0
            self._length *= 2
        filtered, z = self._filters.split(frames)
        above = filtered * self._slope
        above += self._start
        np.clip(above, 0.0, 1.0, out=above)
        values = [filtered.reshape(-1, m), above.reshape(-1, m)]
        if self._with_energies:
            values.append(np.square(filtered[:, 0]).sum(1))
        elif len(z):
            products = z.reshape(*z.shape[:2], 2 * m).astype(np.float64)
            self._totals["energies"] += products @ products.swapaxes(1, 2)
        first, last = self._count // self._length, (self._count + m - 1) // self._length
        begins = np.maximum(np.arange(first, last + 1) * self._length - self._count, 0)
        self._sums[:, first : last + 1] += np.add.reduceat(np.concatenate(values), begins, axis=1, dtype=np.float64)
        if self._combinations is not None:
            weights, starts = self._combinations
            parts = filtered.reshape(-1, 2, m)[self._members].reshape(len(weights), -1, m)
            sums = np.matmul(weights, parts)[:, :, None] - starts
            np.clip(sums, 0.0, 1.0, out=sums)
            self._totals["combinations"] += sums.sum(-1, dtype=np.float64)
        self._count += m

    def _weights(self, n_times: int) -> NDArray[np.float64]:
        """What the mean over all frames and those over equal windows take of each segment, (n_segments, W)."""
        begins = np.arange(0, self._count, self._length)
        sizes = np.minimum(self._length, self._count - begins)
        edges = -(-np.arange(self._n_windows + 1) * n_times // (self._n_windows * self._hop))
        before = np.minimum(np.maximum((edges - begins[:, None]) / sizes[:, None], 0.0), 1.0)
        counts = edges[1:] - edges[:-1]
        weights = np.empty((len(begins), self._n_windows + 1))
        weights[:, 0] = 1.0 / self._count
        np.divide(before[:, 1:] - before[:, :-1], np.maximum(counts, 1), out=weights[:, 1:])
        # A case too short to have a frame in each window: such a window is the whole case.
        weights[:, 1:][:, counts == 0] = 1.0 / self._count
        return weights
