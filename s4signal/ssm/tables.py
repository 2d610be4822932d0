"""Tables to run a discrete system over blocks of samples."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from s4signal.ssm.operators import as_complex, as_real, operator
from s4signal.ssm.systems import DenseSystem, DiagonalSystem


class BlockTables(NamedTuple):
    """Matrices of the block engine; the states of both directions are concatenated to S numbers.

    The state of a diagonal system is stored in units of B_bar, so that P needs only the powers of the poles.
    """

    kernel: Tensor  # (d_model, 2 T - 1): response at the lags 1 - T ... T - 1, with D at lag 0
    P: Tensor  # (d_model, T, S): from a block of samples to the state that it adds
    Q: Tensor  # (d_model, T, S): from the state that enters a block to its outputs, transposed
    transition: Tensor  # from the state before a block to the state after it, without input: Lambda_bar^T as (re, im)
    #                     of each mode, (d_model, d_state); or A_bar^T transposed, (d_model, d_state, d_state)


def block_tables(system: DiagonalSystem | DenseSystem, length: int, dtype: torch.dtype) -> BlockTables:
    """Build the tables of a system for blocks of ``length`` samples."""
    if isinstance(system, DenseSystem):
        kernel, P, Q, transition = (table.to(dtype) for table in _dense_tables(system, length))
    else:
        G, C_reverse = system.C.times(system.B_bar).stacked(), system.C_reverse
        G_reverse = None if C_reverse is None else C_reverse.times(system.B_bar).stacked()
        kernel, P, Q, transition, _ = _diagonal_op(system.Lambda_bar.stacked(), G, G_reverse, length, dtype)
    lag_zero = torch.zeros_like(kernel)
    lag_zero[:, length - 1] = 1.0
    return BlockTables(torch.addcmul(kernel, lag_zero, system.D.to(dtype).unsqueeze(-1)), P, Q, transition)


def toeplitz(kernel: Tensor, T: int) -> Tensor:
    """Return Toeplitz matrices W (d_model, T, T) of responses (d_model, 2 T - 1): u W is a convolution of a row u."""
    return kernel.unfold(-1, T, 1).flip(1)


def _dense_tables(system: DenseSystem, T: int) -> tuple[Tensor, ...]:
    # Powers by doubling, in the precision of the system: all products use A, A^2, A^4, ... only.
    squares = [system.A_bar.mT]
    while 1 << len(squares) < T:
        squares.append(squares[-1] @ squares[-1])
    V = _krylov(system.B_bar, squares, T)
    transposed = [square.mT for square in squares]
    kernel = pad(torch.einsum("dtn,dn->dt", V, system.C), (T - 1, 0))
    P, Q = [V.flip(1)], [_krylov(torch.einsum("dn,dnm->dm", system.C, transposed[0]), transposed, T)]
    if system.C_reverse is not None:
        kernel = kernel + pad(torch.einsum("dtn,dn->dt", V[:, : T - 1], system.C_reverse).flip(1), (0, T))
        P, Q = [*P, V], [*Q, _krylov(system.C_reverse, transposed, T).flip(1)]
    return kernel, torch.cat(P, -1), torch.cat(Q, -1), torch.linalg.matrix_power(squares[0], T)


def _krylov(v: Tensor, squares: list[Tensor], T: int) -> Tensor:
    """Return v M^i (d_model, T, N) for v (d_model, N) and a matrix M with given powers 1, 2, 4 ..."""
    V = v.unsqueeze(1)
    for square in squares:
        V = torch.cat([V, V @ square], 1)
    return V[:, :T]


def powers(Lambda_bar: Tensor, last: int) -> Tensor:
    """Return the powers 0 ... last of poles (d_model, n), (d_model, last + 1, n), by doubling in their precision."""
    V = Lambda_bar.new_empty(Lambda_bar.shape[0], last + 1, Lambda_bar.shape[1])
    V[:, 0] = 1.0
    done, step = 1, Lambda_bar.unsqueeze(1)
    while done <= last:
        more = min(done, last + 1 - done)
        torch.mul(V[:, :more], step, out=V[:, done : done + more])
        done, step = done + more, step * step
    return V


def _diagonal_tables(
    Lambda_bar: Tensor, G: Tensor, G_reverse: Tensor | None, T: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return kernel, P, Q, transition and powers for poles and output vectors (d_model, n, 2), all as real tensors.

    The powers are computed in the precision of the poles (float64: repeated products in float32 lose four digits in
    16,000 steps) and then cast; the gradient is computed in the precision of the tables.
    """
    V = powers(torch.view_as_complex(Lambda_bar), T).to(dtype.to_complex())
    # Rows of conj(2 G V), read as real pairs, give 2 Re(G V x) by one real product.
    causal = (2.0 * torch.view_as_complex(G.to(dtype)).unsqueeze(1) * V).conj_physical()
    kernel = pad(causal[:, :T].real.sum(-1), (T - 1, 0))
    P, Q = [V[:, :T].flip(1)], [causal[:, 1:]]
    if G_reverse is not None:
        future = (2.0 * torch.view_as_complex(G_reverse.to(dtype)).unsqueeze(1) * V[:, :T]).conj_physical()
        kernel[:, : T - 1] = future[:, : T - 1].real.sum(-1).flip(1)
        P, Q = [*P, V[:, :T]], [*Q, future.flip(1)]
    return kernel, as_real(torch.cat(P, -1)), as_real(torch.cat(Q, -1)), as_real(V[:, T]).clone(), torch.view_as_real(V)


def _diagonal_tables_backward(
    dkernel: Tensor,
    dP: Tensor | None,
    dQ: Tensor | None,
    dtransition: Tensor | None,
    parts: Tensor,
    G: Tensor,
    G_reverse: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of poles and output vectors, (d_model, n, 2); the last is empty for a causal system."""
    # Conjugate in memory: compiled code ignores the flag of a lazy conj().
    V_conj = torch.view_as_complex(parts).conj_physical()
    T, n = V_conj.shape[1] - 1, V_conj.shape[2]
    dV, dGV, dG_reverse = torch.zeros_like(V_conj), torch.zeros_like(V_conj), G.new_empty(0)
    # A single block with zero initial state does not use P, Q and transition: their gradients are None.
    if dtransition is not None:
        dV[:, T] = as_complex(dtransition.contiguous())
    if dP is not None:
        dP = as_complex(dP.contiguous())
        dV[:, :T] += dP[..., :n].flip(1)
        if G_reverse is not None:
            dV[:, :T] += dP[..., n:]
    if dQ is not None:
        dQ = as_complex(dQ.contiguous()).conj_physical()
        dGV[:, 1:] = dQ[..., :n]
    dGV[:, :T] += dkernel[:, T - 1 :].unsqueeze(-1)
    dG = _through_output(dGV, V_conj, G, dV)
    if G_reverse is not None:
        dGV.zero_()
        if dQ is not None:
            dGV[:, :T] = dQ[..., n:].flip(1)
        dGV[:, : T - 1] += dkernel[:, : T - 1].flip(1).unsqueeze(-1)
        dG_reverse = _through_output(dGV, V_conj, G_reverse, dV)
    order = torch.arange(1, T + 1, dtype=V_conj.real.dtype, device=V_conj.device)
    dLambda = torch.view_as_real((dV[:, 1:] * V_conj[:, :-1]).mul_(order[:, None]).sum(1))
    return dLambda.to(G.dtype), dG, dG_reverse


def _through_output(dGV: Tensor, V_conj: Tensor, G: Tensor, dV: Tensor) -> Tensor:
    """Return the gradient of 2 G V with respect to G, and add the gradient with respect to V to ``dV``."""
    weight = torch.view_as_complex(G.to(dV.real.dtype)).conj_physical().unsqueeze(1)
    dV.addcmul_(dGV, weight, value=2.0)
    return torch.view_as_real(2.0 * (dGV * V_conj).sum(1)).to(G.dtype)


_diagonal_op = operator(
    "diagonal_tables",
    _diagonal_tables,
    _diagonal_tables_backward,
    keep=lambda inputs, outputs: (outputs[4], *inputs[1:3]),
    n_gradients=4,
)
