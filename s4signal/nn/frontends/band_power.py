"""Front end for many cases of several channels: slow waves, and band power behind learned spatial filters."""

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s4signal.nn.block import ChannelLinear
from s4signal.nn.frontends.bands import space_bands
from s4signal.nn.frontends.bank import BankState, FilterBank, hop_blocks
from s4signal.nn.frontends.bank_steps import BankSteps
from s4signal.nn.frontends.base import Frames, FrontendSteps, StandardizedFrontend
from s4signal.nn.frontends.hop_means import hop_means

N_BANDS, N_FILTERS = 16, 4  # filters per band
ORDER = 2  # of the oscillators
N_AVERAGED = 16  # frames: the logarithm of the power at one time varies too much
FLOOR = 1e-8  # power relative to that of the standardised channels


class BandPowerFrontend(StandardizedFrontend):
    """Map channels to their means over hops, and to log powers of spatial filters in frequency bands.

    The oscillators of the bands are frozen and shared by all channels: band signals are computed once per case, and
    sampled once per hop. Each band has its own spatial filters, which are learned; their power is averaged over the
    last 16 frames. The weights of the powers start at zero, so that they do not hide the slow waves of few cases.

    References
    ----------
    Blankertz, Tomioka, Lemm, Kawanabe, Müller, "Optimizing Spatial Filters for Robust EEG Single-Trial Analysis", 2008,
    doi:10.1109/MSP.2008.4408441: log power of spatial filters. Schirrmeister et al., "Deep learning with convolutional
    neural networks for EEG decoding and visualization", 2017, doi:10.1002/hbm.23730: learned, per band.
    """

    hop_s: float

    def __init__(
        self, n_channels: int, d_model: int, *, sfreq: float, hop_s: float, band_hz: tuple[float, float] | None = None
    ) -> None:
        super().__init__(N_BANDS * N_FILTERS)
        self.n_channels, self.sfreq, self.hop_s = n_channels, sfreq, hop_s
        # With 64 hops per case, eight cycles of the lowest band; hop means keep what is slower.
        lowest, highest = (1 / (8 * hop_s), 0.45 * sfreq) if band_hz is None else band_hz
        frequencies, bandwidths = space_bands("log", N_BANDS, lowest, highest, order=ORDER)
        self.bank = FilterBank(
            frequencies_hz=frequencies, bandwidths_hz=bandwidths, sfreq=sfreq, hop_s=hop_s, order=ORDER, output="linear"
        )
        self.spatial = nn.Parameter(F.normalize(torch.randn(N_BANDS, N_FILTERS, n_channels), dim=-1))
        self.mix, self.power_mix = ChannelLinear(n_channels, d_model), ChannelLinear(N_BANDS * N_FILTERS, d_model)
        nn.init.zeros_(self.power_mix.weight)

    def features(self, signals: Frames, *, generator: torch.Generator | None = None) -> Frames:
        """Compute hop means and band signals: per channel, the real and the imaginary part of each band."""
        block, blocks_per_hop, hops_per_block = hop_blocks(self.hop_s * self.sfreq / signals.rate)
        means = hop_means(signals, block * blocks_per_hop // hops_per_block).features
        bands: Frames = self.bank(signals.features, signals.mask, rate=signals.rate)
        return replace(bands, features=torch.cat([means, bands.features]), state=None)

    def encode(self, frames: Frames, *, generator: torch.Generator | None = None) -> Tensor:
        """Mix the means and the standardised log powers."""
        means, bands = frames.features.tensor_split([self.n_channels])
        return self.mixed(means, self.log_powers(bands)[0])

    def mixed(self, means: Tensor, log_powers: Tensor) -> Tensor:
        """Map hop means and log powers to the width of the blocks."""
        # A band above the Nyquist frequency of a lower rate has no power: it is set to the mean.
        standard = self.standardize(log_powers) * (log_powers > math.log(FLOOR))
        mixed: Tensor = self.mix(means) + self.power_mix(standard)
        return mixed

    def log_powers(self, bands: Tensor, before: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the logarithms of the powers, averaged over the last frames; and the powers of all frames, and ones.

        ``before`` (n_bands * n_filters + 1, batch, 15) is the end of the second value for the previous piece.
        """
        z = bands.unflatten(0, (self.n_channels, 2, N_BANDS))  # type: ignore[no-untyped-call]
        sources = torch.matmul(self.spatial, z.permute(2, 0, 1, 3, 4).flatten(2)).view(-1, *z.shape[1:2], *z.shape[3:])
        powers = F.pad(sources.square().sum(1), (0, 0, 0, 0, 0, 1), value=1.0)
        if before is None:
            before = powers.new_zeros(*powers.shape[:2], N_AVERAGED - 1)
        every = torch.cat([before, powers], -1)
        sums = F.avg_pool1d(every, N_AVERAGED, 1)
        return torch.log((sums[:-1] / sums[-1:]).clamp_min(FLOOR)), every

    def calibrate(self, batches: Iterable[tuple[Frames, Tensor]]) -> None:
        """Compute mean and standard deviation of the log powers, for the initial filters."""
        bands = ((frames, weight, frames.features[self.n_channels :]) for frames, weight in batches)
        super().calibrate((replace(frames, features=self.log_powers(z)[0]), weight) for frames, weight, z in bands)

    def steps(self, rate: float) -> FrontendSteps:
        """Return an encoder of pieces at a rate."""
        return _Steps(self, rate)

    def describe(self) -> str:
        """Describe a frame."""
        return (
            f"means over hops, channels mixed, and log powers of {N_FILTERS} spatial filters in each of {N_BANDS} bands"
        )


class _State(NamedTuple):
    """State between two pieces: of the bank, and the last powers."""

    bank: BankState
    powers: Tensor


class _Steps(FrontendSteps):
    """Encoder of pieces at one rate."""

    def __init__(self, frontend: BandPowerFrontend, rate: float) -> None:
        self._frontend, self._bank = frontend, BankSteps(frontend.bank, rate, frontend.scale.dtype)
        self.unit, self.rate = self._bank.unit, self._bank.rate

    def advance(self, x: Tensor, state: _State | None, *, keep_last: bool = True) -> tuple[Tensor, _State]:
        """Encode a piece."""
        bank, powers = (None, None) if state is None else state
        bands, bank = self._bank.advance(x, bank, keep_last=keep_last)
        log_powers, powers = self._frontend.log_powers(bands, powers)
        h = self._frontend.mixed(hop_means(Frames(x), self.unit).features, log_powers)
        n = powers.shape[-1] - (not keep_last)
        return h, _State(bank, powers[..., n + 1 - N_AVERAGED : n])
