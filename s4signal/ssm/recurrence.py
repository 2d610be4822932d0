"""The step view: one sample at a time. It is the reference for the other views, and the basis of streaming."""

from typing import cast

import torch
from torch import Tensor

from s4signal.ssm.convolution import look_ahead
from s4signal.ssm.systems import DenseSystem, DiagonalSystem, Pair, SharedSystem, System, check_signal, mirrored


def step(system: System, u: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
    """Advance a causal system by one sample; None is the zero state.

    Shapes: u (d_model, batch), state (n_systems, batch, d_state) → (d_model, batch), (n_systems, batch, d_state).
    """
    if state is None:
        n_systems, d_state = system.state_size
        state = u.new_zeros(n_systems, u.shape[1], d_state)
    if isinstance(system, DenseSystem):
        A_bar, B_bar, C = (part.to(u.dtype) for part in system[:3])
        state = torch.baddbmm(u.unsqueeze(-1) * B_bar.unsqueeze(1), state, A_bar.mT)
        y = (state * C.unsqueeze(1)).sum(-1)
    else:
        y, state = _step_modes(system, u, state)
    return y + system.D.to(u.dtype).unsqueeze(-1) * u, state


def _step_modes(system: DiagonalSystem | SharedSystem, u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    Lambda_bar, B_bar, C = (z.to(u.dtype) for z in system[:3])
    before = Pair.of(state.unflatten(-1, (-1, 2)))
    if isinstance(system, SharedSystem):
        kept = Lambda_bar.times(before)
        x = Pair(kept.re + u.t() @ B_bar.re.t(), kept.im + u.t() @ B_bar.im.t())
        y = 2.0 * (C.re @ x.re[0].t() - C.im @ x.im[0].t())
    else:
        kept, added = Lambda_bar.unsqueeze(1).times(before), B_bar.unsqueeze(1).scaled(u.unsqueeze(-1))
        x, C = Pair(kept.re + added.re, kept.im + added.im), C.unsqueeze(1)
        y = 2.0 * (C.re * x.re - C.im * x.im).sum(-1)
    return y, x.stacked().flatten(-2)


def recurrent_scan(system: System, u: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Run a system sample by sample. This is slow, and meant for comparison.

    Parameters
    ----------
    system, u, state : as in `block_scan`
        The system, its input and its first state.

    Returns
    -------
    y : Tensor (d_model, batch, n_times)
        Output.
    state : Tensor (n_systems, batch, d_state)
        State of the causal direction after the last sample.

    Raises
    ------
    ShapeError, ValueError
        As in `block_scan`.

    Examples
    --------
    >>> one = torch.ones(1, 1)
    >>> system = DenseSystem(0.5 * one.unsqueeze(-1), one, one, torch.zeros(1))
    >>> recurrent_scan(system, torch.ones(1, 1, 3))[0].tolist()
    [[[1.0, 1.5, 1.75]]]
    """
    check_signal(system, u, state)
    ys = []
    for u_t in u.unbind(-1):
        y_t, state = step(system, u_t, state)
        ys.append(y_t)
    y = torch.stack(ys, -1)
    if (reverse := mirrored(system)) is not None:
        future, _ = recurrent_scan(reverse, u.flip(-1))
        # The anti-causal direction sees only the samples after k: its output is shifted by one.
        y = y + torch.nn.functional.pad(future.flip(-1)[..., 1:], (0, 1))
    if system.ahead is not None:
        y = y + look_ahead(system.ahead, u)
    return y, cast(Tensor, state)
