"""Front ends in plain operations, whose number does not depend on the length, for export."""

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from s4signal.nn.frontends.band_power import BandPowerFrontend
from s4signal.nn.frontends.bank import FilterBank, hop_blocks
from s4signal.nn.frontends.base import Frames
from s4signal.nn.frontends.compression import compress
from s4signal.nn.frontends.hop_means import HopMeansFrontend
from s4signal.nn.frontends.loudness import Loudness
from s4signal.nn.prefix_sum import Carry, cut, first, log2, shifted
from s4signal.ssm import cascade_tables


class PlainBank(nn.Module):
    """A `FilterBank` at the training rate, over whole signals, with zero initial state."""

    def __init__(self, bank: FilterBank, dtype: torch.dtype, longest: int) -> None:
        super().__init__()
        if bank.output == "pcen" or hasattr(bank, "log_smooth"):
            raise ValueError(
                "a filter bank with smoothing or an automatic gain is not exported; use frontend='filterbank', or a "
                "FilterBank with output='log', 'power' or 'linear' and smooth_s=None."
            )
        self.sfreq, self.hop_s, self.output, self.floor = bank.sfreq, bank.hop_s, bank.output, bank.floor
        self.n_bands, self.n_outputs, self.floor_value = bank.n_bands, bank.n_outputs, bank.floor_value
        self.block, self.blocks_per_hop, self.hops_per_block = hop_blocks(bank.hop_s * bank.sfreq)
        self.hop = self.block * self.blocks_per_hop // self.hops_per_block
        n_doublings = log2(-(-longest // self.block) + 2 * self.blocks_per_hop)
        self.frequencies_hz, self.bandwidths_hz = nn.Buffer(bank.frequencies_hz), nn.Buffer(bank.bandwidths_hz)
        frequencies, bandwidths = self.frequencies_hz / bank.sfreq, self.bandwidths_hz / bank.sfreq
        tables = cascade_tables(frequencies, bandwidths, bank.order, self.block, torch.float64)
        self.carry = Carry(tables.transition, dtype, n_doublings, dense=True)
        self.WQ = nn.Buffer(torch.cat([tables.W, tables.Q], 1).unsqueeze(1).to(dtype))
        self.P = nn.Buffer(tables.P.unsqueeze(1).to(dtype))

    def forward(
        self, x: Tensor, mask: Tensor | None = None, *, rate: float = 1.0, gaps: Tensor | None = None
    ) -> Frames:
        """Filter signals (n_channels, batch, n_times)."""
        hop, U = self.hop, cut(x, self.block * self.blocks_per_hop)
        U = U.unflatten(-1, (-1, self.block)).flatten(2, 3).flatten(0, 1)  # rows, blocks, samples
        entering = shifted(self.carry(torch.matmul(U, self.P)), 1)
        z = torch.matmul(torch.cat([U.expand(self.n_bands, -1, -1, -1), entering], -1), self.WQ)
        z = z.unflatten(-1, (2, self.hops_per_block, -1)).unflatten(1, (x.shape[0], x.shape[1]))
        n_steps = (x.shape[-1] + hop - 1) // hop
        features = first(self._reduced(z), n_steps)
        if self.output != "linear":
            lengths = first(cut(torch.ones_like(x[:1]), hop).sum(-1), n_steps)
            features = compress(self.output, features / lengths, self.floor, None)
        return Frames(features, None, hop / self.sfreq / self.hop_s)

    def _reduced(self, z: Tensor) -> Tensor:
        """Reduce (n_bands, n_channels, batch, n_blocks, 2, hops, samples) to features (n_features, batch, n_steps)."""
        z = z.permute(1, 4, 0, 2, 3, 5, 6)  # channels, parts, bands, batch, blocks, hops, samples
        if self.output == "linear":
            bands = z[..., -1].flatten(4)
            if self.hops_per_block == 1:
                bands = bands[..., self.blocks_per_hop - 1 :: self.blocks_per_hop]
            return bands.flatten(0, 2)
        bands = (z * z).sum((1, 6)).unsqueeze(1).flatten(4)
        if self.hops_per_block == 1:
            bands = bands.unflatten(4, (-1, self.blocks_per_hop)).sum(-1)  # type: ignore[no-untyped-call]
        return bands.flatten(0, 2)


class PlainHopMeans(HopMeansFrontend):
    """Hop means with the same amount of padding for all lengths."""

    def features(self, signals: Frames, *, generator: torch.Generator | None = None) -> Frames:
        """Average each channel over the samples of each hop."""
        hop = self.unit(1.0)
        return Frames(_hop_means(signals.features, hop), None, hop / (self.sfreq * self.hop_s))


class PlainBandPower(BandPowerFrontend):
    """Band power with the same amount of padding for all lengths; its bank is a `PlainBank`."""

    def features(self, signals: Frames, *, generator: torch.Generator | None = None) -> Frames:
        """Compute hop means and band signals."""
        bank: Any = self.bank
        bands: Frames = bank(signals.features)
        return replace(bands, features=torch.cat([_hop_means(signals.features, bank.hop), bands.features]))


def _hop_means(x: Tensor, hop: int) -> Tensor:
    n_steps = (x.shape[-1] + hop - 1) // hop
    sums, lengths = (first(cut(part, hop).sum(-1), n_steps) for part in (x, torch.ones_like(x[:1])))
    return sums / lengths


class PlainLoudness(Loudness):
    """Causal loudness normalisation with a running maximum by doubling."""

    n_doublings = 0

    def running_maximum(self, energy: Tensor) -> Tensor:
        """Return the maximum of all frames so far, (1, batch, n_steps)."""
        for k in range(self.n_doublings):
            before = pad(energy, (1 << k, 0), value=-math.inf)[..., : energy.shape[-1]]
            energy = torch.maximum(energy, before)
        return energy
