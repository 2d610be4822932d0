"""Heads: from a sequence of features to one vector per case, and a skip from the input channels to the outputs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["POOLINGS", "SummaryHead", "last_pooling", "max_pooling", "mean_pooling"]


def mean_pooling(x: Tensor, mask: Tensor | None = None, gaps: Tensor | None = None) -> Tensor:
    """Average over time: each valid step counts for as long as it lasts.

    Shapes: x (d_model, batch, n_times), mask (batch, n_times), gaps (batch, n_times) → (batch, d_model).
    """
    if gaps is not None:
        mask = gaps.to(x.dtype)
    if mask is None:
        return x.mean(-1).T
    return (torch.einsum("hbl,bl->hb", x, mask) / mask.sum(-1)).T


def max_pooling(x: Tensor, mask: Tensor | None = None, gaps: Tensor | None = None) -> Tensor:
    """Take the largest value over the valid time steps.

    Shapes: x (d_model, batch, n_times), mask (batch, n_times) → (batch, d_model).
    """
    if mask is not None:
        x = x.masked_fill(mask == 0, float("-inf"))
    return x.amax(-1).T


def last_pooling(x: Tensor, mask: Tensor | None = None, gaps: Tensor | None = None) -> Tensor:
    """Take the last valid time step.

    Shapes: x (d_model, batch, n_times), mask (batch, n_times) → (batch, d_model).
    """
    if mask is None:
        return x[..., -1].T
    # Missing samples may lie within a case: the last valid step is not the number of valid ones.
    steps = torch.arange(1, x.shape[-1] + 1, device=x.device)
    last = ((mask > 0) * steps).argmax(-1).expand(x.shape[0], -1)
    return torch.gather(x, -1, last.unsqueeze(-1)).squeeze(-1).T


class SummaryHead(nn.Module):
    """Add scores of the mean and the last value of each input channel to the outputs, past all blocks.

    Each is split at zero, as too high and too low may both be bad. The weights begin at zero.
    """

    def __init__(self, n_channels: int, n_outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(n_outputs, 4 * n_channels))

    def forward(self, x: Tensor, mask: Tensor | None = None, gaps: Tensor | None = None) -> Tensor:
        """Score cases.

        Shapes: x (n_channels, batch, n_times), mask (batch, n_times), gaps (batch, n_times) → (batch, n_outputs).
        """
        summary = torch.cat([mean_pooling(x, mask, gaps), last_pooling(x, mask, gaps)], 1)
        return torch.cat([summary.clamp_min(0.0), summary.clamp_max(0.0)], 1) @ self.weight.T


POOLINGS = {"mean": mean_pooling, "max": max_pooling, "last": last_pooling}
