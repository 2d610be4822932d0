r"""Factors of modes over a time, :math:`e^{\Lambda g} - 1`: computed directly, from a table, or by polynomials of time.

A mode is a smooth function of time: on [0, span], Chebyshev polynomials represent it to machine precision, with a
degree that grows with abs(Lambda) span / 2. Their values depend only on the times and their coefficients only on the
modes, so that matrix products replace an exponential for each time and mode.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from s4signal.ssm.systems import Pair

BLOCK = 8  # samples in a block: the products within a block cost as much as those with the states
LARGEST_TABLE = 512  # distinct gaps, so that the table fits into the cache
FEW_SAMPLES = 1024  # below this number of samples, a table costs more than it saves
LARGEST_RADIUS = 16.0  # abs(Lambda) times half the longest interpolated gap; the degree grows with it
MOST_HALVINGS = 3  # of gaps, for faster modes


def expm1(Lambda: Pair, gaps: Tensor, dtype: torch.dtype) -> Tensor:
    r"""Return expm1(Lambda g), complex (\*gaps.shape, n_modes), to the precision of the dtype for any gap."""
    g = gaps.unsqueeze(-1)
    # The phase is reduced by whole turns before it is rounded to the dtype: a long gap may be a thousand turns.
    turns = g * (Lambda.im / (4.0 * math.pi))
    half = (turns - turns.round()).to(dtype) * (2.0 * math.pi)
    # e^(a + ib) - 1 = expm1(a) + e^a (e^ib - 1), and e^ib - 1 = 2i sin(b/2) e^(ib/2): nothing cancels.
    decay_m1 = torch.expm1((g * Lambda.re).to(dtype))
    sin = torch.sin(half)
    scale = (2.0 * sin) * (decay_m1 + 1.0)
    return torch.complex(torch.addcmul(decay_m1, sin, scale, value=-1.0), scale * torch.cos(half))


class GapFactors:
    """Factors expm1(Lambda g) of modes (..., n, 2), flattened, for gaps (batch, n_times), in pieces of time.

    A kilohertz recording with holes has few distinct gaps: their factors are a table. For many distinct gaps, factors
    are interpolated. For modes that are too fast or gaps that are too long for that, factors are computed directly.
    """

    def __init__(self, Lambda: Tensor, gaps: Tensor, dtype: torch.dtype) -> None:
        self.Lambda, self.dtype = Pair.of(Lambda.flatten(0, -2)), dtype
        self.gaps = gaps.T.to(Lambda.dtype).contiguous()
        self.index: Tensor | None = None
        self.coefficients: Tensor | None = None
        # Counting distinct gaps would force a synchronisation with an accelerator.
        if gaps.device.type != "cpu" or gaps.numel() < FEW_SAMPLES:
            return
        distinct, index = torch.unique(self.gaps, return_inverse=True)
        if len(distinct) <= LARGEST_TABLE:
            self.table, self.index = expm1(self.Lambda, distinct, dtype), index
        else:
            self._interpolate(distinct)

    def piece(self, time: slice, out: Tensor | None = None) -> Tensor:
        """Return the factors for a slice of time, complex (n, batch, n_modes), in ``out`` if given."""
        gaps = self.gaps[time]
        if out is None:
            out = gaps.new_empty(*gaps.shape, len(self.Lambda.re), dtype=self.dtype.to_complex())
        rows = out.flatten(0, 1)
        if self.index is not None:
            torch.index_select(self.table, 0, self.index[time].flatten(), out=rows)
        elif self.coefficients is None:
            out.copy_(expm1(self.Lambda, gaps, self.dtype))
        else:
            samples = slice(time.start * gaps.shape[1], time.stop * gaps.shape[1])
            torch.mm(self.basis[:, samples].T, self.coefficients, out=torch.view_as_real(rows).flatten(1))
            self._correct(rows, gaps.flatten())
        return out

    def _correct(self, rows: Tensor, gaps: Tensor) -> None:
        """Correct the factors in place for modes that are too fast, and gaps that are too long, for polynomials."""
        for columns in self.halved:
            z = rows[:, columns]
            rows[:, columns] = z.mul_(z + 2.0)  # expm1(2 z) from expm1(z)
        fast = Pair(self.Lambda.re[self.fast], self.Lambda.im[self.fast])
        rows[:, self.fast] = expm1(fast, gaps, self.dtype)
        far = (gaps > self.longest).nonzero().squeeze(1)
        rows[far] = expm1(self.Lambda, gaps[far], self.dtype)

    def _interpolate(self, distinct: Tensor) -> None:
        """Expand expm1(Lambda g) / g, which is accurate for small g, in Chebyshev polynomials of g."""
        self.longest = distinct[int(0.99 * (len(distinct) - 1))]
        radius = torch.hypot(self.Lambda.re, self.Lambda.im) * (0.5 * self.longest)
        halvings = torch.log2(radius / LARGEST_RADIUS).ceil().clamp_min(0.0)
        self.fast = (halvings > MOST_HALVINGS).nonzero().squeeze(1)
        halvings[self.fast] = 0.0
        # Columns that are squared once, twice ...: each squaring costs one bit of precision.
        self.halved = [(halvings > k).nonzero().squeeze(1) for k in range(int(halvings.max()))]
        Lambda = self.Lambda.scaled(torch.exp2(-halvings))
        degree = polynomial_degree(min(float(radius.max()), LARGEST_RADIUS), 0.1 * torch.finfo(self.dtype).eps)
        nodes, transform = _interpolation(degree, float(self.longest), distinct.dtype)
        values = torch.view_as_real(expm1(Lambda, nodes, distinct.dtype)).flatten(1) / nodes[:, None]
        self.coefficients = (transform @ values).to(self.dtype)
        gaps = self.gaps.flatten()
        x = (2.0 / self.longest) * gaps.clamp_max(float(self.longest)) - 1.0
        self.basis = torch.empty(degree, len(gaps), dtype=self.dtype)
        before, now = gaps * x, gaps  # T_{-1} = T_1
        for row in self.basis:
            row.copy_(now)
            before, now = now, torch.addcmul(-before, x, now, value=2.0)


def polynomial_tables(Lambda: Tensor, G: Tensor, span: float, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Expand modes and output vectors (d_model, n, 2) in p Chebyshev polynomials of times in [0, ``span``].

    Return P (d_model, p, 2 n): exp(Lambda tau); Q (d_model, p + 1, 2 n): 2 G exp(Lambda tau), to be multiplied by
    (re, im) of a state, last 2 G itself; K (p, d_model): response to a constant, sum of 2 Re(G expm1(Lambda tau)).
    """
    # States are in units of their response to a constant. Since exp(0) = 1, exp(Lambda tau) is 1 plus the change of the
    # polynomials since time 0. Row 0 of P is therefore 1, and its other rows multiply the changes of T_1, T_2, ...
    radius = 0.5 * span * float(torch.linalg.vector_norm(Lambda.detach(), dim=-1).max())
    # The degree is a bound: the actual error, by Bessel functions, is one to eight times the precision.
    degree = polynomial_degree(radius, 100.0 * torch.finfo(dtype).eps)
    nodes, transform = _interpolation(degree, span, Lambda.dtype)
    values = Pair.of(Lambda.unsqueeze(1) * nodes[:, None, None]).expm1()
    change = Pair(transform @ values.re, transform @ values.im)
    output = Pair.of(2.0 * G.unsqueeze(1))
    response = output.times(Pair(change.re + torch.eye(degree, 1, dtype=Lambda.dtype), change.im))
    # Rows (re, -im), multiplied by (re, im) of a state, give the real part of a product.
    Q = torch.cat([torch.stack([z.re, -z.im], -1).flatten(-2) for z in (response, output)], 1)
    one = Lambda.new_tensor([1.0, 0.0]).expand_as(Lambda).unsqueeze(1)
    P = torch.cat([one, change.stacked()[:, 1:]], 1).flatten(-2)
    return P.to(dtype), Q.to(dtype), output.times(change).re.sum(-1).T.to(dtype)


class BlockBasis(NamedTuple):
    """Chebyshev polynomials T_0 ... T_{p-1} of the times in blocks, shared by all channels and modes."""

    across: Tensor  # (rows, p): 1, and the change of T_1 ... over the block; 0 if it lasts longer than the span
    hold: Tensor  # (rows, BLOCK, p - 1): change of T_1 ... over the hold of a sample, as time to the end; or 0
    since: Tensor  # (rows, BLOCK, p + 1): value at the time since the block began; for the last sample, a 1 at the end
    between: Tensor  # (p, rows * pairs): value at the time from the start of the hold of a sample to this or a later
    #                  sample, except the last of the block; pairs ordered by lag
    duration: Tensor  # (rows,)
    long: Tensor  # (n_long,): rows that last longer than the span, with a single sample each

    @classmethod
    def of(cls, times: Tensor, span: float, P: Tensor) -> BlockBasis:
        """Compute the values for times (n_blocks, batch, BLOCK) since the end of the block before."""
        degree, times = P.shape[1], times.flatten(0, 1)
        duration = times[:, -1]
        long = (duration > span).nonzero().squeeze(1)
        times = times.clamp_max(span)
        starts = torch.cat([torch.zeros_like(times[:, :1]), times[:, :-1]], 1)
        lags = torch.cat([times[:, lag:-1] - starts[:, : BLOCK - 1 - lag] for lag in range(BLOCK - 1)], 1)
        at = torch.cat([times[:, -1:] - starts, starts[:, :1], times[:, :-1]], 1)
        at, lags = (((2.0 / span) * x - 1.0).to(P.dtype) for x in (at, lags))
        ends, inside = _chebyshev(at, degree).split([BLOCK + 1, BLOCK - 1], 2)
        across = torch.cat([ends[:1, :, 0], ends[1:, :, 0] - ends[1:, :, -1]]).T.contiguous()
        hold = (ends[1:, :, :-1] - ends[1:, :, 1:]).permute(1, 2, 0).contiguous()
        across[long], hold[long] = 0.0, 0.0
        since = at.new_zeros(*times.shape, degree + 1)
        since[:, :-1, :-1] = inside.permute(1, 2, 0)
        since[:, -1, -1] = 1.0
        return cls(across, hold, since, _chebyshev(lags.flatten(), degree), duration, long)


def polynomial_degree(radius: float, tolerance: float) -> int:
    """Return the number of Chebyshev polynomials that represent exp(i radius x) on [-1, 1] to a tolerance."""
    degree = 8
    while (math.e * radius / (2 * degree)) ** degree > tolerance:
        degree += 1
    return degree


def _interpolation(degree: int, span: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return Chebyshev nodes in [0, span], and the matrix from values at the nodes to coefficients."""
    k = torch.arange(degree, dtype=dtype)
    angle = math.pi * (k + 0.5) / degree
    transform = torch.cos(k[:, None] * angle) * (2.0 / degree)
    transform[0] *= 0.5
    return 0.5 * span * (1.0 + torch.cos(angle)), transform


def _chebyshev(x: Tensor, degree: int) -> Tensor:
    """Return the values of the Chebyshev polynomials at x in [-1, 1], (degree, *x.shape)."""
    values, twice = x.new_empty(degree, *x.shape), 2.0 * x
    values[0], values[1] = 1.0, x
    rows = values.unbind()
    for before, now, following in zip(rows, rows[1:], rows[2:], strict=False):
        torch.mul(twice, now, out=following).sub_(before)
    return values
