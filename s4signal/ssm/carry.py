"""The recurrence over blocks: compute the state that enters each block from the state that each block adds."""

from collections.abc import Callable

import torch
from torch import Tensor

from s4signal.ssm.operators import as_complex, as_real, runs_triton
from s4signal.ssm.tables import powers

GROUP = 16  # blocks per group; groups are processed in parallel; a power of two
ENOUGH = 1 << 14  # numbers in the states of one block, above which an operation costs more than its call overhead


def carry(S: Tensor, transition: Tensor, first: Tensor | None = None, *, reverse: bool = False) -> Tensor:
    """Replace the state that each block adds by the state that enters it, in place: X_{m+1} = X_m a + S_m.

    Shapes: S (d_model, batch, n_blocks, d_state), transition (d_model, d_state) of complex factors or (d_model,
    d_state, d_state), first (d_model, batch, d_state) → state after the last block, (d_model, batch, d_state).
    """
    if transition.ndim == 2 and runs_triton(S):
        from s4signal.ssm.fused_carry import fused_carry

        with torch.cuda.device(S.device):  # triton launches on the current GPU
            return fused_carry(S, transition, first, reverse=reverse)
    # Blocks are processed one after the other if each has enough work for one operation. Otherwise, and on every
    # accelerator, groups of blocks are processed in parallel and then joined, level by level: the number of operations
    # grows with the logarithm of the number of blocks.
    d_model, batch, n_blocks, n = S.shape
    if n_blocks < 2 * GROUP or (S.is_cpu and d_model * batch * n >= ENOUGH):
        return _one_by_one(S, transition, first, reverse=reverse)
    whole = n_blocks - n_blocks % GROUP
    rest, state = S[:, :, whole:], first
    if reverse and whole < n_blocks:
        state = _one_by_one(rest, transition, state, reverse=True)
    groups = S[:, :, :whole].unflatten(2, (-1, GROUP))
    entering = _one_by_one(groups, transition, None, reverse=reverse)
    over_group, spread = _through_group(transition, reverse=reverse)
    state = carry(entering, over_group, state, reverse=reverse)
    groups += spread(entering)
    return state if reverse or whole == n_blocks else _one_by_one(rest, transition, state, reverse=False)


def _through_group(transition: Tensor, *, reverse: bool) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Return the transition over a group, and a function from the states entering groups to their share per block."""
    if transition.ndim == 2:
        V = powers(as_complex(transition), GROUP)
        within = V[:, None, None, :-1].flip(3) if reverse else V[:, None, None, :-1]
        return as_real(V[:, -1]), lambda x: as_real(as_complex(x).unsqueeze(3) * within)
    steps = [torch.eye(transition.shape[-1], dtype=transition.dtype, device=transition.device).expand_as(transition)]
    for _ in range(GROUP):
        steps.append(steps[-1] @ transition)
    columns = torch.cat(steps[-2::-1] if reverse else steps[:-1], -1)
    return steps[-1], lambda x: torch.bmm(x.flatten(1, 2), columns).view(*x.shape[:3], GROUP, -1)


def _one_by_one(S: Tensor, transition: Tensor, first: Tensor | None, *, reverse: bool) -> Tensor:
    """Run the recurrence along the second-to-last axis, in place; return the last state."""
    # In place: the states are as large as the signal if T = d_state, and a second array would be written only to be
    # read once.
    state = torch.zeros_like(S.select(-2, 0), memory_format=torch.contiguous_format)
    if first is not None:
        state.copy_(first)
    following = torch.empty_like(state)
    advance, advance_next = _step(state, following, transition), _step(following, state, transition)
    blocks = S.unbind(-2)  # creating a view in the loop costs a third of the step
    for block in reversed(blocks) if reverse else blocks:
        advance(block)
        block.copy_(state)
        state, following, advance, advance_next = following, state, advance_next, advance
    return state


def _step(state: Tensor, out: Tensor, transition: Tensor) -> Callable[[Tensor], Tensor]:
    """Return a function for one step: multiply the state by the transition and add the state that a block adds."""
    if transition.ndim == 3:
        rows, out_rows = state.flatten(1, -2), out.flatten(1, -2)
        return lambda added: torch.baddbmm(added.flatten(1, -2), rows, transition, out=out_rows)
    a = as_complex(transition)
    a, x, ax = a.view(len(a), *[1] * (state.ndim - 2), -1), as_complex(state), as_complex(out)

    def advance(added: Tensor) -> Tensor:
        torch.mul(x, a, out=ax)
        return out.add_(added)  # not addcmul: complex, it multiplies twice and is not vectorised over strides

    return advance
