"""Pooled statistics of frozen oscillators while the signal arrives, in bounded memory."""

import copy
import math
from itertools import pairwise

import torch
from torch import Tensor

from s4signal.random_features.filters import oscillator_blocks
from s4signal.random_features.statistics import SEGMENTS, OscillatorGroup, PooledStatistics

_FRAMES_AT_ONCE = 512


class RunningStatistics:
    """What `PooledStatistics.pool` says of all samples so far as one case, after every chunk."""

    def __init__(self, statistics: PooledStatistics, *, rate: float = 1.0) -> None:
        self.n_times = 0
        self._statistics = statistics
        self._groups = [_RunningGroup(statistics, group, rate) for group in statistics.groups(rate)]

    @torch.no_grad()
    def push(self, x: Tensor) -> dict[str, Tensor]:
        """Take a chunk (n_channels, n_times) and return the statistics of all so far, for n = 1."""
        self.n_times += x.shape[1]
        table = self._statistics.empty(1, x)
        for group in self._groups:
            group.push(x)
            self._statistics.enter(table, group.group, group.means(self.n_times))
        return self._statistics.finished(table)


class _RunningGroup:
    """Oscillators of one order and hop: their state, and sums over segments of their frames."""

    def __init__(self, statistics: PooledStatistics, group: OscillatorGroup, rate: float) -> None:
        self.group, self.statistics = group, statistics
        sfreq, dtype = statistics.sfreq / rate, statistics.spatial_filters.dtype
        bands = (
            statistics.frequencies_hz[group.oscillators] / sfreq,
            statistics.bandwidths_hz[group.oscillators] / sfreq,
        )
        self.bank = oscillator_blocks(*bands, order=group.order, hop=group.hop, longest=64, dtype=dtype)
        self.filters = statistics.spatial(group, dtype, covariance=True)
        self.state = self.bank.at_rest(self.filters.rows(1))
        self.unfinished = torch.zeros(statistics.spatial_filters.shape[2], 0, dtype=dtype)  # block
        self.count, self.length = 0, 1  # frames, and how many a segment has
        nothing = self.state.new_zeros(*self.state.shape[:2], 2, 0)
        self.sums = self._sums(nothing, torch.zeros(0, SEGMENTS))  # (..., SEGMENTS) where there are windows

    def push(self, x: Tensor) -> None:
        """Filter a chunk (C, n), block by block; the unfinished block waits."""
        x, block = torch.cat([self.unfinished, x], 1), self.bank.block
        whole = x.shape[1] // block * block
        self.unfinished = x[:, whole:]
        if whole:
            for blocks in x[:, :whole].split(max(1, _FRAMES_AT_ONCE * self.group.hop // block) * block, 1):
                self._add(self._frames(blocks))

    def means(self, n_times: int) -> dict[str, Tensor]:
        """Return the means over all frames so far."""
        n = self.unfinished.shape[1]
        if n:
            # The unfinished block is filtered on a copy, and again when it is whole.
            longer = copy.copy(self)
            longer.sums = {name: part.clone() for name, part in self.sums.items()}
            frames = longer._frames(torch.nn.functional.pad(self.unfinished, (0, self.bank.block - n)))
            longer._add(frames[..., : math.ceil(n / self.group.hop)])
            longer.unfinished = self.unfinished[:, :0]
            return longer.means(n_times)
        windowed = self.statistics.windowed
        return {
            name: self._over_windows(part, n_times) if name in windowed else part / self.count
            for name, part in self.sums.items()
        }

    def _frames(self, x: Tensor) -> Tensor:
        """(C, n), whole blocks -> (f, R, 2, m), and the state moves on."""
        frames, self.state = self.bank.run(x.unflatten(1, (-1, self.bank.block)), self.state, self.filters.before)
        return frames

    def _add(self, frames: Tensor) -> None:
        """Add frames (f, R, 2, m) to the sums."""
        m, windowed = frames.shape[-1], self.statistics.windowed
        while self.count + m > SEGMENTS * self.length:
            for name in windowed & self.sums.keys():
                pairs = self.sums[name].unflatten(-1, (-1, 2)).sum(-1)
                self.sums[name].copy_(torch.cat([pairs, torch.zeros_like(pairs)], -1))
            self.length *= 2
        segments = (self.count + torch.arange(m)) // self.length
        first, last = int(segments[0]), int(segments[-1]) + 1
        more = self._sums(frames, torch.nn.functional.one_hot(segments - first, last - first))
        for name, part in more.items():
            (self.sums[name][..., first:last] if name in windowed else self.sums[name]).add_(part)
        self.count += m

    def _sums(self, frames: Tensor, segments: Tensor) -> dict[str, Tensor]:
        """Add up frames (f, R, 2, m) of one case, by their segments (m, S), 0 or 1."""
        filtered, z = self.filters.split(frames, 1)
        windows = segments.to(filtered.dtype).unsqueeze(0)
        sums = self.statistics.add_up(filtered, z, self.group, windows, windows.sum(2))
        return {name: part.double() for name, part in sums.items()}

    def _over_windows(self, sums: Tensor, n_times: int) -> Tensor:
        """Means over the whole and over equal windows of all samples so far: (..., S) -> (..., W)."""
        n_windows = self.statistics.n_windows
        edges = [-(-w * n_times // (n_windows * self.group.hop)) for w in range(n_windows + 1)]
        at_edges = [self._until(sums, edge) for edge in edges]
        pooled = [at_edges[-1] / self.count]
        for (first, before), (last, after) in pairwise(zip(edges, at_edges, strict=True)):
            # A case too short to have a frame in each window: such a window is the whole case.
            pooled.append((after - before) / (last - first) if last > first else pooled[0])
        return torch.stack(pooled, -1)

    def _until(self, sums: Tensor, frame: int) -> Tensor:
        """Sum of the frames before one: (..., S) -> (...)."""
        segment, inside = divmod(frame, self.length)
        total = sums[..., :segment].sum(-1)
        if not inside:
            return total
        return total + sums[..., segment] * (inside / min(self.length, self.count - segment * self.length))
