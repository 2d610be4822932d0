"""Pooled statistics of frozen oscillators while the signal arrives, in bounded memory."""

from __future__ import annotations

import copy
import math
from itertools import pairwise

import torch
from torch import Tensor

from s4signal.random_features.filters import oscillator_blocks
from s4signal.random_features.pooled_features import PooledFeatures, Sums
from s4signal.random_features.statistics import SEGMENTS, OscillatorStatistics

__all__ = ["RunningStatistics"]

_READINGS_AT_ONCE = 512


class RunningStatistics:
    """What `OscillatorStatistics` says of all samples so far as one case, after every piece of it."""

    def __init__(self, statistics: OscillatorStatistics, *, rate: float = 1.0) -> None:
        self.statistics = statistics
        self.n_times = 0
        self._groups = [_Group(statistics, index, hop, rate) for index, hop in statistics.groups(rate)]

    @torch.no_grad()
    def push(self, x: Tensor) -> PooledFeatures:
        """Hear a piece.

        Shapes: x (n_channels, n_times).
        """
        self.n_times += x.shape[1]
        table = self.statistics.table(1, x)
        for group in self._groups:
            group.push(x)
            table.put(group.index, group.chords[0], group.means(self.n_times))
        return table.features(self.statistics.slow)


class _Group:
    """Oscillators of one order that are read at one pace: their state, and sums over segments of their readings."""

    def __init__(self, statistics: OscillatorStatistics, index: Tensor, hop: int, rate: float) -> None:
        self.index, self.hop, self.statistics = index, hop, statistics
        sfreq, dtype, order = statistics.sfreq / rate, statistics.mixes.dtype, int(statistics.orders[index[0]])
        frequencies, bandwidths = statistics.frequencies_hz[index] / sfreq, statistics.bandwidths_hz[index] / sfreq
        self.bank = oscillator_blocks(frequencies, bandwidths, order=order, hop=hop, longest=64, dtype=dtype)
        self.mixed, self.chords = statistics.mixed(index, dtype, weighed=True), statistics.chords_among(index)
        self.state = self.bank.at_rest(self.mixed.rows(1))
        self.rest = torch.zeros(statistics.mixes.shape[2], 0, dtype=dtype)  # of a block that has not ended
        self.count, self.length = 0, 1  # readings, and how many a segment has
        nothing = self.state.new_zeros(*self.state.shape[:2], 2, 0)
        self.sums = self._sums(nothing, torch.zeros(0, SEGMENTS))  # of each segment, and of all

    def push(self, x: Tensor) -> None:
        """Hear a piece (C, n), block by block; what is left of it waits."""
        x, block = torch.cat([self.rest, x], 1), self.bank.block
        whole = x.shape[1] // block * block
        self.rest = x[:, whole:]
        if whole:
            for blocks in x[:, :whole].split(max(1, _READINGS_AT_ONCE * self.hop // block) * block, 1):
                self._add(self._readings(blocks))

    def means(self, n_times: int) -> Sums:
        """Return the means over all readings so far."""
        if self.rest.shape[1]:
            # The unfinished block is heard on a copy, and again when it is whole.
            longer = copy.copy(self)
            longer.sums = Sums(*({name: part.clone() for name, part in parts.items()} for parts in self.sums))
            readings = longer._readings(torch.nn.functional.pad(self.rest, (0, self.bank.block - self.rest.shape[1])))
            longer._add(readings[..., : math.ceil(self.rest.shape[1] / self.hop)])
            longer.rest = self.rest[:, :0]
            return longer.means(n_times)
        windows, whole = self.sums
        return Sums(
            {name: self._windows(part, n_times) for name, part in windows.items()},
            {name: part / self.count for name, part in whole.items()},
        )

    def _readings(self, x: Tensor) -> Tensor:
        """(C, n), whole blocks -> (f, R, 2, m), and the state moves on."""
        readings, self.state = self.bank.run(x.unflatten(1, (-1, self.bank.block)), self.state, self.mixed.before)
        return readings

    def _add(self, readings: Tensor) -> None:
        """Add readings (f, R, 2, m) to the sums."""
        m = readings.shape[-1]
        while self.count + m > SEGMENTS * self.length:
            for part in self.sums.windows.values():
                pairs = part.unflatten(-1, (-1, 2)).sum(-1)
                part.copy_(torch.cat([pairs, torch.zeros_like(pairs)], -1))
            self.length *= 2
        segments = (self.count + torch.arange(m)) // self.length
        first, last = int(segments[0]), int(segments[-1]) + 1
        windows, whole = self._sums(readings, torch.nn.functional.one_hot(segments - first, last - first))
        for name, part in windows.items():
            self.sums.windows[name][..., first:last] += part
        for name, part in whole.items():
            self.sums.whole[name].add_(part)
        self.count += m

    def _sums(self, readings: Tensor, segments: Tensor) -> Sums:
        """Add up readings (f, R, 2, m) of one case, by their segments (m, S), 0 or 1."""
        waves, z = self.mixed.split(readings, 1)
        shares = segments.to(waves.dtype).unsqueeze(0)
        sums = self.statistics.add_up(waves, z, self.index, self.chords, shares, shares.sum(2))
        return Sums(*({name: part.double() for name, part in parts.items()} for parts in sums))

    def _windows(self, sums: Tensor, n_times: int) -> Tensor:
        """Means over the whole and over equal parts of all samples so far: (..., S) -> (..., W)."""
        n_windows = self.statistics.n_windows
        edges = [-(-w * n_times // (n_windows * self.hop)) for w in range(n_windows + 1)]
        at_edges = [self._until(sums, edge) for edge in edges]
        pooled = [at_edges[-1] / self.count]
        for (first, before), (last, after) in pairwise(zip(edges, at_edges, strict=True)):
            # A case too short to have a reading in each window: such a window is the whole case.
            pooled.append((after - before) / (last - first) if last > first else pooled[0])
        return torch.stack(pooled, -1)

    def _until(self, sums: Tensor, reading: int) -> Tensor:
        """Sum of the readings before one: (..., S) -> (...)."""
        segment, inside = divmod(reading, self.length)
        total = sums[..., :segment].sum(-1)
        if not inside:
            return total
        return total + sums[..., segment] * (inside / min(self.length, self.count - segment * self.length))
