"""A grid with holes as a grid without: a held sample may be split, so that each hole takes the value that is held."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["HeldGrid", "held_grid"]

LONGEST_EXPANSION = 8  # times as many samples: measured at 5.5, a causal step takes 3.2 regular ones, by the scan 5.4
TOLERANCE = 1e-6  # of the period of the grid, by which a gap may miss a multiple of it


class HeldGrid(NamedTuple):
    """A regular grid on which irregular samples lie.

    Shapes: source (batch, length + 1), ends (batch, n_times).
    """

    unit: float
    source: Tensor
    ends: Tensor

    @property
    def even(self) -> bool:
        """Whether all cases end together."""
        return bool((self.ends[:, -1] == self.ends[0, -1]).all())

    @property
    def full(self) -> bool:
        """Whether there are neither holes nor padding: each sample stands one point after the sample before."""
        return bool((self.ends == torch.arange(1, self.ends.shape[1] + 1, device=self.ends.device)).all())

    def spread(self, u: Tensor) -> Tensor:
        """Expand samples (..., batch, n_times) to the grid, (..., batch, length), 0 after the last of a case."""
        return u if self.full else _picked(torch.nn.functional.pad(u, (0, 2)), self.source[:, :-1])

    def gather(self, y: Tensor) -> Tensor:
        """Pick what stands at the samples, (..., batch, length) -> (..., batch, n_times)."""
        return y if self.full else _picked(y, self.ends - 1)

    def spread_then(self, v: Tensor, last: Tensor) -> Tensor:
        """Expand samples to the grid, and one point more, with another value (..., batch) after the last of a case."""
        return _picked(torch.cat([v, last.unsqueeze(-1), torch.zeros_like(last).unsqueeze(-1)], -1), self.source)

    def gather_after(self, x: Tensor) -> Tensor:
        """Pick what stands one point after the samples, (..., batch, length + 1) -> (..., batch, n_times)."""
        return _picked(x, self.ends)


def held_grid(gaps: Tensor) -> HeldGrid | None:
    """Find the grid on which samples lie.

    Shapes: gaps (batch, n_times).
    """
    gaps = gaps.double()
    there = gaps > 0.0
    if not bool(there[:, 0].all()) or bool((there[:, 1:] & ~there[:, :-1]).any()):
        return None
    smallest, n_times = float(gaps[there].min()), gaps.shape[1]
    for parts in range(1, LONGEST_EXPANSION + 1):
        counts = (gaps * (parts / smallest)).round()
        ends = counts.long().cumsum(1)
        length = int(ends[:, -1].max())
        if length > LONGEST_EXPANSION * n_times:
            return None
        unit = float(gaps.sum() / counts.sum())
        if bool(((gaps - counts * unit).abs() <= TOLERANCE * unit).all()):
            points = torch.arange(length + 1, device=gaps.device).expand(len(gaps), -1).contiguous()
            source = torch.searchsorted(ends, points, right=True)
            return HeldGrid(unit, source + (points > ends[:, -1:]), ends)
    return None


def _picked(x: Tensor, index: Tensor) -> Tensor:
    """Take entries of the last axis, other ones for each case: (..., batch, n), (batch, m) -> (..., batch, m)."""
    batch, n = x.shape[-2:]
    rows = index + n * torch.arange(batch, device=index.device).unsqueeze(1)
    picked: Tensor = x.flatten(-2).index_select(-1, rows.flatten()).unflatten(-1, index.shape)
    return picked
