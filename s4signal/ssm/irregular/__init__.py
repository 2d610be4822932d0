r"""Scans over samples at irregular times: each sample has its own gap, discretised exactly by the zero-order hold.

**Direction of the hold.** A sample stands for the interval *before* it: a recording at times :math:`t_k` is the signal
:math:`u(t) = u_k` for :math:`t_{k-1} < t \le t_k`, with gaps :math:`g_k = t_k - t_{k-1}`. Both directions integrate
this same signal,

.. math:: x_k = e^{\Lambda g_k} x_{k-1} + \Lambda^{-1} (e^{\Lambda g_k} - 1) B u_k, \qquad
          z_{k-1} = e^{\Lambda g_k} z_k + \Lambda^{-1} (e^{\Lambda g_k} - 1) B u_k

with :math:`z = 0` after the last sample, and :math:`y_k = 2 \Re(C x_k + C' z_k) + D u_k`. The anti-causal direction at
k sees the samples after k over the gaps after k. The first gap affects the causal direction only, and there is no gap
after the last sample. On a regular grid this is the usual recurrence. A sample may be split into several with the same
value without changing the result. A gap of zero marks a sample that does not exist (padding, with u = 0).

**Which algorithm runs when.** All give the same numbers; each is the fastest for some sample times.

1. `grid`: on a CPU, if the times lie on a regular grid with holes (gaps are multiples of one period, to a millionth
   of it) of at most eight points per sample. Each sample is repeated over the holes before it, and the block engine
   for regular signals runs. Not used if a final state is requested and cases end at different points.
2. `blocks`: on a CPU, if most samples are close together and at least 80 % of the modes are slow relative to eight
   samples. The states take one step per eight samples, by matrix products with polynomials of time. Faster modes are
   stepped sample by sample. Training at random times takes half the time of `steps`.
3. `steps`: otherwise. All modes of all cases take one step per sample. The factor of a mode for a gap (`factors`) is
   looked up if gaps repeat, otherwise interpolated or computed. Systems that all channels share use 1 or 3.
4. `triton`: in place of 3 for float32 on a GPU with triton; one kernel launch for each of forward and backward. 1 and 2
   inspect the times, which would force a synchronisation with a GPU, so they are for CPUs only.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from s4signal.ssm.blocks import block_scan
from s4signal.ssm.discretization import zero_order_hold
from s4signal.ssm.irregular.blocks import blocked_scan, cut_blocks, mixed_scan
from s4signal.ssm.irregular.grid import RegularGrid, find_grid
from s4signal.ssm.irregular.steps import SharedScan, stepped_scan
from s4signal.ssm.shared import modal_scan
from s4signal.ssm.systems import DiagonalSystem, Pair, times_state

__all__ = ["Modes", "irregular_scan", "scan_modes", "shared_scan"]

FEWEST_SLOW = 0.8  # fraction of slow modes, below which it is faster to run all modes sample by sample


class Modes(NamedTuple):
    """Modes in continuous time, one per conjugate pair, one set per channel; pairs are (d_model, n_pairs)."""

    Lambda_dt: Pair  # poles, in the inverse unit of the gaps
    B: Pair  # input vector, in the inverse unit of the gaps
    C: Pair
    D: Tensor  # (d_model,)
    C_reverse: Pair | None = None  # output vector of the anti-causal direction; None: causal


def irregular_scan(
    modes: Modes, u: Tensor, gaps: Tensor, state: Tensor | None = None, *, return_state: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Run modes over signals with irregular sample times.

    Shapes: u (d_model, batch, n_times), gaps (batch, n_times), state (d_model, batch, 2 n_pairs) → (d_model, batch,
    n_times), (d_model, batch, 2 n_pairs).
    """
    grid = find_grid(gaps)
    if grid is not None and (grid.even or not return_state):
        # Feed-through is added afterwards: it applies to the samples only, not to the holes.
        Lambda_bar, gain = zero_order_hold(modes.Lambda_dt, grid.period)
        system = DiagonalSystem(Lambda_bar, gain.times(modes.B), modes.C, torch.zeros_like(modes.D), modes.C_reverse)
        y, final = block_scan(system, grid.repeat(u), state, return_state=return_state)
        return torch.addcmul(grid.pick(y), modes.D.to(u.dtype)[:, None, None], u), final
    # In units of their response to a constant, the states become x + expm1(Lambda g) (x + u), with a single factor.
    hold = modes.B.times(modes.Lambda_dt.reciprocal())
    Lambda, G = modes.Lambda_dt.stacked(), modes.C.times(hold).stacked()
    first = None if state is None else times_state(hold.reciprocal(), state)
    y, final = scan_modes(u, gaps, Lambda, G, first)
    y = torch.addcmul(y, modes.D.to(u.dtype)[:, None, None], u)
    if modes.C_reverse is not None:
        y = y + scan_modes(u, gaps, Lambda, modes.C_reverse.times(hold).stacked(), reverse=True)[0]
    return y, times_state(hold, final) if return_state else None


def scan_modes(
    u: Tensor, gaps: Tensor, Lambda: Tensor, G: Tensor, first: Tensor | None = None, *, reverse: bool = False
) -> tuple[Tensor, Tensor]:
    """Return 2 Re(G x) and the last x of x_k = x_{k-1} + expm1(Lambda g_k) (x_{k-1} + u_k), in blocks or by steps.

    Shapes: u (d_model, batch, n_times), gaps (batch, n_times), Lambda, G (d_model, n, 2), first (d_model, batch, 2 n) →
    (d_model, batch, n_times), (d_model, batch, 2 n).
    """
    blocks = cut_blocks(gaps, reverse=reverse)
    slow = 0.0 if blocks is None else float(blocks.slow(Lambda).double().mean())
    if blocks is None or slow < FEWEST_SLOW:
        return stepped_scan(u, gaps, Lambda, G, first, reverse=reverse)
    if slow == 1.0:
        return blocked_scan(u, blocks, Lambda, G, first)
    return mixed_scan(u, gaps, blocks, Lambda, G, first, reverse=reverse)


def shared_scan(Lambda_dt: Pair, v: Pair, gaps: Tensor, state: Pair | None = None, *, reverse: bool = False) -> Pair:
    """Return the states at all times of one set of modes that all channels share.

    Shapes: Lambda_dt (n_pairs,), v (n_pairs, batch, n_times), gaps (batch, n_times), state (n_pairs, batch) → (n_pairs,
    batch, n_times).
    """
    grid = find_grid(gaps)
    if grid is not None:
        return _shared_on_grid(Lambda_dt, v, grid, state, reverse=reverse)
    inverse = Lambda_dt.reciprocal().to(v.re.dtype)
    V = v.times(inverse.unsqueeze(-1).unsqueeze(-1)).stacked().permute(2, 1, 0, 3)
    first = V.new_zeros(V.shape[1:]) if state is None else state.stacked().transpose(0, 1).to(V.dtype)
    if reverse:
        V, gaps = V.flip(0), gaps.flip(-1)
    states = SharedScan.apply(V, gaps, Lambda_dt.stacked(), first)
    if reverse:
        states = torch.cat([first.unsqueeze(0), states[:-1]]).flip(0)
    return Pair.of(states.permute(2, 1, 0, 3))


def _shared_on_grid(Lambda_dt: Pair, v: Pair, grid: RegularGrid, state: Pair | None, *, reverse: bool) -> Pair:
    Lambda_bar, gain = zero_order_hold(Lambda_dt, grid.period)
    driven = torch.stack(v.times(gain.to(v.re.dtype).unsqueeze(-1).unsqueeze(-1)))
    first = torch.zeros_like(driven[..., 0]) if state is None else torch.stack(state).to(driven.dtype)
    # The given state is an additional input: before the first sample, or after the last sample of each case.
    V = grid.repeat_then(driven, first) if reverse else torch.cat([first.unsqueeze(-1), grid.repeat(driven)], -1)
    X = modal_scan(Lambda_bar.stacked(), V, reverse=reverse)
    return Pair(*grid.pick_after(X))
