"""The block engine: run a linear state space system over long signals at the speed of matrix products.

Time is cut into blocks of T samples. The outputs within a block are one Toeplitz product. The state that a block adds
is one product with the powers of the state matrix. Only the state is carried from block to block:

    Y = U W + X Q,   S = U P,   X_{m+1} = X_m a + S_m

The cost is linear in the length. No array of size (d_model, d_state, length) is allocated.
"""

import math
import os

import torch
from torch import Tensor
from torch.nn.functional import pad

from s4signal.ssm.carry import carry
from s4signal.ssm.convolution import look_ahead
from s4signal.ssm.operators import conjugate, operator, runs_triton
from s4signal.ssm.products import large_products
from s4signal.ssm.shared import shared_block_scan
from s4signal.ssm.systems import DenseSystem, DiagonalSystem, Pair, SharedSystem, System, check_signal, times_state
from s4signal.ssm.tables import BlockTables, block_tables, toeplitz

LONGEST_BLOCK = 128  # measured: the product U W costs 2 T flops per sample, and tables for larger T leave the cache


def block_length(n_times: int, batch: int = 1) -> int:
    """Return the block length T for a batch of signals, at most 128. Short signals are one block.

    The products cost 2 T flops per sample, the tables some hundred flops for each of d_state T entries. The best T
    therefore grows with the square root of the number of samples.
    """
    if n_times <= LONGEST_BLOCK:
        return n_times
    return min(LONGEST_BLOCK, 1 << round(math.log2(0.75 * math.sqrt(n_times * max(batch, 1)))))


def block_scan(
    system: System,
    u: Tensor,
    state: Tensor | None = None,
    *,
    return_state: bool = True,
    tables: dict[tuple[int, torch.dtype, bool], BlockTables] | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Run a system over signals, block by block.

    Parameters
    ----------
    system : DiagonalSystem, DenseSystem or SharedSystem
        The system, in float64 if the device supports it.
    u : Tensor (d_model, batch, n_times)
        Input, float32 or float64; n_times >= 1.
    state : Tensor (n_systems, batch, d_state), optional
        State before the first sample, of the sizes in ``system.state_size``; zero by default.
    return_state : bool, default=True
        Whether to compute the state after the last sample.
    tables : dict, optional
        Cache for the tables of this system, filled in place and reused by the next call.

    Returns
    -------
    y : Tensor (d_model, batch, n_times)
        Output.
    state : Tensor (n_systems, batch, d_state) or None
        State of the causal direction after the last sample.

    Raises
    ------
    ShapeError, ValueError
        If u or the state has another shape, u is not float32 or float64, or a state is given and B_bar is 0 somewhere.

    Examples
    --------
    >>> one = torch.ones(1, 1)
    >>> system = DenseSystem(0.5 * one.unsqueeze(-1), one, one, torch.zeros(1))
    >>> y, state = block_scan(system, torch.ones(1, 1, 3))
    >>> y.tolist(), state.tolist()
    ([[[1.0, 1.5, 1.75]]], [[[1.75]]])
    """
    check_signal(system, u, state)
    if system.ahead is not None:
        causal: System = system._replace(ahead=None)
        y, state = block_scan(causal, u, state, return_state=return_state, tables=tables)
        return y + look_ahead(system.ahead, u), state
    if isinstance(system, SharedSystem):
        return shared_block_scan(system, u, state, return_state=return_state)
    _, batch, n_times = u.shape
    T = block_length(n_times, batch)
    alone = n_times == T and state is None and not return_state
    tables, key = {} if tables is None else tables, (T, u.dtype, alone)
    if key not in tables:
        tables[key] = block_tables(system, T, u.dtype, alone=alone)
    parts = tables[key]
    if alone:
        return _one_block_op(u, parts.kernel), None
    if padding := -n_times % T:
        u = pad(u, (0, padding))
    if state is not None and isinstance(system, DiagonalSystem):
        inverse = system.B_bar.reciprocal()
        if u.is_cpu and not torch.compiler.is_compiling() and not bool(inverse.re.isfinite().all()):
            raise ValueError("B_bar is 0 for some modes, so that no input reaches them: remove them to pass a state.")
        state = times_state(inverse, state)
    y, entering, _ = _scan_op(u, *parts, state)
    if padding:
        y = y[..., :n_times]
    if not return_state:
        return y, None
    return y, _state_after(system, parts, u[..., n_times + padding - T : n_times], entering)


def _state_after(system: DiagonalSystem | DenseSystem, tables: BlockTables, last: Tensor, entering: Tensor) -> Tensor:
    """Return the state after the last block, which may hold fewer than T samples."""
    n_last, T = last.shape[-1], tables.P.shape[1]
    added = torch.bmm(last, tables.P[:, T - n_last :, : entering.shape[-1]])
    if isinstance(system, DenseSystem):
        power = torch.linalg.matrix_power(system.A_bar, n_last).to(last.dtype)
        return torch.baddbmm(added, entering, power.mT)
    carried = times_state(_power(system.Lambda_bar, n_last), entering)
    return times_state(system.B_bar, carried + added)


def _power(z: Pair, exponent: int) -> Pair:
    """Raise z to a power >= 1 by repeated squaring."""
    if exponent == 1:
        return z
    half = _power(z.times(z), exponent // 2)
    return half.times(z) if exponent % 2 else half


def _kernel_gradient(U: Tensor, dY: Tensor) -> Tensor:
    """Return the gradient of the kernel of Y = U W: the sums over the diagonals of U^T dY."""
    d_model, rows, T = U.shape
    skewed = U.new_empty(d_model, T, 2 * T)  # in rows of 2 T - 1 numbers, each diagonal is a column
    skewed[..., T:] = 0.0
    if rows < T:  # reverse the smaller array
        torch.bmm(U.flip(-1).mT, dY, out=skewed[..., :T])
    else:
        skewed[..., :T] = torch.bmm(U.mT, dY).flip(1)
    return skewed.flatten(1)[:, :-T].reshape(d_model, T, 2 * T - 1).sum(1)


def block_product(
    U: Tensor, kernel: Tensor, X: Tensor | None = None, Q: Tensor | None = None, *, transposed: bool = False
) -> Tensor:
    """Return U W, or U W^T, plus X Q^T, for U (d_model, rows, T) and the table W of a kernel; X and Q are optional."""
    if runs_triton(U) and os.environ.get("S4SIGNAL_FUSED_PRODUCT") == "1":  # opt-in: not yet timed on a GPU
        from s4signal.ssm.fused_product import fused_product

        with torch.cuda.device(U.device):  # triton launches on the current GPU
            return fused_product(U, kernel, X, Q, transposed=transposed)
    W = toeplitz(kernel, U.shape[-1])
    Y = torch.bmm(U, W.transpose(1, 2) if transposed else W)
    return Y if X is None or Q is None else Y.baddbmm_(X, Q.transpose(1, 2))


def _one_block(u: Tensor, kernel: Tensor) -> Tensor:
    """Return y for u (d_model, batch, T) and zero initial state, by the Toeplitz product alone."""
    with large_products(u, u.shape[-1]):
        return block_product(u, kernel)


def _one_block_backward(dy: Tensor, u: Tensor, kernel: Tensor) -> tuple[Tensor, Tensor]:
    with large_products(u, u.shape[-1]):
        du = block_product(dy, kernel, transposed=True)
        return du, _kernel_gradient(u, dy)


def _by_direction(x: Tensor, batch: int, d_state: int) -> list[Tensor]:
    """Split (d_model, batch * n_blocks, S) into views (d_model, batch, n_blocks, d_state): causal, then anti-causal."""
    return list(x.view(x.shape[0], batch, -1, x.shape[-1]).split(d_state, -1))


def _scan(
    u: Tensor, kernel: Tensor, P: Tensor, Q: Tensor, transition: Tensor, first: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return y, the causal state that enters the last block, and the states that enter all of them."""
    d_model, batch, _ = u.shape
    T = P.shape[1]
    U = u.reshape(d_model, -1, T)
    with large_products(U, T):
        X = torch.bmm(U, P)
        directions = _by_direction(X, batch, transition.shape[1])
        carry(directions[0], transition, first)
        if len(directions) == 2:
            carry(directions[1], transition, reverse=True)
        Y = block_product(U, kernel, X, Q)
    return Y.view(u.shape), directions[0][:, :, -1].clone(), X


def _scan_backward(
    dy: Tensor | None,
    dlast: Tensor | None,
    u: Tensor,
    X: Tensor,
    kernel: Tensor,
    P: Tensor,
    Q: Tensor,
    transition: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of u, the tables and the first state."""
    d_model, batch, _ = u.shape
    T, d_state = P.shape[1], transition.shape[1]
    dy = u.new_zeros(u.shape) if dy is None else dy
    U, dY = u.reshape(d_model, -1, T), dy.reshape(d_model, -1, T)
    with large_products(U, T):
        dX = torch.bmm(dY, Q)
    gradients, states = _by_direction(dX, batch, d_state), X.split(d_state, -1)
    if dlast is not None:
        gradients[0][:, :, -1] += dlast
    # The adjoint of the recurrence is the recurrence with the adjoint transition, in reversed time.
    adjoint = conjugate(transition) if transition.ndim == 2 else transition.transpose(1, 2)
    dfirst = carry(gradients[0], adjoint, reverse=True)
    if len(gradients) == 2:
        carry(gradients[1], adjoint)
    # Outside large_products: with two directions each operand is a view, which oneDNN would copy.
    products = [torch.bmm(x.transpose(1, 2), g) for x, g in zip(states, dX.split(d_state, -1), strict=True)]
    dtransition = products[0] if len(products) == 1 else products[0] + products[1]
    if transition.ndim == 2:
        dtransition = _of_modes(dtransition)
    with large_products(U, T):
        du = block_product(dY, kernel, dX, P, transposed=True).view(u.shape)
        dkernel = _kernel_gradient(U, dY)
        # Transposed: the product with the long side first is faster by a fifth.
        dP, dQ = torch.bmm(dX.transpose(1, 2), U), torch.bmm(X.transpose(1, 2), dY)
    return du, dkernel, dP.transpose(1, 2), dQ.transpose(1, 2), dtransition, dfirst


def _of_modes(products: Tensor) -> Tensor:
    """Pick Re and Im of sum conj(x) g of each mode from the products of all real parts (d_model, 2 n, 2 n)."""
    # One matrix product and an indexing: summing elementwise products of two arrays of states costs four times as much.
    n = products.shape[-1] // 2
    blocks = products.view(-1, n, 2, n, 2).diagonal(dim1=1, dim2=3)  # (d_model, 2, 2, n)
    return torch.stack([blocks[:, 0, 0] + blocks[:, 1, 1], blocks[:, 0, 1] - blocks[:, 1, 0]], -1).flatten(-2)


def _scan_fake(
    u: Tensor, kernel: Tensor, P: Tensor, Q: Tensor, transition: Tensor, first: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    d_model, batch, n_times = u.shape
    X = u.new_empty(d_model, batch * (n_times // P.shape[1]), P.shape[2])
    return u.new_empty(u.shape), u.new_empty(d_model, batch, transition.shape[1]), X


def _scan_backward_fake(
    dy: Tensor | None, dlast: Tensor | None, u: Tensor, X: Tensor, *tables: Tensor
) -> tuple[Tensor, ...]:
    kernel, P, _, transition = tables
    d_model, T, S = P.shape
    dP, dQ = (u.new_empty(d_model, S, T).transpose(1, 2) for _ in range(2))
    dfirst = u.new_empty(d_model, u.shape[1], transition.shape[1])
    return u.new_empty(u.shape), kernel.new_empty(kernel.shape), dP, dQ, u.new_empty(transition.shape), dfirst


_one_block_op = operator(
    "one_block",
    _one_block,
    _one_block_backward,
    fake=lambda u, kernel: u.new_empty(u.shape),
    fake_backward=lambda dy, u, kernel: (u.new_empty(u.shape), kernel.new_empty(kernel.shape)),
    keep=lambda inputs, outputs: inputs,
)
_scan_op = operator(
    "block_scan",
    _scan,
    _scan_backward,
    fake=_scan_fake,
    fake_backward=_scan_backward_fake,
    keep=lambda inputs, outputs: (inputs[0], outputs[2], *inputs[1:5]),
    n_gradients=2,
)
