"""A bank of resonators in Hz: band signals, or their compressed energies, once per hop."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.utils.checkpoint import checkpoint

from s4signal.errors import check_choice
from s4signal.nn.frontends.bands import check_bands
from s4signal.nn.frontends.base import Frames
from s4signal.nn.frontends.compression import compress, low_pass
from s4signal.nn.frontends.held_signal import Jumps, fill_from_next, hold_on_grid
from s4signal.ssm import cascade_tables, construction_dtype
from s4signal.ssm.carry import carry
from s4signal.ssm.cascades import CascadeTables, state_tables

OUTPUTS = ("log", "power", "pcen", "linear")
PCEN_MEMORY_S = 0.4  # time constant of the automatic gain
MOST_AT_ONCE = {True: 2**18, False: 2**25}  # numbers of all bands at once, on a CPU (cache) and elsewhere (memory)


class BankState(NamedTuple):
    """State of a bank between two pieces."""

    filters: Tensor  # (n_bands, n_channels * batch, 2 * order)
    smooth: Tensor | None = None  # energies after smoothing, (n_bands, n_channels * batch, 1)
    gain: Tensor | None = None  # slowly smoothed energies of the automatic gain, of the same shape


def hop_blocks(hop: float, longest: int = 128) -> tuple[int, int, int]:
    """Return (samples per block, blocks per hop, hops per block) for a hop in samples; one of the last two is 1."""
    if hop > longest:
        fewest = math.ceil(hop / longest)
        blocks = min(range(fewest, 2 * fewest), key=lambda n: abs(n * round(hop / n) - hop))  # 320 is 4 of 80, not 3
        return round(hop / blocks), blocks, 1
    samples = max(1, round(hop))
    hops = max(1, 64 // samples)
    return samples * hops, 1, hops


class FilterBank(nn.Module):
    """Band-pass filters as state space systems; their outputs are reduced to one frame per hop.

    A filter is a cascade of one-pole resonators (with four stages: a gammatone), exact at any sampling rate. Outputs at
    the full rate are never stored as a whole. A sample is held over the time since the sample before it (zero-order
    hold): irregular times (``gaps``) and missing samples (NaN) are integrated exactly under this hold.

    Parameters
    ----------
    frequencies_hz, bandwidths_hz : Tensor (n_bands,)
        Centre frequencies, at least 0 and below half of ``sfreq``, and bandwidths of one stage, in Hz; `space_bands`
        returns both.
    sfreq : float, > 0
        Sampling rate at training, in Hz.
    hop_s : float, > 0
        Time between two frames, in seconds; at least one sample.
    order : int in [1, 4], default=4
        Number of stages of the cascade.
    output : {"log", "power", "pcen", "linear"}, default="log"
        Mean energy over the hop, compressed by a logarithm, the power 0.3, or per-channel energy normalisation (PCEN);
        or, with ``"linear"``, the band signal at the end of the hop, first its real and then its imaginary part.
    smooth_s : float, > 0, optional
        Time constant of a low-pass filter over the energies, in seconds; no filter by default.
    floor : float, > 0, default=1e-6
        Energy added before compression, in units of the squared signal.
    learnable : bool, default=False
        Whether to learn centres, bandwidths and time constants, as logarithms, so that all filters are stable.

    Attributes
    ----------
    n_outputs : int
        Number of features per channel.
    floor_value : float
        Feature value of a band without energy, such as a band above the Nyquist frequency of a lower rate.

    Raises
    ------
    ValueError
        If an option is out of its range, or a frequency is not below the Nyquist frequency.

    References
    ----------
    Slaney, "An Efficient Implementation of the Patterson-Holdsworth Auditory Filter Bank", Apple Technical Report 35,
    1993; Wang, Getreuer, Hughes, Lyon, Saurous, "Trainable Frontend For Robust and Far-Field Keyword Spotting", 2017,
    equation 1, doi:10.1109/ICASSP.2017.7953242.

    Examples
    --------
    >>> import torch
    >>> from s4signal.nn import FilterBank, space_bands
    >>> frequencies_hz, bandwidths_hz = space_bands("mel", 40, 60.0, 7600.0)
    >>> bank = FilterBank(frequencies_hz=frequencies_hz, bandwidths_hz=bandwidths_hz, sfreq=16000.0, hop_s=0.01)
    >>> frames = bank(torch.randn(1, 5, 16000))
    >>> frames.features.shape
    torch.Size([40, 5, 100])
    """

    def __init__(
        self,
        *,
        frequencies_hz: Tensor,
        bandwidths_hz: Tensor,
        sfreq: float,
        hop_s: float,
        order: int = 4,
        output: str = "log",
        smooth_s: float | None = None,
        floor: float = 1e-6,
        learnable: bool = False,
    ) -> None:
        super().__init__()
        frequencies_hz, bandwidths_hz = frequencies_hz.double(), bandwidths_hz.double()
        check_bands(frequencies_hz, bandwidths_hz, sfreq)
        if hop_s * sfreq < 0.999:
            raise ValueError(f"hop_s={hop_s:g} is shorter than a sample, {1 / sfreq:g} s; raise it to that.")
        check_choice("order", order, (1, 2, 3, 4))
        check_choice("output", output, OUTPUTS)
        if smooth_s is not None and not smooth_s > 0:
            raise ValueError(f"smooth_s={smooth_s:g} must be positive, or None.")
        self.sfreq, self.hop_s, self.order, self.output, self.floor = sfreq, hop_s, order, output, floor
        self.n_bands, silence = len(frequencies_hz), torch.zeros((), dtype=torch.float64)
        self.n_outputs = 2 * self.n_bands if output == "linear" else self.n_bands
        self.floor_value = 0.0 if output == "linear" else float(compress(output, silence, floor, silence))
        seconds = {"smooth": smooth_s, "gain": PCEN_MEMORY_S if output == "pcen" else None}
        logarithms = {"frequency": frequencies_hz.log(), "bandwidth": bandwidths_hz.log()}
        logarithms |= {k: torch.full_like(frequencies_hz, math.log(v)) for k, v in seconds.items() if v is not None}
        for name, value in logarithms.items():
            if learnable:
                self.register_parameter(f"log_{name}", nn.Parameter(value))
            else:
                self.register_buffer(f"log_{name}", value)

    @property
    def frequencies_hz(self) -> Tensor:
        """Centre frequencies (n_bands,) in Hz."""
        return self._exact("frequency")

    @property
    def bandwidths_hz(self) -> Tensor:
        """Bandwidths (n_bands,) of the stages in Hz."""
        return self._exact("bandwidth")

    def unit(self, rate: float) -> int:
        """Return the unit of pieces, in samples: pieces of a multiple of it give the same frames as the whole signal.

        Parameters
        ----------
        rate : float, > 0
            Current sample period divided by the training sample period.
        """
        block, blocks_per_hop, _ = hop_blocks(self.hop_s * self.sfreq / rate)
        return block * blocks_per_hop

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        *,
        rate: float = 1.0,
        gaps: Tensor | None = None,
        state: BankState | None = None,
    ) -> Frames:
        """Filter signals.

        Parameters
        ----------
        x : Tensor (n_channels, batch, n_times)
            Signals, zero where masked; NaN is a missing sample.
        mask : Tensor (batch, n_times), optional
            1 where a sample is valid, 0 where it is padding.
        rate : float, > 0, default=1.0
            Current sample period divided by the training one. Bands above the Nyquist frequency have no energy.
        gaps : Tensor (batch, n_times), optional
            Time from the previous sample to each sample, >= 0, in training sample periods; 0 marks no sample. ``rate``
            is then the period of the grid on which energies are computed.
        state : BankState, optional
            ``state`` of the frames before the first sample; zero by default.

        Returns
        -------
        Frames
            ``features`` (n_channels * n_outputs, batch, n_steps), grouped by channel; ``mask``, ``rate``, and ``state``
            after the last block.

        Raises
        ------
        ShapeError, ValueError
            If gaps has the wrong shape, a gap is negative, or all gaps of a case are zero.
        """
        x, jumps = fill_from_next(x, mask), None
        if gaps is not None:
            x, mask, jumps = hold_on_grid(x, gaps / rate, mask)
        n_channels, batch, n_times = x.shape
        sfreq = self.sfreq / rate
        block, blocks_per_hop, hops_per_block = hop_blocks(self.hop_s * sfreq)
        hop = block * blocks_per_hop // hops_per_block
        n_steps = -(-n_times // hop)
        valid = pad(x.new_ones(batch, n_times) if mask is None else mask, (0, n_steps * hop - n_times))
        valid = valid.view(batch, n_steps, hop).mean(-1).clamp_min(1e-9)  # valid fraction of each hop
        n_blocks = -(-n_steps // hops_per_block) * blocks_per_hop
        x = pad(x, (0, n_blocks * block - n_times)).reshape(n_channels * batch, n_blocks, block)
        # Poles near the unit circle are too inaccurate in bfloat16: the filters run without autocast.
        with torch.autocast(x.device.type, enabled=False):
            bands, filters = self._run(x, sfreq, hops_per_block, jumps, None if state is None else state.filters)
            # (n_bands, rows, parts, n_blocks, hops_per_block) -> one value per hop
            if hops_per_block == 1:
                bands = bands.unflatten(3, (-1, blocks_per_hop))
                bands = bands[..., -1, :] if self.output == "linear" else bands.sum(4)
            bands = bands.flatten(3)[..., :n_steps]
            if self.output == "linear":
                after = BankState(filters)
            else:
                n_valid = valid.repeat(n_channels, 1) * hop
                bands, after = self._compressed(bands.squeeze(2) / n_valid, hop / sfreq, state, filters)
        # (n_bands, rows, parts, n_steps) -> channels first, then parts, then bands
        features = bands.reshape(self.n_bands, n_channels, batch, -1, n_steps).permute(1, 3, 0, 2, 4).flatten(0, 2)
        step_mask = None if mask is None else (valid > 1e-6).to(x.dtype)
        return Frames(features, step_mask, hop / sfreq / self.hop_s, state=after)

    def _run(
        self, x: Tensor, sfreq: float, hops: int, jumps: Jumps | None, state: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return energy sums or last band signals (n_bands, rows, parts, n_blocks, hops), and the last state."""
        rows, n_blocks, block = x.shape
        frequencies, bandwidths = self.frequencies_hz / sfreq, self.bandwidths_hz / sfreq
        below_nyquist = frequencies < 0.5
        cascades = torch.where(below_nyquist, frequencies, 0.0), bandwidths, self.order
        tables = cascade_tables(*cascades, block, x.dtype)
        into = () if jumps is None else state_tables(*cascades, block, x.dtype)
        gain = below_nyquist.to(x.dtype)[:, None, None, None, None]
        state = x.new_zeros(self.n_bands, rows, 2 * self.order) if state is None else state
        outputs, batch = [], 1 if jumps is None else rows // len(jumps.change)
        learns = torch.is_grad_enabled() and (tables.W.requires_grad or x.requires_grad)
        # Outputs at the full rate exist for a limited number of blocks at a time.
        at_once = 1 if learns else max(1, MOST_AT_ONCE[x.is_cpu] // (self.n_bands * rows * block))
        for first in range(0, n_blocks, at_once):
            U = x[:, first : first + at_once]
            v = None if jumps is None else jumps.states(first * block, U.shape[1] * block, batch, *cascades)
            if learns:  # not stored for the gradient either: the blocks are recomputed
                out, state = checkpoint(self._blocks, U, v, state, tables, into, hops, use_reentrant=False)
            else:
                out, state = self._blocks(U, v, state, tables, into, hops)
            outputs.append(out * gain)
        return torch.cat(outputs, 3), state

    def _blocks(
        self, x: Tensor, v: Tensor | None, state: Tensor, tables: CascadeTables, into: Sequence[Tensor], hops: int
    ) -> tuple[Tensor, Tensor]:
        """Filter blocks (rows, n_blocks, block) and state changes v (n_bands, rows, n_blocks * block * 2 order).

        Return (n_bands, rows, parts, n_blocks, hops) and the state after the blocks.
        """
        (rows, n_blocks, block), n = x.shape, self.n_bands
        U = x.reshape(1, -1, block).expand(n, -1, -1)
        z, added = torch.bmm(U, tables.W), torch.bmm(U, tables.P)
        if v is not None:
            v = v.reshape(n, rows * n_blocks, -1)
            z, added = (torch.baddbmm(y, v, table) for y, table in zip((z, added), into, strict=True))
        if n_blocks == 1:
            entering, state = state, torch.baddbmm(added, state, tables.transition)
        else:
            entering = added.view(n, rows, n_blocks, -1)
            state = carry(entering, tables.transition, state)
            entering = entering.flatten(1, 2)
        z = torch.baddbmm(z, entering, tables.Q).view(n, rows, n_blocks, 2, hops, -1)
        if self.output == "linear":
            return z[..., -1].transpose(2, 3), state
        re, im = z.unbind(3)
        return torch.addcmul(re * re, im, im).sum(-1).unsqueeze(2), state

    def _compressed(
        self, energy: Tensor, step_s: float, state: BankState | None, filters: Tensor
    ) -> tuple[Tensor, BankState]:
        """Smooth and compress energies (n_bands, rows, n_steps)."""
        slow, (smooth, gain) = None, (None, None) if state is None else (state.smooth, state.gain)
        if hasattr(self, "log_smooth"):
            energy, smooth = low_pass(energy, self._exact("smooth") / step_s, smooth)
        if self.output == "pcen":
            slow, gain = low_pass(energy, self._exact("gain") / step_s, gain)
        return compress(self.output, energy, self.floor, slow), BankState(filters, smooth, gain)

    def _exact(self, name: str) -> Tensor:
        # Tables are built in float64, even if the network is cast to float32.
        logarithm: Tensor = getattr(self, f"log_{name}")
        return torch.exp(logarithm.to(construction_dtype(logarithm.device)))
