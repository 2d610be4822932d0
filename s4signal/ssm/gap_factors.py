"""What a gap does to a mode: expm1(Lambda g), for every sample of a batch, without an exponential for every sample.

A kilohertz recording with holes has a handful of distinct gaps: their factors are a table, and the samples look theirs
up. Gaps that are all different are interpolated: as a function of the gap a factor is smooth, and Chebyshev polynomials
give it to full precision by one matrix product. What is too fast or too long for that is computed directly.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from s4signal.ssm.systems import Pair

__all__ = ["GapFactors", "expm1", "polynomial_degree"]

LARGEST_TABLE = 512  # distinct gaps, so that the table stays in cache
FEW_SAMPLES = 1024  # below this many a table costs more than it saves
LARGEST_RADIUS = 16.0  # |Lambda| times half the longest interpolated gap; the degree grows with it
MOST_HALVINGS = 3  # of gaps, for modes that are faster


class GapFactors:
    """Factors expm1(Lambda g) of modes for the gaps of a batch, a piece of time at once.

    Shapes: Lambda (n_modes,), gaps (batch, n_times).
    """

    def __init__(self, Lambda: Pair, gaps: Tensor, dtype: torch.dtype) -> None:
        self.Lambda, self.dtype = Lambda, dtype
        self.gaps = gaps.T.to(Lambda.re.dtype).contiguous()
        self.index: Tensor | None = None
        self.coefficients: Tensor | None = None
        # Counting distinct gaps would make an accelerator wait for its result.
        if gaps.device.type != "cpu" or gaps.numel() < FEW_SAMPLES:
            return
        distinct, index = torch.unique(self.gaps, return_inverse=True)
        if len(distinct) <= LARGEST_TABLE:
            self.table, self.index = expm1(Lambda, distinct, dtype), index
        else:
            self._interpolate(distinct)

    def piece(self, start: int, stop: int, out: Tensor | None = None) -> Tensor:
        """Return the factors of the samples from start to stop, complex (stop - start, batch, n_modes), in ``out``."""
        gaps = self.gaps[start:stop]
        if out is None:
            out = gaps.new_empty(*gaps.shape, len(self.Lambda.re), dtype=self.dtype.to_complex())
        rows = out.flatten(0, 1)
        if self.index is not None:
            torch.index_select(self.table, 0, self.index[start:stop].flatten(), out=rows)
        elif self.coefficients is None:
            out.copy_(expm1(self.Lambda, gaps, self.dtype))
        else:
            samples = slice(start * gaps.shape[1], stop * gaps.shape[1])
            torch.mm(self.basis[:, samples].T, self.coefficients, out=torch.view_as_real(rows).flatten(1))
            self._correct(rows, gaps.flatten())
        return out

    def _correct(self, rows: Tensor, gaps: Tensor) -> None:
        """Finish what is too fast or too long for polynomials."""
        for columns in self.halved:
            z = rows[:, columns]
            rows[:, columns] = z.mul_(z + 2.0)  # expm1(2 z) from expm1(z)
        if len(self.fast):
            fast = Pair(self.Lambda.re[self.fast], self.Lambda.im[self.fast])
            rows[:, self.fast] = expm1(fast, gaps, self.dtype)
        far = (gaps > self.longest).nonzero().squeeze(1)
        if len(far):
            rows[far] = expm1(self.Lambda, gaps[far], self.dtype)

    def _interpolate(self, distinct: Tensor) -> None:
        """Expand expm1(Lambda g) / g, which keeps its digits where g is small, in Chebyshev polynomials of g."""
        self.longest = distinct[int(0.99 * (len(distinct) - 1))]
        radius = (torch.hypot(self.Lambda.re, self.Lambda.im) * (0.5 * self.longest)).clamp_min(1e-3)
        halvings = torch.log2(radius / LARGEST_RADIUS).ceil().clamp_min(0.0)
        self.fast = (halvings > MOST_HALVINGS).nonzero().squeeze(1)
        halvings[self.fast] = 0.0
        # Columns that are squared once, twice ...: in the last digits each squaring costs one bit.
        self.halved = [(halvings > k).nonzero().squeeze(1) for k in range(int(halvings.max()))]
        Lambda = self.Lambda.scaled(torch.exp2(-halvings))
        degree = polynomial_degree(min(float(radius.max()), LARGEST_RADIUS), 0.1 * torch.finfo(self.dtype).eps)
        k = torch.arange(degree, dtype=distinct.dtype)
        angle = math.pi * (k + 0.5) / degree
        nodes = 0.5 * self.longest * (1.0 + torch.cos(angle))
        values = torch.view_as_real(expm1(Lambda, nodes, distinct.dtype)).flatten(1) / nodes[:, None]
        transform = torch.cos(k[:, None] * angle) * (2.0 / degree)
        transform[0] *= 0.5
        self.coefficients = (transform @ values).to(self.dtype)
        gaps = self.gaps.flatten()
        x = (2.0 / self.longest) * gaps.clamp_max(float(self.longest)) - 1.0
        self.basis = torch.empty(degree, len(gaps), dtype=self.dtype)
        before, now = gaps * x, gaps  # T_{-1} = T_1
        for row in self.basis:
            row.copy_(now)
            before, now = now, torch.addcmul(-before, x, now, value=2.0)


def polynomial_degree(radius: float, tolerance: float) -> int:
    """Return the number of Chebyshev polynomials of x that give exp(i radius x) on [-1, 1]."""
    degree = 8
    while (math.e * radius / (2 * degree)) ** degree > tolerance:
        degree += 1
    return degree


def expm1(Lambda: Pair, gaps: Tensor, dtype: torch.dtype) -> Tensor:
    r"""Return expm1(Lambda g), to the last digits of the dtype for any gap.

    Shapes: Lambda (n_modes,) → (\*gaps.shape, n_modes).
    """
    g = gaps.unsqueeze(-1)
    # The phase loses its whole turns before it loses digits to the dtype: a long gap may be a thousand turns.
    turns = g * (Lambda.im / (4.0 * math.pi))
    half = (turns - turns.round()).to(dtype) * (2.0 * math.pi)
    lost = torch.expm1((g * Lambda.re).to(dtype))
    sin, left = torch.sin(half), lost + 1.0
    turned = (2.0 * sin) * left
    return torch.complex(torch.addcmul(lost, sin, turned, value=-1.0), turned * torch.cos(half))
