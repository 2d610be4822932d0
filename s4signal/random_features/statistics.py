"""Pooled statistics of frozen oscillators: what an instant model knows of a case."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from s4signal.random_features.combinations import Chords
from s4signal.random_features.filters import OscillatorBlocks, read_oscillators
from s4signal.random_features.mixed_readings import MixedReadings
from s4signal.random_features.pooled_features import FeatureTable, PooledFeatures, Sums
from s4signal.random_features.thresholds import share_above

__all__ = ["SEGMENTS", "OscillatorStatistics"]

SEGMENTS = 512  # most sums that a stream keeps of the past; each holds twice as much time whenever they are full

_MAX_READINGS = 2**20
_MOST_TABLES = 64
_SUMMED = 128  # numbers that are added up in single precision
_COVARIANCES = 32  # oscillators at least have one, or every second


class OscillatorStatistics(nn.Module):
    """Run oscillators over every channel and pool their outputs, and mixes of them, over windows of the case.

    Every statistic is a function of time averages: it takes one pass, block by block, at any length.

    Shapes: frequencies_hz, bandwidths_hz (F,), orders (F,), hops (F,), mixes (F, J, C), levels (F, J, 2), projection
    (K, C), slow (F,).
    """

    frequencies_hz: Tensor
    bandwidths_hz: Tensor
    orders: Tensor
    hops: Tensor
    mixes: Tensor
    levels: Tensor
    projection: Tensor
    slow: Tensor
    thresholds: Tensor
    scales: Tensor

    def __init__(
        self,
        *,
        frequencies_hz: Tensor,
        bandwidths_hz: Tensor,
        orders: Tensor,
        hops: Tensor,
        mixes: Tensor,
        levels: Tensor,
        projection: Tensor,
        sfreq: float,
        n_windows: int = 4,
        slow: Tensor | None = None,
        shrinkage: float = 0.01,
        chords: Chords | None = None,
    ) -> None:
        super().__init__()
        self.sfreq, self.n_windows, self.shrinkage, self.chords = sfreq, n_windows, shrinkage, chords
        self.register_buffer("frequencies_hz", frequencies_hz)
        self.register_buffer("bandwidths_hz", bandwidths_hz)
        self.register_buffer("orders", orders)
        self.register_buffer("hops", hops)
        self.register_buffer("mixes", mixes)
        self.register_buffer("levels", levels)
        self.register_buffer("projection", projection)
        self.register_buffer("slow", torch.zeros(len(hops), dtype=torch.bool) if slow is None else slow)
        self.register_buffer("thresholds", torch.zeros_like(levels))
        self.register_buffer("scales", torch.zeros_like(levels))
        self._tables: dict[tuple[float, int, int], dict[Any, OscillatorBlocks]] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what can be built again."""
        return {**self.__dict__, "_tables": {}}

    def audible(self, rate: float) -> Tensor:
        """Which oscillators lie below the Nyquist frequency, (F,) of bool; for ``rate`` see `forward`."""
        return self.frequencies_hz * rate < 0.5 * self.sfreq

    @property
    def weighed(self) -> Tensor:
        """Which oscillators have energies, (F,) of bool: all without mixes or for one channel, else 48 at most."""
        F, J, C = self.mixes.shape
        # Neighbours in frequency have nearly the same covariance.
        every = 1 if C == 1 or J == 0 else max(2, F // _COVARIANCES)
        return torch.arange(F - 1, -1, -1, device=self.mixes.device) % every == 0

    @torch.no_grad()
    def calibrate(self, batches: Iterator[tuple[Tensor, Tensor, float, Tensor]]) -> None:
        """Set the thresholds from training cases.

        Shapes: batches (x, lengths, rate, weights).
        """
        first = torch.zeros_like(self.thresholds)
        second, total = torch.zeros_like(first), 0.0
        products = None if self.chords is None else torch.zeros_like(self.chords.weights)
        for x, lengths, rate, weights in batches:
            total += float(weights.sum())
            for index, hop in self.groups(rate):
                ends = self._ends(lengths, hop)
                weight = (weights / ends[:, -1]).to(x.dtype)[:, None]
                for waves, _, shares in self._readings(x, ends, rate, index, hop, weighed=False):
                    counted = waves * (shares[..., 0] * weight)[:, None, None, None]
                    first[index] += counted.sum((0, 4))
                    second[index] += (counted * waves).sum((0, 4))
                    if self.chords is not None and products is not None:
                        which, place = self.chords_among(index)
                        some, others = (self.chords.parts(part, place) for part in (counted, waves))
                        products[which] += torch.matmul(some, others.transpose(-1, -2)).sum(0)
        mean = first / total
        self.scales.copy_((second / total - mean**2).clamp_min(0.0).sqrt())
        self.thresholds.copy_(mean + self.scales * self.levels)
        if self.chords is not None and products is not None:
            self.chords.calibrate(mean, products / total)

    @torch.no_grad()
    def forward(
        self, x: Tensor, lengths: Tensor, *, rate: float = 1.0, wanted: tuple[bool, bool, bool, bool] = (True,) * 4
    ) -> PooledFeatures:
        """Pool over cases.

        Shapes: x (C, n, n_times), lengths (n,), wanted (True, True, True, True).
        """
        table = self.table(x.shape[1], x)
        for index, hop in self.groups(rate) if any(wanted) else ():
            ends, chords = self._ends(lengths, hop), self.chords_among(index)
            windows, whole = reduce(
                Sums.__add__,
                (
                    self.add_up(waves, z, index, chords, shares, shares[..., 0], wanted=wanted)
                    for waves, z, shares in self._readings(x, ends, rate, index, hop, weighed=wanted[3])
                ),
            )
            count = ends[:, -1, None, None, None].to(x.dtype)
            means = {name: _mean(part, ends) for name, part in windows.items()}
            table.put(index, chords[0], Sums(means, {name: part / count for name, part in whole.items()}))
        return table.features(self.slow)

    def table(self, n: int, like: Tensor) -> FeatureTable:
        """Return an empty table for n cases, of the dtype and device of ``like``."""
        return FeatureTable(
            n,
            1 + self.n_windows,
            mixes=self.mixes,
            chords=(0,) if self.chords is None else tuple(self.chords.levels.shape),
            weighed=self.weighed,
            n_components=len(self.projection),
            shrinkage=self.shrinkage,
            like=like,
        )

    def mixed(self, index: Tensor, dtype: torch.dtype, *, weighed: bool) -> MixedReadings:
        """Return what becomes of the readings of the oscillators ``index`` (f,), weighed where they are if wanted."""
        here = self.weighed[index] & weighed
        return MixedReadings(self.mixes[index].to(dtype), self.projection.to(dtype), here)

    def chords_among(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Find the chords (q,) of the oscillators ``index`` (f,), and their notes (q, k) among these."""
        return (index[:0], index[:0]) if self.chords is None else self.chords.among(index, self.mixes.shape[1])

    def add_up(
        self,
        waves: Tensor,
        z: Tensor,
        index: Tensor,
        chords: tuple[Tensor, Tensor],
        shares: Tensor,
        inside: Tensor,
        *,
        wanted: tuple[bool, bool, bool, bool] = (True,) * 4,
    ) -> Sums:
        """Add up what the features are made of, over some readings.

        Shapes: waves (n, f, J, 2, m), z (f', K, n, 2, m), index (f,), shares (n, m, W), inside (n, m), wanted (True,
        True, True, True).
        """
        windows, whole = {}, {}
        if wanted[0]:
            windows["waves"] = _pool(waves, shares)
        if wanted[1]:
            windows["above"] = _pool(share_above(waves, self.thresholds[index], self.scales[index]), shares)
        if wanted[2] and self.chords is not None:
            whole["chords"] = self.chords.count(waves, *chords, inside)
        if wanted[3] and self.mixes.shape[2] == 1:
            windows["squares"] = _pool(waves.square().sum(3), shares)[:, :, 0]
        elif wanted[3] and len(z):
            whole["products"] = _covariance(z, inside)
        return Sums(windows, whole)

    def groups(self, rate: float) -> Iterator[tuple[Tensor, int]]:
        """Yield audible oscillators of one order that are read at one pace."""
        hops = (self.hops / rate).round().clamp_min(1).long()
        kinds = torch.stack([hops, self.orders], 1)
        for hop, order in kinds[self.audible(rate)].unique(dim=0).tolist():
            chosen = (hops == hop) & (self.orders == order) & self.audible(rate)
            yield torch.nonzero(chosen)[:, 0], hop

    def _ends(self, lengths: Tensor, hop: int) -> Tensor:
        """Return the first reading of each part of each case, and how many there are, (n, n_windows + 1)."""
        samples = torch.arange(self.n_windows + 1, device=lengths.device) * lengths[:, None]
        return -(-samples // (self.n_windows * hop))

    def _readings(
        self, x: Tensor, ends: Tensor, rate: float, index: Tensor, hop: int, *, weighed: bool
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield mixed outputs (n, F, J, 2, m), those to weigh (F', K, n, 2, m), and shares of windows (n, m, W)."""
        n, sfreq, order = x.shape[1], self.sfreq / rate, int(self.orders[index[0]])
        mixed = self.mixed(index, x.dtype, weighed=weighed)
        for start, readings in read_oscillators(
            x.flatten(0, 1),
            self.frequencies_hz[index] / sfreq,
            self.bandwidths_hz[index] / sfreq,
            order=order,
            hop=hop,
            # The shares of the windows take what some 16 oscillators do.
            max_readings=_MAX_READINGS * len(index) // (len(index) + 16),
            mixes=mixed.before,
            tables=self._tables_of(rate, hop, order),
        ):
            waves, z = mixed.split(readings, n)
            shares = _shares(start // hop + torch.arange(readings.shape[-1], device=x.device), ends)
            yield waves, z, shares.to(x.dtype)

    def _tables_of(self, rate: float, hop: int, order: int) -> dict[Any, OscillatorBlocks]:
        if len(self._tables) >= _MOST_TABLES:  # recordings of many rates
            self._tables.clear()
        return self._tables.setdefault((rate, hop, order), {})


def _shares(numbers: Tensor, ends: Tensor) -> Tensor:
    """How much of which reading lies in which window, given the first reading behind each part: (n, m, W), 0 to 1."""
    readings = ends[:, -1:]
    length = torch.exp2(torch.log2(readings / SEGMENTS).ceil().clamp_min(0.0)).long()
    start = numbers // length * length  # of the segment
    size = torch.minimum(length, readings - start).clamp_min(1)
    before = ((ends[:, None] - start[..., None]) / size[..., None].to(torch.float64)).clamp_(0.0, 1.0)
    inside = (numbers < readings)[..., None]
    return torch.cat([inside, before.diff(dim=-1) * inside], -1)


def _pool(values: Tensor, shares: Tensor) -> Tensor:
    """(n, ..., m) -> (n, ..., W)."""
    pooled: Tensor = torch.bmm(values.flatten(1, -2), shares).unflatten(1, values.shape[1:-1])
    return pooled


def _mean(sums: Tensor, ends: Tensor) -> Tensor:
    """Divide (n, ..., W) by how many readings each window has, once: every share of 1 is added up exactly."""
    total = torch.cat([ends[:, -1:], ends.diff(dim=1)], 1).to(sums.dtype)
    total = total.view(len(total), *[1] * (sums.ndim - 2), -1)
    # A case too short to have a reading in each window: such a window is the whole case.
    return torch.where(total > 0, sums / total.clamp_min(1), sums[..., :1] / total[..., :1])


def _covariance(z: Tensor, share: Tensor) -> Tensor:
    """(F, K, n, 2, m) -> (n, F, K, K), the sum of the real parts where the share is 1, not 0, in float64."""
    rows = (z if share.all() else z * share[:, None]).permute(2, 0, 1, 3, 4).flatten(3)
    # A logarithm magnifies the rounding of the largest eigenvalue to that of the smallest.
    parts = (torch.matmul(part, part.transpose(-1, -2)).double() for part in rows.split(_SUMMED, -1))
    return reduce(torch.add, parts)
