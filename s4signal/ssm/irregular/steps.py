"""The irregular scan sample by sample, with its gradients: all modes of all cases take a step together.

Samples are processed in pieces. Only the states between pieces are stored; the states within are recomputed for
gradients. Passes over the states are expensive: they are d_state times as many numbers as the signal.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from s4signal.ssm.irregular.factors import GapFactors
from s4signal.ssm.operators import as_complex, as_real, conjugate, runs_triton

PIECE_STATES = 1 << 19  # complex states in a piece: longer ones exceed the cache, shorter are many small operations


def stepped_scan(
    u: Tensor, gaps: Tensor, Lambda: Tensor, G: Tensor, first: Tensor | None = None, *, reverse: bool = False
) -> tuple[Tensor, Tensor]:
    """Step through all samples; arguments and results as in `s4signal.ssm.irregular.scan_modes`."""
    if reverse:
        y, final = stepped_scan(u.flip(-1), gaps.flip(-1), Lambda, G, first)
        # The mirrored scan has passed sample k when it gives the anti-causal output of the sample before k.
        return pad(y.flip(-1)[..., 1:], (0, 1)), final
    if runs_triton(u):
        from s4signal.ssm.irregular.triton import FusedScan

        with torch.cuda.device(u.device):  # triton launches on the current GPU; autograd sets it
            y, final = FusedScan.apply(u, gaps, Lambda, G, first)
    else:
        y, final = SteppedScan.apply(u, gaps, Lambda, G, first)
    return y, final


class SteppedScan(torch.autograd.Function):
    """u (d_model, batch, n_times), gaps, Lambda, G (d_model, n, 2), first -> y, final state; all real tensors."""

    @staticmethod
    def forward(
        ctx: Any, u: Tensor, gaps: Tensor, Lambda: Tensor, G: Tensor, first: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return 2 Re(G x) and the last state."""
        (d_model, batch, n_times), n, dtype = u.shape, G.shape[1], u.dtype.to_complex()
        factors = GapFactors(Lambda, gaps, u.dtype)
        bounds, T = _pieces(n_times, batch * d_model * n)
        factor, states = (u.new_empty(T + more, batch, d_model, n, dtype=dtype) for more in (0, 1))
        states[0] = 0.0 if first is None else _complex_state(first)
        entering = states.new_empty(len(bounds), *states.shape[1:])
        # 2 Re(G x) as a real product with the (re, im) of x.
        output = conjugate(2.0 * G).to(u.dtype).flatten(1).unsqueeze(-1)
        inputs = _time_first(u)
        y = torch.empty_like(inputs)
        for index, piece in enumerate(bounds):
            T = piece.stop - piece.start
            entering[index] = states[0]
            factors.piece(piece, factor[:T].flatten(2))
            _advance(states[: T + 1], factor, inputs[piece].to(dtype).unsqueeze(-1))
            out = torch.bmm(_channels(states[1 : T + 1]), output)
            y[piece] = out.view(d_model, T, batch).permute(1, 2, 0)
            states[0] = states[T]
        ctx.save_for_backward(inputs, G, entering)
        ctx.factors, ctx.bounds, ctx.carried, ctx.pole_dtype = factors, bounds, first is not None, Lambda.dtype
        return _time_last(y, u), _real_state(states[0])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Recompute the states of a piece, then run the adjoint backward through it."""
        inputs, G, entering = ctx.saved_tensors
        T, n, dtype = ctx.bounds[0].stop, G.shape[1], inputs.dtype
        # The conjugate of the adjoint is carried, so that it uses the same factors as the states.
        response = (2.0 * G).to(dtype).flatten(1)
        carried = _complex_state(grads[1]).conj_physical()
        factor, sums, pulled, added = (entering.new_empty(T, *entering.shape[1:]) for _ in range(4))
        states = entering.new_empty(T + 1, *entering.shape[1:])
        dy, du = _time_first(grads[0]), torch.empty_like(inputs)
        dG, dLambda = torch.zeros_like(G), torch.zeros_like(G)
        real_parts = response.new_zeros(2 * n)
        real_parts[::2] = 1.0
        for index, piece in reversed(list(enumerate(ctx.bounds))):
            T = piece.stop - piece.start
            ctx.factors.piece(piece, factor[:T].flatten(2))
            states[0] = entering[index]
            _advance(states[: T + 1], factor, inputs[piece].to(states.dtype).unsqueeze(-1), sums)
            torch.mul(dy[piece].unsqueeze(-1), response, out=as_real(pulled[:T]))
            _retreat(carried, factor, pulled[:T], added)
            carried.copy_(pulled[0])
            # A product with a vector reads memory contiguously: it is twice as fast as a sum over pairs.
            du[piece] = torch.mv(torch.view_as_real(added[:T]).view(-1, 2 * n), real_parts).view_as(dy[piece])
            rows = dy[piece].flatten(0, 1).t().unsqueeze(-1)
            dG += torch.bmm(_channels(states[1 : T + 1]).transpose(1, 2), rows).view_as(G)
            dLambda += _weighted_sum(ctx.factors.gaps[piece], sums[:T].mul_(pulled[:T]))
        # A gradient is the conjugate of a derivative.
        dfirst = _real_state(carried.conj_physical()) if ctx.carried else None
        return _time_last(du, grads[0]), None, conjugate(dLambda).to(ctx.pole_dtype), conjugate(2.0 * dG), dfirst


class SharedScan(torch.autograd.Function):
    """Held input (n_times, batch, n, 2), gaps, Lambda (n, 2), first (batch, n, 2) -> states, shaped as the input."""

    @staticmethod
    def forward(ctx: Any, held: Tensor, gaps: Tensor, Lambda: Tensor, first: Tensor) -> Tensor:
        """Return the states after all samples."""
        n_times, batch, n, _ = held.shape
        factors = GapFactors(Lambda, gaps, held.dtype)
        bounds, _ = _pieces(n_times, batch * n)
        inputs = torch.view_as_complex(held.contiguous())
        states = inputs.new_empty(n_times + 1, batch, n)
        states[0] = torch.view_as_complex(first.contiguous())
        for piece in bounds:
            _advance(states[piece.start : piece.stop + 1], factors.piece(piece), inputs[piece])
        ctx.save_for_backward(inputs, states)
        ctx.factors, ctx.bounds, ctx.pole_dtype = factors, bounds, Lambda.dtype
        return torch.view_as_real(states[1:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Run the adjoint backward."""
        inputs, states = ctx.saved_tensors
        carried = torch.zeros_like(states[0])
        pulled = torch.view_as_complex(grads[0].contiguous()).conj_physical()
        added, dLambda = torch.empty_like(inputs), torch.zeros_like(torch.view_as_real(inputs[0, 0]))
        for piece in reversed(ctx.bounds):
            _retreat(carried, ctx.factors.piece(piece), pulled[piece], added[piece])
            carried = pulled[piece.start].clone()
            sums = states[piece] + inputs[piece]
            dLambda += _weighted_sum(ctx.factors.gaps[piece], pulled[piece].mul_(sums))
        dheld, dfirst = (torch.view_as_real(z.conj_physical()) for z in (added, carried))
        return dheld, None, conjugate(dLambda).to(ctx.pole_dtype), dfirst


def _advance(states: Tensor, factors: Tensor, inputs: Tensor, sums: Tensor | None = None) -> None:
    """Step through a piece in place: x_k = x_{k-1} + m_k (x_{k-1} + u_k), with m = expm1(Lambda g).

    ``states`` (T + 1, batch, ..., n) starts with x_0 and is filled with the others; ``sums`` is filled with
    x_{k-1} + u_k. ``factors`` m and ``sums`` may have more rows than T.
    """
    spare = torch.empty_like(states[0])
    x = states.unbind()
    for k, (m, u) in enumerate(zip(factors[: len(inputs)], inputs, strict=True)):
        t = spare if sums is None else sums[k]
        torch.add(x[k], u, out=t)
        # Not addcmul, which is slower than both operations for complex numbers.
        torch.mul(m, t, out=x[k + 1])
        x[k + 1].add_(x[k])


def _retreat(carried: Tensor, factors: Tensor, pulled: Tensor, added: Tensor) -> None:
    """Step backward through a piece with the adjoint: a_k = e_{k+1} a_{k+1} + d_k, with e = 1 + m.

    ``pulled`` holds d (T, batch, ..., n) and is overwritten with e_k a_k; ``added`` is filled with m_k a_k.
    """
    for k in range(len(pulled) - 1, -1, -1):
        a, part = pulled[k], added[k]
        a.add_(carried)
        torch.mul(factors[k], a, out=part)
        carried = a.add_(part)


def _weighted_sum(gaps: Tensor, z: Tensor) -> Tensor:
    """Sum complex z (T, batch, ..., n) over time and batch, weighted by gaps (T, batch); return pairs (..., n, 2)."""
    real = torch.view_as_real(z)
    return torch.mm(gaps.reshape(1, -1).to(real.dtype), real.flatten(2).flatten(0, 1)).view(real.shape[2:])


def _pieces(n_times: int, n_states: int) -> tuple[list[slice], int]:
    """Return pieces of time for ``n_states`` states per sample, and the length of the longest."""
    T = min(n_times, 512, max(8, PIECE_STATES // max(1, n_states)))
    return pieces(n_times, T), T


def rows_of(u: Tensor) -> Tensor:
    """Reshape a signal (d_model, batch, n_times) to one row per sample, (batch * n_times, d_model)."""
    # Transpose two axes: a transposition of three ignores the cache, and is five times as slow.
    return u.flatten(1).t().contiguous()


def from_rows(rows: Tensor, like: Tensor) -> Tensor:
    """Reshape rows of samples to a signal of the shape of ``like``."""
    return rows.t().contiguous().view(like.shape)


def pieces(n: int, length: int) -> list[slice]:
    """Cut n steps into pieces of ``length`` steps; the last may be shorter."""
    return [slice(start, min(start + length, n)) for start in range(0, n, length)]


def _time_first(u: Tensor) -> Tensor:
    """Move time first, (d_model, batch, n_times) -> (n_times, batch, d_model), channels contiguous."""
    return rows_of(u).view(*u.shape[1:], -1).transpose(0, 1)


def _time_last(y: Tensor, like: Tensor) -> Tensor:
    """Undo `_time_first`, (n_times, batch, d_model) -> (d_model, batch, n_times)."""
    return from_rows(y.transpose(0, 1).reshape(-1, y.shape[-1]), like)


def _channels(z: Tensor) -> Tensor:
    """View complex (T, batch, d_model, n) as real (d_model, T batch, 2 n)."""
    return as_real(z).flatten(0, 1).transpose(0, 1)


def _complex_state(state: Tensor) -> Tensor:
    """Convert (d_model, batch, 2 n) to complex (batch, d_model, n)."""
    return as_complex(state.transpose(0, 1).contiguous())


def _real_state(state: Tensor) -> Tensor:
    """Convert complex (batch, d_model, n) to (d_model, batch, 2 n)."""
    return as_real(state).transpose(0, 1).contiguous()
