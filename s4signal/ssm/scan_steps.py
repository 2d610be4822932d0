"""The irregular scan sample by sample, with its gradients: all modes of all cases take a step at once.

Samples are taken in pieces. Only the states between pieces are kept, and the pieces are computed again for gradients.
Every pass over the states counts: they are d_state times as many numbers as the signal has.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from s4signal.ssm.gap_factors import GapFactors
from s4signal.ssm.systems import Pair

__all__ = ["FusedScan", "SharedScan", "SteppedScan", "stepped_scan"]

PIECE_ENTRIES = 1 << 19  # states in a piece: longer pieces leave the cache, shorter ones are many small operations


def stepped_scan(
    u: Tensor, gaps: Tensor, Lambda: Tensor, G: Tensor, first: Tensor | None = None, *, reverse: bool = False
) -> tuple[Tensor, Tensor]:
    """Step through all samples, by one kernel launch for float32 on a GPU that is there, where triton is.

    Shapes: u (d_model, batch, n_times), gaps (batch, n_times), Lambda, G (d_model, n, 2), first (d_model, batch, 2 n) →
    (d_model, batch, n_times), (d_model, batch, 2 n).
    """
    if reverse:
        y, final = stepped_scan(u.flip(-1), gaps.flip(-1), Lambda, G, first)
        # After sample k of the mirrored scan stands what the sample before k hears of the future.
        return torch.nn.functional.pad(y.flip(-1)[..., 1:], (0, 1)), final
    fused = u.is_cuda and u.dtype == torch.float32 and torch.cuda.is_available() and find_spec("triton") is not None
    y, final = (FusedScan if fused else SteppedScan).apply(u, gaps, Lambda, G, first)
    return y, final


class SteppedScan(torch.autograd.Function):
    """u (d_model, batch, n_times), gaps, Lambda, G (d_model, n, 2), first -> y, final state; all real outside."""

    @staticmethod
    def forward(
        ctx: Any, u: Tensor, gaps: Tensor, Lambda: Tensor, G: Tensor, first: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return 2 Re(G x) and the last state; all states are in units of their response to a constant."""
        (d_model, batch, n_times), n, dtype = u.shape, G.shape[1], u.dtype.to_complex()
        factors = GapFactors(_flat(Lambda), gaps, u.dtype)
        bounds, T = _pieces(n_times, batch * d_model * n)
        factor, states = (u.new_empty(T + more, batch, d_model, n, dtype=dtype) for more in (0, 1))
        states[0] = 0.0 if first is None else _complex_state(first)
        entering = states.new_empty(len(bounds), *states.shape[1:])
        # 2 Re(G x) as a real product with the (re, im) of x.
        output = _conj(2.0 * G).to(u.dtype).flatten(1).unsqueeze(-1)
        inputs = _time_first(u)
        y = torch.empty_like(inputs)
        for index, (start, stop) in enumerate(bounds):
            T = stop - start
            entering[index] = states[0]
            factors.piece(start, stop, factor[:T].flatten(2))
            _advance(states[: T + 1], factor, inputs[start:stop].to(dtype).unsqueeze(-1))
            out = torch.bmm(_channels(states[1 : T + 1]), output)
            y[start:stop] = out.view(d_model, T, batch).permute(1, 2, 0)
            states[0] = states[T]
        ctx.save_for_backward(inputs, G, entering)
        ctx.factors, ctx.bounds, ctx.carried, ctx.pole_dtype = factors, bounds, first is not None, Lambda.dtype
        return _time_last(y), _real_state(states[0])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Compute the states of a piece again, then walk back through it with the adjoint."""
        inputs, G, entering = ctx.saved_tensors
        T, n, dtype = ctx.bounds[0][1], G.shape[1], inputs.dtype
        # The adjoint is carried as its conjugate: it takes the same factors as the states then.
        response = (2.0 * G).to(dtype).flatten(1)
        carried = _complex_state(grads[1]).conj_physical()
        factor, mixed, pulled, added = (entering.new_empty(T, *entering.shape[1:]) for _ in range(4))
        states = entering.new_empty(T + 1, *entering.shape[1:])
        dy, du = _time_first(grads[0]), torch.empty_like(inputs)
        dG, dLambda = torch.zeros_like(G), torch.zeros_like(G)
        real_parts = response.new_zeros(2 * n)
        real_parts[::2] = 1.0
        for index, (start, stop) in reversed(list(enumerate(ctx.bounds))):
            T = stop - start
            ctx.factors.piece(start, stop, factor[:T].flatten(2))
            states[0] = entering[index]
            _advance(states[: T + 1], factor, inputs[start:stop].to(states.dtype).unsqueeze(-1), mixed)
            torch.mul(dy[start:stop].unsqueeze(-1), response, out=torch.view_as_real(pulled[:T]).flatten(-2))
            _retreat(carried, factor, pulled[:T], added)
            carried.copy_(pulled[0])
            # A product with a vector reads the numbers in a row: it is twice as fast as a sum over pairs.
            du[start:stop] = torch.mv(torch.view_as_real(added[:T]).view(-1, 2 * n), real_parts).view_as(dy[start:stop])
            rows = dy[start:stop].flatten(0, 1).t().unsqueeze(-1)
            dG += torch.bmm(_channels(states[1 : T + 1]).transpose(1, 2), rows).view_as(G)
            dLambda += _weighted_sum(ctx.factors.gaps[start:stop], mixed[:T].mul_(pulled[:T]))
        # A gradient is the conjugate of a derivative.
        dfirst = _real_state(carried.conj_physical()) if ctx.carried else None
        return _time_last(du), None, _conj(dLambda).to(ctx.pole_dtype), _conj(2.0 * dG), dfirst


class FusedScan(torch.autograd.Function):
    """As `SteppedScan`, one kernel launch each way."""

    @staticmethod
    def forward(
        ctx: Any, u: Tensor, gaps: Tensor, Lambda: Tensor, G: Tensor, first: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return 2 Re(G x) and the last state."""
        from s4signal.ssm.scan_triton import scan_forward

        y, final, entering = scan_forward(u, gaps, Lambda, G, first)
        ctx.save_for_backward(u, gaps, Lambda, G, entering)
        ctx.carried = first is not None
        return y, final

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Pull the gradients back."""
        from s4signal.ssm.scan_triton import scan_backward

        du, dLambda, dG, dfirst = scan_backward(*ctx.saved_tensors, *grads)
        return du, None, dLambda, dG, dfirst if ctx.carried else None


class SharedScan(torch.autograd.Function):
    """Held input (n_times, batch, n, 2), gaps, Lambda (n, 2), first (batch, n, 2) -> states as the input."""

    @staticmethod
    def forward(ctx: Any, held: Tensor, gaps: Tensor, Lambda: Tensor, first: Tensor) -> Tensor:
        """Return the states after all samples."""
        n_times, batch, n, _ = held.shape
        factors = GapFactors(_flat(Lambda), gaps, held.dtype)
        bounds, _ = _pieces(n_times, batch * n)
        inputs = torch.view_as_complex(held.contiguous())
        states = inputs.new_empty(n_times + 1, batch, n)
        states[0] = torch.view_as_complex(first.contiguous())
        for start, stop in bounds:
            _advance(states[start : stop + 1], factors.piece(start, stop), inputs[start:stop])
        ctx.save_for_backward(inputs, states)
        ctx.factors, ctx.bounds, ctx.pole_dtype = factors, bounds, Lambda.dtype
        return torch.view_as_real(states[1:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Walk back with the adjoint."""
        inputs, states = ctx.saved_tensors
        carried = torch.zeros_like(states[0])
        pulled = torch.view_as_complex(grads[0].contiguous()).conj_physical()
        added, dLambda = torch.empty_like(inputs), torch.zeros_like(torch.view_as_real(inputs[0, 0]))
        for start, stop in reversed(ctx.bounds):
            here = slice(start, stop)
            _retreat(carried, ctx.factors.piece(start, stop), pulled[here], added[here])
            carried = pulled[start].clone()
            mixed = states[here] + inputs[here]
            dLambda += _weighted_sum(ctx.factors.gaps[here], pulled[here].mul_(mixed))
        dheld, dfirst = (torch.view_as_real(z.conj_physical()) for z in (added, carried))
        return dheld, None, _conj(dLambda).to(ctx.pole_dtype), dfirst


def _advance(states: Tensor, factors: Tensor, inputs: Tensor, mixed: Tensor | None = None) -> None:
    """Step through a piece: x_k = x_{k-1} + m_k t_k with t_k = x_{k-1} + u_k; ``states`` holds x_0 and is filled.

    ``states`` (T + 1, batch, ..., n); ``factors`` m and ``mixed``, to be filled with t, may have more rows than T.
    """
    once = torch.empty_like(states[0])
    x = states.unbind()
    for k, (m, u) in enumerate(zip(factors[: len(inputs)], inputs, strict=True)):
        t = once if mixed is None else mixed[k]
        torch.add(x[k], u, out=t)
        # Not addcmul, which of complex numbers is slower than both.
        torch.mul(m, t, out=x[k + 1])
        x[k + 1].add_(x[k])


def _retreat(carried: Tensor, factors: Tensor, pulled: Tensor, added: Tensor) -> None:
    """Step back through a piece: a_k = e_{k+1} a_{k+1} + d_k, e = 1 + m.

    ``pulled`` holds d (T, batch, ..., n) and becomes e_k a_k; ``added`` becomes m_k a_k.
    """
    for k in range(len(pulled) - 1, -1, -1):
        a, part = pulled[k], added[k]
        a.add_(carried)
        torch.mul(factors[k], a, out=part)
        carried = a.add_(part)


def _weighted_sum(gaps: Tensor, z: Tensor) -> Tensor:
    """Sum complex (T, batch, ..., n) over time and batch with real weights (T, batch), as real pairs (..., n, 2)."""
    real = torch.view_as_real(z)
    return torch.mm(gaps.reshape(1, -1).to(real.dtype), real.flatten(2).flatten(0, 1)).view(real.shape[2:])


def _pieces(n_times: int, entries: int) -> tuple[list[tuple[int, int]], int]:
    """Bounds of pieces of time, for so many states a sample, and the longest piece."""
    T = min(n_times, 512, max(8, PIECE_ENTRIES // max(1, entries)))
    return [(start, min(start + T, n_times)) for start in range(0, n_times, T)], T


def _time_first(u: Tensor) -> Tensor:
    """(d_model, batch, n_times) -> (n_times, batch, d_model), channels adjacent."""
    # Of two axes; three at once are turned without regard for the cache, five times as slowly.
    return u.flatten(1).t().contiguous().view(*u.shape[1:], -1).transpose(0, 1)


def _time_last(y: Tensor) -> Tensor:
    """As `_time_first` makes it, (n_times, batch, d_model) -> (d_model, batch, n_times)."""
    n_times, batch, d_model = y.shape
    return y.transpose(0, 1).reshape(-1, d_model).t().contiguous().view(d_model, batch, n_times)


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
    return Pair.of(Lambda.flatten(0, -2))
