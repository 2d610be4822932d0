"""The step view: one sample at a time. The oracle of the other views, and the heart of streaming."""

from __future__ import annotations

import torch
from torch import Tensor

from s4signal.ssm.systems import DenseSystem, DiagonalSystem, Pair, SharedSystem, System, mirrored

__all__ = ["recurrent_scan", "step"]


def step(system: System, u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Advance a causal system by one sample.

    Shapes: u (d_model, batch), state (n_systems, batch, d_state) → (d_model, batch), (n_systems, batch, d_state).
    """
    if isinstance(system, DenseSystem):
        y, state = _dense_step(system, u, state)
    elif isinstance(system, DiagonalSystem):
        y, state = _diagonal_step(system, u, state)
    else:
        y, state = _shared_step(system, u, state)
    return y + system.D.to(u.dtype).unsqueeze(-1) * u, state


def _dense_step(system: DenseSystem, u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    driven = u.unsqueeze(-1) * system.B_bar.to(u.dtype).unsqueeze(1)
    state = torch.baddbmm(driven, state, system.A_bar.to(u.dtype).transpose(1, 2))
    return (state * system.C.to(u.dtype).unsqueeze(1)).sum(-1), state


def _diagonal_step(system: DiagonalSystem, u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    decayed = system.Lambda_bar.to(u.dtype).unsqueeze(1).times(Pair.of(state.unflatten(-1, (-1, 2))))
    B_bar, C = system.B_bar.to(u.dtype).unsqueeze(1), system.C.to(u.dtype).unsqueeze(1)
    x = Pair(decayed.re + B_bar.re * u.unsqueeze(-1), decayed.im + B_bar.im * u.unsqueeze(-1))
    return 2.0 * (C.re * x.re - C.im * x.im).sum(-1), x.stacked().flatten(-2)


def _shared_step(system: SharedSystem, u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    decayed = system.Lambda_bar.to(u.dtype).times(Pair.of(state[0].unflatten(-1, (-1, 2))))
    B_bar, C = system.B_bar.to(u.dtype), system.C.to(u.dtype)
    x = Pair(decayed.re + u.t() @ B_bar.re.t(), decayed.im + u.t() @ B_bar.im.t())
    return 2.0 * (C.re @ x.re.t() - C.im @ x.im.t()), x.stacked().flatten(-2).unsqueeze(0)


def recurrent_scan(system: System, u: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Run a system sample by sample; slow, for comparison.

    Parameters
    ----------
    system : DiagonalSystem, DenseSystem or SharedSystem
        The system.
    u : Tensor (d_model, batch, n_times)
        Input.
    state : Tensor (n_systems, batch, d_state), optional
        State before the first sample, of the sizes in ``system.state_size``; at rest by default.

    Returns
    -------
    y : Tensor (d_model, batch, n_times)
        Output.
    state : Tensor (n_systems, batch, d_state)
        State of the causal direction after the last sample.

    Examples
    --------
    >>> one = torch.ones(1, 1)
    >>> system = DenseSystem(0.5 * one.unsqueeze(-1), one, one, torch.zeros(1))
    >>> recurrent_scan(system, torch.ones(1, 1, 3))[0].tolist()
    [[[1.0, 1.5, 1.75]]]
    """
    n_systems, d_state = system.state_size
    state = u.new_zeros(n_systems, u.shape[1], d_state) if state is None else state
    ys = []
    for u_t in u.unbind(-1):
        y_t, state = step(system, u_t, state)
        ys.append(y_t)
    y = torch.stack(ys, -1)
    reverse = mirrored(system)
    if reverse is not None:
        future, _ = recurrent_scan(reverse, u.flip(-1))
        # The anti-causal direction sees the samples after k only: its output moves by one.
        y = y + torch.nn.functional.pad(future.flip(-1)[..., 1:], (0, 1))
    return y, state
