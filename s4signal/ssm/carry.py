"""From what each block leaves behind to the state that enters it: the recurrence over blocks."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from s4signal.ssm.operators import as_complex, as_real
from s4signal.ssm.tables import powers

GROUP = 16  # blocks that are walked through at once, in groups side by side; a power of two
ENOUGH = 1 << 14  # numbers in the states of one block, from which an operation costs more than its call


def carry(S: Tensor, transition: Tensor, first: Tensor | None = None, *, reverse: bool = False) -> Tensor:
    """Replace, in place, what each block leaves behind by the state that enters it: X_{m+1} = X_m a + S_m.

    Shapes: S (d_model, batch, n_blocks, d_state), transition (d_model, d_state), first (d_model, batch, d_state) →
    (d_model, batch, d_state).
    """
    # The blocks are walked through one after the other where each holds enough work for one operation. Otherwise, and
    # on every accelerator, groups of blocks are walked through side by side and then joined, level upon level: the
    # number of operations grows with the logarithm of the number of blocks.
    blocks = _Diagonal(as_complex(transition)) if transition.ndim == 2 else _Dense(transition)
    return _walk(S, blocks, first, reverse=reverse)


class _Diagonal:
    """What takes states (d_model, batch, ..., 2 n) from one block to the next: a factor a (d_model, n), complex."""

    def __init__(self, a: Tensor) -> None:
        self.a = a

    def step(self, state: Tensor, out: Tensor) -> Callable[[Tensor], None]:
        """Prepare the step that adds what a block leaves behind to the state carried through it."""
        a = self.a.view(self.a.shape[0], *[1] * (state.ndim - 2), -1)
        x, ax = as_complex(state), as_complex(out)

        def advance(left: Tensor) -> None:
            torch.mul(x, a, out=ax)
            out.add_(left)  # not addcmul: of complex numbers it multiplies twice, and is not vectorised over strides

        return advance

    def over_group(self) -> _Diagonal:
        return _Diagonal(powers(self.a, GROUP)[:, -1])

    def spread(self, entering: Tensor) -> Tensor:
        """Carry (d_model, batch, n_groups, d_state) on through groups of blocks, a new axis before the last."""
        return as_real(as_complex(entering).unsqueeze(3) * powers(self.a, GROUP - 1)[:, None, None])


class _Dense:
    """The same for dense systems: multiplication from the right with A (d_model, N, N)."""

    def __init__(self, A: Tensor) -> None:
        self.A = A

    def step(self, state: Tensor, out: Tensor) -> Callable[[Tensor], None]:
        x, ax = state.flatten(1, -2), out.flatten(1, -2)

        def advance(left: Tensor) -> None:
            torch.baddbmm(left.flatten(1, -2), x, self.A, out=ax)

        return advance

    def over_group(self) -> _Dense:
        return _Dense(torch.linalg.matrix_power(self.A, GROUP))

    def spread(self, entering: Tensor) -> Tensor:
        powers = [torch.eye(self.A.shape[-1], dtype=self.A.dtype, device=self.A.device).expand_as(self.A)]
        while len(powers) < GROUP:
            powers.append(powers[-1] @ self.A)
        rows = torch.bmm(entering.flatten(1, 2), torch.cat(powers, -1))
        return rows.view(*entering.shape[:3], GROUP, -1)


def _walk(S: Tensor, blocks: _Diagonal | _Dense, first: Tensor | None, *, reverse: bool) -> Tensor:
    d_model, batch, n_blocks, n = S.shape
    if n_blocks < 2 * GROUP or (S.is_cpu and d_model * batch * n >= ENOUGH):
        return _one_by_one(S, blocks, first, reverse=reverse)
    whole = n_blocks - n_blocks % GROUP
    rest, state = S[:, :, whole:], first
    if reverse and whole < n_blocks:
        state = _one_by_one(rest, blocks, state, reverse=True)
    groups = S[:, :, :whole].unflatten(2, (-1, GROUP))
    entering = _one_by_one(groups, blocks, None, reverse=reverse)
    state = _walk(entering, blocks.over_group(), state, reverse=reverse)
    spread = blocks.spread(entering)
    groups += spread.flip(3) if reverse else spread
    return state if reverse or whole == n_blocks else _one_by_one(rest, blocks, state, reverse=False)


def _one_by_one(S: Tensor, blocks: _Diagonal | _Dense, first: Tensor | None, *, reverse: bool) -> Tensor:
    """Walk along the last axis but one."""
    # In place: the states are as large as the signal where T = d_state, and a second array of them would be written
    # only to be read once.
    state = torch.zeros_like(S.select(-2, 0), memory_format=torch.contiguous_format)
    if first is not None:
        state.copy_(first)
    following = torch.empty_like(state)
    advance, advance_next = blocks.step(state, following), blocks.step(following, state)
    lefts = S.unbind(-2)  # a view made in the loop costs as much as a third of the step
    for left in reversed(lefts) if reverse else lefts:
        advance(left)
        left.copy_(state)
        state, following, advance, advance_next = following, state, advance_next, advance
    return state
