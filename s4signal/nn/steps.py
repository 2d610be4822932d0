"""A causal network over one piece of signal after the other, with all that does not depend on samples kept."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from s4signal.nn.block import ChannelNorm, S4Block
from s4signal.nn.layer import S4Layer
from s4signal.nn.network import S4Network
from s4signal.ssm.pieces import LONGEST, amplified, make_pieces

_LONGEST_HOLD = 4096  # steps at once
EPSILON = 1e-6  # of `ChannelNorm`


def pieces_of(n: int) -> Iterator[int]:
    """Cut a number of steps into pieces that memory holds."""
    while n > 0:
        yield min(n, _LONGEST_HOLD)
        n -= _LONGEST_HOLD


class UnitRMS:
    """`ChannelNorm` less the root of the number of channels: x / sqrt(sum x^2 + d epsilon)."""

    def __init__(self, like: Tensor) -> None:
        self._floor = torch.full((), EPSILON, dtype=like.dtype, device=like.device)

    def __call__(self, x: Tensor) -> Tensor:
        """Normalise x (d_model, batch, n_times), by a sum: a norm over the first axis takes three times as long."""
        return x * torch.addcmul(self._floor, x, x).sum(0, keepdim=True).rsqrt_()


class BlockSteps:
    """A causal block at one rate; ``longest`` steps at most are run at once."""

    def __init__(self, block: S4Block, rate: float, *, longest: int = LONGEST) -> None:
        layer: S4Layer = getattr(block.layer, "layer", block.layer)  # of a network for inference, too
        d_model, normed = len(layer.D), isinstance(block.norm, ChannelNorm)
        self._norm = UnitRMS(block.mix.weight) if normed else None
        # gelu(sqrt(2) v) = (v + v erf(v)) / sqrt(2): the factors, and that of the norm, are in the tables.
        system = amplified(layer.kernel.system(layer.D, rate=rate), math.sqrt(d_model / 2 if normed else 0.5))
        self._pieces = make_pieces(system, block.mix.weight.dtype, longest=longest)
        # As rows of steps: a product of few columns takes twice as long.
        self._weight, self._bias = (block.mix.weight * math.sqrt(0.5)).t().contiguous(), block.mix.bias

    def at_rest(self, batch: int) -> Tensor:
        """Return the state before the first step, (n_systems, batch, d_state)."""
        return self._pieces.at_rest(batch)

    def advance(self, x: Tensor, state: Tensor, *, keep_last: bool = True, held: int = 1) -> tuple[Tensor, Tensor]:
        """Run over a piece (d_model, batch, n_steps), to the state after it or before its last step.

        One step that stands for several (``held``) is a constant over them: the zero-order hold is exact.
        """
        u = x if self._norm is None else self._norm(x)
        for n in pieces_of(held - 1):
            _, state = self._pieces.advance(u.expand(-1, -1, n).contiguous(), state)
        v, state = self._pieces.advance(u, state, keep_last=keep_last)
        v = torch.addcmul(v, v, torch.erf(v))
        rows = v.view(1, -1) if x.shape[1:] == (1, 1) else v.flatten(1).t()
        mixed = F.glu(torch.addmm(self._bias, rows, self._weight), 1)
        return x + (mixed if len(rows) == 1 else mixed.t()).view(x.shape), state


class NetworkState(NamedTuple):
    """Of a network between two pieces."""

    rest: Tensor  # (n_channels, batch, fewer than a unit): samples that wait for more
    frontend: Any
    blocks: list[Tensor]
    n_steps: int  # so far
    pooled: tuple[Tensor, ...] | None


class NetworkSteps:
    """A causal network at one rate, for inference; later changes of the network do not reach it."""

    def __init__(self, network: S4Network, rate: float) -> None:
        own = copy.deepcopy(network).eval().requires_grad_(False)
        with torch.no_grad():
            self._frontend = own.frontend.steps(rate)
            self._blocks = [BlockSteps(cast(S4Block, block), self._frontend.rate) for block in own.blocks]
        self._pooling, self._weight, self._bias = own.pooling, own.head.weight.t(), own.head.bias
        d_model = len(own.head.weight.t()) // own.pooling.order
        self._norm, self._gain = UnitRMS(self._bias), math.sqrt(d_model)

    def tensor(self, samples: NDArray[np.floating]) -> Tensor:
        """Put samples (n_channels, n_times), or (batch, ...), where the network is: (n_channels, batch, n_times)."""
        x = torch.from_numpy(samples).to(self._bias)
        return x.unsqueeze(1) if x.dim() == 2 else x.transpose(0, 1).contiguous()

    def _at_rest(self, x: Tensor) -> NetworkState:
        """Return the state before the first samples x (n_channels, batch, n_times)."""
        at_rest = [block.at_rest(x.shape[1]) for block in self._blocks]
        return NetworkState(x[..., :0], None, at_rest, 0, None)

    @torch.inference_mode()
    def advance(
        self, x: Tensor, state: NetworkState | None, *, held: int = 1, answer: bool = True
    ) -> tuple[Tensor | None, NetworkState]:
        """Score all samples so far, (batch, n_outputs), the last of which are x (n_channels, batch, n_times >= 1).

        Samples that do not fill a step of the blocks are heard, and kept to be heard again with those that follow.
        Where every sample is a step, one may stand for several (``held``): those before it were lost.
        """
        state = self._at_rest(x) if state is None else state
        heard = torch.cat([state.rest, x], -1) if state.rest.shape[-1] else x
        whole, left = divmod(heard.shape[-1], self._frontend.unit)
        h, frontend = self._frontend.advance(heard, state.frontend, keep_last=not left)
        blocks = []
        for block, before in zip(self._blocks, state.blocks, strict=True):
            h, after = block.advance(h, before, keep_last=not left, held=held)
            blocks.append(after)
        h = self._norm(h) * self._gain
        pooled, n_steps = state.pooled, state.n_steps
        for n in pieces_of(held - 1):
            pooled = self._pooling.regular(h.expand(-1, -1, n).contiguous(), pooled, n_steps)
            n_steps += n
        parts = pooled
        if whole:
            pooled = parts = self._pooling.regular(h[..., :whole] if left else h, pooled, n_steps)
            n_steps += whole
        if left and answer:
            parts = self._pooling.regular(h[..., whole:] if whole else h, pooled, n_steps)
        rest = heard[..., heard.shape[-1] - left :]
        scores = self._scores(parts or (), h.dtype) if answer else None
        return scores, NetworkState(rest, frontend, blocks, n_steps, pooled)

    def _scores(self, parts: tuple[Tensor, ...], dtype: torch.dtype) -> Tensor:
        return torch.addmm(self._bias, self._pooling.vector(parts).to(dtype), self._weight)
