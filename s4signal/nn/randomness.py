"""Random numbers from a given generator, without using or changing torch's global state."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


@contextmanager
def draws_from(generator: torch.Generator | None) -> Iterator[None]:
    """Use a generator for all random numbers that this thread draws inside, in any module; None has no effect."""
    if generator is None:
        yield
        return
    with _Drawing(generator):
        yield


def dropout_mask(
    shape: tuple[int, ...], dropout: float, like: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """Draw 0 with probability ``dropout``, else 1 / (1 - dropout): torch's dropout does not accept a generator."""
    kept = torch.empty(shape, dtype=like.dtype, device=like.device).bernoulli_(1.0 - dropout, generator=generator)
    return kept / (1.0 - dropout)


class _Drawing(TorchDispatchMode):
    """Pass the generator to every operator that draws random numbers; dispatch modes are local to a thread."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.generator = generator

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # skipping imports the compiler, which takes as long as importing torch

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        device = kwargs.get("device") or (args[0].device if args and isinstance(args[0], Tensor) else "cpu")
        draws = torch.Tag.nondeterministic_seeded in func.tags and kwargs.get("generator") is None
        if not draws or torch.device(device).type != self.generator.device.type:
            return func(*args, **kwargs)
        if func is torch.ops.aten.native_dropout.default:  # dropout on CUDA, which does not accept a generator
            x, p, train = args
            kept = dropout_mask(x.shape, p if train else 0.0, x, self.generator)
            return x * kept, kept > 0
        if "generator" in {argument.name for argument in func._schema.arguments}:
            return func(*args, **kwargs, generator=self.generator)
        # rand, randn, randint, randperm etc. have a second overload with a generator.
        name = func.name().partition(".")[2]  # "" of aten::rand, "names" of aten::rand.names
        overload = f"{name}_generator" if name else "generator"
        other = getattr(func.overloadpacket, overload, None)
        return func(*args, **kwargs) if other is None else other(*args, **kwargs, generator=self.generator)
