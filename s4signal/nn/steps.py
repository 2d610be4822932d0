"""Run a network over consecutive pieces of a signal; everything independent of samples is precomputed.

Steps with an incomplete look-ahead, and an incomplete last step, are computed again with the next piece.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain, islice
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from s4signal.nn.block import ChannelNorm, S4Block
from s4signal.nn.network import S4Network
from s4signal.nn.replay import Replays
from s4signal.ssm.convolution import look_ahead
from s4signal.ssm.pieces import LONGEST, amplified, make_pieces

_LONGEST_HOLD = 4096  # steps that a held sample is expanded to at once
_MOST_REPLAYED = 256  # steps: for more, matrix products dominate the cost
EPSILON = 1e-6  # of `ChannelNorm`


def pieces_of(n: int) -> Iterator[int]:
    """Cut a number of steps into pieces that fit into memory."""
    while n > 0:
        yield min(n, _LONGEST_HOLD)
        n -= _LONGEST_HOLD


class UnitRMS:
    """`ChannelNorm` divided by the root of d, the number of channels of a group: x / sqrt(sum x^2 + d epsilon)."""

    def __init__(self, d: int, n_groups: int) -> None:
        self._n_groups, self._floor = n_groups, d * EPSILON

    def __call__(self, x: Tensor) -> Tensor:
        """Normalise x (d_model, batch, n_times), by a sum: a norm over the first axis takes three times as long."""
        if self._n_groups > 1:
            grouped = x.view(self._n_groups, -1, *x.shape[1:])
            return (grouped / (grouped.square().sum(1, keepdim=True) + self._floor).sqrt_()).flatten(0, 1)
        return x / (x.square().sum(0) + self._floor).sqrt_()


class BlockSteps:
    """A block at one rate with a look-ahead of ``ahead`` steps; it runs at most ``longest`` steps at once."""

    def __init__(self, block: S4Block, rate: float, *, longest: int = LONGEST) -> None:
        layer = block.layer
        bias, weight = block.mix.by_group()
        d, normed = weight.shape[2], isinstance(block.norm, ChannelNorm)
        self._norm = UnitRMS(d, len(weight)) if normed else None
        # gelu(sqrt(2) v) = (v + v erf(v)) / sqrt(2): the tables include these factors, and the factor of the norm.
        system, dtype = amplified(layer.system(rate), math.sqrt(d / 2 if normed else 0.5)), weight.dtype
        self._pieces = make_pieces(system._replace(ahead=None), dtype, longest=longest)
        self._later = None if system.ahead is None else system.ahead.to(dtype)
        self.ahead = 0 if self._later is None else self._later.shape[-1]
        # One row per step: a product with few columns takes twice as long. Gates are negated, since they need exp(-x).
        sign = torch.ones_like(bias)
        sign[:, d:] = -1.0
        blocks = (torch.block_diag(*part) for part in (weight * math.sqrt(0.5) * sign).mT.chunk(2, 2))
        self._weight = torch.cat([*blocks], 1)  # (d_model, 2 d_model): first all values, then all gates
        self._bias = (bias * sign).view(len(bias), 2, -1).transpose(0, 1).flatten()

    def at_rest(self, batch: int) -> Any:
        """Return the zero state (n_systems, batch, d_state), with an empty buffer of steps if there is a look-ahead."""
        state = self._pieces.at_rest(batch)
        return (state, state.new_zeros(len(self._bias) // 2, batch, 0)) if self.ahead else state

    def advance(self, x: Tensor, state: Any, *, dropped: int = 0, held: int = 1) -> tuple[Tensor, Any]:
        """Run over the buffered steps and a piece (d_model, batch, n_steps), whose last ``dropped`` steps are not kept.

        The step is repeated ``held`` times: the zero-order hold is exact for a constant.
        """
        if self._later is not None:
            state, waiting = state
            x = torch.cat([waiting, x], -1)
            end = x.shape[-1] - dropped
            dropped = min(dropped + self.ahead, x.shape[-1])
            waiting = x[..., x.shape[-1] - dropped : end].contiguous()
        u = x if self._norm is None else self._norm(x)
        for n in pieces_of(held - 1):
            _, state = self._pieces.advance(u.expand(-1, -1, n).contiguous(), state)
        v, state = self._pieces.advance(u, state, dropped=dropped)
        if self._later is not None:
            v, state = v + look_ahead(self._later, u), (state, waiting)
        v = torch.addcmul(v, v, torch.erf(v))
        rows = v.view(1, -1) if x.shape[1:] == (1, 1) else v.flatten(1).t()
        mixed, gate = torch.addmm(self._bias, rows, self._weight).chunk(2, 1)
        mixed = mixed / (torch.exp(gate) + 1.0)
        return x + (mixed if len(rows) == 1 else mixed.t()).view(x.shape), state


class NetworkState(NamedTuple):
    """State of a network between two pieces."""

    rest: Tensor  # (n_channels, batch, less than a unit): buffered samples of an incomplete step
    parts: list[Any]  # flat tensors or arrays: states of the front end, the blocks and the pooling
    structure: Any  # nesting of the parts
    n_steps: int  # number of steps so far


def _flat(tree: Any) -> tuple[list[Tensor], Any]:
    """Flatten nested parts, some of which may be None, to their tensors and their structure."""
    leaves, spec = tree_flatten(tree)
    return [leaf for leaf in leaves if leaf is not None], (spec, [leaf is None for leaf in leaves])


def _nested(tensors: Iterator[Tensor], structure: Any) -> Any:
    """Undo `_flat`."""
    spec, absent = structure
    return tree_unflatten([None if none else next(tensors) for none in absent], spec)


class NetworkSteps:
    """A copy of a network at one rate, for inference; later changes of the network do not affect it."""

    def __init__(self, network: S4Network, rate: float) -> None:
        own = copy.deepcopy(network).eval().requires_grad_(False)
        with torch.no_grad():
            self._frontend = own.frontend.steps(rate)
            self._blocks = [BlockSteps(cast(S4Block, block), self._frontend.rate) for block in own.blocks]
        self._ahead = sum(block.ahead for block in self._blocks)
        self._pooling, self._weight, self._bias = own.pooling, own.head.weight.t() / own.head.n_networks, own.head.bias
        self._dtype = np.float64 if self._bias.dtype == torch.float64 else np.float32
        d = len(self._weight) // (own.pooling.order * own.head.n_networks)
        self._norm, self._gain = UnitRMS(d, own.head.n_networks), math.sqrt(d)
        self._structures: list[Any] = []  # distinct structures of the parts
        self._replays = Replays()

    def tensor(self, samples: NDArray[np.floating]) -> Tensor:
        """Convert samples (n_channels, n_times), or (batch, ...), to an input (n_channels, batch, n_times)."""
        x = samples[:, None] if samples.ndim == 2 else samples.swapaxes(0, 1)
        return torch.from_numpy(np.ascontiguousarray(x, self._dtype)).to(self._bias.device)

    def advance(
        self, x: Tensor, state: NetworkState | None, *, held: int = 1, answer: bool = True
    ) -> tuple[Any, NetworkState]:
        """Return the outputs (batch, n_outputs) for all samples so far, given the next x (n_channels, batch, n_times).

        Outputs are a tensor, or an array if the call was replayed. Samples of an incomplete step contribute to these
        outputs, and are buffered to be used again with the next piece. If each sample is a step, a sample may be
        repeated ``held`` times, in place of missing samples before it.
        """
        if state is None:
            at_rest = None, [block.at_rest(x.shape[1]) for block in self._blocks], None
            state = NetworkState(x[..., :0], *_flat(at_rest), 0)
        rest, parts, structure, n_before = state
        structure = self._unique(structure)
        samples = torch.cat([rest, x], -1) if rest.shape[-1] else x
        whole, remainder = divmod(samples.shape[-1], self._frontend.unit)
        final = max(0, n_before - self._ahead)
        new = max(0, n_before + whole - self._ahead) - final
        tail = n_before + whole + (remainder > 0) - final - new
        pooled = [*pieces_of(held - 1), *[new] * (new > 0), *[tail] * (tail > 0 and answer)]
        starts = accumulate(pooled, initial=final)
        numbers = [self._pooling.numbers(start, n, x) for start, n in zip(starts, pooled, strict=False)]

        def run(inputs: Sequence[Tensor]) -> tuple[list[Tensor], Any]:
            tensors = iter(inputs)
            samples, before = next(tensors), _nested(islice(tensors, len(parts)), structure)
            grouped = [tuple(islice(tensors, len(group))) for group in numbers]
            scores, after = self._run(samples, before, grouped, held=held, answer=answer)
            flat, new_structure = _flat(after)
            return [*scores, *flat], self._unique(new_structure)

        replayable = x.is_cpu and held == 1 and (self._ahead + whole + 1) * x.shape[1] <= _MOST_REPLAYED
        key = (samples.shape, min(n_before, self._ahead), id(structure), answer) if replayable else None
        outputs, structure = self._replays(key, run, [samples, *parts, *chain(*numbers)])
        scores = outputs.pop(0) if answer else None
        if remainder or rest.shape[-1]:
            rest = samples[..., samples.shape[-1] - remainder :]
        return scores, NetworkState(rest, outputs, structure, n_before + held - 1 + whole)

    def _unique(self, structure: Any) -> Any:
        """Return the same object for equal structures."""
        for stored in self._structures:
            if stored is structure:
                return stored
        if structure not in self._structures:
            self._structures.append(structure)
        return self._structures[self._structures.index(structure)]

    def _run(
        self, samples: Tensor, before: Any, numbers: Sequence[tuple[Tensor, ...]], *, held: int, answer: bool
    ) -> tuple[list[Tensor], Any]:
        """Return the outputs, if ``answer``, and the new states."""
        frontend, entering, pooled = before
        remainder = samples.shape[-1] % self._frontend.unit
        h, frontend = self._frontend.advance(samples, frontend, keep_last=not remainder)
        blocks, tail = [], int(remainder > 0)
        for block, state in zip(self._blocks, entering, strict=True):
            h, after = block.advance(h, state, dropped=tail, held=held)
            tail = min(tail + block.ahead, h.shape[-1])
            blocks.append(after)
        h = self._norm(h) * self._gain
        steps = [h.expand(-1, -1, n).contiguous() for n in pieces_of(held - 1)]
        new = h.shape[-1] - tail
        steps += [h[..., :new]] * (new > 0) + [h[..., new:]] * (tail > 0 and answer)
        kept = pooled
        for step, group in zip(steps, numbers, strict=True):
            kept, pooled = pooled, self._pooling.regular(step, pooled, group)
        if not answer:
            return [], (frontend, blocks, pooled)
        scores = torch.addmm(self._bias, self._pooling.vector(pooled).to(h.dtype), self._weight)
        return [scores], (frontend, blocks, kept if tail else pooled)
