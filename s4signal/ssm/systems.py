"""A discrete diagonal system, and the tables that let it run on blocks of samples."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from s4signal.ssm.pairs import Pair

__all__ = ["BlockTables", "DiagonalSystem", "block_tables"]


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
    """What the block engine multiplies with; the state S is (re, im) of each pair, direction after direction.

    The state is held in units of B_bar, so that P needs the powers of the poles alone.

    Parameters
    ----------
    kernel : Tensor (d_model, 2 T - 1)
        Response at the lags 1 - T ... T - 1, D included at lag 0.
    P : Tensor (d_model, T, S)
        Block of samples to the state it leaves behind.
    Q : Tensor (d_model, T, S)
        State that enters a block to its outputs, transposed.
    transition : Tensor (d_model, n_pairs, 2)
        Lambda_bar to the power T.
    """

    kernel: Tensor
    P: Tensor
    Q: Tensor
    transition: Tensor


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
    G = _stacked(system.C.times(system.B_bar))
    G_reverse = None if system.C_reverse is None else _stacked(system.C_reverse.times(system.B_bar))
    kernel, P, Q, transition = _Tables.apply(_stacked(system.Lambda_bar), G, G_reverse, length, dtype)
    lag_zero = torch.zeros_like(kernel)
    lag_zero[:, length - 1] = 1.0
    return BlockTables(torch.addcmul(kernel, lag_zero, system.D.to(dtype).unsqueeze(-1)), P, Q, transition)


def _stacked(z: Pair) -> Tensor:
    return torch.stack([z.re, z.im], -1)


def _powers(Lambda_bar: Tensor, last: int) -> Tensor:
    """(d_model, n) complex -> (d_model, last + 1, n): powers 0 ... last, by doubling."""
    V = Lambda_bar.new_empty(Lambda_bar.shape[0], last + 1, Lambda_bar.shape[1])
    V[:, 0] = 1.0
    done, step = 1, Lambda_bar.unsqueeze(1)
    while done <= last:
        more = min(done, last + 1 - done)
        torch.mul(V[:, :more], step, out=V[:, done : done + more])
        done, step = done + more, step * step
    return V


class _Tables(torch.autograd.Function):
    """Poles and output vectors (d_model, n, 2) -> kernel, P, Q, transition; complex numbers stay inside.

    The powers are computed in the precision of the poles (float64: repeated products in float32 lose four digits in
    16,000 steps) and then cast; the gradient is computed in the precision of the tables.
    """

    @staticmethod
    def forward(
        ctx: Any, Lambda_bar: Tensor, G: Tensor, G_reverse: Tensor | None, T: int, dtype: torch.dtype
    ) -> tuple[Tensor, ...]:
        V = _powers(torch.view_as_complex(Lambda_bar), T).to(dtype.to_complex())
        directions = [torch.view_as_complex(g.to(dtype)) for g in (G, G_reverse) if g is not None]
        ctx.save_for_backward(V, *directions)
        ctx.set_materialize_grads(False)
        ctx.dtypes = Lambda_bar.dtype, G.dtype
        # Rows of conj(2 G V), read as real pairs, give 2 Re(G V x) by one real product.
        causal = (2.0 * directions[0].unsqueeze(1) * V).conj_physical()
        kernel = torch.nn.functional.pad(causal[:, :T].real.sum(-1), (T - 1, 0))
        P, Q = [V[:, :T].flip(1)], [causal[:, 1:]]
        if len(directions) == 2:
            future = (2.0 * directions[1].unsqueeze(1) * V[:, :T]).conj_physical()
            kernel[:, : T - 1] = future[:, : T - 1].real.sum(-1).flip(1)
            P, Q = [*P, V[:, :T]], [*Q, future.flip(1)]
        return kernel, _real(torch.cat(P, -1)), _real(torch.cat(Q, -1)), torch.view_as_real(V[:, T]).clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        V, *directions = ctx.saved_tensors
        dkernel, dP, dQ, dtransition = grads
        T, n = V.shape[1] - 1, V.shape[2]
        dV, dGV = torch.zeros_like(V), torch.zeros_like(V)
        dGV_reverse = torch.zeros_like(V[:, :T]) if len(directions) == 2 else None
        # A single block from rest has no use for P, Q and transition: their gradients are None.
        if dtransition is not None:
            dV[:, T] = torch.view_as_complex(dtransition.contiguous())
        if dP is not None:
            dP = _complex(dP)
            dV[:, :T] += dP[..., :n].flip(1)
            if dGV_reverse is not None:
                dV[:, :T] += dP[..., n:]
        if dQ is not None:
            dQ = _complex(dQ)
            dGV[:, 1:] = dQ[..., :n].conj()
            if dGV_reverse is not None:
                dGV_reverse += dQ[..., n:].flip(1).conj()
        if dkernel is not None:
            dGV[:, :T] += dkernel[:, T - 1 :].unsqueeze(-1)
            if dGV_reverse is not None:
                dGV_reverse[:, : T - 1] += dkernel[:, : T - 1].flip(1).unsqueeze(-1)
        dV.addcmul_(dGV, directions[0].conj().unsqueeze(1), value=2.0)
        dGs = [_real_vector(dGV, V)]
        if dGV_reverse is not None:
            dV[:, :T].addcmul_(dGV_reverse, directions[1].conj().unsqueeze(1), value=2.0)
            dGs.append(_real_vector(dGV_reverse, V[:, :T]))
        order = torch.arange(1, T + 1, dtype=V.real.dtype, device=V.device)
        dLambda = torch.view_as_real((dV[:, 1:] * V[:, :-1].conj() * order[:, None]).sum(1))
        state, output = ctx.dtypes
        dG_reverse = dGs[1].to(output) if len(dGs) == 2 else None
        return dLambda.to(state), dGs[0].to(output), dG_reverse, None, None


def _real(z: Tensor) -> Tensor:
    return torch.view_as_real(z).flatten(-2)


def _complex(x: Tensor) -> Tensor:
    return torch.view_as_complex(x.contiguous().unflatten(-1, (-1, 2)))


def _real_vector(dGV: Tensor, V: Tensor) -> Tensor:
    """Gradient of 2 G V with respect to G, as real pairs."""
    return torch.view_as_real(2.0 * (dGV * V.conj()).sum(1))
