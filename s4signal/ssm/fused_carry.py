"""The recurrence over blocks in one kernel launch, for float32 on a GPU; imported only if triton is installed."""

import triton
import triton.language as tl
from torch import Tensor

BLOCKS = 64  # blocks that a program processes at once


@triton.jit
def _join(a_re, a_im, x_re, x_im, b_re, b_im, y_re, y_im):  # type: ignore[no-untyped-def]
    """Combine two consecutive ranges of blocks: multiply the factors, and the first state by the second factor."""
    re, im = b_re * x_re - b_im * x_im + y_re, b_re * x_im + b_im * x_re + y_im
    return a_re * b_re - a_im * b_im, a_re * b_im + a_im * b_re, re, im


@triton.jit
def _kernel(  # type: ignore[no-untyped-def]
    S, transition, state, n_blocks, n, by_channel, by_case, by_block,
    N: tl.constexpr, BLOCKS: tl.constexpr, REVERSE: tl.constexpr,
):  # fmt: skip
    """Run the recurrence; one program handles the modes of one channel and one case."""
    h, b, j, i = tl.program_id(0), tl.program_id(1), tl.arange(0, N), tl.arange(0, BLOCKS)
    mode, S = j < n, S + h.to(tl.int64) * by_channel + b.to(tl.int64) * by_case
    a_re = tl.load(transition + 2 * (h * n + j), mask=mode, other=0.0)
    a_im = tl.load(transition + 2 * (h * n + j) + 1, mask=mode, other=0.0)
    state += 2 * ((h.to(tl.int64) * tl.num_programs(1) + b) * n + j)
    re, im = tl.load(state, mask=mode, other=0.0), tl.load(state + 1, mask=mode, other=0.0)
    factors_re, factors_im = tl.broadcast_to(a_re[None, :], (BLOCKS, N)), tl.broadcast_to(a_im[None, :], (BLOCKS, N))
    for start in range(0, n_blocks, BLOCKS):
        m = start + i
        place = (n_blocks - 1 - m if REVERSE else m)[:, None] * by_block + 2 * j[None, :]
        both = (m < n_blocks)[:, None] & mode[None, :]
        added_re, added_im = tl.load(S + place, mask=both, other=0.0), tl.load(S + place + 1, mask=both, other=0.0)
        # The state so far is added to the first block of the range, multiplied by the transition.
        first = (i == 0)[:, None]
        x_re = added_re + tl.where(first, (a_re * re - a_im * im)[None, :], 0.0)
        x_im = added_im + tl.where(first, (a_re * im + a_im * re)[None, :], 0.0)
        _, _, x_re, x_im = tl.associative_scan((factors_re, factors_im, x_re, x_im), 0, _join)
        tl.debug_barrier()
        here = S + (n_blocks - 1 - start if REVERSE else start) * by_block + 2 * j
        tl.store(here, re, mask=mode)
        tl.store(here + 1, im, mask=mode)
        following = place - by_block if REVERSE else place + by_block
        inner = both & (i < BLOCKS - 1)[:, None] & (m < n_blocks - 1)[:, None]
        tl.store(S + following, x_re, mask=inner)
        tl.store(S + following + 1, x_im, mask=inner)
        last = (i == tl.minimum(BLOCKS, n_blocks - start) - 1)[:, None]
        re, im = tl.sum(tl.where(last, x_re, 0.0), 0), tl.sum(tl.where(last, x_im, 0.0), 0)
    tl.store(state, re, mask=mode)
    tl.store(state + 1, im, mask=mode)


def fused_carry(S: Tensor, transition: Tensor, first: Tensor | None, *, reverse: bool) -> Tensor:
    """Compute `s4signal.ssm.carry.carry` for complex factors."""
    d_model, batch, n_blocks, d_state = S.shape
    state = S.new_zeros(d_model, batch, d_state) if first is None else first.contiguous().clone()
    n = d_state // 2
    _kernel[d_model, batch](
        S, transition.contiguous(), state, n_blocks, n, *S.stride()[:3],
        N=triton.next_power_of_2(n), BLOCKS=min(BLOCKS, triton.next_power_of_2(n_blocks)), REVERSE=reverse,
    )  # fmt: skip
    return state
