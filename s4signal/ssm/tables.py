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


def block_tables(
    system: DiagonalSystem | DenseSystem, length: int, dtype: torch.dtype, *, alone: bool = False
) -> BlockTables:
    """Build the tables of a system for blocks of ``length`` samples, or the kernel alone for a single block."""
    if isinstance(system, DenseSystem):
        kernel, *rest = (table.to(dtype) for table in _dense_tables(system, length))
    else:
        outputs = [system.C] if system.C_reverse is None else [system.C, system.C_reverse]
        G = torch.stack([C.times(system.B_bar).stacked() for C in outputs], 1)
        kernel, *rest, _ = _diagonal_op(system.Lambda_bar.stacked(), G, length, dtype, alone)
    lag_zero = torch.zeros_like(kernel)
    lag_zero[:, length - 1] = 1.0
    return BlockTables(torch.addcmul(kernel, lag_zero, system.D.to(dtype).unsqueeze(-1)), *rest)


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
    Lambda_bar: Tensor, G: Tensor, T: int, dtype: torch.dtype, alone: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return kernel, P, Q, transition and powers, all as real tensors; P, Q and transition are empty if ``alone``.

    Shapes: poles (d_model, n, 2), output vectors G (d_model, directions, n, 2). The powers are computed in the
    precision of the poles (float64: repeated products in float32 lose four digits in 16,000 steps) and then cast; the
    gradient is computed in the precision of the tables.
    """
    V = powers(torch.view_as_complex(Lambda_bar), T - alone).to(dtype.to_complex())
    conj_G, parts = 2.0 * torch.view_as_complex(G.to(dtype)).conj_physical(), torch.view_as_real(V)
    # Rows of conj(2 G V), read as real pairs, give 2 Re(G V x) by one real product; so do conj(2 G) and V.
    causal, *reverse = torch.bmm(as_real(conj_G), parts[:, :T].flatten(2).mT).unbind(1)
    kernel = pad(causal, (T - 1, 0))
    if reverse:
        kernel[:, : T - 1] = reverse[0][:, :-1].flip(1)
    if alone:
        return kernel, parts.new_empty(0), parts.new_empty(0), parts.new_empty(0), parts
    P, Q = [V[:, :T].flip(1)], [conj_G[:, :1] * V[:, 1:].conj_physical()]
    if reverse:
        P, Q = [*P, V[:, :T]], [*Q, (conj_G[:, 1:] * V[:, :T].conj_physical()).flip(1)]
    return kernel, as_real(torch.cat(P, -1)), as_real(torch.cat(Q, -1)), as_real(V[:, T]).clone(), parts


def _diagonal_tables_backward(
    dkernel: Tensor, dP: Tensor | None, dQ: Tensor | None, dtransition: Tensor | None, parts: Tensor, G: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the gradients of poles and output vectors.

    With r_t the gradient of a response 2 Re(G V_t), that of G is 2 sum_t conj(V_t) r_t and that of the poles
    2 conj(G) sum_t conj(V_{t-1}) t r_t: products of the powers with real numbers.
    """
    T, (n_directions, n) = (dkernel.shape[1] + 1) // 2, G.shape[1:3]
    # Conjugate in memory: compiled code ignores the flag of a lazy conj().
    V_conj, conj_G = (torch.view_as_complex(x.to(parts)).conj_physical() for x in (parts, G))
    order = torch.arange(parts.shape[1], dtype=parts.dtype, device=parts.device)
    r = [dkernel[:, T - 1 :], pad(dkernel[:, : T - 1].flip(1), (0, 1))][:n_directions]
    rows = torch.stack([*r, *(pad((order[:T] * one)[:, 1:], (0, 1)) for one in r)], 1)
    sums = 2.0 * as_complex(torch.bmm(rows, parts[:, :T].flatten(2))).conj_physical()  # (d_model, rows, n)
    dG, dLambda = sums[:, :n_directions], (conj_G * sums[:, n_directions:]).sum(1)
    if parts.shape[1] > T:  # not alone
        dV = torch.zeros_like(V_conj)
        if dtransition is not None:
            dV[:, T] = as_complex(dtransition.contiguous())
        if dP is not None:
            causal, *reverse = as_complex(dP.contiguous()).split(n, -1)
            dV[:, :T] += sum(reverse, causal.flip(1))
        if dQ is not None:
            for i, dGV in enumerate(as_complex(dQ.contiguous()).conj_physical().split(n, -1)):
                dGV, at = (dGV.flip(1), slice(T)) if i else (dGV, slice(1, None))
                dG[:, i] += 2.0 * (dGV * V_conj[:, at]).sum(1)
                dV[:, at].addcmul_(dGV, conj_G[:, i, None], value=2.0)
        dLambda += (dV[:, 1:] * V_conj[:, :-1]).mul_(order[1:, None]).sum(1)
    return torch.view_as_real(dLambda).to(G.dtype), torch.view_as_real(dG).to(G.dtype)


_diagonal_op = operator(
    "diagonal_tables",
    _diagonal_tables,
    _diagonal_tables_backward,
    keep=lambda inputs, outputs: (outputs[4], inputs[1]),
    n_gradients=4,
)
