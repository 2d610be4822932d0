"""A bank of gammatone filters whose energies are read every hop; nothing in it is learned."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from s4signal.ssm import cascade_tables, construction_dtype

__all__ = ["FilterBank", "erb_bands", "hop_blocks"]


def erb_bands(n_bands: int, lowest_hz: float, highest_hz: float) -> tuple[Tensor, Tensor]:
    """Space bands evenly on the scale of the ear's equivalent rectangular bandwidths.

    Parameters
    ----------
    n_bands : int, >= 1
        Bands.
    lowest_hz, highest_hz : float, > 0
        Lowest and highest centre frequency.

    Returns
    -------
    frequencies_hz, bandwidths_hz : Tensor (n_bands,) of float64
        Centre frequencies, and the bandwidths of fourth-order gammatones of one ERB.

    References
    ----------
    Glasberg, Moore, "Derivation of auditory filter shapes from notched-noise data", Hearing Research 47, 1990,
    doi:10.1016/0378-5955(90)90170-T.
    """
    scale = 21.4 * torch.log10(1.0 + 0.00437 * torch.tensor([lowest_hz, highest_hz], dtype=torch.float64))
    steps = torch.linspace(0.0, 1.0, n_bands, dtype=torch.float64)
    centres = (10.0 ** ((scale[0] + steps * (scale[1] - scale[0])) / 21.4) - 1.0) / 0.00437
    return centres, 1.019 * 24.7 * (1.0 + 0.00437 * centres)


class FilterBank(nn.Module):
    """Fixed gammatone filters; their log energies, and the slow part of the signal itself, every hop.

    A filter is a cascade of one-pole resonators, exact at any sampling rate. Energies are means over the hop of the
    squared modulus, so nothing at the full rate is kept.

    Parameters
    ----------
    frequencies_hz, bandwidths_hz : Tensor (n_bands,)
        Centre frequency and bandwidth of each filter. A filter at 0 Hz passes the slow part on, without a logarithm.
    sfreq : float, > 0
        Sampling rate at training, in Hz.
    hop_s : float, > 0
        Time between two steps, in seconds.
    order : int, default=4
        Stages of the cascade; 4 is the gammatone.
    floor : float, > 0, default=1e-6
        Energy that is added under the logarithm, in units of the standardised signal's.
    """

    frequencies_hz: Tensor
    bandwidths_hz: Tensor

    def __init__(
        self,
        *,
        frequencies_hz: Tensor,
        bandwidths_hz: Tensor,
        sfreq: float,
        hop_s: float,
        order: int = 4,
        floor: float = 1e-6,
    ) -> None:
        super().__init__()
        self.sfreq, self.hop_s, self.order, self.floor = sfreq, hop_s, order, floor
        self.register_buffer("frequencies_hz", frequencies_hz.double())
        self.register_buffer("bandwidths_hz", bandwidths_hz.double())

    def unit(self, rate: float) -> int:
        """Return how many samples make a piece after which the state can be carried on."""
        block, blocks_per_hop, _ = hop_blocks(self.hop_s * self.sfreq / rate)
        return block * blocks_per_hop

    def forward(
        self, x: Tensor, mask: Tensor | None = None, *, rate: float = 1.0, state: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None, float, Tensor]:
        """Hear signals.

        Parameters
        ----------
        x : Tensor (n_channels, batch, n_times)
            Signals, zero where masked.
        mask : Tensor (batch, n_times), optional
            1 where a sample is valid, 0 where it is padding.
        rate : float, > 0, default=1.0
            Sample period in use over the training sample period.
        state : Tensor (n_bands, n_channels * batch, 2 * order), optional
            State before the first sample; at rest by default.

        Returns
        -------
        features : Tensor (n_channels * n_bands, batch, n_steps)
            Log energies, and the slow part.
        mask : Tensor (batch, n_steps) or None
            1 where a step is valid.
        rate : float
            Step period in use over the training step period.
        state : Tensor (n_bands, n_channels * batch, 2 * order)
            State after the last block.
        """
        n_channels, batch, n_times = x.shape
        sfreq = self.sfreq / rate
        block, blocks_per_hop, hops_per_block = hop_blocks(self.hop_s * sfreq)
        hop = block * blocks_per_hop // hops_per_block
        n_steps = -(-n_times // hop)
        valid = self._valid_share(x, mask, hop, n_steps)
        n_blocks = -(-n_steps // hops_per_block) * blocks_per_hop
        x = nn.functional.pad(x, (0, n_blocks * block - n_times))
        x = x.reshape(n_channels * batch, n_blocks, block)
        # Poles near the unit circle do not survive bfloat16: the filters leave autocast.
        with torch.autocast(x.device.type, enabled=False):
            sums, state = self._block_sums(x, sfreq, hops_per_block, state)
        # (n_bands, n_channels * batch, n_blocks, hops_per_block) -> means over each hop's valid samples
        if hops_per_block == 1:
            sums = sums.unflatten(2, (-1, blocks_per_hop)).sum(3)
        sums = sums.flatten(2)[..., :n_steps].unflatten(1, (n_channels, batch)) / (valid * hop)
        linear = (self.frequencies_hz == 0)[:, None, None, None]
        features = torch.where(linear, sums, torch.log(sums.clamp_min(0.0) + self.floor))
        step_mask = None if mask is None else (valid > 1e-6).to(x.dtype)
        return features.transpose(0, 1).flatten(0, 1), step_mask, hop / sfreq / self.hop_s, state

    @staticmethod
    def _valid_share(x: Tensor, mask: Tensor | None, hop: int, n_steps: int) -> Tensor:
        """Share of valid samples in each hop, (batch, n_steps), tiny where there is none."""
        _, batch, n_times = x.shape
        mask = x.new_ones(batch, n_times) if mask is None else mask
        padded = nn.functional.pad(mask, (0, n_steps * hop - n_times))
        return padded.view(batch, n_steps, hop).mean(-1).clamp_min(1e-9)

    def _block_sums(self, x: Tensor, sfreq: float, hops: int, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """(rows, n_blocks, block) -> (n_bands, rows, n_blocks, hops): sums of energies, or of the slow part."""
        rows, _, block = x.shape
        # The network may be cast to float32; the tables are built in float64 all the same.
        exact = construction_dtype(x.device)
        frequencies, bandwidths = self.frequencies_hz.to(exact) / sfreq, self.bandwidths_hz.to(exact) / sfreq
        audible = frequencies < 0.5
        tables = cascade_tables(
            torch.where(audible, frequencies, 0.0),
            bandwidths,
            self.order,
            block,
            x.dtype,
        )
        n_bands = len(self.frequencies_hz)
        linear = (self.frequencies_hz == 0)[:, None, None]
        gain = audible.to(x.dtype)[:, None, None]
        state = x.new_zeros(n_bands, rows, 2 * self.order) if state is None else state
        sums = []
        for u in x.unbind(1):  # block by block: outputs at the full rate are never kept
            U = u.expand(n_bands, rows, block)
            z = torch.baddbmm(torch.bmm(U, tables.W), state, tables.Q)
            re, im = z.unflatten(-1, (2, hops, block // hops)).unbind(2)
            energy = torch.addcmul(re * re, im, im).sum(-1)
            sums.append(torch.where(linear, re.sum(-1), energy * gain))
            state = torch.baddbmm(torch.bmm(U, tables.P), state, tables.transition)
        return torch.stack(sums, 2), state


def hop_blocks(hop: float, longest: int = 128) -> tuple[int, int, int]:
    """Return (samples a block, blocks a hop, hops a block), one of the last two being 1, for a hop in samples.

    Parameters
    ----------
    hop : float, > 0
        Wanted hop in samples; it is rounded.
    longest : int, default=128
        Most samples a block.

    Returns
    -------
    tuple of three int
        See above.

    Examples
    --------
    >>> hop_blocks(80), hop_blocks(441), hop_blocks(2.56)
    ((80, 1, 1), (110, 4, 1), (63, 1, 21))
    """
    if hop > longest:
        blocks = math.ceil(hop / longest)
        return round(hop / blocks), blocks, 1
    samples = max(1, round(hop))
    hops = max(1, 64 // samples)
    return samples * hops, 1, hops
