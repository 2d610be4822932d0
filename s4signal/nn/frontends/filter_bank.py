"""Front ends: from raw channels to the features that the state space blocks work on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from s4signal.nn.block import ChannelLinear
from s4signal.nn.frontends.band_dropout import BandDropout
from s4signal.nn.frontends.band_mixing import BandMixing
from s4signal.nn.frontends.band_shift import BandShift
from s4signal.nn.frontends.bank import S4FilterBank

__all__ = ["FilterBankFrontend", "LinearFrontend", "Steps"]

Steps = tuple[Tensor, Tensor | None, float]


class LinearFrontend(nn.Module):
    """Mix the channels at each sample; one step a sample."""

    def __init__(self, n_channels: int, d_model: int) -> None:
        super().__init__()
        self.mix = ChannelLinear(n_channels, d_model)

    @property
    def learned(self) -> bool:
        """Whether `features` has something to learn: it never has."""
        return False

    def forward(self, x: Tensor, mask: Tensor | None = None, *, rate: float = 1.0) -> Steps:
        """Encode.

        Shapes: x (n_channels, batch, n_times), mask (batch, n_times) → (d_model, batch, n_steps), (batch, n_steps).
        """
        features, mask, rate = self.features(x, mask, rate=rate)
        return self.encode(features, mask), mask, rate

    def features(self, x: Tensor, mask: Tensor | None = None, *, rate: float = 1.0) -> Steps:
        """Return what is fixed: the signal itself.

        Shapes: x (n_channels, batch, n_times), mask (batch, n_times) → (n_channels, batch, n_times), (batch, n_times).
        """
        return x, mask, rate

    def encode(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map features to the width of the blocks: what is learned.

        Shapes: features (n_channels, batch, n_steps), mask (batch, n_steps) → (d_model, batch, n_steps).
        """
        mixed: Tensor = self.mix(features)
        return mixed

    def unit(self, rate: float) -> int:
        """Return how many samples make a piece that `advance` can take."""
        return 1

    def advance(self, x: Tensor, state: Any, *, rate: float = 1.0) -> tuple[Tensor, Any, float]:
        """Encode a piece of signal, going on from a state.

        Shapes: x (n_channels, batch, n_times) → (d_model, batch, n_steps).
        """
        return self.mix(x), state, rate


class FilterBankFrontend(nn.Module):
    """Ears: an `S4FilterBank`, its level taken out, standardised and mixed where bands lie together."""

    center: Tensor
    scale: Tensor

    def __init__(
        self,
        n_channels: int,
        d_model: int,
        *,
        bank: S4FilterBank,
        level: str = "keep",
        causal: bool = False,
        dropout: BandDropout | None = None,
        shift: BandShift | None = None,
    ) -> None:
        super().__init__()
        if level not in ("keep", "case", "running"):
            raise ValueError(f"level={level!r} is unknown; choose one of 'keep', 'case', 'running'.")
        self.bank, self.level = bank, level
        n_features = n_channels * bank.n_outputs
        self.register_buffer("center", torch.zeros(n_features))
        self.register_buffer("scale", torch.ones(n_features))
        self.dropout = BandDropout(0.0) if dropout is None else dropout
        self.shift = BandShift(0.0) if shift is None else shift
        self.mix = BandMixing(n_features // bank.n_bands, bank.n_bands, d_model, causal=causal)

    @property
    def learned(self) -> bool:
        """Whether `features` has something to learn: bands that are learnable."""
        return any(p.requires_grad for p in self.bank.parameters())

    def forward(self, x: Tensor, mask: Tensor | None = None, *, rate: float = 1.0) -> Steps:
        """Encode.

        Shapes: x (n_channels, batch, n_times), mask (batch, n_times) → (d_model, batch, n_steps), (batch, n_steps).
        """
        features, mask, rate = self.features(x, mask, rate=rate)
        return self.encode(features, mask), mask, rate

    def features(
        self, x: Tensor, mask: Tensor | None = None, *, rate: float = 1.0, gaps: Tensor | None = None
    ) -> Steps:
        """Return what is fixed: energies without their level.

        Shapes: x (n_channels, batch, n_times), mask (batch, n_times), gaps (batch, n_times) → (n_channels * n_bands,
        batch, n_steps), (batch, n_steps).
        """
        features, mask, rate, _ = self.bank(x, mask, rate=rate, gaps=gaps)
        if self.level == "case":
            weight = features.new_ones(features.shape[1:]) if mask is None else mask
            features = features - (features * weight).sum(-1, keepdim=True) / weight.sum(-1)[:, None]
        elif self.level == "running":
            features, _ = self._running(features, None)
        return features, mask, rate

    def encode(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Standardise features and map them to the width of the blocks: what is learned.

        In training bands may be moved and some upper ones silenced first.

        Shapes: features (n_channels * n_bands, batch, n_steps), mask (batch, n_steps) → (d_model, batch, n_steps).
        """
        features = self.shift(features, n_bands=self.bank.n_bands)
        # Silence is constant: its level is itself.
        silence = self.bank.silence if self.level == "keep" else 0.0
        features = self.dropout(features, 2.0 * self.bank.frequencies_hz / self.bank.sfreq, silence=silence)
        mixed: Tensor = self.mix(self._standard(features, mask), mask)
        return mixed

    def unit(self, rate: float) -> int:
        """Return how many samples make a piece that `advance` can take; a shorter one may come last."""
        return self.bank.unit(rate)

    def advance(self, x: Tensor, state: Any, *, rate: float = 1.0) -> tuple[Tensor, Any, float]:
        """Encode a piece of signal, going on from a state.

        Shapes: x (n_channels, batch, n_times) → (d_model, batch, n_steps).
        """
        if self.level == "case":
            raise ValueError("level='case' needs the whole case; use level='running' for pieces.")
        filters, heard, mixing = (None, None, None) if state is None else state
        features, _, rate, filters = self.bank(x, rate=rate, state=filters)
        if self.level == "running":
            features, heard = self._running(features, heard)
        h, mixing = self.mix.advance(self._standard(features), mixing)
        return h, (filters, heard, mixing), rate

    def _standard(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        standard = ((features - self.center[:, None, None]) * self.scale[:, None, None]).to(features.dtype)
        return standard if mask is None else standard * mask

    def _running(self, features: Tensor, heard: Any) -> tuple[Tensor, Any]:
        """Take out the mean of the steps so far; ``heard`` is their sum and number."""
        total, count = (0.0, 0) if heard is None else heard
        totals = features.double().cumsum(-1) + total
        counts = torch.arange(count + 1, count + 1 + features.shape[-1], device=features.device)
        level = (totals / counts).to(features.dtype)
        return features - level, (totals[..., -1:], count + features.shape[-1])
