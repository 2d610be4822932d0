"""Base classes of front ends: features of the samples, then a learned map to the width of the blocks."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from s4signal.ssm import construction_dtype


@dataclass(frozen=True)
class Frames:
    """Signals or features of a batch, with one frame per sample or per hop.

    Parameters
    ----------
    features : Tensor (n_features, batch, n_steps)
        Samples of all channels, or features.
    mask : Tensor (batch, n_steps), optional
        1 where a frame is valid, 0 where it is padding; None if all are valid.
    rate : float, default=1.0
        Current frame period divided by the training frame period.
    gaps : Tensor (batch, n_steps), optional
        Time from the previous frame to each frame, in training frame periods; None if frames are equally spaced.
    state : object, optional
        State after the last frame, for the next piece; None if no state is kept.

    Examples
    --------
    >>> import torch
    >>> Frames(torch.zeros(3, 2, 50)).rate
    1.0
    """

    features: Tensor
    mask: Tensor | None = None
    rate: float = 1.0
    gaps: Tensor | None = None
    state: Any = None


class FrontendSteps(ABC):
    """A front end at one rate, for inference; everything independent of samples is precomputed.

    ``unit`` is the number of samples per frame, ``rate`` the current frame period divided by the training frame period.
    """

    unit: int
    rate: float

    @abstractmethod
    def advance(self, x: Tensor, state: Any, *, keep_last: bool = True) -> tuple[Tensor, Any]:
        """Encode a piece (n_channels, batch, n_times), given the state before it; None is the initial state.

        Return one frame per unit, the last of which may be incomplete, and the state after the piece. If ``keep_last``
        is False, return the state before the last frame, because its samples will come again in the next piece.
        """


class Frontend(nn.Module, ABC):
    """Map the samples of all channels to the frames that the blocks process.

    If `features` has no parameters, it is computed once per case instead of once per epoch; `encode` is always learned.
    """

    #: Time between two frames in seconds (in samples if the rate is unknown); None if every sample is a frame.
    hop_s: float | None = None

    @property
    def learned(self) -> bool:
        """Whether `features` has parameters to train."""
        return False

    @property
    def precomputable(self) -> bool:
        """Whether `features` can be computed once per case: they have no parameters, and are not the samples."""
        return not self.learned

    @abstractmethod
    def features(self, signals: Frames, *, generator: torch.Generator | None = None) -> Frames:
        """Compute features of signals (n_channels, batch, n_times), with one frame per sample, zero where masked."""

    def augment(self, frames: Frames, *, generator: torch.Generator | None = None) -> Frames:
        """Augment features, and possibly their lengths, in training; does nothing by default."""
        return frames

    @abstractmethod
    def encode(self, frames: Frames, *, generator: torch.Generator | None = None) -> Tensor:
        """Map features to the width of the blocks, (d_model, batch, n_steps)."""

    def steps(self, rate: float) -> FrontendSteps:
        """Return an encoder of pieces of signal at a rate."""
        raise ValueError(
            f"{type(self).__name__} needs whole cases, not pieces; for a stream fit with frontend='linear', "
            "'filterbank' or an s4signal.nn.FilterBank."
        )

    def unit(self, rate: float) -> int:
        """Return the number of samples that pieces for `advance` must be a multiple of, except the last piece."""
        return self.steps(rate).unit

    def advance(self, x: Tensor, state: Any, *, rate: float = 1.0) -> Frames:
        """Encode a piece of signal (n_channels, batch, n_times), given the ``state`` after the previous piece."""
        steps = self.steps(rate)
        h, after = steps.advance(x, state)
        return Frames(h, None, steps.rate, state=after)

    @abstractmethod
    def describe(self) -> str:
        """Return a phrase that describes a frame, for users."""

    def calibrate(self, batches: Iterable[tuple[Frames, Tensor]]) -> None:
        """Fit the standardisation of the features, if any, to batches of training cases and their weights."""


class StandardizedFrontend(Frontend):
    """A front end that standardises features to mean zero and variance one over the training cases."""

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.center, self.scale = nn.Buffer(torch.zeros(n_features)), nn.Buffer(torch.ones(n_features))

    @torch.no_grad()
    def calibrate(self, batches: Iterable[tuple[Frames, Tensor]]) -> None:
        """Compute mean and standard deviation of each feature over valid frames, in float64 if the device has it."""
        device, dtype = self.center.device, construction_dtype(self.center.device)
        count, total, square = (torch.zeros((), dtype=dtype, device=device) for _ in range(3))
        for frames, weight in batches:
            features = frames.features.to(dtype)
            w = weight[:, None] * (torch.ones_like(features[0]) if frames.mask is None else frames.mask)
            count = count + w.sum()
            total = total + (features * w).sum((1, 2))
            square = square + (features.square() * w).sum((1, 2))
        center = total / count
        spread = (square / count - center**2).clamp_min(0.0).sqrt()
        self.center.copy_(center)
        # A constant feature carries no information: it is set to zero, instead of being divided by almost zero.
        self.scale.copy_(torch.where(spread > 1e-6, 1.0 / spread.clamp_min(1e-6), 0.0))

    def standardize(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Standardise features (n_features, batch, n_steps); zero where masked."""
        standard = ((features - self.center[:, None, None]) * self.scale[:, None, None]).to(features.dtype)
        return standard if mask is None else standard * mask
