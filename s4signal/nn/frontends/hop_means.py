"""Front end for slow waves: means of each channel over hops, and a linear map of the channels."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from s4signal.nn.block import ChannelLinear
from s4signal.nn.frontends.base import Frames, Frontend, FrontendSteps


class HopMeansFrontend(Frontend):
    """Average each channel over hops, by default 64 per case at any rate, then mix the channels linearly."""

    hop_s: float

    def __init__(self, n_channels: int, d_model: int, *, sfreq: float, hop_s: float) -> None:
        super().__init__()
        if hop_s * sfreq < 0.999:
            raise ValueError(f"hop_s={hop_s:g} is shorter than a sample, {1 / sfreq:g} s; raise it to that.")
        self.sfreq, self.hop_s = sfreq, hop_s
        self.mix = ChannelLinear(n_channels, d_model)

    def features(self, signals: Frames, *, generator: torch.Generator | None = None) -> Frames:
        """Average each channel over the valid samples of each hop."""
        hop = self.unit(signals.rate)
        means = hop_means(signals, hop)
        return replace(means, rate=signals.rate * hop / (self.sfreq * self.hop_s))

    def encode(self, frames: Frames, *, generator: torch.Generator | None = None) -> Tensor:
        """Mix the channels."""
        mixed: Tensor = self.mix(frames.features)
        return mixed

    def unit(self, rate: float) -> int:
        """Return the number of samples per hop."""
        return max(1, round(self.sfreq * self.hop_s / rate))

    def steps(self, rate: float) -> FrontendSteps:
        """Return an encoder of pieces at a rate."""
        return _Steps(self, rate)

    def describe(self) -> str:
        """Describe a frame."""
        return "means over hops, channels mixed"


def hop_means(signals: Frames, hop: int) -> Frames:
    """Average each channel over the valid samples of each hop of so many samples."""
    x, mask = signals.features, signals.mask
    if signals.gaps is not None:
        raise ValueError("hop means need regular samples: resample X to a grid, or use frontend='linear'.")
    short = -x.shape[-1] % hop
    valid = x.new_ones(1, x.shape[-1]) if mask is None else mask
    counts = F.pad(valid, (0, short)).unflatten(-1, (-1, hop)).sum(-1)
    sums = F.pad(x * valid, (0, short)).unflatten(-1, (-1, hop)).sum(-1)
    return Frames(sums / counts.clamp_min(1.0), None if mask is None else (counts > 0).to(x.dtype))


class _Steps(FrontendSteps):
    """Encoder of pieces, hop by hop, at one rate; no state."""

    def __init__(self, frontend: HopMeansFrontend, rate: float) -> None:
        self.unit, mix = frontend.unit(rate), frontend.mix
        self._weight, self._bias = mix.weight / self.unit, mix.bias.unsqueeze(-1)  # applied to sums
        self.rate = rate * self.unit / (frontend.sfreq * frontend.hop_s)

    def advance(self, x: Tensor, state: Any, *, keep_last: bool = True) -> tuple[Tensor, Any]:
        """Encode a piece."""
        short = -x.shape[-1] % self.unit
        sums = (F.pad(x, (0, short)) if short else x).reshape(*x.shape[:2], -1, self.unit).sum(-1)
        if short:
            sums[..., -1] *= self.unit / (self.unit - short)
        return torch.addmm(self._bias, self._weight, sums.flatten(1)).view(-1, *sums.shape[1:]), None
