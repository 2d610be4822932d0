"""The linear front end: the channels mixed at each sample."""

from typing import Any

import torch
from torch import Tensor

from s4signal.nn.block import ChannelLinear
from s4signal.nn.frontends.base import Frames, Frontend


class LinearFrontend(Frontend):
    """Mix the channels at each sample: every sample is a frame, regular or not."""

    def __init__(self, n_channels: int, d_model: int) -> None:
        super().__init__()
        self.mix = ChannelLinear(n_channels, d_model)

    @property
    def precomputable(self) -> bool:
        """Return False: there is nothing to compute."""
        return False

    def features(self, signals: Frames, *, generator: torch.Generator | None = None) -> Frames:
        """Return the samples themselves, with their gaps."""
        return signals

    def encode(self, frames: Frames, *, generator: torch.Generator | None = None) -> Tensor:
        """Mix the channels."""
        mixed: Tensor = self.mix(frames.features)
        return mixed

    def unit(self, rate: float) -> int:
        """Return 1: a piece may have any length."""
        return 1

    def advance(self, x: Tensor, state: Any, *, rate: float = 1.0) -> Frames:
        """Mix the channels of a piece; there is no state."""
        return Frames(self.mix(x), rate=rate)

    def describe(self) -> str:
        """Return what a frame holds."""
        return "each sample, channels mixed"
