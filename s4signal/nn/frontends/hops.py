"""Hops: how samples are cut so that the blocks of the engine and the steps behind a filter bank fit."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional as F

__all__ = ["hop_blocks", "valid_share"]


def hop_blocks(hop: float, longest: int = 128) -> tuple[int, int, int]:
    """Return (samples a block, blocks a hop, hops a block), one of the last two being 1, for a hop in samples."""
    if hop > longest:
        blocks = math.ceil(hop / longest)
        return round(hop / blocks), blocks, 1
    samples = max(1, round(hop))
    hops = max(1, 64 // samples)
    return samples * hops, 1, hops


def valid_share(x: Tensor, mask: Tensor | None, hop: int, n_steps: int) -> Tensor:
    """Return the share of valid samples in each hop.

    Shapes: x (n_channels, batch, n_times), mask (batch, n_times) → (batch, n_steps).
    """
    _, batch, n_times = x.shape
    mask = x.new_ones(batch, n_times) if mask is None else mask
    padded = F.pad(mask, (0, n_steps * hop - n_times))
    return padded.view(batch, n_steps, hop).mean(-1).clamp_min(1e-9)
