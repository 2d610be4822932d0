"""Normalise log energies by the loud frames of a case, independent of gain and of silence around a sound."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from s4signal.ssm import construction_dtype

FLOOR_DB = 45.0  # by cross-validation: at 50 room noise has an effect, at 35 weak sounds are cut off
DECIBEL = math.log(10.0) / 10.0  # of energy, in natural logarithms


class LoudnessState(NamedTuple):
    """Loudest frame so far (1, batch, 1), weighted sum of the frames (n_features, batch, 1) and of the weights."""

    loudest: Tensor
    total: Tensor
    weight: Tensor


class Loudness(nn.Module):
    """Floor log energies relative to the loudest frame, and subtract their mean over the active frames.

    For whole cases, active frames are those above a threshold, which performed better. If ``causal``, the loudest frame
    so far is used, and the mean is weighted by amplitude: the initial silence soon has little weight, and a stream
    keeps only two sums.
    """

    def __init__(self, *, floor_db: float = FLOOR_DB, active_db: float = 30.0, causal: bool = False) -> None:
        super().__init__()
        if not 0 < active_db <= floor_db:
            raise ValueError(f"active_db={active_db:g} must be above 0 and at most floor_db={floor_db:g}.")
        self.floor_db, self.active_db, self.causal = floor_db, active_db, causal

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalise whole cases; zero where masked.

        Shapes: x (n_features, batch, n_steps), mask (batch, n_steps) → (n_features, batch, n_steps).
        """
        if self.causal:
            y = self.advance(x, None)[0]
            return y if mask is None else y * mask
        energy = x.logsumexp(0)
        if mask is not None:
            energy = energy.masked_fill(mask == 0, -torch.inf)
        loudest = energy.amax(-1, keepdim=True)
        floored = self._floored(x, loudest)
        active = (energy >= loudest - self.active_db * DECIBEL).to(x.dtype)
        y = floored - (floored * active).sum(-1, keepdim=True) / active.sum(-1, keepdim=True)
        return y if mask is None else y * mask

    def advance(
        self, x: Tensor, state: LoudnessState | None, *, keep_last: bool = True
    ) -> tuple[Tensor, LoudnessState | None]:
        """Normalise a piece (n_features, batch, n_steps) causally; ``keep_last`` as in `FrontendSteps.advance`."""
        power, several = x.exp().sum(0, keepdim=True), x.shape[-1] > 1
        energy = power.log()
        loudest = self.running_maximum(energy) if several else energy
        if state is not None:
            loudest = torch.maximum(loudest, state.loudest)
        floored = self._floored(x, loudest)
        amplitude = power.to(construction_dtype(x.device)).sqrt()
        total, weight = floored * amplitude, amplitude
        if several:
            total, weight = total.cumsum(-1), weight.cumsum(-1)
        if state is not None:
            total, weight = total + state.total, weight + state.weight
        y = floored - (total / weight).to(x.dtype)
        if not several:
            return y, LoudnessState(loudest, total, weight) if keep_last else state
        last = slice(-1, None) if keep_last else slice(-2, -1)
        return y, LoudnessState(loudest[..., last], total[..., last], weight[..., last])

    def running_maximum(self, energy: Tensor) -> Tensor:
        """Return the maximum of all frames so far, (1, batch, n_steps)."""
        return energy.cummax(-1).values

    def _floored(self, x: Tensor, loudest: Tensor) -> Tensor:
        return torch.logaddexp(x, loudest - (self.floor_db * DECIBEL + math.log(len(x))))
