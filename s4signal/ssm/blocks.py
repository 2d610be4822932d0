"""The block engine: a linear state space over long signals at the speed of matrix products.

Time is cut into blocks of T samples. Within a block the outputs are one Toeplitz product, and what the block leaves
behind is one product with the powers of the poles; from block to block only the state is carried:

    Y = U W + X Q,   S = U P,   X_{m+1} = Lambda_bar^T X_m + S_m

The cost is linear in the length, and nothing of size (d_model, d_state, length) is ever made.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from s4signal.ssm.pairs import Pair
from s4signal.ssm.systems import BlockTables, DiagonalSystem, block_tables

__all__ = ["block_length", "block_scan"]

LONGEST_BLOCK = 128  # measured: the product U W costs 2 T flops a sample, and larger T leave the cache


def block_length(n_times: int) -> int:
    """Return the block length T for a signal of ``n_times`` samples: a power of two in 16 ... 128.

    Parameters
    ----------
    n_times : int, >= 1
        Samples a case.

    Returns
    -------
    int
        T.

    Examples
    --------
    >>> block_length(20), block_length(100_000)
    (32, 128)
    """
    return min(LONGEST_BLOCK, max(16, 1 << (n_times - 1).bit_length()))


def block_scan(system: DiagonalSystem, u: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Run a system over signals, block by block.

    Parameters
    ----------
    system : DiagonalSystem
        One system for each of d_model channels.
    u : Tensor (d_model, batch, n_times)
        Input, float32 or float64; n_times >= 1.
    state : Tensor (d_model, batch, 2 n_pairs), optional
        State before the first sample, real parts first; at rest by default.

    Returns
    -------
    y : Tensor (d_model, batch, n_times)
        Output.
    state : Tensor (d_model, batch, 2 n_pairs)
        State of the causal direction after the last sample.
    """
    d_model, batch, n_times = u.shape
    T = block_length(n_times)
    tables = block_tables(system, T, u.dtype)
    n_blocks = -(-n_times // T)
    if n_blocks * T != n_times:
        u = torch.nn.functional.pad(u, (0, n_blocks * T - n_times))
    if state is None:
        state = u.new_zeros(d_model, batch, 2 * system.n_pairs)
    y, entering = _BlockScan.apply(u.contiguous(), *tables[:3], *tables.transition, state)
    last = u[:, :, (n_blocks - 1) * T : n_times]
    return y[:, :, :n_times], _leave(system, tables, last, entering)


def _leave(system: DiagonalSystem, tables: BlockTables, last: Tensor, entering: Tensor) -> Tensor:
    """Carry the state through the last block, which may hold fewer than T samples."""
    n_last, n_state = last.shape[-1], entering.shape[-1]
    T = tables.P.shape[1]
    through = _power(system.Lambda_bar, n_last).to(entering.dtype)
    carried = _rotate(through, entering)
    return torch.baddbmm(carried, last, tables.P[:, T - n_last :, :n_state])


def _power(z: Pair, exponent: int) -> Pair:
    """z to a whole power, by squaring."""
    result: Pair | None = None
    while exponent:
        if exponent & 1:
            result = z if result is None else result.times(z)
        z = z.times(z)
        exponent >>= 1
    if result is None:
        raise ValueError("exponent=0; it must be at least 1.")
    return result


def _rotate(factor: Pair, state: Tensor) -> Tensor:
    """Multiply a state (d_model, batch, 2 n) held as real pairs by a factor (d_model, n)."""
    re, im = state.chunk(2, -1)
    product = factor.unsqueeze(1).times(Pair(re, im))
    return torch.cat([product.re, product.im], -1)


def _toeplitz(kernel: Tensor, T: int) -> Tensor:
    """(d_model, 2 T - 1) -> (d_model, T, T) with entry [j, i] = response at lag i - j."""
    return kernel.unfold(-1, T, 1).flip(1)


def _untoeplitz(W: Tensor) -> Tensor:
    """Sum the diagonals of (d_model, T, T): the transpose of ``_toeplitz``."""
    d_model, T, _ = W.shape
    skewed = torch.nn.functional.pad(W.flip(1), (0, T)).flatten(1)[:, :-T]
    return skewed.reshape(d_model, T, 2 * T - 1).sum(1)


def _carry(S: Tensor, a_re: Tensor, a_im: Tensor, first: Tensor | None, *, reverse: bool) -> Tensor:
    """Return the state entering each block: X_{m+1} = a X_m + S_m, or from the right if ``reverse``.

    ``S`` is (d_model, batch, n_blocks, 2 n), a view; ``a`` (d_model, n); ``first`` (d_model, batch, 2 n).
    """
    d_model, batch, n_blocks, width = S.shape
    X = S.new_empty(d_model, n_blocks, batch, 2, width // 2).transpose(1, 2)
    S = S.unflatten(-1, (2, width // 2))
    order = range(n_blocks - 1, -1, -1) if reverse else range(n_blocks)
    a_re, a_im = a_re[:, None, None], a_im[:, None]
    previous: int | None = None
    for m in order:
        new = X[:, :, m]
        if previous is None:
            new.zero_() if first is None else new.copy_(first.unflatten(-1, (2, width // 2)))
        else:
            old = X[:, :, previous]
            torch.addcmul(S[:, :, previous], old, a_re, out=new)
            new[:, :, 0].addcmul_(old[:, :, 1], a_im, value=-1.0)
            new[:, :, 1].addcmul_(old[:, :, 0], a_im)
        previous = m
    return X.flatten(-2)


class _BlockScan(torch.autograd.Function):
    """u (d_model, batch, n_blocks T), tables, first state -> y, causal state entering the last block."""

    @staticmethod
    def forward(
        ctx: Any, u: Tensor, kernel: Tensor, P: Tensor, Q: Tensor, a_re: Tensor, a_im: Tensor, first: Tensor
    ) -> tuple[Tensor, Tensor]:
        d_model, batch, n_times = u.shape
        T, width, n_state = P.shape[1], P.shape[2], 2 * a_re.shape[-1]
        U = u.view(d_model, -1, T)
        S = torch.bmm(U, P).view(d_model, batch, n_times // T, width)
        parts = [_carry(S[..., :n_state], a_re, a_im, first, reverse=False)]
        if width > n_state:
            parts.append(_carry(S[..., n_state:], a_re, a_im, None, reverse=True))
        X = torch.cat(parts, -1).view(d_model, -1, width)
        W = _toeplitz(kernel, T)
        Y = torch.bmm(U, W)
        Y.baddbmm_(X, Q)
        ctx.save_for_backward(U, X, W, P, Q, a_re, a_im)
        ctx.batch = batch
        return Y.view(d_model, batch, n_times), parts[0][:, :, -1].contiguous()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        U, X, W, P, Q, a_re, a_im = ctx.saved_tensors
        d_model, _, T = U.shape
        width, n_state, batch = P.shape[2], 2 * a_re.shape[-1], ctx.batch
        dY = grads[0].contiguous().view(d_model, -1, T)
        dX = torch.bmm(dY, Q.transpose(1, 2)).view(d_model, batch, -1, width)
        dX[:, :, -1, :n_state] += grads[1]
        X = X.view(d_model, batch, -1, width)
        dS, da, dfirst = _carry_backward(dX[..., :n_state], X[..., :n_state], a_re, a_im, reverse=False)
        parts = [dS]
        if width > n_state:
            dS, da_reverse, _ = _carry_backward(dX[..., n_state:], X[..., n_state:], a_re, a_im, reverse=True)
            parts.append(dS)
            da = Pair(da.re + da_reverse.re, da.im + da_reverse.im)
        dS = torch.cat(parts, -1).view(d_model, -1, width)
        du = torch.bmm(dY, W.transpose(1, 2)).baddbmm_(dS, P.transpose(1, 2)) if ctx.needs_input_grad[0] else None
        dkernel = _untoeplitz(torch.bmm(U.transpose(1, 2), dY))
        dP, dQ = torch.bmm(U.transpose(1, 2), dS), torch.bmm(X.view(d_model, -1, width).transpose(1, 2), dY)
        return None if du is None else du.view(d_model, batch, -1), dkernel, dP, dQ, da.re, da.im, dfirst


def _carry_backward(
    dX: Tensor, X: Tensor, a_re: Tensor, a_im: Tensor, *, reverse: bool
) -> tuple[Tensor, Pair, Tensor]:
    """Return the gradients of ``_carry`` with respect to S, a and first."""
    # The adjoint of the recurrence is the same recurrence with conj(a), run the other way.
    dS = _carry(dX, a_re, -a_im, None, reverse=not reverse)
    g_re, g_im = dS.unflatten(-1, (2, -1)).unbind(-2)
    x_re, x_im = X.unflatten(-1, (2, -1)).unbind(-2)
    da = Pair((g_re * x_re + g_im * x_im).sum((1, 2)), (g_im * x_re - g_re * x_im).sum((1, 2)))
    edge = -1 if reverse else 0
    a = Pair(a_re, -a_im)
    return dS, da, dX[:, :, edge] + _rotate(a, dS[:, :, edge])
