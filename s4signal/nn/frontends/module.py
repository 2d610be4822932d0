"""Any torch module as a front end: from raw samples to features every hop."""

from __future__ import annotations

import copy
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from s4signal.errors import ShapeError
from s4signal.nn.block import ChannelLinear
from s4signal.nn.frontends.filter_bank import Steps

__all__ = ["ModuleFrontend", "probe_module"]


class ModuleFrontend(nn.Module):
    """A module of another hand, its features standardised and mixed.

    Every case is heard at its own length, without padding: whatever the module does, it hears no batch mates.
    """

    center: Tensor
    scale: Tensor

    def __init__(self, module: nn.Module, n_features: int, d_model: int) -> None:
        super().__init__()
        self.module, self.n_features = module, n_features
        self.register_buffer("center", torch.zeros(n_features))
        self.register_buffer("scale", torch.ones(n_features))
        self.mix = ChannelLinear(n_features, d_model)

    @property
    def learned(self) -> bool:
        """Whether the module has something to learn."""
        return any(p.requires_grad for p in self.module.parameters())

    def forward(self, x: Tensor, mask: Tensor | None = None, *, rate: float = 1.0) -> Steps:
        """Encode.

        Shapes: x (n_channels, batch, n_times), mask (batch, n_times) → (d_model, batch, n_steps), (batch, n_steps).
        """
        features, mask, rate = self.features(x, mask, rate=rate)
        return self.encode(features, mask), mask, rate

    def features(
        self, x: Tensor, mask: Tensor | None = None, *, rate: float = 1.0, gaps: Tensor | None = None
    ) -> Steps:
        """Return what the module hears.

        Shapes: x (n_channels, batch, n_times), mask (batch, n_times), gaps (batch, n_times) → (n_features, batch,
        n_steps), (batch, n_steps).
        """
        if abs(rate - 1.0) > 1e-6:
            raise ValueError(
                f"X has samples {rate:g} times as long as at training; a front end of one's own hears one rate alone. "
                "Use Signals.resample."
            )
        if gaps is not None:
            raise ValueError("a front end of one's own hears regular samples; put the signal on a grid.")
        cases = x.permute(1, 2, 0)
        if mask is None:
            return self._heard(cases).permute(2, 0, 1), None, rate
        lengths = mask.sum(-1).long()
        distinct, group = lengths.unique(return_inverse=True)
        members = [(group == i).nonzero()[:, 0] for i in range(len(distinct))]
        heard = [self._heard(cases[m, :n]) for m, n in zip(members, distinct.tolist(), strict=True)]
        n_steps = torch.tensor([h.shape[1] for h in heard], device=x.device)
        longest = int(n_steps.max())
        padded = torch.cat([nn.functional.pad(h, (0, 0, 0, longest - h.shape[1])) for h in heard])
        features = padded[torch.cat(members).argsort()]
        steps = (torch.arange(longest, device=x.device) < n_steps[group][:, None]).to(x.dtype)
        return features.permute(2, 0, 1), None if bool(steps.all()) else steps, rate

    def encode(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Standardise features and map them to the width of the blocks.

        Shapes: features (n_features, batch, n_steps), mask (batch, n_steps) → (d_model, batch, n_steps).
        """
        standard = ((features - self.center[:, None, None]) * self.scale[:, None, None]).to(features.dtype)
        mixed: Tensor = self.mix(standard if mask is None else standard * mask)
        return mixed

    def unit(self, rate: float) -> int:
        """Say that there are no pieces."""
        _refuse_pieces()

    def advance(self, x: Tensor, state: Any, *, rate: float = 1.0) -> tuple[Tensor, Any, float]:
        """Say that there are no pieces."""
        _refuse_pieces()

    def _heard(self, cases: Tensor) -> Tensor:
        heard: Tensor = self.module(cases)
        _check_shape(self.module, heard, cases, self.n_features)
        return heard


def probe_module(module: nn.Module, *, n_channels: int, n_times: int, hop: float) -> int:
    """Run a module on silence, to see whether it is a front end and how wide."""
    name, n_steps, n_features = type(module).__name__, [], None
    module = copy.deepcopy(module).eval()
    like = next((p for p in module.parameters()), torch.zeros(()))
    # Hops a stretch of whole hops adds, whatever the edges do.
    more = round(hop * max(4, round(n_times / hop)))
    for length in (n_times, n_times + more):
        silence = torch.zeros(2, length, n_channels, device=like.device, dtype=like.dtype)
        try:
            with torch.no_grad():
                heard = module(silence)
        except (RuntimeError, TypeError, ValueError, LookupError, ArithmeticError, NotImplementedError) as error:
            raise ValueError(
                f"frontend, a {name}, cannot hear (batch, n_times, n_channels) = {tuple(silence.shape)}: {error}"
            ) from error
        n_features = _check_shape(module, heard, silence, n_features)
        n_steps.append(heard.shape[1])
    if abs((n_steps[1] - n_steps[0]) - more / hop) > 1.5:
        raise ValueError(
            f"frontend, a {name}, gives {n_steps[0]} hops for {n_times} samples and {n_steps[1]} for {n_times + more}, "
            f"but hop_s={module.hop_s!r} is {hop:g} samples; correct hop_s, in seconds, or the module."
        )
    return int(n_features or 0)


def _check_shape(module: nn.Module, heard: Any, cases: Tensor, n_features: int | None) -> int:
    """Refuse what is no (batch, n_hops, n_features); return the features."""
    wanted = f"(batch, n_hops, {'n_features' if n_features is None else n_features})"
    if not isinstance(heard, Tensor) or not heard.is_floating_point():
        got = f"{heard.dtype}" if isinstance(heard, Tensor) else type(heard).__name__
        raise ShapeError(f"frontend, a {type(module).__name__}, must return real numbers {wanted}, got {got}.")
    shape = tuple(heard.shape)
    right = heard.ndim == 3 and shape[0] == len(cases) and min(shape) > 0
    if not right or (n_features is not None and shape[2] != n_features):
        raise ShapeError(
            f"frontend, a {type(module).__name__}, must map (batch, n_times, n_channels) to {wanted}, got {shape} for "
            f"{tuple(cases.shape)}. If features come second, transpose the last two axes."
        )
    return shape[2]


def _refuse_pieces() -> NoReturn:
    raise ValueError(
        "a front end of one's own hears whole cases, not pieces; for a stream fit with frontend='linear', 'filterbank' "
        "or an S4FilterBank."
    )
