"""The block engine: a linear state space over long signals at the speed of matrix products.

Time is cut into blocks of T samples. Within a block the outputs are one Toeplitz product, and what the block leaves
behind is one product with the powers of the poles; from block to block only the state is carried:

    Y = U W + X Q,   S = U P,   X_{m+1} = Lambda_bar^T X_m + S_m

The cost is linear in the length, and nothing of size (d_model, d_state, length) is ever made.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from s4signal.ssm.pairs import Pair
from s4signal.ssm.systems import BlockTables, DiagonalSystem, block_tables

__all__ = ["block_length", "block_scan"]

LONGEST_BLOCK = 128  # measured: the product U W costs 2 T flops a sample, and larger T leave the cache


def block_length(n_times: int, batch: int = 1) -> int:
    """Return the block length T for a batch of signals, at most 128: short signals are one block.

    The products cost 2 T flops a sample, the tables some hundred flops for each of d_state T entries: the best T grows
    with the square root of the samples at hand.

    Parameters
    ----------
    n_times : int, >= 1
        Samples a case.
    batch : int, >= 1, default=1
        Cases.

    Returns
    -------
    int
        T.

    Examples
    --------
    >>> block_length(20), block_length(500, batch=1), block_length(100_000, batch=16)
    (20, 16, 128)
    """
    if n_times <= LONGEST_BLOCK:
        return n_times
    return min(LONGEST_BLOCK, 1 << round(math.log2(0.75 * math.sqrt(n_times * batch))))


def block_scan(
    system: DiagonalSystem, u: Tensor, state: Tensor | None = None, *, return_state: bool = True
) -> tuple[Tensor, Tensor | None]:
    """Run a system over signals, block by block.

    Parameters
    ----------
    system : DiagonalSystem
        One system for each of d_model channels.
    u : Tensor (d_model, batch, n_times)
        Input, float32 or float64; n_times >= 1.
    state : Tensor (d_model, batch, 2 n_pairs), optional
        State before the first sample, (re, im) of each pair; at rest by default.
    return_state : bool, default=True
        Whether to compute the state after the last sample.

    Returns
    -------
    y : Tensor (d_model, batch, n_times)
        Output.
    state : Tensor (d_model, batch, 2 n_pairs) or None
        State of the causal direction after the last sample.
    """
    _, batch, n_times = u.shape
    T = block_length(n_times, batch)
    tables = block_tables(system, T, u.dtype)
    if n_times == T and state is None and not return_state:
        y: Tensor = _OneBlock.apply(u, tables.kernel)
        return y, None
    n_blocks = -(-n_times // T)
    if n_blocks * T != n_times:
        u = torch.nn.functional.pad(u, (0, n_blocks * T - n_times))
    if state is not None:
        state = _scaled(state, system.B_bar.reciprocal())
    y, entering = _BlockScan.apply(u.contiguous(), *tables, state)
    if n_blocks * T != n_times:
        y = y[:, :, :n_times]
    if not return_state:
        return y, None
    return y, _leave(system, tables, u[:, :, (n_blocks - 1) * T : n_times], entering)


def _leave(system: DiagonalSystem, tables: BlockTables, last: Tensor, entering: Tensor) -> Tensor:
    """Carry the state through the last block, which may hold fewer than T samples."""
    n_last, T = last.shape[-1], tables.P.shape[1]
    carried = _scaled(entering, _power(system.Lambda_bar, n_last))
    added = torch.bmm(last, tables.P[:, T - n_last :, : entering.shape[-1]])
    return _scaled(carried + added, system.B_bar)


def _power(z: Pair, exponent: int) -> Pair:
    """z to a power >= 1, by squaring."""
    if exponent == 1:
        return z
    half = _power(z.times(z), exponent // 2)
    return half.times(z) if exponent % 2 else half


def _scaled(state: Tensor, factor: Pair) -> Tensor:
    """Multiply a state (d_model, batch, 2 n) by a factor (d_model, n)."""
    re, im = state.unflatten(-1, (-1, 2)).unbind(-1)
    product = factor.to(state.dtype).unsqueeze(1).times(Pair(re, im))
    return torch.stack([product.re, product.im], -1).flatten(-2)


def _toeplitz(kernel: Tensor, T: int) -> Tensor:
    """(d_model, 2 T - 1) -> (d_model, T, T) with entry [j, i] = response at lag i - j."""
    return kernel.unfold(-1, T, 1).flip(1)


def _untoeplitz(W: Tensor) -> Tensor:
    """Sum the diagonals of (d_model, T, T): the transpose of ``_toeplitz``."""
    d_model, T, _ = W.shape
    skewed = torch.nn.functional.pad(W.flip(1), (0, T)).flatten(1)[:, :-T]
    return skewed.reshape(d_model, T, 2 * T - 1).sum(1)


def _carry(S: Tensor, transition: Tensor, first: Tensor | None, *, reverse: bool) -> Tensor:
    """Turn what each block leaves behind into the state that enters it, in place; return the state after the last.

    X_{m+1} = a X_m + S_m, or from the right if ``reverse``. ``S`` is a complex view (d_model, batch, n_blocks, n),
    ``transition`` (d_model, 1, n), ``first`` (d_model, batch, n).
    """
    # In place: the states are as large as the signal where T = 2 n, and a second array of them would only be written.
    factor = transition.expand_as(S[:, :, 0]).contiguous()
    state = torch.zeros_like(factor) if first is None else first.clone(memory_format=torch.contiguous_format)
    following = torch.empty_like(state)
    n_blocks = S.shape[2]
    for m in range(n_blocks - 1, -1, -1) if reverse else range(n_blocks):
        left = S[:, :, m]
        torch.addcmul(left, state, factor, out=following)
        left.copy_(state)
        state, following = following, state
    return state


def _blocks(x: Tensor, batch: int) -> Tensor:
    """(d_model, batch * n_blocks, S) -> complex view (d_model, batch, n_blocks, S / 2)."""
    return torch.view_as_complex(x.view(x.shape[0], batch, -1, x.shape[-1] // 2, 2))


class _OneBlock(torch.autograd.Function):
    """u (d_model, batch, T), kernel -> y from rest, by the Toeplitz product alone."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, kernel: Tensor) -> Tensor:
        W = _toeplitz(kernel, u.shape[-1])
        ctx.save_for_backward(u, W)
        return torch.bmm(u, W)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor]:
        u, W = ctx.saved_tensors
        du = torch.bmm(grads[0], W.transpose(1, 2)) if ctx.needs_input_grad[0] else None
        return du, _untoeplitz(torch.bmm(u.transpose(1, 2), grads[0]))


class _BlockScan(torch.autograd.Function):
    """u (d_model, batch, n_blocks T), tables, first state -> y, causal state entering the last block."""

    @staticmethod
    def forward(
        ctx: Any, u: Tensor, kernel: Tensor, P: Tensor, Q: Tensor, transition: Tensor, first: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        d_model, batch, n_times = u.shape
        T, n = P.shape[1], transition.shape[1]
        U = u.view(d_model, -1, T)
        S = torch.bmm(U, P)
        a = torch.view_as_complex(transition).unsqueeze(1)
        X = _blocks(S, batch)
        first = None if first is None else torch.view_as_complex(first.contiguous().unflatten(-1, (-1, 2)))
        _carry(X[..., :n], a, first, reverse=False)
        if P.shape[2] > 2 * n:
            _carry(X[..., n:], a, None, reverse=True)
        W = _toeplitz(kernel, T)
        Y = torch.bmm(U, W)
        Y.baddbmm_(S, Q.transpose(1, 2))
        ctx.save_for_backward(U, S, W, P, Q, transition)
        ctx.batch = batch
        return Y.view(d_model, batch, n_times), torch.view_as_real(X[:, :, -1, :n]).flatten(-2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        U, X, W, P, Q, transition = ctx.saved_tensors
        d_model, batch, n = U.shape[0], ctx.batch, transition.shape[1]
        dY = grads[0].contiguous().view(d_model, -1, U.shape[2])
        dS = torch.bmm(dY, Q)
        a = torch.view_as_complex(transition).conj().resolve_conj().unsqueeze(1)
        gS, states = _blocks(dS, batch), _blocks(X, batch)
        gS[:, :, -1, :n] += torch.view_as_complex(grads[1].contiguous().unflatten(-1, (-1, 2)))
        # The adjoint of the recurrence is the same recurrence with conj(a), run the other way.
        dfirst = torch.view_as_real(_carry(gS[..., :n], a, None, reverse=True)).flatten(-2)
        da = (gS[..., :n] * states[..., :n].conj()).sum((1, 2))
        if P.shape[2] > 2 * n:
            _carry(gS[..., n:], a, None, reverse=False)
            da += (gS[..., n:] * states[..., n:].conj()).sum((1, 2))
        du = None
        if ctx.needs_input_grad[0]:
            du = torch.bmm(dY, W.transpose(1, 2)).baddbmm_(dS, P.transpose(1, 2)).view(d_model, batch, -1)
        dkernel = _untoeplitz(torch.bmm(U.transpose(1, 2), dY))
        dP, dQ = torch.bmm(U.transpose(1, 2), dS), torch.bmm(dY.transpose(1, 2), X)
        return du, dkernel, dP, dQ, torch.view_as_real(da), dfirst if ctx.needs_input_grad[5] else None
