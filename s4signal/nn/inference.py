"""Networks for inference: systems are discretised once, not at every call as in training."""

from __future__ import annotations

import copy
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from s4signal.nn.backbone import S4Backbone
from s4signal.nn.block import S4Block
from s4signal.nn.layer import S4Layer
from s4signal.nn.replay import Replays
from s4signal.nn.steps import BlockSteps
from s4signal.ssm import block_scan
from s4signal.ssm.pieces import Pieces, make_pieces
from s4signal.ssm.systems import System
from s4signal.ssm.tables import BlockTables

Network = TypeVar("Network", bound=nn.Module)


def for_inference(network: Network) -> Network:
    """Copy a network for inference, and cache its discrete systems and their tables between calls.

    Parameters
    ----------
    network : Module
        Any module that contains `S4Layer`; it is not changed.

    Returns
    -------
    Module
        A copy in evaluation mode, without gradients, that returns the same outputs; later changes to the original do
        not affect it. ``step`` and ``advance`` of causal networks are many times faster. ``step`` is faster still if it
        is compiled (``torch.compile(copy.step)``, called under ``torch.inference_mode()``) or exported
        (``torch.export`` of a module whose ``forward`` it is, compiled ahead of time).

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
        raise TypeError("for_inference() needs a module that contains layers, got a layer: use InferenceLayer(layer).")
    for module in list(own.modules()):
        for name, child in module.named_children():
            if isinstance(child, S4Layer):
                setattr(module, name, InferenceLayer(child))
            elif isinstance(child, S4Block):
                setattr(module, name, InferenceBlock(child))
        if isinstance(module, S4Backbone):
            module.replays = Replays()
    return own


class InferenceLayer(S4Layer):
    """The same layer, with a cache of its discrete systems, one for each rate used."""

    _kept: dict[float, _AtRate]

    def __init__(self, layer: S4Layer) -> None:
        vars(self).update(vars(layer), _kept={})

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
        if gaps is not None:
            return super().forward(u, state=state, return_state=return_state, rate=rate, gaps=gaps)
        kept = self._at(rate)
        y, final = block_scan(kept.system, u, state, return_state=return_state, tables=kept.tables)
        return y if final is None else (y, final)

    def step(self, u: Tensor, state: Tensor | None = None, *, rate: float = 1.0) -> tuple[Tensor, Tensor]:
        """Advance by one sample, as `S4Layer` does."""
        _check_causal(self)
        kept = self._at(rate)
        if u.dtype not in kept.pieces:
            kept.pieces[u.dtype] = make_pieces(kept.system, u.dtype, longest=1)
        pieces = kept.pieces[u.dtype]
        state = pieces.at_rest(u.shape[1]) if state is None else state
        y, state = pieces.advance(u.unsqueeze(-1), state)
        return y.squeeze(-1), state

    def _at(self, rate: float) -> _AtRate:
        if rate not in self._kept:
            with torch.no_grad():
                self._kept[rate] = _AtRate(self.system(rate), {}, {})
        return self._kept[rate]


class _AtRate(NamedTuple):
    """Discrete system and tables at one rate."""

    system: System
    tables: dict[tuple[int, torch.dtype, bool], BlockTables]  # by block length, dtype and use of P and Q
    pieces: dict[torch.dtype, Pieces]


class InferenceBlock(S4Block):
    """The same block, with a cache of the tables for its steps, one for each rate and precision used."""

    _kept: dict[tuple[float, torch.dtype], BlockSteps]

    def __init__(self, block: S4Block) -> None:
        vars(self).update(vars(block), _kept={})

    def step(self, x: Tensor, state: Tensor | None, *, rate: float = 1.0) -> tuple[Tensor, Tensor]:
        """Run over one sample (d_model, batch, 1), as `S4Block` does."""
        _check_causal(self.layer)
        key = rate, x.dtype
        if key not in self._kept:
            with torch.no_grad():
                self._kept[key] = BlockSteps(self, rate, longest=1)
        steps = self._kept[key]
        return steps.advance(x, steps.at_rest(x.shape[1]) if state is None else state)


def _check_causal(layer: S4Layer) -> None:
    if layer.bidirectional:
        raise ValueError("step needs a causal layer; build it with bidirectional=False.")
