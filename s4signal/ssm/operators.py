"""Functions with a gradient of their own, as operators of torch.

Inside, results are written in place and numbers may be complex; autograd, autocast and the compiler see real tensors
go in and come out. A compiler, which has no data, learns the shapes and strides of the results from a fake: the
function itself, or a shortcut where that would take long.
"""

from collections.abc import Callable
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor


def operator(
    name: str,
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    *,
    keep: Callable[..., tuple[Tensor | None, ...]],
    n_gradients: int = 1,
    options: slice = slice(0, 0),
    fake: Callable[..., Any] | None = None,
    fake_backward: Callable[..., Any] | None = None,
) -> Any:
    """Register ``forward`` as s4signal::name, with ``backward`` for its gradient.

    ``backward`` gets the gradients of the first ``n_gradients`` outputs (None where there is none), the tensors that
    ``keep`` picks from inputs and outputs, and the inputs at ``options``, which are no tensors. It returns the
    gradients of the first inputs.
    """
    run = torch.library.custom_op(f"s4signal::{name}", forward, mutates_args=())
    pull = torch.library.custom_op(f"s4signal::{name}_backward", backward, mutates_args=())
    run.register_fake(fake or forward)
    pull.register_fake(fake_backward or backward)

    def setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(*keep(inputs, output if isinstance(output, tuple) else (output,)))
        ctx.options, ctx.tensors = inputs[options], [isinstance(x, Tensor) for x in inputs]
        ctx.set_materialize_grads(False)

    def gradients(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        if not any(isinstance(g, Tensor) for g in grads[:n_gradients]):
            return (None,) * len(ctx.tensors)
        pulled = pull(*grads[:n_gradients], *ctx.saved_tensors, *ctx.options)
        return tuple(g if is_tensor else None for g, is_tensor in zip_longest(pulled, ctx.tensors))

    run.register_autograd(gradients, setup_context=setup)

    def call(*arguments: Any) -> Any:
        # An operator imports the compiler at its first call, in as long as torch itself takes.
        plain = not (torch.is_grad_enabled() or torch.compiler.is_compiling())
        return (forward if plain else run)(*arguments)

    return call


def as_complex(x: Tensor) -> Tensor:
    """View (re, im) side by side, (..., 2 n), as complex numbers (..., n)."""
    return torch.view_as_complex(x.unflatten(-1, (-1, 2)))


def as_real(z: Tensor) -> Tensor:
    """View complex numbers (..., n) as (re, im) side by side, (..., 2 n)."""
    return torch.view_as_real(z).flatten(-2)


def conjugate(x: Tensor) -> Tensor:
    """Return the conjugate of (re, im) side by side, (..., 2 n)."""
    return as_real(as_complex(x.contiguous()).conj_physical())
