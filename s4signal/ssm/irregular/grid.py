"""Irregular times that lie on a regular grid with holes: each sample is repeated (held) over the holes before it."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

LONGEST_EXPANSION = 8  # grid points per sample: measured at 5.5, a causal step takes 3.2 regular ones, by the scan 5.4
TOLERANCE = 1e-6  # largest deviation of a gap from a multiple of the period, in periods


class RegularGrid(NamedTuple):
    """A regular grid that contains the irregular sample times; it starts at the time before the first sample."""

    period: float  # in the unit of the gaps
    source: Tensor  # (batch, length + 1): sample that each point repeats; after the last sample of a case,
    #                 n_times at the first point and n_times + 1 at all later points
    ends: Tensor  # (batch, n_times): point of each sample, counted from 1; a sample covers those after the previous one
    full: bool  # whether there are neither holes nor padding: each sample is one point after the previous sample

    @property
    def even(self) -> bool:
        """Whether all cases end at the same point."""
        return bool((self.ends[:, -1] == self.ends[0, -1]).all())

    def repeat(self, u: Tensor) -> Tensor:
        """Repeat samples (..., batch, n_times) on the grid, (..., batch, length), with 0 after the end of a case."""
        return u if self.full else _pick(pad(u, (0, 2)), self.source[:, :-1])

    def pick(self, y: Tensor) -> Tensor:
        """Take the values at the samples, (..., batch, length) -> (..., batch, n_times)."""
        return y if self.full else _pick(y, self.ends - 1)

    def repeat_then(self, v: Tensor, last: Tensor) -> Tensor:
        """Repeat samples on the grid plus one point, with the value ``last`` (..., batch) after the end of a case."""
        return _pick(torch.cat([v, last.unsqueeze(-1), torch.zeros_like(last).unsqueeze(-1)], -1), self.source)

    def pick_after(self, x: Tensor) -> Tensor:
        """Take the values one point after the samples, (..., batch, length + 1) -> (..., batch, n_times)."""
        return _pick(x, self.ends)


def find_grid(gaps: Tensor) -> RegularGrid | None:
    """Find the grid on which samples with gaps (batch, n_times) lie; zeros at the end are padding.

    Return None if there is no grid, if it has more than eight times as many points as samples, or if the search would
    force a synchronisation with an accelerator.
    """
    if not gaps.is_cpu:
        return None
    gaps = gaps.double()
    observed = gaps > 0.0
    if not bool(observed[:, 0].all()) or bool((observed[:, 1:] & ~observed[:, :-1]).any()):
        return None
    smallest, n_times = float(gaps[observed].min()), gaps.shape[1]
    for parts in range(1, LONGEST_EXPANSION + 1):  # the period is the smallest gap, or a half, a third ... of it
        counts = (gaps * (parts / smallest)).round()
        ends = counts.long().cumsum(1)
        length = int(ends[:, -1].max())
        if length > LONGEST_EXPANSION * n_times:
            return None
        period = float(gaps.sum() / counts.sum())
        if bool(((gaps - counts * period).abs() <= TOLERANCE * period).all()):
            points = torch.arange(length + 1).expand(len(gaps), -1).contiguous()
            source = torch.searchsorted(ends, points, right=True)
            full = bool((ends == torch.arange(1, n_times + 1)).all())
            return RegularGrid(period, source + (points > ends[:, -1:]), ends, full)
    return None


def _pick(x: Tensor, index: Tensor) -> Tensor:
    """Take entries of the last axis per case: x (..., batch, n), index (batch, m) -> (..., batch, m)."""
    batch, n = x.shape[-2:]
    rows = index + n * torch.arange(batch).unsqueeze(1)
    picked: Tensor = x.flatten(-2).index_select(-1, rows.flatten()).unflatten(-1, index.shape)
    return picked
