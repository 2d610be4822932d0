"""A discrete diagonal system, and the tables that let it run on blocks of samples."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from s4signal.ssm.pairs import Pair

__all__ = ["BlockTables", "DiagonalSystem", "block_tables", "powers"]


class DiagonalSystem(NamedTuple):
    """x_k = Lambda_bar x_{k-1} + B_bar u_k,  y_k = 2 Re(C x_k) + D u_k, one system a channel.

    Each of the ``n_pairs = d_state / 2`` modes stands for itself and its conjugate.

    Parameters
    ----------
    Lambda_bar : Pair of (d_model, n_pairs)
        Discrete poles, inside the unit circle.
    B_bar, C : Pair of (d_model, n_pairs)
        Input and output vectors.
    D : Tensor (d_model,)
        Feed-through.
    C_reverse : Pair of (d_model, n_pairs) or None
        Output vector of the anti-causal direction, which sees the samples after k only; None: causal.
    """

    Lambda_bar: Pair
    B_bar: Pair
    C: Pair
    D: Tensor
    C_reverse: Pair | None = None

    @property
    def n_pairs(self) -> int:
        """Number of conjugate pairs."""
        return int(self.Lambda_bar.re.shape[-1])


class BlockTables(NamedTuple):
    """What the block engine multiplies with; S is 2 n_pairs a direction, real parts before imaginary ones.

    Parameters
    ----------
    kernel : Tensor (d_model, 2 T - 1)
        Response at the lags 1 - T ... T - 1, D included at lag 0.
    P : Tensor (d_model, T, S)
        Block of samples to the state it leaves behind.
    Q : Tensor (d_model, S, T)
        State that enters a block to its outputs.
    transition : Pair of (d_model, n_pairs)
        Lambda_bar to the power T.
    """

    kernel: Tensor
    P: Tensor
    Q: Tensor
    transition: Pair


class _Powers(torch.autograd.Function):
    """0th to last power of each pole, by doubling."""

    @staticmethod
    def forward(ctx: Any, re: Tensor, im: Tensor, last: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        V = Pair(torch.ones_like(re).unsqueeze(-1), torch.zeros_like(im).unsqueeze(-1))
        step = Pair(re, im).unsqueeze(-1)
        while V.re.shape[-1] <= last:
            W = V.times(step)
            V = Pair(torch.cat([V.re, W.re], -1), torch.cat([V.im, W.im], -1))
            step = step.times(step)
        V = Pair(V.re[..., : last + 1], V.im[..., : last + 1]).to(dtype)
        ctx.save_for_backward(V.re, V.im)
        ctx.dtype = re.dtype
        return V.re, V.im

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        g_re, g_im = (g[..., 1:] for g in grads)
        v_re, v_im = (v[..., :-1] for v in ctx.saved_tensors)
        order = torch.arange(1, g_re.shape[-1] + 1, dtype=g_re.dtype, device=g_re.device)
        d_re = (v_re * g_re + v_im * g_im) @ order
        d_im = (v_re * g_im - v_im * g_re) @ order
        return d_re.to(ctx.dtype), d_im.to(ctx.dtype), None, None


def powers(Lambda_bar: Pair, last: int, *, dtype: torch.dtype | None = None) -> Pair:
    """Return Lambda_bar to the powers 0 ... last, computed in its own precision and then cast.

    Parameters
    ----------
    Lambda_bar : Pair of (d_model, n_pairs)
        Discrete poles; pass float64, since repeated products in float32 lose four digits in 16,000 steps.
    last : int, >= 0
        Highest power.
    dtype : torch.dtype, optional
        Real dtype of the result, that of Lambda_bar by default.

    Returns
    -------
    Pair of (d_model, n_pairs, last + 1)
        The powers; gradients flow to Lambda_bar.

    Examples
    --------
    >>> pole = Pair(torch.tensor([[0.5]]), torch.tensor([[0.0]]))
    >>> powers(pole, 3).re.tolist()
    [[[1.0, 0.5, 0.25, 0.125]]]
    """
    return Pair(*_Powers.apply(Lambda_bar.re, Lambda_bar.im, last, dtype or Lambda_bar.re.dtype))


def block_tables(system: DiagonalSystem, length: int, dtype: torch.dtype) -> BlockTables:
    """Build the tables of a system for blocks of a length.

    Parameters
    ----------
    system : DiagonalSystem
        In float64 where the device has it.
    length : int, >= 1
        Samples a block, T.
    dtype : torch.dtype
        Real dtype of the tables.

    Returns
    -------
    BlockTables
        See there.
    """
    V = powers(system.Lambda_bar, length, dtype=dtype)
    B_bar, C = system.B_bar.to(dtype), system.C.to(dtype)
    within, after = Pair(V.re[..., :-1], V.im[..., :-1]), Pair(V.re[..., 1:], V.im[..., 1:])
    into = within.times(B_bar.unsqueeze(-1))  # column i: Lambda_bar^i B_bar
    out = after.times(C.unsqueeze(-1))  # column i: C Lambda_bar^{i + 1}
    causal = _response(C, into)
    causal = torch.cat([(causal[:, 0] + system.D.to(dtype)).unsqueeze(-1), causal[:, 1:]], -1)
    past = torch.zeros_like(causal[:, 1:])
    P = torch.cat([into.re, into.im], 1).flip(-1).transpose(1, 2)
    Q = torch.cat([2.0 * out.re, -2.0 * out.im], 1)
    if system.C_reverse is not None:
        C_reverse = system.C_reverse.to(dtype)
        past = _response(C_reverse, into)[:, :-1].flip(-1)
        out = within.times(C_reverse.unsqueeze(-1))
        P = torch.cat([P, torch.cat([into.re, into.im], 1).transpose(1, 2)], -1)
        Q = torch.cat([Q, torch.cat([2.0 * out.re, -2.0 * out.im], 1).flip(-1)], 1)
    return BlockTables(torch.cat([past, causal], -1), P, Q, Pair(V.re[..., -1], V.im[..., -1]))


def _response(C: Pair, into: Pair) -> Tensor:
    """2 Re(C x) at each column of ``into``: (d_model, n_pairs), (d_model, n_pairs, T) -> (d_model, T)."""
    row = torch.cat([2.0 * C.re, -2.0 * C.im], -1).unsqueeze(1)
    return torch.bmm(row, torch.cat([into.re, into.im], 1)).squeeze(1)
