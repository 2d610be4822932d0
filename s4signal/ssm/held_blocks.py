"""Samples at any times in blocks of a few: where they lie, and what polynomials of time say of a block."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["BLOCK", "BlockBasis", "HeldBlocks", "held_blocks"]

BLOCK = 8  # samples: the products within a block cost as much as those with the states
STRETCH = 1.6  # longest block over the median time of so many samples; at random times one in ten ends early


class HeldBlocks(NamedTuple):
    """Samples of every case in blocks, one after the other, at the end of a block if it holds fewer than others.

    The slots before them last no time. A block ends when it is full or would last longer than ``span``; a single sample
    may last longer.

    Shapes: times (n_blocks, batch, BLOCK), source (n_blocks, batch, BLOCK), hears (n_blocks, batch, BLOCK).
    """

    span: float
    times: Tensor
    source: Tensor
    hears: Tensor

    @property
    def n_blocks(self) -> int:
        """Blocks of the case that has most."""
        return len(self.source)


class BlockBasis(NamedTuple):
    """Chebyshev polynomials 0 ... p - 1 of times within blocks, which serve all channels and modes.

    Shapes: through (rows, p), held (rows, BLOCK, p - 1), since (rows, BLOCK, p + 1), between (p, rows * pairs), lasting
    (rows,), long (n_long,).
    """

    through: Tensor
    held: Tensor
    since: Tensor
    between: Tensor
    lasting: Tensor
    long: Tensor

    @classmethod
    def of(cls, times: Tensor, span: float, degree: int, dtype: torch.dtype) -> BlockBasis:
        """Compute the values at what the blocks ask for.

        Shapes: times (rows, BLOCK).
        """
        lasting = times[:, -1]
        long = (lasting > span).nonzero().squeeze(1)
        times = times.clamp_max(span)
        starts = torch.cat([torch.zeros_like(times[:, :1]), times[:, :-1]], 1)
        lags = torch.cat([times[:, lag:-1] - starts[:, : BLOCK - 1 - lag] for lag in range(BLOCK - 1)], 1)
        at = torch.cat([times[:, -1:] - starts, starts[:, :1], times[:, :-1]], 1)
        at, lags = (((2.0 / span) * x - 1.0).to(dtype) for x in (at, lags))
        ends, inside = _chebyshev(at, degree).split([BLOCK + 1, BLOCK - 1], 2)
        through = torch.cat([ends[:1, :, 0], ends[1:, :, 0] - ends[1:, :, -1]]).T.contiguous()
        held = (ends[1:, :, :-1] - ends[1:, :, 1:]).permute(1, 2, 0).contiguous()
        through[long], held[long] = 0.0, 0.0
        since = at.new_zeros(*times.shape, degree + 1)
        since[:, :-1, :-1] = inside.permute(1, 2, 0)
        since[:, -1, -1] = 1.0
        return cls(through, held, since, _chebyshev(lags.flatten(), degree), lasting, long)


def held_blocks(gaps: Tensor, *, reverse: bool = False) -> HeldBlocks | None:
    """Cut samples into blocks.

    Shapes: gaps (batch, n_times).
    """
    gaps = gaps.double().flip(1) if reverse else gaps.double()
    batch, n_times = gaps.shape
    if n_times < 2 * BLOCK:
        return None
    at = torch.nn.functional.pad(gaps.cumsum(1), (1, 0))
    lasting = at[:, BLOCK:] - at[:, :-BLOCK]
    lasting = lasting[lasting > 0.0]
    if not len(lasting):
        return None
    span = STRETCH * float(lasting.median())
    bounds = _bounds(at, span)
    n_blocks = len(bounds) - 1
    if 4 * n_blocks > n_times:
        return None
    begin, end = bounds[:-1], bounds[1:]
    sample = end.unsqueeze(2) - torch.arange(BLOCK, 0, -1)
    there = sample >= begin.unsqueeze(2)
    sample = torch.where(there, sample, begin.unsqueeze(2) - 1)
    cases, none = torch.arange(batch).unsqueeze(1), batch * n_times
    times = at.flatten()[sample + 1 + (n_times + 1) * cases] - at.gather(1, begin.T).T.unsqueeze(2)
    index = n_times * cases + (n_times - 1 - sample if reverse else sample)
    hears = torch.where(sample < n_times - 1, index - 1, none) if reverse else index
    return HeldBlocks(span, times, *(torch.where(there, x, none) for x in (index, hears)))


def _bounds(at: Tensor, span: float) -> Tensor:
    """First samples of the blocks, (n_blocks + 1, batch), from the times before and after all samples."""
    batch, n_times = at.shape[0], at.shape[1] - 1
    ends = torch.nn.functional.pad(at[:, 1:], (0, BLOCK - 1), value=torch.inf).unfold(1, BLOCK, 1)
    held = (ends <= (at[:, :-1] + span).unsqueeze(2)).sum(2).clamp_min(1)
    following = torch.arange(n_times) + held
    following = torch.nn.functional.pad(following, (0, 1), value=n_times)
    bounds = [torch.zeros(batch, dtype=torch.long)]
    while int(bounds[-1].min()) < n_times:
        bounds.append(following.gather(1, bounds[-1].unsqueeze(1)).squeeze(1))
    return torch.stack(bounds)


def _chebyshev(x: Tensor, degree: int) -> Tensor:
    """Values of the polynomials on [-1, 1], (degree, *x.shape)."""
    values, twice = x.new_empty(degree, *x.shape), 2.0 * x
    values[0], values[1] = 1.0, x
    rows = values.unbind()
    for before, now, following in zip(rows, rows[1:], rows[2:], strict=False):
        torch.mul(twice, now, out=following).sub_(before)
    return values
