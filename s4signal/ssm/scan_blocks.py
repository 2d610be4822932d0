r"""The irregular scan block by block: a step of the states takes eight samples.

Within a block, :math:`e^{\Lambda\tau}` of every mode is a polynomial in the time :math:`\tau`, to the last digits. Its
basis is a matter of the times and its coefficients are one of the modes: so samples become states, states become
outputs and samples become outputs of their block by real matrix products, none of which knows both.

    m = basis x samples,  S = m P,  x' = exp(Lambda tau) x + S,  y = basis x Q x + (basis K) x samples
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from s4signal.ssm.gap_factors import expm1, polynomial_degree
from s4signal.ssm.held_blocks import BLOCK, BlockBasis, HeldBlocks, held_blocks
from s4signal.ssm.scan_steps import stepped_scan
from s4signal.ssm.systems import Pair

__all__ = ["BlockedScan", "PolynomialTables", "blocked_scan", "polynomial_tables"]

PIECE_ENTRIES = 1 << 20  # states that are computed at once: more leave the cache, fewer are many small operations
MOST_ROWS = 2048  # blocks that are computed at once: they have polynomials of their own
WITHIN = BLOCK - 1  # samples of a block that are not its last
LARGEST_RADIUS = 30.0  # |Lambda| times half the span of a block, of what runs in blocks; the degree grows with it
FEWEST_SLOW = 0.8  # of all modes, below which every mode is faster sample by sample
PACK = 4  # fast modes of a channel that are stepped together


class PolynomialTables(NamedTuple):
    """Coefficients of p Chebyshev polynomials on the span of blocks; states in units of their response to a constant.

    Shapes: P (d_model, p, 2 n), Q (d_model, p + 1, 2 n), K (p, d_model).
    """

    P: Tensor
    Q: Tensor
    K: Tensor


def polynomial_tables(Lambda: Tensor, G: Tensor, span: float, dtype: torch.dtype) -> PolynomialTables:
    """Expand the modes in polynomials of time.

    Shapes: Lambda, G (d_model, n, 2).
    """
    radius = 0.5 * span * float(torch.linalg.vector_norm(Lambda.detach(), dim=-1).max())
    # A bound: what is left, by Bessel functions, is one to eight times the precision.
    degree = polynomial_degree(radius, 100.0 * torch.finfo(dtype).eps)
    k = torch.arange(degree, dtype=Lambda.dtype)
    angle = math.pi * (k + 0.5) / degree
    nodes = 0.5 * span * (1.0 + torch.cos(angle))
    transform = torch.cos(k[:, None] * angle) * (2.0 / degree)
    transform[0] *= 0.5
    values = Pair.of(Lambda.unsqueeze(1) * nodes[:, None, None]).expm1()
    grown = Pair(transform @ values.re, transform @ values.im)
    output = Pair.of(2.0 * G.unsqueeze(1))
    constant = torch.zeros_like(k).unsqueeze(1)
    constant[0] = 1.0
    heard = output.times(Pair(grown.re + constant, grown.im))
    Q = torch.cat([torch.stack([z.re, -z.im], -1).flatten(-2) for z in (heard, output)], 1)
    one = torch.zeros_like(Lambda).unsqueeze(1)
    one[..., 0] = 1.0
    P = torch.cat([one, grown.stacked()[:, 1:]], 1).flatten(-2)
    return PolynomialTables(P.to(dtype), Q.to(dtype), output.times(grown).re.sum(-1).T.to(dtype))


def blocked_scan(
    u: Tensor, gaps: Tensor, Lambda: Tensor, G: Tensor, first: Tensor | None = None, *, reverse: bool = False
) -> tuple[Tensor, Tensor]:
    """Run the slow modes in blocks of samples, and those that turn too often within a block sample by sample.

    Shapes: u (d_model, batch, n_times), gaps (batch, n_times), Lambda, G (d_model, n, 2), first (d_model, batch, 2 n) →
    (d_model, batch, n_times), (d_model, batch, 2 n).
    """
    blocks = held_blocks(gaps, reverse=reverse) if gaps.is_cpu else None
    if blocks is None:
        return stepped_scan(u, gaps, Lambda, G, first, reverse=reverse)
    slow = torch.linalg.vector_norm(Lambda.detach(), dim=-1, keepdim=True) * blocks.span <= 2.0 * LARGEST_RADIUS
    if float(slow.double().mean()) < FEWEST_SLOW:
        return stepped_scan(u, gaps, Lambda, G, first, reverse=reverse)
    calm, heard = Lambda, G
    if not bool(slow.all()):
        calm, heard = torch.where(slow, Lambda, Lambda.new_tensor([-1.0 / blocks.span, 0.0])), G.where(slow, 0.0)
    y, final = BlockedScan.apply(u, blocks, *polynomial_tables(calm, heard, blocks.span, u.dtype), calm, first)
    if calm is Lambda:
        return y, final
    channels, modes = _packs(~slow.squeeze(-1))
    Lambda, G = (_pick(z.flatten(0, 1), modes) for z in (Lambda, G))
    packed = None if first is None else _of_modes(_pick(_by_mode(first), modes))
    fast, fast_final = stepped_scan(u[channels], gaps, Lambda, G, packed, reverse=reverse)
    there = (modes < slow.numel()).flatten()
    final = _by_mode(final).index_copy(0, modes.flatten()[there], _by_mode(fast_final)[there])
    return y.index_add(0, channels, fast), _of_modes(final.unflatten(0, slow.shape[:2]))


def _packs(fast: Tensor) -> tuple[Tensor, Tensor]:
    """Channels (n_packs,) and modes (n_packs, PACK), counted through all; a pack is filled with what is not there."""
    channels, modes = [], []
    for channel, row in enumerate(fast):
        for pack in row.nonzero().squeeze(1).split(PACK):
            channels.append(channel)
            modes.append(torch.nn.functional.pad(pack + channel * len(row), (0, PACK - len(pack)), value=fast.numel()))
    return torch.tensor(channels), torch.stack(modes)


def _pick(x: Tensor, modes: Tensor) -> Tensor:
    """Rows of modes; where there is none, of a silent one."""
    silent = torch.zeros_like(x[:1])
    return torch.cat([x, silent])[modes]


def _by_mode(state: Tensor) -> Tensor:
    """(d_model, batch, 2 n) -> (d_model n, batch, 2)."""
    return state.view(*state.shape[:2], -1, 2).transpose(1, 2).flatten(0, 1)


def _of_modes(state: Tensor) -> Tensor:
    """(d_model, n, batch, 2) -> (d_model, batch, 2 n)."""
    return state.transpose(1, 2).flatten(-2)


class BlockedScan(torch.autograd.Function):
    """u (d_model, batch, n_times), blocks, tables, Lambda (d_model, n, 2), first -> y, final state; as SteppedScan."""

    @staticmethod
    def forward(
        ctx: Any,
        u: Tensor,
        blocks: HeldBlocks,
        P: Tensor,
        Q: Tensor,
        K: Tensor,
        Lambda: Tensor,
        first: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Return 2 Re(G x) and the last state; all states are in units of their response to a constant."""
        d_model, batch, _ = u.shape
        pieces, inputs = _pieces(blocks, P), _time_first(u)
        state = u.new_zeros(d_model, batch, P.shape[2]) if first is None else first
        entering = u.new_empty(len(pieces), *state.shape)
        y = torch.zeros_like(inputs)
        for index, piece in enumerate(pieces):
            entering[index] = state
            basis, U = _basis(blocks, piece, P), _rows(inputs, blocks.source[piece])
            _, _, X = _states(basis, P, Lambda, U, state)
            state = X[:, -1]
            heard = torch.bmm(X.flatten(1, 2), Q.transpose(1, 2))
            # The last sample of a block hears of the state after it.
            heard[:, : len(U), -1] = heard[:, batch:, -1].clone()
            Y = torch.bmm(basis.since, heard[:, : len(U)].permute(1, 2, 0))
            _add_within(Y, K, basis, _changes(U))
            y.index_copy_(0, blocks.hears[piece].flatten(), Y.flatten(0, 1))
        ctx.save_for_backward(inputs, P, Q, K, Lambda, entering)
        ctx.blocks, ctx.carried = blocks, first is not None
        return _time_last(y, u), state.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Compute the states of a piece again, then walk back through it with the adjoint."""
        inputs, P, Q, K, Lambda, entering = ctx.saved_tensors
        # The adjoint is carried as its conjugate: it takes the same factors as the states then.
        blocks, carried, P_conj, Q_conj = ctx.blocks, _conj(grads[1]), _conj(P).transpose(1, 2), _conj(Q)
        batch, outputs = entering.shape[2], _time_first(grads[0])
        dP, dQ, dK, dLambda = (torch.zeros_like(table) for table in (P, Q, K, Lambda))
        du = torch.empty_like(inputs)
        for index, piece in reversed(list(enumerate(_pieces(blocks, P)))):
            basis, U = _basis(blocks, piece, P), _rows(inputs, blocks.source[piece])
            dY = _rows(outputs, blocks.hears[piece])
            m, E, X = _states(basis, P, Lambda, U, entering[index])
            dheard = _heard_backward(dY, basis, batch)
            dQ += torch.bmm(dheard.transpose(1, 2), X.flatten(1, 2))
            a = torch.bmm(dheard, Q_conj).view_as(X)
            a[:, -1] += carried
            _retreat(a, E)
            carried = a[:, 0]
            dS, dE = a[:, 1:].flatten(1, 2), torch.mul(_complex(X[:, :-1]), _complex(a[:, 1:])).flatten(1, 2)
            dP[:, 1:] += torch.bmm(m.permute(1, 2, 0), dS)
            dP += torch.matmul(basis.through.T, torch.view_as_real(dE).flatten(-2))
            dm = torch.bmm(dS, P_conj[..., 1:])
            dU = torch.bmm(basis.held, dm.permute(1, 2, 0))
            _long_backward(basis, E, U, dE, dS, dU, dLambda)
            dK += _within_backward(dU, dY, K, basis, _changes(U))
            du.index_copy_(0, blocks.source[piece].flatten(), dU.flatten(0, 1))
        du = _time_last(du, grads[0])
        # A gradient is the conjugate of a derivative.
        return du, None, _conj(dP), dQ, dK, _conj(dLambda), _conj(carried) if ctx.carried else None


def _pieces(blocks: HeldBlocks, P: Tensor) -> list[slice]:
    rows = min(MOST_ROWS, PIECE_ENTRIES // P[:, 0].numel())
    length = max(1, rows // blocks.source.shape[1])
    return [slice(k, min(k + length, blocks.n_blocks)) for k in range(0, blocks.n_blocks, length)]


def _basis(blocks: HeldBlocks, piece: slice, P: Tensor) -> BlockBasis:
    return BlockBasis.of(blocks.times[piece].flatten(0, 1), blocks.span, P.shape[1], P.dtype)


def _rows(inputs: Tensor, index: Tensor) -> Tensor:
    """Fetch samples (batch * n_times + 1, d_model) -> (rows, BLOCK, d_model)."""
    return inputs.index_select(0, index.flatten()).view(-1, BLOCK, inputs.shape[1])


def _states(basis: BlockBasis, P: Tensor, Lambda: Tensor, U: Tensor, entering: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return moments (rows, d_model, p - 1), factors exp(Lambda tau), and states before and after all blocks.

    Factors (d_model, n_blocks, batch, n) are complex, states (d_model, n_blocks + 1, batch, 2 n) real.
    """
    d_model, batch, n_numbers = entering.shape
    m = torch.bmm(U.transpose(1, 2), basis.held)
    S = torch.bmm(m.transpose(0, 1), P[:, 1:])
    E = torch.bmm(basis.through.expand(d_model, -1, -1), P)
    if len(basis.long):
        lost = expm1(Pair.of(Lambda.flatten(0, 1)), basis.lasting[basis.long].to(Lambda.dtype), U.dtype)
        lost = lost.unflatten(1, (d_model, -1)).transpose(0, 1)
        E[:, basis.long] = torch.view_as_real(lost + 1.0).flatten(-2)
        S[:, basis.long] = torch.view_as_real(lost * U[basis.long, -1].T.unsqueeze(-1)).flatten(-2)
    X = U.new_empty(d_model, len(U) // batch + 1, batch, n_numbers)
    X[:, 0] = entering
    factors = _complex(E.view_as(X[:, 1:]))
    x, z, left = X.unbind(1), _complex(X).unbind(1), S.view_as(X[:, 1:]).unbind(1)
    for k, factor in enumerate(factors.unbind(1)):
        torch.mul(factor, z[k], out=z[k + 1])
        x[k + 1].add_(left[k])  # of real numbers: a sum of complex ones takes longer
    return m, factors, X


def _retreat(a: Tensor, E: Tensor) -> None:
    """Walk back through the states: a_k += exp(Lambda tau_k) a_{k+1}."""
    once = torch.empty_like(a[:, 0], memory_format=torch.contiguous_format)
    product, x, z = _complex(once), a.unbind(1), _complex(a).unbind(1)
    for k, factor in reversed(list(enumerate(E.unbind(1)))):
        torch.mul(factor, z[k + 1], out=product)
        x[k].add_(once)


def _heard_backward(dY: Tensor, basis: BlockBasis, batch: int) -> Tensor:
    """Gradient of what is heard of the states, (d_model, rows + batch, p + 1): of one more block than there are."""
    rows, _, d_model = dY.shape
    dheard = dY.new_empty(rows + batch, d_model, basis.since.shape[2])
    torch.bmm(dY.transpose(1, 2), basis.since, out=dheard[:rows])
    dheard[rows:] = 0.0
    dheard[batch:, :, -1] = dY[:, -1]
    dheard[:batch, :, -1] = 0.0
    return dheard.transpose(0, 1)


def _long_backward(
    basis: BlockBasis, E: Tensor, U: Tensor, dE: Tensor, dS: Tensor, dU: Tensor, dLambda: Tensor
) -> None:
    """Add the gradients through blocks of one sample that is held for longer than the span."""
    if not len(basis.long):
        return
    rows = basis.long
    e, s = E.flatten(1, 2)[:, rows], _complex(dS[:, rows])
    pulled = dE[:, rows] + s * U[rows, -1].T.unsqueeze(-1)
    lasting = basis.lasting[rows].to(U.dtype).unsqueeze(1)
    dLambda += torch.view_as_real((lasting * e * pulled).sum(1))
    dU[rows, -1] += (s * (e - 1.0)).real.sum(-1).T


def _changes(U: Tensor) -> Tensor:
    """From slot to slot; within a block, samples are heard as the steps of which they are sums."""
    return torch.cat([U[:, :1], U[:, 1:-1] - U[:, :-2]], 1)


def _by_lag(response: Tensor) -> Sequence[Tensor]:
    """(rows * pairs, d_model) -> (rows, BLOCK - 1 - lag, d_model) for each lag."""
    pairs: Sequence[Tensor] = response.unflatten(0, (-1, WITHIN * BLOCK // 2)).split(list(range(WITHIN, 0, -1)), 1)
    return pairs


def _add_within(Y: Tensor, K: Tensor, basis: BlockBasis, changes: Tensor) -> None:
    """Add what the samples of a block, (rows, BLOCK, d_model), hear of each other; the last one hears of the states."""
    for lag, response in enumerate(_by_lag(basis.between.T @ K)):
        Y[:, lag:-1].addcmul_(response, changes[:, : WITHIN - lag])


def _within_backward(dU: Tensor, dY: Tensor, K: Tensor, basis: BlockBasis, changes: Tensor) -> Tensor:
    """Add to the gradient of the samples, return that of K."""
    responses = basis.between.T @ K
    dchanges = torch.zeros_like(changes)
    for lag, response in enumerate(_by_lag(responses)):
        heard = dY[:, lag:-1]
        dchanges[:, : WITHIN - lag].addcmul_(response, heard)
        torch.mul(heard, changes[:, : WITHIN - lag], out=response)  # from here on the gradient of the response
    dU[:, :-1] += dchanges
    dU[:, : WITHIN - 1] -= dchanges[:, 1:]
    return basis.between @ responses


def _time_first(u: Tensor) -> Tensor:
    """(d_model, batch, n_times) -> (batch * n_times + 1, d_model): a sample is one row, and the last is none, zeros."""
    inputs = u.new_zeros(u[0].numel() + 1, len(u))
    inputs[:-1] = u.flatten(1).t()
    return inputs


def _time_last(y: Tensor, like: Tensor) -> Tensor:
    """(batch * n_times + 1, d_model) -> (d_model, batch, n_times)."""
    return y[:-1].t().contiguous().view(like.shape)


def _conj(x: Tensor) -> Tensor:
    """Conjugate of (re, im) side by side."""
    return torch.view_as_real(_complex(x.contiguous()).conj_physical()).view(x.shape)


def _complex(x: Tensor) -> Tensor:
    return torch.view_as_complex(x.unflatten(-1, (-1, 2)))
