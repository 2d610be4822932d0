"""The linear front end: a linear map of the channels at each sample."""

from typing import Any

import torch
from torch import Tensor

from s4signal.nn.block import ChannelLinear
from s4signal.nn.frontends.base import Frames, Frontend, FrontendSteps


class LinearFrontend(Frontend):
    """Mix the channels linearly at each sample; each sample is a frame, at regular or irregular times."""

    def __init__(self, n_channels: int, d_model: int) -> None:
        super().__init__()
        self.mix = ChannelLinear(n_channels, d_model)

    @property
    def precomputable(self) -> bool:
        """Return False: the features are the samples."""
        return False

    def features(self, signals: Frames, *, generator: torch.Generator | None = None) -> Frames:
        """Return the samples and gaps unchanged."""
        return signals

    def encode(self, frames: Frames, *, generator: torch.Generator | None = None) -> Tensor:
        """Mix the channels."""
        mixed: Tensor = self.mix(frames.features)
        return mixed

    def steps(self, rate: float) -> FrontendSteps:
        """Return an encoder of pieces at a rate."""
        return _Steps(self, rate)

    def describe(self) -> str:
        """Describe a frame."""
        return "each sample, channels mixed"


class _Steps(FrontendSteps):
    """Encoder of pieces, with one frame per sample and no state."""

    unit = 1

    def __init__(self, frontend: LinearFrontend, rate: float) -> None:
        self.rate, self._mix = rate, frontend.mix

    def advance(self, x: Tensor, state: Any, *, keep_last: bool = True) -> tuple[Tensor, Any]:
        """Mix the channels of a piece."""
        return self._mix(x), None
