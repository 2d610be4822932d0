"""A custom torch module as front end: from raw samples to features per hop."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from s4signal.errors import ShapeError
from s4signal.nn.block import ChannelLinear
from s4signal.nn.frontends.base import Frames, StandardizedFrontend
from s4signal.nn.randomness import draws_from


class ModuleFrontend(StandardizedFrontend):
    """Run a user's module, then standardise and mix its features.

    The module maps (batch, n_times, n_channels) to (batch, n_hops, n_features). It receives cases of equal length only,
    without padding, so that the features of a case do not depend on the batch.
    """

    def __init__(self, module: nn.Module, n_features: int, d_model: int) -> None:
        super().__init__(n_features)
        self.module, self.n_features = module, n_features
        self.mix = ChannelLinear(n_features, d_model)
        self.hop_s = getattr(module, "hop_s", None)

    @property
    def learned(self) -> bool:
        """Whether the module has parameters to train."""
        return any(p.requires_grad for p in self.module.parameters())

    def features(self, signals: Frames, *, generator: torch.Generator | None = None) -> Frames:
        """Run the module, once for each length in the batch."""
        if abs(signals.rate - 1.0) > 1e-6:
            raise ValueError(
                f"X has samples {signals.rate:g} times as long as at training, but a custom module as front end "
                "supports the training rate only. Use Signals.resample."
            )
        if signals.gaps is not None:
            raise ValueError("a custom module as front end needs regular samples: resample X to a grid.")
        x, mask = signals.features, signals.mask
        cases = x.permute(1, 2, 0)
        if mask is None:
            return Frames(self._run(cases, generator).permute(2, 0, 1), None, signals.rate)
        distinct, group = mask.sum(-1).long().unique(return_inverse=True)
        members = [(group == i).nonzero()[:, 0] for i in range(len(distinct))]
        outputs = [self._run(cases[m, :n], generator) for m, n in zip(members, distinct.tolist(), strict=True)]
        n_steps = torch.tensor([y.shape[1] for y in outputs], device=x.device)
        longest = int(n_steps.max())
        padded = torch.cat([nn.functional.pad(y, (0, 0, 0, longest - y.shape[1])) for y in outputs])
        features = padded[torch.cat(members).argsort()]
        valid = (torch.arange(longest, device=x.device) < n_steps[group][:, None]).to(x.dtype)
        return Frames(features.permute(2, 0, 1), None if bool(valid.all()) else valid, signals.rate)

    def encode(self, frames: Frames, *, generator: torch.Generator | None = None) -> Tensor:
        """Standardise the features and mix them."""
        mixed: Tensor = self.mix(self.standardize(frames.features, frames.mask))
        return mixed

    def describe(self) -> str:
        """Describe a frame."""
        return f"{type(self.module).__name__}, {self.n_features} features"

    def _run(self, cases: Tensor, generator: torch.Generator | None) -> Tensor:
        with draws_from(generator):
            outputs: Tensor = self.module(cases)
        _check_shape(self.module, outputs, cases, self.n_features)
        return outputs


def probe_module(module: nn.Module, *, n_channels: int, n_times: int, hop: float) -> int:
    """Check a module by running it on zeros; return its number of features."""
    name, n_steps, n_features = type(module).__name__, [], None
    module = copy.deepcopy(module).eval()
    like = next((p for p in module.parameters()), torch.zeros(()))
    # A second length, longer by whole hops, must give as many frames more, for any treatment of the edges.
    more = round(hop * max(4, round(n_times / hop)))
    for length in (n_times, n_times + more):
        zeros = torch.zeros(2, length, n_channels, device=like.device, dtype=like.dtype)
        try:
            with torch.no_grad(), draws_from(torch.Generator(like.device)):
                outputs = module(zeros)
        except (RuntimeError, TypeError, ValueError, LookupError, ArithmeticError, NotImplementedError) as error:
            raise ValueError(
                f"frontend, a {name}, cannot take (batch, n_times, n_channels) = {tuple(zeros.shape)}: {error}"
            ) from error
        n_features = _check_shape(module, outputs, zeros, n_features)
        n_steps.append(outputs.shape[1])
    if abs((n_steps[1] - n_steps[0]) - more / hop) > 1.5:
        raise ValueError(
            f"frontend, a {name}, gives {n_steps[0]} hops for {n_times} samples and {n_steps[1]} for {n_times + more}, "
            f"but hop_s={module.hop_s!r} is {hop:g} samples; correct hop_s, in seconds, or the module."
        )
    return int(n_features or 0)


def _check_shape(module: nn.Module, outputs: Any, cases: Tensor, n_features: int | None) -> int:
    """Check that outputs have shape (batch, n_hops, n_features); return n_features."""
    target = f"(batch, n_hops, {'n_features' if n_features is None else n_features})"
    if not isinstance(outputs, Tensor) or not outputs.is_floating_point():
        got = outputs.dtype if isinstance(outputs, Tensor) else type(outputs).__name__
        raise ShapeError(f"frontend, a {type(module).__name__}, must return real numbers {target}, got {got}.")
    shape = tuple(outputs.shape)
    valid = len(shape) == 3 and shape[0] == len(cases) and min(shape) > 0
    if not valid or n_features not in (None, shape[2]):
        raise ShapeError(
            f"frontend, a {type(module).__name__}, must map (batch, n_times, n_channels) to {target}, got {shape} for "
            f"{tuple(cases.shape)}. If features come second, transpose the last two axes."
        )
    return shape[2]
