"""Functions with custom gradients, registered as torch operators.

Inside, results are written in place and numbers may be complex; autograd, autocast and the compiler see only real
inputs and outputs. The compiler has no data and infers shapes and strides of the results from a fake function: the
function itself, or a shortcut if that would be slow.
"""

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from itertools import zip_longest
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_HAS_TRITON = find_spec("triton") is not None


def runs_triton(x: Tensor) -> bool:
    """Return whether our triton kernels accept a tensor: float32 on a GPU, with triton installed."""
    return x.is_cuda and x.dtype == torch.float32 and torch.cuda.is_available() and _HAS_TRITON


class _Gradients(NamedTuple):
    """The tensors that an operator saves for its gradient, and the call of the gradient."""

    keep: Callable[..., tuple[Tensor | None, ...]]
    n_gradients: int
    options: slice

    def setup(self, ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(*self.keep(inputs, output if isinstance(output, tuple) else (output,)))
        ctx.options, ctx.tensors = inputs[self.options], [isinstance(x, Tensor) for x in inputs]
        ctx.set_materialize_grads(False)

    def pull(self, backward: Callable[..., Any], ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        if not any(isinstance(g, Tensor) for g in grads[: self.n_gradients]):
            return (None,) * len(ctx.tensors)
        pulled = backward(*grads[: self.n_gradients], *ctx.saved_tensors, *ctx.options)
        return tuple(g if is_tensor else None for g, is_tensor in zip_longest(pulled, ctx.tensors))


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
    """Register ``forward`` as s4signal::name, with ``backward`` as its gradient.

    ``backward`` receives the gradients of the first ``n_gradients`` outputs (None for unused outputs), the tensors that
    ``keep`` selects from inputs and outputs, and the inputs at ``options``, which are not tensors. It returns the
    gradients of the first inputs.
    """
    run = torch.library.custom_op(f"s4signal::{name}", forward, mutates_args=())
    run_backward = torch.library.custom_op(f"s4signal::{name}_backward", backward, mutates_args=())
    run.register_fake(fake or forward)
    run_backward.register_fake(fake_backward or backward)
    rules = _Gradients(keep, n_gradients, options)
    run.register_autograd(partial(rules.pull, run_backward), setup_context=rules.setup)
    function = _function(forward, backward, rules)

    def call(*arguments: Any) -> Any:
        # Only a compiler needs the operator: a call costs as much as a short signal, and imports the compiler.
        if torch.compiler.is_compiling():
            return run(*arguments)
        return (function if torch.is_grad_enabled() else forward)(*arguments)

    return call


def _function(forward: Callable[..., Any], backward: Callable[..., Any], rules: _Gradients) -> Callable[..., Any]:
    """Return an autograd function that bypasses the dispatcher."""

    class Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *inputs: Any) -> Any:
            output = forward(*inputs)
            rules.setup(ctx, inputs, output)
            return output

        @staticmethod
        @once_differentiable
        def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
            return rules.pull(backward, ctx, *grads)

    return cast(Callable[..., Any], Function.apply)


def as_complex(x: Tensor) -> Tensor:
    """View interleaved (re, im), (..., 2 n), as complex numbers (..., n)."""
    return torch.view_as_complex(x.unflatten(-1, (-1, 2)))


def as_real(z: Tensor) -> Tensor:
    """View complex numbers (..., n) as interleaved (re, im), (..., 2 n)."""
    return torch.view_as_real(z).flatten(-2)


def conjugate(x: Tensor) -> Tensor:
    """Return the conjugate of interleaved (re, im), (..., 2 n)."""
    return as_real(as_complex(x.contiguous()).conj_physical())
