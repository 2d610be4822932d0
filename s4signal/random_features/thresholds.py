"""Thresholds, and the share of time that a signal spends above them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["EDGE", "share_above", "spread_levels"]

EDGE = 0.1  # standard deviations around a threshold, where a reading counts in part


def spread_levels(*shape: int) -> Tensor:
    """Return levels that spread as a normal distribution does, whatever their number."""
    # Multiples of the golden ratio spread evenly over the unit interval.
    numbers = torch.arange(1, math.prod(shape) + 1, dtype=torch.float64)
    levels: Tensor = torch.special.ndtri(numbers * ((math.sqrt(5) - 1) / 2) % 1)
    return levels.view(shape)


def share_above(waves: Tensor, thresholds: Tensor, scales: Tensor) -> Tensor:
    """Tell readings above their thresholds from those below.

    A reading next to its threshold counts in part: rounding moves a share by no more than rounding.

    Shapes: waves (..., m) → (..., m).
    """
    slopes = torch.where(scales > 0, 1.0 / (EDGE * scales), 0.0)
    start, slopes = (part[..., None].to(waves.dtype) for part in (0.5 - thresholds * slopes, slopes))
    return torch.addcmul(start, waves, slopes).clamp_(0.0, 1.0)
