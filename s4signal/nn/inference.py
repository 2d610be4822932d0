"""Networks for inference: the systems are discretised once, where training does it anew at every step."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from s4signal.nn.layer import S4Layer
from s4signal.ssm import block_scan, step
from s4signal.ssm.systems import DiagonalSystem, System
from s4signal.ssm.tables import BlockTables

Network = TypeVar("Network", bound=nn.Module)


def for_inference(network: Network) -> Network:
    """Copy a network for inference, with the discrete systems and their tables kept from one call to the next.

    Parameters
    ----------
    network : Module
        Any module with `S4Layer` somewhere inside; it is left as it is.

    Returns
    -------
    Module
        A copy in evaluation mode, without gradients, that gives the same outputs; later changes to the original don't
        reach it. ``step`` and ``advance`` of causal networks are many times faster. Faster still is their ``step``
        compiled (``torch.compile(copy.step)``, called under ``torch.inference_mode()``) or exported (``torch.export``
        of a module whose ``forward`` it is, compiled ahead of time).

    Examples
    --------
    >>> from s4signal.nn import S4Backbone
    >>> net = S4Backbone(d_input=2, d_model=8, n_layers=1, bidirectional=False).eval()
    >>> quick = for_inference(net)
    >>> x = torch.randn(1, 200, 2)
    >>> torch.allclose(quick(x), net(x), atol=1e-5)
    True
    """
    own = copy.deepcopy(network).eval().requires_grad_(False)
    if isinstance(own, S4Layer):
        raise TypeError("for_inference() takes a network around its layers, got an S4Layer; use InferenceLayer(layer).")
    for module in list(own.modules()):
        for name, child in module.named_children():
            if isinstance(child, S4Layer):
                setattr(module, name, InferenceLayer(child))
    return own


class InferenceLayer(nn.Module):
    """An `S4Layer` that keeps its discrete systems, one for each rate it has been called at.

    States of diagonal systems have another layout here: real and imaginary parts in planes, (2, d_model, batch,
    n_pairs), which compile to fast loops.
    """

    def __init__(self, layer: S4Layer) -> None:
        super().__init__()
        self.layer = layer
        self._kept: dict[float, _Kept] = {}

    def forward(
        self,
        u: Tensor,
        *,
        state: Tensor | None = None,
        return_state: bool = False,
        rate: float = 1.0,
        gaps: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Run the layer over signals, as `S4Layer` does."""
        kept = self._at(rate)
        planar = isinstance(kept.system, DiagonalSystem)
        if state is not None and planar:
            state = state.permute(1, 2, 3, 0).flatten(2)
        if gaps is None:
            y, final = block_scan(kept.system, u, state, return_state=return_state, tables=kept.tables)
        else:
            y, final = self.layer.kernel.scan(self.layer.D, u, gaps, state, rate=rate, return_state=return_state)
        if final is None:
            return y
        return y, final.unflatten(-1, (-1, 2)).permute(3, 0, 1, 2) if planar else final

    def step(self, u: Tensor, state: Tensor | None = None, *, rate: float = 1.0) -> tuple[Tensor, Tensor]:
        """Advance by one sample, as `S4Layer` does."""
        if self.layer.bidirectional:
            raise ValueError("step needs a causal layer; build it with bidirectional=False.")
        kept = self._at(rate)
        if u.dtype not in kept.steps:
            kept.steps[u.dtype] = _for_steps(kept.system, u.dtype)
        of_step = kept.steps[u.dtype]
        return _planar_step(of_step, u, state) if isinstance(of_step, _Planes) else step(of_step, u, state)

    def _at(self, rate: float) -> _Kept:
        if rate not in self._kept:
            with torch.no_grad():
                self._kept[rate] = _Kept(self.layer.kernel.system(self.layer.D, rate=rate), {}, {})
        return self._kept[rate]


class _Kept(NamedTuple):
    """What belongs to one rate."""

    system: System
    tables: dict[tuple[int, torch.dtype], BlockTables]  # by block length and dtype
    steps: dict[torch.dtype, System | _Planes]  # the system as `step` wants it


class _Planes(NamedTuple):
    """A diagonal system as planes, 2 Re(C x) written as C_re x_re + C_im x_im."""

    Lambda_B_C: Tensor  # (6, d_model, 1, n_pairs): one tensor, as a compiled step checks each that it is given
    D: Tensor  # (d_model, 1)


def _for_steps(system: System, dtype: torch.dtype) -> System | _Planes:
    parts: list[Any] = [part if part is None else part.to(dtype) for part in system]
    if not isinstance(system, DiagonalSystem):
        return type(system)(*parts)
    Lambda_bar, B_bar, C, D, _ = parts
    planes = [*Lambda_bar, *B_bar, 2.0 * C.re, -2.0 * C.im]
    return _Planes(torch.stack(planes).unsqueeze(2), D.unsqueeze(-1))


def _planar_step(system: _Planes, u: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
    Lambda_re, Lambda_im, B_re, B_im, C_re, C_im = system.Lambda_B_C.unbind(0)
    v = u.unsqueeze(-1)
    state = u.new_zeros(2, *u.shape, B_re.shape[-1]) if state is None else state
    re = Lambda_re * state[0] - Lambda_im * state[1] + B_re * v
    im = Lambda_re * state[1] + Lambda_im * state[0] + B_im * v
    y = (C_re * re + C_im * im).sum(-1) + system.D * u
    return y, torch.stack([re, im])
