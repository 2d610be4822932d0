"""Pooled statistics of frozen oscillators for streams, in bounded memory.

A frame is computed at the first sample of its hop, so that each frame is final once added, for any division into
chunks. The computation uses NumPy, whose call overhead is a fraction of torch's for the small arrays of a chunk.
"""

import copy
from collections.abc import Iterator, Sequence, Set
from itertools import groupby
from operator import attrgetter
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from s4signal.random_features.combinations import soft_edges
from s4signal.random_features.filters import OscillatorBlocks, SpatialFilters, oscillator_blocks
from s4signal.random_features.statistics import SEGMENTS, STATISTICS, OscillatorGroup, PooledStatistics

_FRAMES_AT_ONCE = 512
_BLOCK = 32  # samples: an incomplete block is filtered again with the next samples

Floats = NDArray[np.floating]


class RunningStatistics:
    """The statistics ``wanted`` of all samples so far, as `PooledStatistics.pool` returns them for one case."""

    def __init__(
        self, statistics: PooledStatistics, *, rate: float = 1.0, wanted: Set[str] = frozenset(STATISTICS)
    ) -> None:
        self.n_times, self.used = 0, bool(wanted)
        self._statistics = statistics
        groups = groups_by_hop(statistics, rate) if wanted else []
        self._groups = [_RunningGroup(statistics, group, rate, wanted) for group in groups]
        self._places = statistics.places(joined([group for part in groups for group in part], 0))
        self._table = statistics.empty(1, statistics.spatial_filters)

    def fresh(self) -> Self:
        """Return a copy in the initial state; everything independent of samples is shared."""
        other = copy.copy(self)
        other.n_times, other._groups = 0, [copy.copy(group) for group in self._groups]
        for group in other._groups:
            group.reset()
        other._table = {name: part.clone() for name, part in self._table.items()}
        return other

    def push(self, x: Floats) -> None:
        """Process a chunk (n_channels, n_times)."""
        self.n_times += x.shape[1]
        for group in self._groups:
            group.push(x)

    @torch.no_grad()
    def value(self) -> dict[str, Tensor]:
        """Return the statistics of all samples so far, for n = 1; arrays are overwritten by the next call."""
        windows = self._windows() if self._groups and self._groups[0].windowed else [()] * len(self._groups)
        means = [group.means(*window) for group, window in zip(self._groups, windows, strict=True)]
        for name in means[0] if means else ():
            whole = torch.from_numpy(np.concatenate([part[name] for part in means]))
            self._statistics.enter(self._table, self._places, {name: whole.unsqueeze(0)})
        return self._statistics.finished(self._table)

    def _windows(self) -> Iterator[tuple[Any, ...]]:
        """Yield the borders of the windows of all samples so far, in segments of each group; see `means`."""
        W, sizes = self._statistics.n_windows, [(group.hop, group.length, group.count) for group in self._groups]
        hop, length, count = np.array(sizes, np.int64).reshape(-1, 3, 1).swapaxes(0, 1)
        ends = -(-np.arange(W + 1) * self.n_times // (W * hop))
        segments, last = ends // length, -(-count // length)
        # The sum of a segment across a border is split in proportion to its frames.
        share = (ends - segments * length) / np.maximum(np.minimum(length, count - segments * length), 1)
        frames = ends[:, 1:] - ends[:, :-1]
        return zip(segments, np.minimum(segments + 1, last), last[:, 0], share[..., None], frames, strict=True)


def groups_by_hop(statistics: PooledStatistics, rate: float) -> list[list[OscillatorGroup]]:
    """Return the oscillators below the Nyquist frequency at a rate, grouped by hop."""
    hop = attrgetter("hop")
    return [list(groups) for _, groups in groupby(sorted(statistics.groups(rate), key=hop), key=hop)]


def joined(groups: Sequence[OscillatorGroup], n_filters: int) -> OscillatorGroup:
    """Concatenate groups of oscillators; members become flat indices of all outputs, ``n_filters`` per oscillator."""
    none = torch.zeros(0, dtype=torch.long)
    if not groups:
        return OscillatorGroup(none, 0, 0, none, none)
    oscillators, _, orders, combinations, members = zip(*groups, strict=True)
    firsts = np.cumsum([0, *map(len, oscillators[:-1])]) * n_filters
    shifted = torch.cat([flat + first for flat, first in zip(members, firsts.tolist(), strict=True)])
    return OscillatorGroup(torch.cat(oscillators), groups[0].hop, max(orders), torch.cat(combinations), shifted)


def joined_bank(
    statistics: PooledStatistics,
    groups: Sequence[OscillatorGroup],
    rate: float,
    *,
    dtype: torch.dtype,
    longest: int = _BLOCK,
    hop: int | None = None,
) -> OscillatorBlocks:
    """Build the matrices of oscillators of one hop and several orders; shorter states are padded with zeros.

    ``hop`` overrides the hop of the groups.
    """
    sfreq = statistics.sfreq / rate
    most, parts = max(2 * group.order for group in groups), []
    for group in groups:
        bands = (values[group.oscillators] / sfreq for values in (statistics.frequencies_hz, statistics.bandwidths_hz))
        bank = oscillator_blocks(*bands, order=group.order, hop=hop or group.hop, longest=longest, dtype=dtype)
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
        # For one channel, filters are 1; for few channels, components are the channels.
        self._identity = self._filters.shape[1:] == (1, 1) and bool((self._filters == 1.0).all())
        self._components = components if components.shape[0] < components.shape[1] else None

    def split(self, frames: Floats) -> tuple[Floats, Floats]:
        """Split frames (f, R, 2, m) into (f, J, 2, m) of filters and (f', K, 2, m) of components."""
        J, chosen = self._filters.shape[1], frames[self._chosen]
        if self.before is not None:
            return frames[:, :J], chosen[:, J:]
        m = frames.shape[-1]
        if not self._identity:
            frames = np.matmul(self._filters, frames.reshape(*frames.shape[:2], 2 * m)).reshape(len(frames), J, 2, m)
        if self._components is not None:
            chosen = np.matmul(self._components, chosen.reshape(*chosen.shape[:2], 2 * m)).reshape(
                len(chosen), -1, 2, m
            )
        return frames, chosen


class _RunningGroup:
    """Oscillators of one hop: their state, and sums of their frames over segments.

    Shapes: f oscillators with J spatial filters each, R input signals per oscillator, m frames.
    """

    def __init__(
        self, statistics: PooledStatistics, groups: Sequence[OscillatorGroup], rate: float, wanted: Set[str]
    ) -> None:
        dtype, (_, J, C) = statistics.spatial_filters.dtype, statistics.spatial_filters.shape
        group, K = joined(groups, J), len(statistics.components)
        f, bank = len(group.oscillators), joined_bank(statistics, groups, rate, dtype=dtype)
        self._into, self._out, self._transition = (part.numpy() for part in bank)
        self.hop, self._block = group.hop, bank.block
        spatial = statistics.spatial(group, dtype, covariance="energies" in wanted)
        self._filters = _SpatialFilters(spatial)
        self._at_rest = bank.at_rest(spatial.rows(1)).numpy()
        edges = soft_edges(statistics.thresholds[group.oscillators], statistics.scales[group.oscillators])
        self._start, self._slope = (edge.to(dtype).numpy()[..., None] for edge in edges)
        self._combinations, self._members = None, group.members.numpy()
        if statistics.combinations is not None and "combinations" in wanted:
            weights, thresholds = statistics.combinations.weights, statistics.combinations.thresholds
            starts = (thresholds[group.combinations] - 0.5).numpy()[..., None]
            self._combinations = weights[group.combinations].numpy(), starts
        self._shape = f, J, 2
        sizes = {"means": f * J * 2, "ppv": f * J * 2, "energies": f}
        # Numbers per windowed statistic, in order of concatenation; shapes of the other statistics.
        self.windowed = {name: size for name, size in sizes.items() if name in wanted & statistics.windowed}
        self._others: dict[str, tuple[int, ...]] = {}
        if self._combinations is not None:
            self._others["combinations"] = self._combinations[1].shape[:-1]
        if "energies" in wanted - statistics.windowed:
            self._others["energies"] = (int(spatial.has_covariance.sum()), K, K)
        self._n_channels = C
        self.reset()

    def reset(self) -> None:
        """Reset to the state before the first sample."""
        self._state = self._at_rest
        self._unfinished = np.zeros((self._n_channels, 0), self._into.dtype)  # samples of the incomplete block
        self.count, self.length = 0, 1  # number of frames, frames per segment
        self._before = np.zeros((SEGMENTS + 1, sum(self.windowed.values())))  # cumulative sums before each segment
        self._totals = {name: np.zeros(shape) for name, shape in self._others.items()}

    def push(self, x: Floats) -> None:
        """Filter a chunk (C, n), and add its frames; an incomplete block is kept for the next chunk."""
        longest = max(1, _FRAMES_AT_ONCE * self.hop // self._block) * self._block
        for first in range(0, x.shape[1], longest):
            self._take(x[:, first : first + longest])

    def means(self, *where: Any) -> dict[str, NDArray[np.float64]]:
        """Return the means over all frames so far, and over windows.

        ``where``: segment of each window border, next segment, number of segments, fraction before the border, frames.
        """
        means = {name: total / self.count for name, total in self._totals.items()}
        if not where:
            return means
        segments, following, last, share, frames = where
        sums, further = self._before[segments], self._before[following]
        further -= sums
        further *= share
        sums += further
        whole, windows = self._before[last] / self.count, sums[1:] - sums[:-1]
        windows /= np.maximum(frames, 1)[:, None]
        windows[frames == 0] = whole  # the case is too short for a frame in each window
        pooled, first = np.concatenate([whole[None], windows]).T, 0
        for name, size in self.windowed.items():
            shape = self._shape[:1] if name == "energies" else self._shape
            means[name] = pooled[first : first + size].reshape(*shape, -1)
            first += size
        return means

    def _take(self, x: Floats) -> None:
        buffered = self._unfinished.shape[1]
        counted = -(-buffered // self.hop)  # frames that were already added
        n, T = buffered + x.shape[1], self._block
        padded = np.zeros((len(x), -(-n // T) * T), x.dtype)
        padded[:, :buffered], padded[:, buffered:n] = self._unfinished, x
        frames = self._run(padded, n // T)
        self._unfinished = padded[:, n // T * T : n].copy()
        if (new := frames[..., counted : -(-n // self.hop)]).shape[-1]:
            self._add(new)

    def _run(self, x: Floats, n_kept: int) -> Floats:
        """Return frames (f, R, 2, m) of full blocks (C, n), and advance the state by ``n_kept`` blocks."""
        T, (S, Z) = self._block, self._out.shape[1:]
        before = self._filters.before
        inputs = x[None] if before is None else np.matmul(before, x)
        R = inputs.shape[1]
        product = np.matmul(inputs.reshape(len(inputs), -1, T), self._into)
        added = product[..., Z:].reshape(len(product), R, -1, S)
        entering, state = np.empty_like(added), self._state
        for i in range(added.shape[2]):
            entering[:, :, i] = state
            if i < n_kept:
                state = added[:, :, i] + state @ self._transition
        self._state = state
        z = product[..., :Z] + np.matmul(entering.reshape(len(product), -1, S), self._out)
        return np.asarray(z.reshape(len(product), R, -1, 2, Z // 2).swapaxes(2, 3).reshape(len(product), R, 2, -1))

    def _add(self, frames: Floats) -> None:
        """Add frames (f, R, 2, m) to the sums."""
        m = frames.shape[-1]
        filtered, z = self._filters.split(frames)
        values = [filtered.reshape(-1, m)] if "means" in self.windowed else []
        if "ppv" in self.windowed:
            above = filtered * self._slope
            above += self._start
            values.append(_clipped(above).reshape(-1, m))
        if "energies" in self.windowed:
            values.append(np.square(filtered[:, 0]).sum(1))
        elif len(z):
            products = z.reshape(*z.shape[:2], 2 * m).astype(np.float64)
            self._totals["energies"] += products @ products.swapaxes(1, 2)
        if values:
            self._add_to_segments(np.concatenate(values))
        if self._combinations is not None:
            weights, starts = self._combinations
            parts = filtered.reshape(-1, 2, m)[self._members].reshape(len(weights), -1, m)
            self._totals["combinations"] += _clipped(np.matmul(weights, parts)[:, :, None] - starts).sum(-1)
        self.count += m

    def _add_to_segments(self, values: Floats) -> None:
        """Add values (rows, m) of new frames; if all segments are full, merge them in pairs."""
        m = values.shape[1]
        while self.count + m > SEGMENTS * self.length:
            last = -(-self.count // self.length)
            self._before[last + 1 :] = self._before[last]
            self._before[: SEGMENTS // 2 + 1] = self._before[::2]
            self.length *= 2
        first, last = self.count // self.length, (self.count + m - 1) // self.length
        begins = np.maximum(np.arange(first, last + 1) * self.length - self.count, 0)
        sums = np.add.reduceat(values, begins, axis=1, dtype=np.float64).T
        self._before[first + 1 : last + 2] = self._before[-(-self.count // self.length)] + sums.cumsum(0)


def _clipped(x: Floats) -> Floats:
    """Clip to [0, 1] in place; `numpy.clip` has more overhead."""
    np.maximum(x, 0.0, out=x)
    return np.minimum(x, 1.0, out=x)
