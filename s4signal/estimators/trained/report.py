"""What a fitted model covers, in words."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

import torch

from s4signal.estimators.trained.missing import Sampling
from s4signal.estimators.units import readable_units
from s4signal.nn.block import S4Block
from s4signal.nn.frontends.augmentation import SampleDropout

if TYPE_CHECKING:
    from s4signal.estimators.trained.base import S4Estimator

__all__ = ["describe_estimator"]


def describe_estimator(estimator: S4Estimator) -> str:
    """Describe a fitted estimator."""
    plan, network = estimator._plan, estimator.network_
    slowest, fastest, shortest, longest = _coverage(estimator)
    units = readable_units(plan.sfreq, fastest)
    state = ", learned with the rest" if network.frontend.learned else ""
    frontend = network.frontend
    front = frontend.describe()
    if frontend.hop_s is not None:
        every = f"{frontend.hop_s / units.n_seconds:g} {units.duration}"
        if units.duration == "s" and frontend.hop_s < 1:
            every = f"{1e3 * frontend.hop_s:g} ms"
        front += f" every {every}{state}"
    changes = [frontend.describe_augmentation(), SampleDropout().describe(plan.sfreq or 1.0) if plan.thinned else ""]
    trained_for = ", ".join(filter(None, changes))
    met = [f"  trained for    {trained_for}"] if trained_for else []
    size = sum(p.numel() for p in network.parameters())
    stack = plan.stack
    return "\n".join(
        [
            f"{type(estimator).__name__}: {plan.n_channels} channels to {plan.n_outputs} outputs, {size:,} parameters",
            f"  sampling rate  {units.rate(plan.sfreq)}",
            f"  samples        {_samples(plan.sampling)}",
            f"  front end      {plan.frontend}: {front}",
            *met,
            f"  blocks         {stack['n_layers']} x {stack['d_model']}, {stack['kernel']} ({stack['init']}), "
            f"d_state {stack['d_state']}, {'both directions' if stack['bidirectional'] else 'causal'}",
            f"  band           {units.band(slowest, fastest)}",
            f"  memory         {units.memory(shortest, longest)}",
        ]
    )


def _samples(sampling: Sampling) -> str:
    """Say how times and missing samples reach the network."""
    missing = {
        "gap": "time passes where one is missing" if sampling.gaps else "the last value is held where one is missing",
        "mask": "marked where one is missing",
        "error": "none may be missing",
    }[sampling.missing]
    if sampling.grid and sampling.missing != "error":
        missing = "on a grid, interpolated where one is missing"
    marked = f", {len(sampling.masked)} channels with a mask" if sampling.masked else ""
    marked += ", most values missing" if sampling.sparse else ""
    return f"{'at their own times' if sampling.times else 'at a regular rate'}; {missing}{marked}"


@torch.no_grad()
def _coverage(estimator: S4Estimator) -> tuple[float, float, float, float]:
    """Slowest and fastest frequency below Nyquist, shortest and longest time constant of the modes."""
    step_s = estimator._plan.step_s
    angles, decays = [], []
    for block in cast(Iterable[S4Block], estimator.network_.blocks):
        modes = block.layer.kernel.modes()
        angles.append(modes.im.abs().flatten())
        decays.append(-modes.re.flatten())
    angle, decay = torch.cat(angles), torch.cat(decays)
    heard = angle <= math.pi
    hertz = angle[heard] / (2 * math.pi * step_s)
    seconds = step_s / decay[heard]
    return float(hertz.min()), float(hertz.max()), float(seconds.min()), float(seconds.max())
