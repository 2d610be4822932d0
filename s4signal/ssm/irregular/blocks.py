r"""The irregular scan block by block: the states take one step per eight samples.

Within a block, :math:`e^{\Lambda\tau}` of each mode is a polynomial in the time :math:`\tau`, to machine precision. Its
basis depends only on the times, its coefficients only on the modes (`factors`). The maps from samples to states, from
states to outputs, and from samples to outputs of the same block are therefore real matrix products:

    m = basis x samples,  S = m P,  x' = exp(Lambda tau) x + S,  y = basis x Q x + (basis K) x samples
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from s4signal.ssm.irregular.factors import BLOCK, BlockBasis, expm1, polynomial_tables
from s4signal.ssm.irregular.steps import from_rows, pieces, rows_of, stepped_scan
from s4signal.ssm.operators import as_complex, as_real, conjugate
from s4signal.ssm.systems import Pair

STRETCH = 1.6  # longest duration of a block over the median duration of BLOCK samples; at random times 10 % end early
SLOW_RADIUS = 30.0  # largest |Lambda| times half the span for modes that run in blocks; the degree grows with it
MOST_STATES = 1 << 20  # numbers in states at once: more exceed the cache, fewer are many small operations
MOST_ROWS = 2048  # blocks that are computed at once; each has its own values of the polynomials
WITHIN = BLOCK - 1  # samples of a block before its last
PACK = 4  # fast modes of a channel that are stepped together


class SampleBlocks(NamedTuple):
    """Consecutive samples of each case in blocks of BLOCK slots; the first slots of a block may be empty.

    A block ends when it is full or would last longer than ``span``; a single sample may last longer. Empty slots have
    duration zero.
    """

    span: float  # longest duration of a block of two samples or more, in the unit of the gaps
    times: Tensor  # (n_blocks, batch, BLOCK), float64: time of each slot since the end of the block before
    source: Tensor  # (n_blocks, batch, BLOCK): flat index of the sample in each slot; batch * n_times: empty
    target: Tensor  # same shape: flat index of the output that the states at the slot give; if reversed, one earlier

    def slow(self, Lambda: Tensor) -> Tensor:
        """Return which modes (d_model, n, 2) are slow enough for polynomials, (d_model, n)."""
        radius: Tensor = torch.linalg.vector_norm(Lambda.detach(), dim=-1) * (0.5 * self.span)
        return radius <= SLOW_RADIUS


def cut_blocks(gaps: Tensor, *, reverse: bool = False) -> SampleBlocks | None:
    """Cut samples with gaps (batch, n_times) into blocks; None if samples are few or far apart, or not on a CPU."""
    batch, n_times = gaps.shape
    if n_times < 2 * BLOCK or not gaps.is_cpu:
        return None
    gaps = gaps.double().flip(1) if reverse else gaps.double()
    at = pad(gaps.cumsum(1), (1, 0))
    durations = at[:, BLOCK:] - at[:, :-BLOCK]
    if not bool((durations > 0.0).any()):
        return None
    span = STRETCH * float(durations[durations > 0.0].median())
    bounds = _bounds(at, span)
    if 4 * (len(bounds) - 1) > n_times:
        return None
    begin = bounds[:-1]
    sample = bounds[1:].unsqueeze(2) - torch.arange(BLOCK, 0, -1)
    is_sample = sample >= begin.unsqueeze(2)
    sample = torch.where(is_sample, sample, begin.unsqueeze(2) - 1)
    cases, none = torch.arange(batch).unsqueeze(1), batch * n_times
    times = at.flatten()[sample + 1 + (n_times + 1) * cases] - at.gather(1, begin.T).T.unsqueeze(2)
    source = n_times * cases + (n_times - 1 - sample if reverse else sample)
    target = torch.where(sample < n_times - 1, source - 1, none) if reverse else source
    return SampleBlocks(span, times, *(torch.where(is_sample, x, none) for x in (source, target)))


def _bounds(at: Tensor, span: float) -> Tensor:
    """Return the first sample of each block, (n_blocks + 1, batch), given the times before and after all samples."""
    batch, n_times = at.shape[0], at.shape[1] - 1
    ends = pad(at[:, 1:], (0, BLOCK - 1), value=torch.inf).unfold(1, BLOCK, 1)
    fitting = (ends <= (at[:, :-1] + span).unsqueeze(2)).sum(2).clamp_min(1)
    following = pad(torch.arange(n_times) + fitting, (0, 1), value=n_times)
    bounds = [torch.zeros(batch, dtype=torch.long)]
    while int(bounds[-1].min()) < n_times:
        bounds.append(following.gather(1, bounds[-1].unsqueeze(1)).squeeze(1))
    return torch.stack(bounds)


def blocked_scan(
    u: Tensor, blocks: SampleBlocks, Lambda: Tensor, G: Tensor, first: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Run slow modes block by block; arguments and results as in `s4signal.ssm.irregular.scan_modes`."""
    y, final = _BlockedScan.apply(u, blocks, *polynomial_tables(Lambda, G, blocks.span, u.dtype), Lambda, first)
    return y, final


def mixed_scan(
    u: Tensor, gaps: Tensor, blocks: SampleBlocks, Lambda: Tensor, G: Tensor, first: Tensor | None, *, reverse: bool
) -> tuple[Tensor, Tensor]:
    """Run slow modes block by block, and fast modes, packed by channel, sample by sample."""
    slow = blocks.slow(Lambda)
    # In blocks, each fast mode is replaced by one that decays within a block and has no output.
    decaying = Lambda.new_tensor([-1.0 / blocks.span, 0.0])
    y, final = blocked_scan(u, blocks, Lambda.where(slow[..., None], decaying), G.where(slow[..., None], 0.0), first)
    channels, modes = _packs(~slow)
    Lambda, G = (_fetch(z.flatten(0, 1), modes) for z in (Lambda, G))
    packed = None if first is None else _by_channel(_fetch(_by_mode(first), modes))
    fast, fast_final = stepped_scan(u[channels], gaps, Lambda, G, packed, reverse=reverse)
    exists = (modes < slow.numel()).flatten()
    final = _by_mode(final).index_copy(0, modes.flatten()[exists], _by_mode(fast_final)[exists])
    return y.index_add(0, channels, fast), _by_channel(final.unflatten(0, slow.shape))


def _packs(fast: Tensor) -> tuple[Tensor, Tensor]:
    """Return channels (n_packs,) and flat indices of their fast modes (n_packs, PACK); d_model * n marks no mode."""
    packs = [(c, pack) for c, row in enumerate(fast) for pack in row.nonzero().squeeze(1).split(PACK)]
    modes = [pad(pack + c * fast.shape[1], (0, PACK - len(pack)), value=fast.numel()) for c, pack in packs]
    return torch.tensor([c for c, _ in packs]), torch.stack(modes)


def _by_mode(state: Tensor) -> Tensor:
    """Reshape a state (d_model, batch, 2 n) to (d_model * n, batch, 2)."""
    return state.view(*state.shape[:2], -1, 2).transpose(1, 2).flatten(0, 1)


def _by_channel(state: Tensor) -> Tensor:
    """Reshape (d_model, n, batch, 2) to a state (d_model, batch, 2 n)."""
    return state.transpose(1, 2).flatten(-2)


def _fetch(x: Tensor, modes: Tensor) -> Tensor:
    """Return the rows of modes, zeros for no mode."""
    return torch.cat([x, torch.zeros_like(x[:1])])[modes]


class _BlockedScan(torch.autograd.Function):
    """u (d_model, batch, n_times), blocks, tables, Lambda (d_model, n, 2), first -> y, final state."""

    @staticmethod
    def forward(
        ctx: Any, u: Tensor, blocks: SampleBlocks, P: Tensor, Q: Tensor, K: Tensor, Lambda: Tensor, first: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return 2 Re(G x) and the last state; states are in units of their response to a constant."""
        d_model, batch, _ = u.shape
        bounds, inputs = _pieces(blocks, P), _samples(u)
        state = u.new_zeros(d_model, batch, P.shape[2]) if first is None else first
        entering = u.new_empty(len(bounds), *state.shape)
        y = torch.zeros_like(inputs)
        for index, piece in enumerate(bounds):
            entering[index] = state
            basis, U = BlockBasis.of(blocks.times[piece], blocks.span, P), _rows(inputs, blocks.source[piece])
            _, _, X = _states(basis, P, Lambda, U, state)
            state = X[:, -1]
            outputs = torch.bmm(X.flatten(1, 2), Q.transpose(1, 2))
            # The last sample of a block sees the state after it.
            outputs[:, : len(U), -1] = outputs[:, batch:, -1].clone()
            Y = torch.bmm(basis.since, outputs[:, : len(U)].permute(1, 2, 0))
            _add_within(Y, K, basis, U)
            y.index_copy_(0, blocks.target[piece].flatten(), Y.flatten(0, 1))
        ctx.save_for_backward(inputs, P, Q, K, Lambda, entering)
        ctx.blocks, ctx.carried = blocks, first is not None
        return from_rows(y[:-1], u), state.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Recompute the states of a piece, then run the adjoint backward through it."""
        inputs, P, Q, K, Lambda, entering = ctx.saved_tensors
        # The conjugate of the adjoint is carried, so that it uses the same factors as the states.
        blocks, carried, P_conj, Q_conj = ctx.blocks, conjugate(grads[1]), conjugate(P).transpose(1, 2), conjugate(Q)
        batch, outputs = entering.shape[2], _samples(grads[0])
        dP, dQ, dK, dLambda = (torch.zeros_like(table) for table in (P, Q, K, Lambda))
        du = torch.empty_like(inputs)
        for index, piece in reversed(list(enumerate(_pieces(blocks, P)))):
            basis, U = BlockBasis.of(blocks.times[piece], blocks.span, P), _rows(inputs, blocks.source[piece])
            dY = _rows(outputs, blocks.target[piece])
            m, E, X = _states(basis, P, Lambda, U, entering[index])
            doutputs = _outputs_backward(dY, basis, batch)
            dQ += torch.bmm(doutputs.transpose(1, 2), X.flatten(1, 2))
            a = torch.bmm(doutputs, Q_conj).view_as(X)
            a[:, -1] += carried
            _retreat(a, E)
            carried = a[:, 0]
            dS, dE = a[:, 1:].flatten(1, 2), torch.mul(as_complex(X[:, :-1]), as_complex(a[:, 1:])).flatten(1, 2)
            dP[:, 1:] += torch.bmm(m.permute(1, 2, 0), dS)
            dP += torch.matmul(basis.across.T, as_real(dE))
            dm = torch.bmm(dS, P_conj[..., 1:])
            dU = torch.bmm(basis.hold, dm.permute(1, 2, 0))
            _long_backward(basis, E, U, dE, dS, dU, dLambda)
            dK += _within_backward(dU, dY, K, basis, U)
            du.index_copy_(0, blocks.source[piece].flatten(), dU.flatten(0, 1))
        # A gradient is the conjugate of a derivative.
        dfirst = conjugate(carried) if ctx.carried else None
        return from_rows(du[:-1], grads[0]), None, conjugate(dP), dQ, dK, conjugate(dLambda), dfirst


def _pieces(blocks: SampleBlocks, P: Tensor) -> list[slice]:
    (n_blocks, batch, _), rows = blocks.source.shape, min(MOST_ROWS, MOST_STATES // P[:, 0].numel())
    return pieces(n_blocks, max(1, rows // batch))


def _samples(u: Tensor) -> Tensor:
    """Reshape (d_model, batch, n_times) to one row per sample, and append a row of zeros for empty slots."""
    return pad(rows_of(u), (0, 0, 0, 1))


def _rows(inputs: Tensor, index: Tensor) -> Tensor:
    """Gather the samples of blocks, (batch * n_times + 1, d_model) -> (rows, BLOCK, d_model)."""
    return inputs.index_select(0, index.flatten()).view(-1, BLOCK, inputs.shape[1])


def _states(basis: BlockBasis, P: Tensor, Lambda: Tensor, U: Tensor, entering: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return moments (rows, d_model, p - 1), factors exp(Lambda tau), and states before and after all blocks.

    Factors (d_model, n_blocks, batch, n) are complex, states (d_model, n_blocks + 1, batch, 2 n) real.
    """
    d_model, batch, n_numbers = entering.shape
    m = torch.bmm(U.transpose(1, 2), basis.hold)
    S, E = torch.bmm(m.transpose(0, 1), P[:, 1:]), torch.bmm(basis.across.expand(d_model, -1, -1), P)
    if len(basis.long):
        factor_m1 = expm1(Pair.of(Lambda.flatten(0, 1)), basis.duration[basis.long], U.dtype)
        factor_m1 = factor_m1.unflatten(1, (d_model, -1)).transpose(0, 1)
        E[:, basis.long] = as_real(factor_m1 + 1.0)
        S[:, basis.long] = as_real(factor_m1 * U[basis.long, -1].T.unsqueeze(-1))
    X = U.new_empty(d_model, len(U) // batch + 1, batch, n_numbers)
    X[:, 0] = entering
    factors = as_complex(E.view_as(X[:, 1:]))
    x, z, added = X.unbind(1), as_complex(X).unbind(1), S.view_as(X[:, 1:]).unbind(1)
    for k, factor in enumerate(factors.unbind(1)):
        torch.mul(factor, z[k], out=z[k + 1])
        x[k + 1].add_(added[k])  # real, since a complex sum is slower
    return m, factors, X


def _retreat(a: Tensor, E: Tensor) -> None:
    """Run the adjoint recurrence in place: a_k += exp(Lambda tau_k) a_{k+1}."""
    spare = torch.empty_like(a[:, 0], memory_format=torch.contiguous_format)
    product, x, z = as_complex(spare), a.unbind(1), as_complex(a).unbind(1)
    for k, factor in reversed(list(enumerate(E.unbind(1)))):
        torch.mul(factor, z[k + 1], out=product)
        x[k].add_(spare)


def _outputs_backward(dY: Tensor, basis: BlockBasis, batch: int) -> Tensor:
    """Return the gradient of the outputs of states, (d_model, rows + batch, p + 1), for one block more."""
    rows, _, d_model = dY.shape
    doutputs = dY.new_empty(rows + batch, d_model, basis.since.shape[2])
    torch.bmm(dY.transpose(1, 2), basis.since, out=doutputs[:rows])
    doutputs[rows:] = 0.0
    doutputs[batch:, :, -1] = dY[:, -1]
    doutputs[:batch, :, -1] = 0.0
    return doutputs.transpose(0, 1)


def _long_backward(
    basis: BlockBasis, E: Tensor, U: Tensor, dE: Tensor, dS: Tensor, dU: Tensor, dLambda: Tensor
) -> None:
    """Add the gradients through blocks of a single sample that lasts longer than the span."""
    if not len(rows := basis.long):
        return
    e, s = E.flatten(1, 2)[:, rows], as_complex(dS[:, rows])
    pulled = dE[:, rows] + s * U[rows, -1].T.unsqueeze(-1)
    duration = basis.duration[rows].to(U.dtype).unsqueeze(1)
    dLambda += torch.view_as_real((duration * e * pulled).sum(1))
    dU[rows, -1] += (s * (e - 1.0)).real.sum(-1).T


def _by_lag(response: Tensor) -> Sequence[Tensor]:
    """Split (rows * pairs, d_model) into (rows, BLOCK - 1 - lag, d_model) for each lag."""
    return cast(Sequence[Tensor], response.unflatten(0, (-1, WITHIN * BLOCK // 2)).split([*range(WITHIN, 0, -1)], 1))


def _changes(U: Tensor) -> Tensor:
    """Return the differences between slots, without the last: within a block, samples are sums of step functions."""
    return torch.cat([U[:, :1], U[:, 1:-1] - U[:, :-2]], 1)


def _add_within(Y: Tensor, K: Tensor, basis: BlockBasis, U: Tensor) -> None:
    """Add the response to samples (rows, BLOCK, d_model) within their block, except at its last sample."""
    changes = _changes(U)
    for lag, response in enumerate(_by_lag(basis.between.T @ K)):
        Y[:, lag:-1].addcmul_(response, changes[:, : WITHIN - lag])


def _within_backward(dU: Tensor, dY: Tensor, K: Tensor, basis: BlockBasis, U: Tensor) -> Tensor:
    """Add to the gradient ``dU`` of the samples, and return the gradient of K."""
    changes = _changes(U)
    responses = basis.between.T @ K
    dchanges = torch.zeros_like(changes)
    for lag, response in enumerate(_by_lag(responses)):
        dy = dY[:, lag:-1]
        dchanges[:, : WITHIN - lag].addcmul_(response, dy)
        torch.mul(dy, changes[:, : WITHIN - lag], out=response)  # now the gradient of the response
    dU[:, :-1] += dchanges
    dU[:, : WITHIN - 1] -= dchanges[:, 1:]
    return basis.between @ responses
