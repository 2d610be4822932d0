"""The irregular scan in one kernel launch per direction, for float32 on a GPU; imported only if triton is installed.

One program keeps the modes of one channel for a few cases in registers and steps through time. The states at the
bounds of pieces are stored; the backward kernel recomputes the states of each piece in a scratch buffer.
"""

import math
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

PIECE = 32  # samples between two stored states
CASES = 8  # cases per program


@triton.jit
def _factor(gap, decay, turns, TWO_PI: tl.constexpr):  # type: ignore[no-untyped-def]
    """Return expm1(Lambda g), (cases, n): the phase is reduced in float64, small decays use a series."""
    a = (gap[:, None] * decay[None, :]).to(tl.float32)
    t = gap[:, None] * turns[None, :]
    half = (t - tl.floor(t + 0.5)).to(tl.float32) * TWO_PI
    series = 1.0 + a * (1.0 / 8.0 + a * (1.0 / 72.0))
    series = 1.0 + a * (1.0 / 5.0 + a * (1.0 / 30.0) * (1.0 + a * (1.0 / 7.0) * series))
    series = a * (1.0 + a * 0.5 * (1.0 + a * (1.0 / 3.0) * (1.0 + a * 0.25 * series)))
    decay_m1 = tl.where(a > -0.5, series, tl.exp(a) - 1.0)
    sin = tl.sin(half)
    scale = 2.0 * sin * (decay_m1 + 1.0)
    return decay_m1 - sin * scale, scale * tl.cos(half)


@triton.jit
def _load(pointer, mask):  # type: ignore[no-untyped-def]
    """Load interleaved (re, im), with zeros outside the mask."""
    return tl.load(pointer, mask=mask, other=0.0), tl.load(pointer + 1, mask=mask, other=0.0)


@triton.jit
def _store(pointer, re, im, mask):  # type: ignore[no-untyped-def]
    tl.store(pointer, re, mask=mask)
    tl.store(pointer + 1, im, mask=mask)


@triton.jit
def _place(decays, turns, G, batch, n, N: tl.constexpr, CASES: tl.constexpr):  # type: ignore[no-untyped-def]
    """Return masks of cases and of states, decay, turns and G of the modes, and pointer offsets of a program.

    The offsets are for the gaps (cases,), the signals (cases,), the states (cases, n), and one stored piece.
    """
    h = tl.program_id(0)
    b, j = tl.program_id(1) * CASES + tl.arange(0, CASES), tl.arange(0, N)
    case, mode = b < batch, j < n
    decay = tl.load(decays + h * n + j, mask=mode, other=0.0)
    turn = tl.load(turns + h * n + j, mask=mode, other=0.0)
    G_re, G_im = _load(G + 2 * (h * n + j), mode)
    rows = h.to(tl.int64) * batch + b
    at = 2 * (rows[:, None] * n + j[None, :])
    size = tl.num_programs(0).to(tl.int64) * batch * n * 2
    return case, case[:, None] & mode[None, :], decay, turn, G_re[None, :], G_im[None, :], b, rows, at, size


@triton.jit
def _advance(re, im, u, gaps, decay, turn, case, TWO_PI: tl.constexpr):  # type: ignore[no-untyped-def]
    """Return x + m (x + u), with m = expm1(Lambda g), then the gap, m, and the real part of x + u."""
    gap = tl.load(gaps, mask=case, other=0.0)
    m_re, m_im = _factor(gap, decay, turn, TWO_PI)
    t = re + tl.load(u, mask=case, other=0.0)[:, None]
    return re + m_re * t - m_im * im, im + m_re * im + m_im * t, gap, m_re, m_im, t


@triton.jit
def _forward_kernel(  # type: ignore[no-untyped-def]
    u, gaps, decays, turns, G, y, state, entering, batch, n_times, n,
    N: tl.constexpr, CASES: tl.constexpr, PIECE: tl.constexpr, TWO_PI: tl.constexpr,
):  # fmt: skip
    case, both, decay, turn, G_re, G_im, b, rows, at, size = _place(decays, turns, G, batch, n, N, CASES)
    u, gaps, y = u + rows * n_times, gaps + b * n_times, y + rows * n_times
    re, im = _load(state + at, both)
    for k in range(n_times):
        if k % PIECE == 0:
            _store(entering + (k // PIECE) * size + at, re, im, both)
        re, im, _, _, _, _ = _advance(re, im, u + k, gaps + k, decay, turn, case, TWO_PI)
        tl.store(y + k, 2.0 * tl.sum(G_re * re - G_im * im, 1), mask=case)
    _store(state + at, re, im, both)


@triton.jit
def _backward_kernel(  # type: ignore[no-untyped-def]
    u, gaps, decays, turns, G, dy, entering, carried, scratch, du, dLambda, dG, batch, n_times, n,
    N: tl.constexpr, CASES: tl.constexpr, PIECE: tl.constexpr, TWO_PI: tl.constexpr,
):  # fmt: skip
    case, both, decay, turn, G_re, G_im, b, rows, at, size = _place(decays, turns, G, batch, n, N, CASES)
    u, gaps, dy, du = u + rows * n_times, gaps + b * n_times, dy + rows * n_times, du + rows * n_times
    a_re, a_im = _load(carried + at, both)
    a_im = -a_im  # the conjugate of the adjoint is carried
    dL_re, dL_im = tl.zeros((CASES, N), tl.float32), tl.zeros((CASES, N), tl.float32)
    dG_re, dG_im = tl.zeros((CASES, N), tl.float32), tl.zeros((CASES, N), tl.float32)
    last = (n_times - 1) // PIECE
    for back in range(last + 1):
        start = (last - back) * PIECE
        length = tl.minimum(PIECE, n_times - start)
        re, im = _load(entering + (last - back) * size + at, both)
        for i in range(length):  # recompute the state before each sample of the piece
            _store(scratch + i * size + at, re, im, both)
            re, im, _, _, _, _ = _advance(re, im, u + start + i, gaps + start + i, decay, turn, case, TWO_PI)
        tl.debug_barrier()
        for j in range(length):
            k = start + length - 1 - j
            x_re, x_im = _load(scratch + (k - start) * size + at, both)
            re, im, gap, m_re, m_im, t = _advance(x_re, x_im, u + k, gaps + k, decay, turn, case, TWO_PI)
            g = tl.load(dy + k, mask=case, other=0.0)[:, None]
            dG_re, dG_im = dG_re + g * re, dG_im + g * im
            a_re, a_im = a_re + 2.0 * g * G_re, a_im + 2.0 * g * G_im
            p_re, p_im = m_re * a_re - m_im * a_im, m_re * a_im + m_im * a_re
            tl.store(du + k, tl.sum(p_re, 1), mask=case)
            a_re, a_im = a_re + p_re, a_im + p_im
            weight = gap.to(tl.float32)[:, None]
            dL_re, dL_im = dL_re + weight * (t * a_re - x_im * a_im), dL_im + weight * (t * a_im + x_im * a_re)
        tl.debug_barrier()
    _store(carried + at, a_re, -a_im, both)
    # A gradient is the conjugate of a derivative.
    _store(dLambda + at, dL_re, -dL_im, both)
    _store(dG + at, 2.0 * dG_re, -2.0 * dG_im, both)


class FusedScan(torch.autograd.Function):
    """`SteppedScan` in one kernel launch per direction."""

    @staticmethod
    def forward(
        ctx: Any, u: Tensor, gaps: Tensor, Lambda: Tensor, G: Tensor, first: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return 2 Re(G x) and the last state."""
        (d_model, batch, n_times), n, u = u.shape, G.shape[1], u.contiguous()
        state = u.new_zeros(d_model, batch, 2 * n) if first is None else first.to(u.dtype, copy=True).contiguous()
        entering = u.new_empty(-(-n_times // PIECE), d_model, batch, 2 * n)
        y = torch.empty_like(u)
        _forward_kernel[d_model, triton.cdiv(batch, CASES)](
            u, *_tables(gaps, Lambda, G), y, state, entering, batch, n_times, n, **_constants(n)
        )
        ctx.save_for_backward(u, gaps, Lambda, G, entering)
        ctx.carried = first is not None
        return y, state

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Backpropagate the gradients of outputs and last state."""
        u, gaps, Lambda, G, entering = ctx.saved_tensors
        (d_model, batch, n_times), n = u.shape, G.shape[1]
        carried = grads[1].to(u.dtype, copy=True).contiguous()
        scratch = u.new_empty(PIECE, d_model, batch, 2 * n)
        du, dLambda, dG = torch.empty_like(u), torch.empty_like(carried), torch.empty_like(carried)
        _backward_kernel[d_model, triton.cdiv(batch, CASES)](
            u, *_tables(gaps, Lambda, G), grads[0].contiguous(), entering, carried, scratch, du, dLambda, dG,
            batch, n_times, n, **_constants(n),
        )  # fmt: skip
        dfirst = carried if ctx.carried else None
        return du, None, dLambda.sum(1).view_as(G).to(Lambda), dG.sum(1).view_as(G).to(G), dfirst


def _tables(gaps: Tensor, Lambda: Tensor, G: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return gaps and decay rates in float64, half the phase rates in turns, and output vectors in float32."""
    turns = Lambda[..., 1].double() / (4.0 * math.pi)
    return gaps.double().contiguous(), Lambda[..., 0].double().contiguous(), turns, G.float().contiguous()


def _constants(n: int) -> dict[str, float]:
    return {"N": triton.next_power_of_2(n), "CASES": CASES, "PIECE": PIECE, "TWO_PI": 2.0 * math.pi}
