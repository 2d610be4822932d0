r"""The irregular view: every sample has its own gap, and the system is the exact zero-order hold of each.

A recording at times :math:`t_k` is read as a signal that is held: :math:`u(t) = u_k` for
:math:`t_{k-1} < t \le t_k`, with gaps :math:`g_k = t_k - t_{k-1}`. Both directions integrate this one signal,

.. math:: x_k = e^{\Lambda g_k} x_{k-1} + \Lambda^{-1} (e^{\Lambda g_k} - 1) B u_k, \qquad
          z_{k-1} = e^{\Lambda g_k} z_k + \Lambda^{-1} (e^{\Lambda g_k} - 1) B u_k

with :math:`z = 0` after the last sample, and :math:`y_k = 2 \Re(C x_k + C' z_k) + D u_k`. So the future direction at k
sees the samples after k over the gaps after k, the first gap matters to the past alone, and there is no gap after the
last sample. On a regular grid this is the recurrence; a held sample may be split into several without a change; a gap
of zero is a sample that is not there.

Times on a grid with holes are split into those of the grid, for the block engine. Other times are a scan: in blocks of
eight samples where most modes are slow enough, sample by sample otherwise; on a GPU with triton it is one kernel launch
each way.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from s4signal.ssm.blocks import block_scan
from s4signal.ssm.discretization import zero_order_hold
from s4signal.ssm.held_grid import HeldGrid, held_grid
from s4signal.ssm.scan_blocks import blocked_scan
from s4signal.ssm.scan_steps import SharedScan
from s4signal.ssm.shared import modal_scan
from s4signal.ssm.systems import DiagonalSystem, Pair

__all__ = ["Modes", "irregular_scan", "shared_scan"]


class Modes(NamedTuple):
    """Modes in continuous time, a conjugate pair each, one set for each of d_model channels.

    Shapes: Lambda_dt (d_model, n_pairs), B (d_model, n_pairs), C (d_model, n_pairs), D (d_model,), C_reverse (d_model,
    n_pairs).
    """

    Lambda_dt: Pair
    B: Pair
    C: Pair
    D: Tensor
    C_reverse: Pair | None = None


def irregular_scan(
    modes: Modes, u: Tensor, gaps: Tensor, state: Tensor | None = None, *, return_state: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Run modes over signals whose samples are not equally far apart.

    Shapes: u (d_model, batch, n_times), gaps (batch, n_times), state (d_model, batch, 2 n_pairs) → (d_model, batch,
    n_times), (d_model, batch, 2 n_pairs).
    """
    grid = _grid_of(gaps)
    if grid is not None and (grid.even or not return_state):
        system = _discrete(modes, grid.unit)
        y, final = block_scan(system, grid.spread(u), state, return_state=return_state)
        return torch.addcmul(grid.gather(y), modes.D.to(u.dtype)[:, None, None], u), final
    # In units of their response to a constant the states follow x + expm1(Lambda g) (x + u): one factor for both.
    hold = modes.B.times(modes.Lambda_dt.reciprocal())
    Lambda, G = modes.Lambda_dt.stacked(), modes.C.times(hold).stacked()
    first = None if state is None else hold.reciprocal().times_state(state)
    y, final = blocked_scan(u, gaps, Lambda, G, first)
    y = torch.addcmul(y, modes.D.to(u.dtype)[:, None, None], u)
    if modes.C_reverse is not None:
        G_reverse = modes.C_reverse.times(hold).stacked()
        y = y + blocked_scan(u, gaps, Lambda, G_reverse, reverse=True)[0]
    return y, hold.times_state(final) if return_state else None


def shared_scan(Lambda_dt: Pair, v: Pair, gaps: Tensor, state: Pair | None = None, *, reverse: bool = False) -> Pair:
    """Run one set of modes that all channels share, and return its states at all times.

    Shapes: Lambda_dt (n_pairs,), v (n_pairs, batch, n_times), gaps (batch, n_times), state (n_pairs, batch) → (n_pairs,
    batch, n_times).
    """
    grid = _grid_of(gaps)
    if grid is not None:
        return _shared_on_grid(Lambda_dt, v, grid, state, reverse=reverse)
    inverse = Lambda_dt.reciprocal().to(v.re.dtype)
    held = v.times(Pair(inverse.re[:, None, None], inverse.im[:, None, None]))
    V = held.stacked().permute(2, 1, 0, 3)
    first = V.new_zeros(V.shape[1:]) if state is None else state.stacked().transpose(0, 1).to(V.dtype)
    if not reverse:
        states = SharedScan.apply(V, gaps, Lambda_dt.stacked(), first)
    else:
        states = SharedScan.apply(V.flip(0), gaps.flip(-1), Lambda_dt.stacked(), first)
        states = torch.cat([first.unsqueeze(0), states[:-1]]).flip(0)
    return Pair.of(states.permute(2, 1, 0, 3))


def _grid_of(gaps: Tensor) -> HeldGrid | None:
    """Find a grid on the CPU; an accelerator would have to wait for the answer."""
    return held_grid(gaps) if gaps.is_cpu else None


def _discrete(modes: Modes, unit: float) -> DiagonalSystem:
    """Hold the input over a unit of time; without feed-through, which the samples have and the holes don't."""
    Lambda_bar, gain = zero_order_hold(modes.Lambda_dt, unit)
    return DiagonalSystem(Lambda_bar, gain.times(modes.B), modes.C, torch.zeros_like(modes.D), modes.C_reverse)


def _shared_on_grid(Lambda_dt: Pair, v: Pair, grid: HeldGrid, state: Pair | None, *, reverse: bool) -> Pair:
    (Lambda_bar, gain), dtype = zero_order_hold(Lambda_dt, grid.unit), v.re.dtype
    gain = gain.to(dtype)
    driven = torch.stack(list(v.times(Pair(gain.re[:, None, None], gain.im[:, None, None]))))
    first = torch.zeros_like(driven[..., 0]) if state is None else torch.stack(list(state)).to(dtype)
    # The given state is one more input: before the first sample, or after the last one of each case.
    V = grid.spread_then(driven, first) if reverse else torch.cat([first.unsqueeze(-1), grid.spread(driven)], -1)
    X = modal_scan(Lambda_bar.stacked(), V, reverse=reverse)
    re, im = grid.gather_after(X).unbind(0)
    return Pair(re, im)
