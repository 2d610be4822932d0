"""Pooled statistics of frozen oscillators while the signal arrives, in bounded memory."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor

from s4signal.nn.oscillators import oscillator_blocks
from s4signal.nn.statistics import SEGMENTS, OscillatorStatistics, PooledFeatures, log_energy, log_euclidean
from s4signal.nn.thresholds import share_above

__all__ = ["RunningStatistics"]

_BLOCKS_AT_ONCE = 64


class RunningStatistics:
    """What `OscillatorStatistics` says of all samples so far as one case, after every piece of it.

    Parameters
    ----------
    statistics : OscillatorStatistics
        Calibrated.
    rate : float, > 0, default=1.0
        Sample period in use over the training sample period.
    """

    def __init__(self, statistics: OscillatorStatistics, *, rate: float = 1.0) -> None:
        self.statistics = statistics
        self.n_times = 0
        self._groups = [_Group(statistics, index, hop, rate) for index, hop in statistics.groups(rate)]

    @torch.no_grad()
    def push(self, x: Tensor) -> PooledFeatures:
        """Hear a piece.

        Parameters
        ----------
        x : Tensor (n_channels, n_times)
            Standardised samples, in the dtype of the statistics.

        Returns
        -------
        PooledFeatures
            Of one case: all samples so far, at least one; NaN where an oscillator cannot be heard.
        """
        self.n_times += x.shape[1]
        (F, J, C), W = self.statistics.mixes.shape, self.statistics.n_windows + 1
        K, weighed = len(self.statistics.projection), self.statistics.weighed
        mean = x.new_full((1, F, J, 2, W), torch.nan)
        positive = torch.full_like(mean, torch.nan)
        energy = x.new_full((1, int(weighed.sum()), W if C == 1 else K * (K + 1) // 2), torch.nan)
        place = weighed.cumsum(0) - 1
        known = self.statistics.chords
        chords = x.new_full((1, *((0,) if known is None else known.levels.shape)), torch.nan)
        for group in self._groups:
            group.push(x)
            m, p, c, e = group.pooled(self.n_times, self.statistics.n_windows)
            index = group.index
            mean[0, index], positive[0, index] = m.to(x.dtype), p.to(x.dtype)
            chords[0, group.which] = c.to(x.dtype)
            energy[0, place[index[weighed[index]]]] = e.to(x.dtype)
        return PooledFeatures(mean[..., 0], mean[:, self.statistics.slow, ..., 1:], positive, chords, energy)


class _Group:
    """Oscillators of one order that are read at one pace: their state, and sums over segments of their readings."""

    def __init__(self, statistics: OscillatorStatistics, index: Tensor, hop: int, rate: float) -> None:
        self.index, self.hop, self.statistics = index, hop, statistics
        (_, J, C), sfreq, dtype = statistics.mixes.shape, statistics.sfreq / rate, statistics.mixes.dtype
        order = int(statistics.orders[index[0]])
        frequencies, bandwidths = statistics.frequencies_hz[index] / sfreq, statistics.bandwidths_hz[index] / sfreq
        self.block, self.into, self.out, self.transition = oscillator_blocks(
            frequencies, bandwidths, order=order, hop=hop, longest=64, dtype=dtype
        )
        self.state = torch.zeros(len(index), C, 2 * order, dtype=dtype)
        self.rest = torch.zeros(C, 0, dtype=dtype)
        # Of each segment: waves, shares above the thresholds, and the energy of a single channel.
        self.sums = torch.zeros(SEGMENTS, len(index), 4 * J + (C == 1), dtype=torch.float64)
        self.count, self.length = 0, 1  # readings, and how many a segment has
        chords = statistics.chords
        self.which, self.notes = (index[:0], index) if chords is None else chords.among(index, J)
        self.above = torch.zeros(0, dtype=torch.float64)  # readings of the chords above their thresholds
        if chords is not None:
            self.above = torch.zeros_like(chords.levels[self.which], dtype=torch.float64)
        K = len(statistics.projection)
        self.covariance = torch.zeros(int(statistics.weighed[index].sum()), K, K, dtype=torch.float64)

    def push(self, x: Tensor) -> None:
        """Hear a piece (C, n), block by block; what is left of it waits."""
        x = torch.cat([self.rest, x], 1)
        n_blocks = x.shape[1] // self.block
        self.rest = x[:, n_blocks * self.block :]
        if n_blocks:
            for blocks in x[:, : n_blocks * self.block].split(_BLOCKS_AT_ONCE * self.block, 1):
                self._add(self._readings(blocks))

    def pooled(self, n_times: int, n_windows: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return means and shares (F, J, 2, W), shares of chords (Q, S, T) and energies of all that was heard."""
        if self.rest.shape[1]:
            # The unfinished block is heard on a copy, and again when it is whole.
            whole = copy.copy(self)
            whole.sums, whole.covariance, whole.above = self.sums.clone(), self.covariance.clone(), self.above.clone()
            missing = self.block - self.rest.shape[1]
            readings = whole._readings(torch.nn.functional.pad(self.rest, (0, missing)))
            whole._add(readings[..., : math.ceil(self.rest.shape[1] / self.hop)])
            whole.rest = self.rest[:, :0]
            return whole.pooled(n_times, n_windows)
        J, C = self.statistics.mixes.shape[1:]
        edges = [-(-w * n_times // (n_windows * self.hop)) for w in range(n_windows + 1)]
        at_edges = [self._until(edge) for edge in edges]
        pooled = [at_edges[-1] / self.count]
        for first, last, before, after in zip(edges, edges[1:], at_edges, at_edges[1:], strict=False):
            # A case too short to have a reading in each window: such a window is the whole case.
            pooled.append((after - before) / (last - first) if last > first else pooled[0])
        values = torch.stack(pooled, -1)  # (F, 4 J + 1, W)
        mean, positive = values[:, : 2 * J].unflatten(1, (J, 2)), values[:, 2 * J : 4 * J].unflatten(1, (J, 2))
        chords = self.above / self.count
        if C == 1:
            return mean, positive, chords, log_energy(values[:, -1])
        return mean, positive, chords, log_euclidean(self.covariance / self.count, self.statistics.shrinkage)

    def _readings(self, x: Tensor) -> Tensor:
        """(C, n), whole blocks -> (F, C, 2, m), and the state moves on."""
        parts = []
        for u in x.split(self.block, 1):
            product = torch.bmm(u.expand(len(self.index), *u.shape), self.into)
            width = self.out.shape[-1]
            parts.append(torch.baddbmm(product[..., :width], self.state, self.out).unflatten(-1, (2, -1)))
            self.state = torch.baddbmm(product[..., width:], self.state, self.transition)
        return torch.cat(parts, -1)

    def _add(self, z: Tensor) -> None:
        """Add readings (F, C, 2, m) to the sums."""
        statistics, m = self.statistics, z.shape[-1]
        waves = torch.matmul(statistics.mixes[self.index].to(z.dtype), z.flatten(2)).unflatten(-1, z.shape[2:])
        above = share_above(waves, statistics.thresholds[self.index], statistics.scales[self.index])
        values = [waves.flatten(1, 2), above.flatten(1, 2)]
        if z.shape[1] == 1:
            values.append(waves.square().sum((1, 2)).unsqueeze(1))
        else:
            rows = z[statistics.weighed[self.index]].flatten(2)
            if statistics.projection.shape[0] < statistics.projection.shape[1]:
                rows = torch.matmul(statistics.projection, rows)
            self.covariance += torch.matmul(rows, rows.mT)
        if statistics.chords is not None:
            share = waves.new_ones(1, m)
            self.above += statistics.chords.count(waves.unsqueeze(0), self.which, self.notes, share)[0]
        while self.count + m > SEGMENTS * self.length:
            pairs = self.sums.unflatten(0, (-1, 2)).sum(1)
            self.sums = torch.cat([pairs, torch.zeros_like(pairs)])
            self.length *= 2
        segment = (self.count + torch.arange(m)) // self.length
        self.sums.index_add_(0, segment, torch.cat(values, 1).permute(2, 0, 1).double())
        self.count += m

    def _until(self, reading: int) -> Tensor:
        """Sum of the readings before one, (F, 4 J + 1)."""
        segment, inside = divmod(reading, self.length)
        total = self.sums[:segment].sum(0)
        if not inside:
            return total
        return total + self.sums[segment] * (inside / min(self.length, self.count - segment * self.length))
