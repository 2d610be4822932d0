r"""The irregular view: every sample has its own gap, and the system is the exact zero-order hold of each.

A recording at times :math:`t_k` is read as a signal that is held: :math:`u(t) = u_k` for
:math:`t_{k-1} < t \le t_k`, with gaps :math:`g_k = t_k - t_{k-1}`. Both directions integrate this one signal,

.. math:: x_k = e^{\Lambda g_k} x_{k-1} + \Lambda^{-1} (e^{\Lambda g_k} - 1) B u_k, \qquad
          z_{k-1} = e^{\Lambda g_k} z_k + \Lambda^{-1} (e^{\Lambda g_k} - 1) B u_k

with :math:`z = 0` after the last sample, and :math:`y_k = 2 \Re(C x_k + C' z_k) + D u_k`. So the future direction at k
sees the samples after k over the gaps after k, the first gap matters to the past alone, and there is no gap after the
last sample. On a regular grid this is the recurrence; a held sample may be split into several without a change; a gap
of zero is a sample that is not there.

Samples are taken in pieces. Only the states between pieces are kept, and the pieces are computed again for gradients.
On a GPU with triton the same is one kernel launch each way.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from s4signal.ssm.gap_factors import GapFactors
from s4signal.ssm.pairs import Pair

__all__ = ["Modes", "irregular_scan", "shared_scan"]

PIECE_ENTRIES = 1 << 20  # states in a piece: longer pieces leave the cache, shorter ones are many small operations


class Modes(NamedTuple):
    """Modes in continuous time, a conjugate pair each, one set for each of d_model channels.

    Parameters
    ----------
    Lambda_dt : Pair of (d_model, n_pairs)
        Poles times the step, Re < 0, per training sample period, in the precision of construction.
    B : Pair of (d_model, n_pairs)
        Input vector times the step; no entry may be zero where a state is carried.
    C : Pair of (d_model, n_pairs)
        Output vector of the past.
    D : Tensor (d_model,)
        Feed-through.
    C_reverse : Pair of (d_model, n_pairs) or None
        Output vector of the future, the samples after the present one; None: causal.
    """

    Lambda_dt: Pair
    B: Pair
    C: Pair
    D: Tensor
    C_reverse: Pair | None = None


def irregular_scan(
    modes: Modes, u: Tensor, gaps: Tensor, state: Tensor | None = None, *, return_state: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Run modes over signals whose samples are not equally far apart.

    Parameters
    ----------
    modes : Modes
        One set for each of d_model channels.
    u : Tensor (d_model, batch, n_times)
        Input, float32 or float64; n_times >= 1.
    gaps : Tensor (batch, n_times)
        Time from the sample before to each sample, >= 0, in training sample periods; 0, and u = 0, for padding. No
        gradient goes to it.
    state : Tensor (d_model, batch, 2 n_pairs), optional
        State at the time from which the first gap counts, (re, im) of each pair; at rest by default.
    return_state : bool, default=False
        Whether to return the state after the last sample.

    Returns
    -------
    y : Tensor (d_model, batch, n_times)
        Output.
    state : Tensor (d_model, batch, 2 n_pairs) or None
        State of the past after the last sample.

    Examples
    --------
    A leaky integrator of one second hears 1 for a second, be it one sample or two.

    >>> pole, one = Pair(torch.full((1, 1), -1.0), torch.zeros(1, 1)), Pair(torch.ones(1, 1), torch.zeros(1, 1))
    >>> modes = Modes(pole, one, one.scaled(0.5), torch.zeros(1))
    >>> irregular_scan(modes, torch.ones(1, 1, 1), torch.ones(1, 1))[0]
    tensor([[[0.6321]]])
    >>> irregular_scan(modes, torch.ones(1, 1, 2), torch.tensor([[0.3, 0.7]]))[0]
    tensor([[[0.2592, 0.6321]]])
    """
    # In units of their response to a constant the states follow x + expm1(Lambda g) (x + u): one factor for both.
    hold = modes.B.times(modes.Lambda_dt.reciprocal())
    Lambda, G = _stacked(modes.Lambda_dt), _stacked(modes.C.times(hold))
    first = None if state is None else _scaled(state, hold.reciprocal())
    scan = _scan_for(u)
    y, final = scan.apply(u, gaps, Lambda, G, first)
    y = torch.addcmul(y, modes.D.to(u.dtype)[:, None, None], u)
    if modes.C_reverse is not None:
        G_reverse = _stacked(modes.C_reverse.times(hold))
        future, _ = scan.apply(u.flip(-1), gaps.flip(-1), Lambda, G_reverse, None)
        # After sample k of the mirrored scan stands what the sample before k hears of the future.
        y = y + torch.nn.functional.pad(future.flip(-1)[..., 1:], (0, 1))
    return y, _scaled(final, hold) if return_state else None


def shared_scan(Lambda_dt: Pair, v: Pair, gaps: Tensor, state: Pair | None = None, *, reverse: bool = False) -> Pair:
    """Run one set of modes that all channels share, and return its states at all times.

    Parameters
    ----------
    Lambda_dt : Pair of (n_pairs,)
        Poles times the step, Re < 0, per training sample period, in the precision of construction.
    v : Pair of (n_pairs, batch, n_times)
        Input of each mode: B times the step times u.
    gaps : Tensor (batch, n_times)
        Time from the sample before to each sample, >= 0, in training sample periods; 0 for padding. No gradient goes
        to it.
    state : Pair of (n_pairs, batch), optional
        State before the first sample (after the last one, if reverse); at rest by default.
    reverse : bool, default=False
        Whether the states hear the samples after theirs instead of those up to it.

    Returns
    -------
    Pair of (n_pairs, batch, n_times)
        States x_k, or z_k if reverse.

    Examples
    --------
    >>> v = Pair(torch.ones(1, 1, 2), torch.zeros(1, 1, 2))
    >>> pole = Pair(torch.tensor([-1.0]), torch.tensor([0.0]))
    >>> shared_scan(pole, v, torch.tensor([[0.3, 0.7]])).re
    tensor([[[0.2592, 0.6321]]])
    >>> shared_scan(pole, v, torch.tensor([[0.3, 0.7]]), reverse=True).re
    tensor([[[0.5034, 0.0000]]])
    """
    inverse = Lambda_dt.reciprocal().to(v.re.dtype)
    held = v.times(Pair(inverse.re[:, None, None], inverse.im[:, None, None]))
    V = _stacked(held).permute(2, 1, 0, 3)
    first = V.new_zeros(V.shape[1:]) if state is None else _stacked(state).transpose(0, 1).to(V.dtype)
    if not reverse:
        states = _SharedScan.apply(V, gaps, _stacked(Lambda_dt), first)
    else:
        states = _SharedScan.apply(V.flip(0), gaps.flip(-1), _stacked(Lambda_dt), first)
        states = torch.cat([first.unsqueeze(0), states[:-1]]).flip(0)
    re, im = states.permute(2, 1, 0, 3).unbind(-1)
    return Pair(re, im)


def _scan_for(u: Tensor) -> type[_Scan] | type[_FusedScan]:
    """Choose the kernels for float32 on a GPU that is there, where triton is."""
    fused = u.is_cuda and u.dtype == torch.float32 and torch.cuda.is_available() and find_spec("triton") is not None
    return _FusedScan if fused else _Scan


def _stacked(z: Pair) -> Tensor:
    return torch.stack([z.re, z.im], -1)


def _scaled(state: Tensor, factor: Pair) -> Tensor:
    """Multiply a state (d_model, batch, 2 n) by a factor (d_model, n)."""
    re, im = state.unflatten(-1, (-1, 2)).unbind(-1)
    return _stacked(factor.to(state.dtype).unsqueeze(1).times(Pair(re, im))).flatten(-2)


class _Scan(torch.autograd.Function):
    """u (d_model, batch, n_times), gaps, Lambda, G (d_model, n, 2), first -> y, final state; all real outside."""

    @staticmethod
    def forward(
        ctx: Any, u: Tensor, gaps: Tensor, Lambda: Tensor, G: Tensor, first: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        (d_model, batch, n_times), n, dtype = u.shape, G.shape[1], u.dtype.to_complex()
        factors = GapFactors(_flat(Lambda), gaps, u.dtype)
        bounds = _pieces(n_times, batch * d_model * n)
        state = u.new_zeros(batch, d_model, n, dtype=dtype) if first is None else _complex_state(first)
        entering = state.new_empty(len(bounds), *state.shape)
        # 2 Re(G x) as a real product with the (re, im) of x.
        output = _conj(2.0 * G).to(u.dtype).flatten(1).unsqueeze(-1)
        y = torch.empty_like(u, memory_format=torch.contiguous_format)
        for index, (start, stop) in enumerate(bounds):
            entering[index] = state
            factor = factors.piece(start, stop).unflatten(-1, (d_model, n))
            states = _advance(state, factor, _inputs(u[..., start:stop], dtype))
            out = torch.bmm(_channels(states[1:]), output)
            y[..., start:stop] = out.view(d_model, stop - start, batch).transpose(1, 2)
            state = states[-1]
        ctx.save_for_backward(u, G, entering)
        ctx.factors, ctx.bounds, ctx.carried, ctx.pole_dtype = factors, bounds, first is not None, Lambda.dtype
        return y, _real_state(state)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        u, G, entering = ctx.saved_tensors
        n, dtype = G.shape[1], entering.dtype
        # The adjoint is carried as its conjugate: it takes the same factors as the states then.
        response = torch.view_as_complex((2.0 * G).to(u.dtype))
        carried = _complex_state(grads[1]).conj_physical()
        du = torch.empty_like(u, memory_format=torch.contiguous_format)
        dG, dLambda = torch.zeros_like(G), torch.zeros_like(G)
        for state, (start, stop) in zip(entering.flip(0), reversed(ctx.bounds), strict=True):
            factor = ctx.factors.piece(start, stop).unflatten(-1, (-1, n))
            mixed = torch.empty_like(factor)
            states = _advance(state, factor, _inputs(u[..., start:stop], dtype), mixed)
            dy = _inputs(grads[0][..., start:stop], dtype)
            pulled, added = _retreat(carried, factor, dy, response)
            carried = pulled[0].clone()
            du[..., start:stop] = added.sum(-1).real.permute(2, 1, 0)
            rows = torch.view_as_real(dy).select(-1, 0).flatten(0, 1).transpose(0, 1)
            dG += torch.bmm(_channels(states[1:]).transpose(1, 2), rows).view_as(G)
            dLambda += _weighted_sum(ctx.factors.gaps[start:stop], pulled.mul_(mixed))
        # A gradient is the conjugate of a derivative.
        dfirst = _real_state(carried.conj_physical()) if ctx.carried else None
        return du, None, _conj(dLambda).to(ctx.pole_dtype), _conj(2.0 * dG), dfirst


class _FusedScan(torch.autograd.Function):
    """As `_Scan`, one kernel launch each way."""

    @staticmethod
    def forward(
        ctx: Any, u: Tensor, gaps: Tensor, Lambda: Tensor, G: Tensor, first: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        from s4signal.ssm.scan_triton import scan_forward

        y, final, entering = scan_forward(u, gaps, Lambda, G, first)
        ctx.save_for_backward(u, gaps, Lambda, G, entering)
        ctx.carried = first is not None
        return y, final

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        from s4signal.ssm.scan_triton import scan_backward

        du, dLambda, dG, dfirst = scan_backward(*ctx.saved_tensors, *grads)
        return du, None, dLambda, dG, dfirst if ctx.carried else None


class _SharedScan(torch.autograd.Function):
    """Held input (n_times, batch, n, 2), gaps, Lambda (n, 2), first (batch, n, 2) -> states as the input."""

    @staticmethod
    def forward(ctx: Any, held: Tensor, gaps: Tensor, Lambda: Tensor, first: Tensor) -> Tensor:
        n_times, batch, n, _ = held.shape
        factors = GapFactors(_flat(Lambda), gaps, held.dtype)
        bounds = _pieces(n_times, batch * n)
        inputs = torch.view_as_complex(held.contiguous())
        states = inputs.new_empty(n_times + 1, batch, n)
        states[0] = torch.view_as_complex(first.contiguous())
        for start, stop in bounds:
            piece = _advance(states[start], factors.piece(start, stop), inputs[start:stop])
            states[start + 1 : stop + 1] = piece[1:]
        ctx.save_for_backward(inputs, states)
        ctx.factors, ctx.bounds, ctx.pole_dtype = factors, bounds, Lambda.dtype
        return torch.view_as_real(states[1:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        inputs, states = ctx.saved_tensors
        carried = torch.zeros_like(states[0])
        arriving = torch.view_as_complex(grads[0].contiguous()).conj_physical()
        dheld, dLambda = torch.empty_like(inputs), torch.zeros_like(torch.view_as_real(inputs[0, 0]))
        for start, stop in reversed(ctx.bounds):
            factor = ctx.factors.piece(start, stop)
            pulled, added = _retreat(carried, factor, arriving[start:stop], arriving.new_ones(()))
            carried = pulled[0].clone()
            dheld[start:stop] = added.conj()
            mixed = states[start:stop] + inputs[start:stop]
            dLambda += _weighted_sum(ctx.factors.gaps[start:stop], pulled.mul_(mixed))
        dLambda = _conj(dLambda).to(ctx.pole_dtype)
        return torch.view_as_real(dheld), None, dLambda, torch.view_as_real(carried.conj_physical())


def _advance(state: Tensor, factors: Tensor, inputs: Tensor, mixed: Tensor | None = None) -> Tensor:
    """Step through a piece: x_k = x_{k-1} + m_k t_k with t_k = x_{k-1} + u_k; return x, the first included.

    ``factors`` m and ``mixed``, to be filled with t, have shape (T, *state.shape); ``inputs`` broadcast to it.
    """
    states, once = state.new_empty(len(factors) + 1, *state.shape), torch.empty_like(state)
    states[0] = state
    for k in range(len(factors)):
        t = once if mixed is None else mixed[k]
        torch.add(states[k], inputs[k], out=t)
        torch.addcmul(states[k], factors[k], t, out=states[k + 1])
    return states


def _retreat(carried: Tensor, factors: Tensor, dy: Tensor, response: Tensor) -> tuple[Tensor, Tensor]:
    """Step back through a piece: a_k = e_{k+1} a_{k+1} + dy_k response; return e_k a_k and m_k a_k, e = 1 + m."""
    pulled, added, adjoint = torch.empty_like(factors), torch.empty_like(factors), torch.empty_like(carried)
    for k in range(len(factors) - 1, -1, -1):
        torch.addcmul(carried, dy[k], response, out=adjoint)
        torch.mul(factors[k], adjoint, out=added[k])
        carried = torch.add(adjoint, added[k], out=pulled[k])
    return pulled, added


def _weighted_sum(gaps: Tensor, z: Tensor) -> Tensor:
    """Sum complex (T, batch, ..., n) over time and batch with real weights (T, batch), as real pairs (..., n, 2)."""
    real = torch.view_as_real(z)
    return torch.mm(gaps.reshape(1, -1).to(real.dtype), real.flatten(2).flatten(0, 1)).view(real.shape[2:])


def _pieces(n_times: int, entries: int) -> list[tuple[int, int]]:
    """Bounds of pieces of time, for so many states a sample."""
    T = min(512, max(8, PIECE_ENTRIES // max(1, entries)))
    return [(start, min(start + T, n_times)) for start in range(0, n_times, T)]


def _inputs(u: Tensor, dtype: torch.dtype) -> Tensor:
    """(d_model, batch, T) -> complex (T, batch, d_model, 1)."""
    return u.permute(2, 1, 0).to(dtype, memory_format=torch.contiguous_format).unsqueeze(-1)


def _channels(z: Tensor) -> Tensor:
    """Complex (T, batch, d_model, n) -> real view (d_model, T batch, 2 n)."""
    return torch.view_as_real(z).flatten(-2).flatten(0, 1).transpose(0, 1)


def _complex_state(state: Tensor) -> Tensor:
    """(d_model, batch, 2 n) -> complex (batch, d_model, n)."""
    return torch.view_as_complex(state.unflatten(-1, (-1, 2)).transpose(0, 1).contiguous())


def _real_state(state: Tensor) -> Tensor:
    """Complex (batch, d_model, n) -> (d_model, batch, 2 n)."""
    return torch.view_as_real(state).flatten(-2).transpose(0, 1).contiguous()


def _conj(z: Tensor) -> Tensor:
    """Conjugate of real pairs."""
    return torch.view_as_real(torch.view_as_complex(z).conj_physical())


def _flat(Lambda: Tensor) -> Pair:
    """(..., n, 2) -> all modes in a row."""
    re, im = Lambda.flatten(0, -2).unbind(-1)
    return Pair(re, im)
