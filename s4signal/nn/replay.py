"""A function of small tensors, run again without torch: the same operations, on the same memory, by NumPy.

An operation of torch on a few numbers takes several times as long as NumPy's, as it decides anew what to run and where
to put the result, and a step of a stream has a hundred of them. So the function is run once, and each operation is
noted with the memory that it reads and writes, as a CUDA graph does on a card; views are that memory already and cost
nothing.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, is_in_torch_dispatch_mode
from torch.utils._pytree import tree_leaves, tree_map

_MOST_KEPT = 32
_SMALL = 256  # numbers
Array = NDArray[Any]
Work = tuple[Callable[..., Any], tuple[Any, ...]]  # a function, and what to call it with
Function = Callable[[Sequence[Tensor]], tuple[list[Tensor], Any]]


class Replay:
    """A function of tensors that gives some, and something else that depends on no number in them, without gradients.

    It is called with arrays such as the first ``inputs``. All that the function reads besides must stay as it is.
    ``right`` says whether it gave of the first inputs what the function did.
    """

    def __init__(self, function: Function, inputs: Sequence[Tensor]) -> None:
        with torch.no_grad():
            own = [x.clone() for x in inputs]
            with _Recorder() as recorder:
                outputs, self._else = function(own)
            self._works = [work for call in recorder.calls for work in _works(*call)]
        self._inputs, self._outputs = ([x.numpy() for x in tensors] for tensors in (own, outputs))
        self._kept = recorder.calls  # and all memory with them
        self._lock = threading.Lock()  # streams of one model share it
        known = [x.copy() for x in self._outputs]
        found, _ = self([x.numpy() for x in inputs])
        self.right = all(
            np.allclose(*both, rtol=1e-3, atol=1e-4, equal_nan=True) for both in zip(found, known, strict=True)
        )

    def __call__(self, inputs: Sequence[Array]) -> tuple[list[Array], Any]:
        with self._lock, np.errstate(all="ignore"):
            for own, x in zip(self._inputs, inputs, strict=True):
                own[...] = x
            for function, arguments in self._works:
                function(*arguments)
            return [x.copy() for x in self._outputs], self._else


class Replays:
    """A function of tensors on the CPU, replayed where it is called as it was called before.

    A call takes tensors and arrays, and gives tensors, or arrays where it was replayed.
    """

    def __init__(self) -> None:
        self._kept: dict[Any, Replay] = {}
        self._last: deque[Any] = deque(maxlen=_MOST_KEPT)  # what comes seldom is not worth the recording of it

    def __reduce__(self) -> Any:
        """Pickle and copy none of them: they are made again."""
        return Replays, ()

    def __call__(self, key: Any, function: Function, inputs: Sequence[Array | Tensor]) -> tuple[list[Any], Any]:
        """Call it; ``key`` says all that decides on its operations, None that it is not to be replayed."""
        if key is not None and not is_in_torch_dispatch_mode():  # in which somebody watches the operations
            replay = self._kept.get(key)
            if replay is not None and replay.right:
                return replay([x if isinstance(x, np.ndarray) else x.numpy() for x in inputs])
            if replay is None and key in self._last and len(self._kept) < _MOST_KEPT:
                self._kept[key] = Replay(function, [torch.as_tensor(x) for x in inputs])
            self._last.append(key)
        with torch.inference_mode():
            return function([torch.as_tensor(x) for x in inputs])


class _Recorder(TorchDispatchMode):
    """Notes operations, with what they took and gave."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, out))
        return out


def _works(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> list[Work]:
    """Return what does an operation again, in the memory of its output."""
    given = [x.untyped_storage().data_ptr() for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
    written = [x for x in tree_leaves(out) if isinstance(x, Tensor)]
    if not func._schema.is_mutable and all(x.untyped_storage().data_ptr() in given for x in written):
        return []  # a view
    name = func.overloadpacket.__name__.rstrip("_")
    builder = _BY_NUMPY.get(name)
    if builder is not None and isinstance(out, Tensor) and not kwargs.keys() - _NO_MATTER:
        arrays = tree_map(lambda x: x.numpy() if isinstance(x, Tensor) else x, args)
        if (works := builder(out.numpy(), *arrays)) is not None:
            return works
    return [(_by_torch, (func, args, kwargs, None if func._schema.is_mutable else written))]


def _by_torch(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], written: list[Tensor] | None) -> None:
    with torch.no_grad():
        out = func(*args, **kwargs)
        for own, new in zip(written or (), tree_leaves(out) if written else (), strict=True):
            own.copy_(new)


_NO_MATTER = {"dtype", "layout", "device", "memory_format", "non_blocking"}  # the output has them


def _laid_out(x: Any, out: Array) -> Any:
    """Give a number, or an array of as many numbers as the output, its shape, which spares NumPy to find that out."""
    if isinstance(x, np.ndarray):
        return x.reshape(out.shape) if x.size == out.size and x.flags.c_contiguous else x
    return np.full(out.shape if out.size <= _SMALL else (), x, out.dtype)


def _ufunc(ufunc: np.ufunc) -> Callable[..., list[Work] | None]:
    return lambda out, *args: [(ufunc, (*(_laid_out(x, out) for x in args), out))] if len(args) == ufunc.nin else None


def _copy(out: Any, *args: Any) -> list[Work]:
    return [(np.copyto, (out, args[:2][-1]))]  # `copy_` is given the output first


def _reduced(ufunc: np.ufunc, out: Any, x: Any, axes: Any = (), keepdims: bool = False) -> list[Work]:
    return [(ufunc.reduce, (x, tuple(axes) or None, None, out, keepdims))]


def _mean(out: Any, x: Any, *how: Any) -> list[Work]:
    return [*_reduced(np.add, out, x, *how), (np.divide, (out, x.size // out.size, out))]


def _addcmul(out: Any, x: Any, a: Any, b: Any) -> list[Work]:
    product = np.empty(np.broadcast_shapes(np.shape(a), np.shape(b)), out.dtype)
    return [(np.multiply, (a, b, product)), (np.add, (x, product, out))]


def _product(out: Any, a: Any, b: Any) -> list[Work]:
    plain = a.ndim == 2 and all(x.flags.c_contiguous for x in (out, a, b))
    return [(np.dot if plain else np.matmul, (a, b, out))]


def _product_and(out: Any, x: Any, a: Any, b: Any) -> list[Work] | None:
    if np.may_share_memory(out, x):
        return None
    return [*_product(out, a, b), (np.add, (out, _laid_out(x, out), out))]


def _pad(out: Any, x: Any, widths: Any, value: float = 0.0) -> list[Work] | None:
    if len(widths) != 2 or min(widths) < 0:
        return None
    before, after = widths
    inner = out[..., before : before + x.shape[-1]]
    edges = [(ends.fill, (value,)) for ends in (out[..., :before], out[..., out.shape[-1] - after :]) if ends.size]
    return [*edges, (np.copyto, (inner, x))]


def _erf(out: Any, x: Any) -> list[Work]:
    return [(partial(torch.erf, torch.from_numpy(x), out=torch.from_numpy(out)), ())]


def _gelu(out: Any, x: Any) -> list[Work] | None:
    if np.may_share_memory(out, x):
        return None
    scaled = np.empty_like(out)
    halved = [(np.add, (out, 1.0, out)), (np.multiply, (out, x, out)), (np.multiply, (out, 0.5, out))]
    return [(np.multiply, (x, math.sqrt(0.5), scaled)), *_erf(out, scaled), *halved]


def _glu(out: Any, x: Any, axis: int = -1) -> list[Work]:
    a, b = np.split(x, 2, axis)
    gate = np.empty_like(out)
    return [
        (np.negative, (b, gate)),
        (np.exp, (gate, gate)),
        (np.add, (gate, _laid_out(1.0, gate), gate)),
        (np.divide, (a, gate, out)),
    ]


def _convolution(
    out: Any, x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, *rest: Any
) -> list[Work] | None:
    """As one product, of the windows (batch, *places, n_in * size) that are laid out for it."""
    if any(n != 1 for n in dilation) or rest[0] or rest[-1] != 1 or bias is None:
        return None
    padded = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)])
    inner = padded[tuple(slice(p, p + n) for p, n in zip((0, 0, *padding), x.shape, strict=True))]
    axes = tuple(range(2, x.ndim))
    seen = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[2:], axes)
    seen = seen[(slice(None), slice(None), *(slice(None, None, s) for s in stride))]
    seen = np.moveaxis(seen, 1, x.ndim - 1)  # the planes before their windows
    laid = np.empty(seen.shape, x.dtype)
    matrix = weight.reshape(len(weight), -1).T.copy()
    product = np.empty([*seen.shape[: x.ndim - 1], len(weight)], x.dtype)
    rows = laid.reshape(-1, len(matrix)), product.reshape(-1, len(weight))
    return [
        (np.copyto, (inner, x)),
        (np.copyto, (laid, seen)),
        (np.dot, (rows[0], matrix, rows[1])),
        (np.add, (np.moveaxis(product, -1, 1), bias.reshape(-1, *(1 for _ in axes)), out)),
    ]


_BY_NUMPY: dict[str, Callable[..., list[Work] | None]] = {
    "add": _ufunc(np.add),
    "sub": _ufunc(np.subtract),
    "mul": _ufunc(np.multiply),
    "div": _ufunc(np.divide),
    "maximum": lambda out, a, b: [(partial(np.maximum, a, b, out=out), ())],  # no third one is taken
    "pow": lambda out, x, by: [(np.square, (x, out)) if by == 2 else (np.power, (x, by, out))],
    "constant_pad_nd": _pad,
    "sqrt": _ufunc(np.sqrt),
    "exp": _ufunc(np.exp),
    "log": _ufunc(np.log),
    "logaddexp": _ufunc(np.logaddexp),
    "clone": _copy,
    "copy": _copy,
    "_to_copy": _copy,
    "rsqrt": lambda out, x: [(np.sqrt, (x, out)), (np.reciprocal, (out, out))],
    "sum": partial(_reduced, np.add),
    "mean": _mean,
    "addcmul": _addcmul,
    "mm": _product,
    "bmm": _product,
    "addmm": _product_and,
    "baddbmm": _product_and,
    "cat": lambda out, arrays, axis=0: [(np.concatenate, (arrays, axis, out))],
    "stack": lambda out, arrays, axis=0: [(np.stack, (arrays, axis, out))],
    "amax": partial(_reduced, np.maximum),
    "erf": _erf,
    "gelu": _gelu,
    "glu": _glu,
    "convolution": _convolution,
}
