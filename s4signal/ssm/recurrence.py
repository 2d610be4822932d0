"""The step view: one sample at a time. The oracle of the other views, and the heart of streaming."""

from __future__ import annotations

import torch
from torch import Tensor

from s4signal.ssm.pairs import Pair
from s4signal.ssm.systems import DiagonalSystem

__all__ = ["recurrent_scan", "step"]


def step(system: DiagonalSystem, u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Advance a causal system by one sample.

    Parameters
    ----------
    system : DiagonalSystem
        One system for each of d_model channels; its anti-causal part is not used.
    u : Tensor (d_model, batch)
        The sample.
    state : Tensor (d_model, batch, 2 n_pairs)
        State before the sample, (re, im) of each pair.

    Returns
    -------
    y : Tensor (d_model, batch)
        Output.
    state : Tensor (d_model, batch, 2 n_pairs)
        State after the sample.
    """
    re, im = state.unflatten(-1, (-1, 2)).unbind(-1)
    decayed = system.Lambda_bar.to(u.dtype).unsqueeze(1).times(Pair(re, im))
    B_bar, C = system.B_bar.to(u.dtype).unsqueeze(1), system.C.to(u.dtype).unsqueeze(1)
    re, im = decayed.re + B_bar.re * u.unsqueeze(-1), decayed.im + B_bar.im * u.unsqueeze(-1)
    y = 2.0 * (C.re * re - C.im * im).sum(-1) + system.D.to(u.dtype).unsqueeze(-1) * u
    return y, torch.stack([re, im], -1).flatten(-2)


def recurrent_scan(system: DiagonalSystem, u: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Run a system sample by sample; slow, for comparison.

    Parameters
    ----------
    system : DiagonalSystem
        One system for each of d_model channels.
    u : Tensor (d_model, batch, n_times)
        Input.
    state : Tensor (d_model, batch, 2 n_pairs), optional
        State before the first sample; at rest by default.

    Returns
    -------
    y : Tensor (d_model, batch, n_times)
        Output.
    state : Tensor (d_model, batch, 2 n_pairs)
        State of the causal direction after the last sample.
    """
    rest = u.new_zeros(*u.shape[:2], 2 * system.n_pairs)
    state = rest if state is None else state
    ys = []
    for u_t in u.unbind(-1):
        y_t, state = step(system, u_t, state)
        ys.append(y_t)
    y = torch.stack(ys, -1)
    if system.C_reverse is not None:
        mirrored = system._replace(C=system.C_reverse, D=torch.zeros_like(system.D), C_reverse=None)
        future, _ = recurrent_scan(mirrored, u.flip(-1))
        # The anti-causal direction sees the samples after k only: its output moves by one.
        y = y + torch.nn.functional.pad(future.flip(-1)[..., 1:], (0, 1))
    return y, state
