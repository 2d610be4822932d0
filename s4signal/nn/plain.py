"""Networks in plain operations of real tensors, for export: no custom operators, no loop over time."""

from __future__ import annotations

import copy
import math
from typing import Any, NoReturn, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.functional import pad
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

from s4signal.nn.block import S4Block
from s4signal.nn.frontends.band_power import BandPowerFrontend
from s4signal.nn.frontends.base import Frames
from s4signal.nn.frontends.filter_bank import FilterBankFrontend
from s4signal.nn.frontends.hop_means import HopMeansFrontend
from s4signal.nn.frontends.linear import LinearFrontend
from s4signal.nn.frontends.plain import PlainBandPower, PlainBank, PlainHopMeans, PlainLoudness
from s4signal.nn.layer import S4Layer
from s4signal.nn.network import S4Network
from s4signal.nn.pooling import AttentionPooling, MaxPooling
from s4signal.nn.prefix_sum import BLOCK, Carry, cut, doublings, first, log2, shifted
from s4signal.ssm import DenseSystem, SharedSystem
from s4signal.ssm.convolution import summed_ahead
from s4signal.ssm.pieces import make_pieces
from s4signal.ssm.systems import System, mirrored
from s4signal.ssm.tables import block_tables, toeplitz


def plain_network(network: S4Network, *, longest: int) -> S4Network:
    """Copy a network for whole signals of up to ``longest`` samples, at the training rate.

    Raises ValueError if its front end has no plain form.
    """
    _check(network)
    own = copy.deepcopy(network).eval().requires_grad_(False)
    _make_plain(own, longest)
    rate, n_steps = _frames(own, longest)
    for module in list(own.modules()):
        for name, child in module.named_children():
            if isinstance(child, S4Layer):
                setattr(module, name, PlainLayer(child, rate=rate, longest=n_steps))
    return own


class PlainSteps(nn.Module):
    """A causal network that runs frame by frame; its state is a list of tensors.

    Raises ValueError if a part of it has no plain form, or needs whole cases.
    """

    def __init__(self, network: S4Network) -> None:
        super().__init__()
        _check(network)
        if getattr(network.frontend, "mean_subtraction", "none") == "running":
            _refuse("a step of a filter bank with mean_subtraction='running'")
        own = copy.deepcopy(network).eval().requires_grad_(False)
        self.frontend = own.frontend.steps(1.0)
        self.blocks = [_BlockStep(cast(S4Block, block), self.frontend.rate) for block in own.blocks]
        self.norm, self.pooling, self.head = own.norm, own.pooling, own.head
        self.unit, self.n_channels = self.frontend.unit, _n_channels(network)
        self._leaves, self._structure = tree_flatten(self._initial_state(1))

    def forward(self, x: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Advance by ``unit`` samples.

        Shapes: x (n_channels, batch, unit) → outputs (batch, n_outputs) for all samples so far, and the next state.
        """
        tensors = iter(state)
        leaves = [next(tensors) if isinstance(leaf, Tensor) else leaf for leaf in self._leaves]
        outputs, after = self._advance(x, *tree_unflatten(leaves, self._structure))
        return outputs, _tensors(after)

    def at_rest(self, batch: int) -> list[Tensor]:
        """Return the state before the first sample."""
        return _tensors(self._initial_state(batch))

    def _advance(self, x: Tensor, front: Any, states: list[Tensor], pooled: Any) -> tuple[Tensor, tuple[Any, ...]]:
        h, front = self.frontend.advance(x, front)
        after = []
        for block, entering in zip(self.blocks, states, strict=True):
            h, block_state = block.advance(h, entering)
            after.append(block_state)
        pooled = self.pooling.advance(self.norm(h), pooled)
        value = self.pooling.value(pooled).to(self.head.weight.dtype)
        return self.head(value), (front, after, pooled)

    @torch.no_grad()
    def _initial_state(self, batch: int) -> tuple[Any, ...]:
        """Return the state before the first sample, with the structure of the state after a step."""
        x = self.head.weight.new_zeros(self.n_channels, batch, self.unit)
        _, after = self._advance(x, None, [block.at_rest(batch) for block in self.blocks], None)
        front, states, pooled = tree_map(lambda x: torch.zeros_like(x) if isinstance(x, Tensor) else x, after)
        if getattr(front, "loudness", None) is not None:
            front = front._replace(loudness=front.loudness._replace(loudest=front.loudness.loudest - math.inf))
        if isinstance(self.pooling, AttentionPooling | MaxPooling):  # their state holds a maximum
            pooled = pooled._replace(parts=(pooled.parts[0] - math.inf, *pooled.parts[1:]))
        return front, states, pooled


class _BlockStep:
    """A causal block that runs step by step."""

    def __init__(self, block: S4Block, rate: float) -> None:
        layer = block.layer
        with torch.no_grad():
            self.pieces = make_pieces(layer.system(rate), layer.D.dtype, longest=1)
        self.norm, self.mix, self.at_rest = block.norm, block.mix, self.pieces.at_rest

    def advance(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Advance by one step (d_model, batch, 1)."""
        y, state = self.pieces.advance(self.norm(x), state)
        z = self.mix(F.gelu(y)).unflatten(0, (self.mix.n_groups, -1))
        return x + F.glu(z, 1).flatten(0, 1), state


class PlainLayer(nn.Module):
    """An `S4Layer` over whole signals of up to ``longest`` steps, with zero initial state."""

    def __init__(self, layer: S4Layer, *, rate: float, longest: int) -> None:
        super().__init__()
        with torch.no_grad():
            system = layer.system(rate)
        dtype, reverse = layer.D.dtype, mirrored(system)
        n_doublings = doublings(longest)
        self.causal = _plain_system(system._replace(C_reverse=None), dtype, n_doublings)
        self.ahead = None if system.ahead is None else nn.Buffer(system.ahead.to(dtype))
        self.reverse = None if reverse is None else _plain_system(reverse, dtype, n_doublings)

    def forward(self, u: Tensor, *, rate: float = 1.0, gaps: Tensor | None = None) -> Tensor:
        """Run the layer over u (d_model, batch, n_times); ``rate`` is ignored, as it is fixed at construction."""
        y: Tensor = self.causal(u)
        if self.reverse is not None:  # it sees only the samples after k: its output is shifted by one
            y = y + pad(self.reverse(u.flip(-1)).flip(-1), (0, 1))[..., 1:]  # in this order, exports accept two samples
        if self.ahead is not None:
            y = y + summed_ahead(self.ahead, u)
        return y


class _BlockSystem(nn.Module):
    """A causal system with separate channels: products within a block, a prefix sum over blocks."""

    def __init__(self, system: System, dtype: torch.dtype, n_doublings: int) -> None:
        super().__init__()
        tables = block_tables(system, BLOCK, torch.float64)  # type: ignore[arg-type]
        dense = isinstance(system, DenseSystem)
        interleaved = (tables.P, tables.Q, tables.transition)  # converted to real parts before imaginary parts
        P, Q, transition = (x if dense else torch.cat([x[..., ::2], x[..., 1::2]], -1) for x in interleaved)
        self.carry = Carry(transition, dtype, n_doublings, dense=dense)
        # Samples and states are concatenated: outputs are one product.
        self.WQ = nn.Buffer(torch.cat([toeplitz(tables.kernel, BLOCK), Q.mT], 1).unsqueeze(1).to(dtype))
        self.P = nn.Buffer(P.unsqueeze(1).to(dtype))

    def forward(self, u: Tensor) -> Tensor:
        """Run the system over u (d_model, batch, n_times)."""
        U = cut(u, BLOCK)
        entering = shifted(self.carry(torch.matmul(U, self.P)), 1)
        return first(torch.matmul(torch.cat([U, entering], -1), self.WQ).flatten(2), u.shape[-1])


class _SharedModes(nn.Module):
    """A causal system that all channels share: it has few modes, so that the prefix sum runs over samples."""

    def __init__(self, system: SharedSystem, dtype: torch.dtype, n_doublings: int) -> None:
        super().__init__()
        transition = torch.cat([*system.Lambda_bar]).unsqueeze(0)
        self.carry = Carry(transition, dtype, n_doublings + log2(BLOCK), dense=False)
        self.B = nn.Buffer(torch.cat([*system.B_bar]).to(dtype))
        self.C = nn.Buffer(torch.cat([2.0 * system.C.re, -2.0 * system.C.im], 1).to(dtype))
        self.D = nn.Buffer(system.D[:, None, None].to(dtype))

    def forward(self, u: Tensor) -> Tensor:
        """Run the system over u (d_model, batch, n_times)."""
        V = torch.matmul(u.permute(1, 2, 0), self.B.mT).unsqueeze(0)  # (1, batch, n_times, 2 n_pairs)
        y: Tensor = torch.matmul(self.carry(V)[0], self.C.mT).permute(2, 0, 1) + self.D * u
        return y


def _check(network: S4Network) -> None:
    """Raise ValueError if a network has no plain form."""
    if network.summary is not None:
        _refuse("a model of mostly missing samples")
    if not isinstance(network.frontend, BandPowerFrontend | FilterBankFrontend | HopMeansFrontend | LinearFrontend):
        _refuse("a custom module as front end")


def _refuse(what: str) -> NoReturn:
    raise ValueError(
        f"{what} is not exported. Export supports the front ends 'linear', 'hop_means', 'band_power' and "
        "'filterbank', and all kernels and poolings, for regular samples without missing values."
    )


def _tensors(state: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(state) if isinstance(leaf, Tensor)]


def _n_channels(network: S4Network) -> int:
    frontend = network.frontend
    if isinstance(frontend, FilterBankFrontend):
        return len(frontend.center) // frontend.bank.n_outputs
    return int(cast(LinearFrontend, frontend).mix.weight.shape[1])


def _make_plain(network: S4Network, longest: int) -> None:
    """Replace the front end by its plain form."""
    frontend = network.frontend
    if isinstance(frontend, HopMeansFrontend):
        frontend.__class__ = PlainHopMeans
    elif isinstance(frontend, BandPowerFrontend):
        frontend.__class__ = PlainBandPower
        frontend.bank = PlainBank(frontend.bank, network.head.weight.dtype, longest)  # type: ignore[assignment]
    elif isinstance(frontend, FilterBankFrontend):
        bank = PlainBank(frontend.bank, network.head.weight.dtype, longest)
        frontend.bank, frontend.augmentations = bank, nn.ModuleList()  # type: ignore[assignment]
        if frontend.loudness is not None and frontend.loudness.causal:
            frontend.loudness.__class__ = PlainLoudness
            frontend.loudness.n_doublings = log2(-(-longest // bank.hop) + 1)  # type: ignore[assignment]


def _frames(network: S4Network, longest: int) -> tuple[float, int]:
    """Return the frame rate of a plain network, and the number of frames in the longest signal."""
    x = network.head.weight.new_zeros(_n_channels(network), 1, min(longest, 2**13))
    frames = network.frontend.features(Frames(x))
    return frames.rate, -(-longest * frames.features.shape[-1] // x.shape[-1]) + 1


def _plain_system(system: System, dtype: torch.dtype, n_doublings: int) -> nn.Module:
    kind = _SharedModes if isinstance(system, SharedSystem) else _BlockSystem
    return kind(system, dtype, n_doublings)  # type: ignore[arg-type]
