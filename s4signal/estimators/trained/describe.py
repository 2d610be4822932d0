"""Text description of a fitted model and its choices."""

import math
from collections.abc import Iterable
from typing import cast

import torch

from s4signal.estimators.augmentation import describe_changes
from s4signal.estimators.trained.missing import Sampling
from s4signal.estimators.trained.plan import Plan
from s4signal.estimators.trained.readout import Readout
from s4signal.estimators.units import Units, counted, readable_units
from s4signal.nn import S4Network
from s4signal.nn.block import S4Block
from s4signal.nn.frontends import BandPowerFrontend


def describe_model(name: str, plan: Plan, network: S4Network, readout: Readout | None) -> str:
    """Describe a fitted model, with one line for each option or choice."""
    slowest, fastest, shortest, longest = _coverage(network, plan.step_s)
    units, stack = readable_units(plan.sfreq, fastest), plan.stack
    size = sum(p.numel() for p in network.parameters())
    sfreq, names = plan.sfreq or 1.0, plan.augmentation
    changes = describe_changes(names, sfreq)
    shared = ", one dropout mask per step" if stack["dropout_axis"] == "batch" else ""
    several = f"mean of {stack['n_networks']} networks of " * (stack["n_networks"] > 1)
    lines = {
        "sampling rate": units.rate(plan.sfreq),
        "samples": _samples(plan.sampling),
        "front end": _frontend(plan, network, units),
        "trained for": f"{changes} (augmentation: {', '.join(names)})" if names else "",
        "blocks": f"{several}{stack['n_layers']} x {stack['d_model']}, {stack['kernel']} ({stack['init']}), d_state "
        f"{stack['d_state']}, {_directions(plan, network, units)}" + _reason(plan, "size"),
        "pooling": plan.pooling
        + f", {plan.pooling_order} Legendre coefficients per feature" * (plan.pooling == "legs")
        + _reason(plan, "pooling"),
        "readout": ("pooled" if readout is None else readout.describe()) + _reason(plan, "readout"),
        "training": plan.why.get("schedule", "") + shared,
        "validation": plan.why.get("validation", ""),
        "band": units.band(slowest, fastest),
        "memory": units.memory(shortest, longest),
    }
    ends = f"{counted(plan.n_channels, 'channel')} to {counted(plan.n_outputs, 'output')}"
    head = f"{name}: {ends}, {size:,} parameters"
    return "\n".join([head, *(f"  {what:<14} {text}" for what, text in lines.items() if text)])


def _directions(plan: Plan, network: S4Network, units: Units) -> str:
    """Describe the look-ahead of the last layer."""
    if plan.sees_all or not plan.stack["bidirectional"]:
        return "both directions" if plan.sees_all else "causal"
    later = [block.layer.system().ahead for block in cast(Iterable[S4Block], network.blocks)]
    n_ahead = sum(0 if ahead is None else ahead.shape[-1] for ahead in later)
    return f"{counted(n_ahead, 'step')} ahead ({n_ahead * plan.step_s / units.n_seconds:.3g} {units.duration})"


def _frontend(plan: Plan, network: S4Network, units: Units) -> str:
    frontend = network.frontend
    text = f"{plan.frontend}: {frontend.describe()}"
    if isinstance(frontend, BandPowerFrontend):
        text += f", {units.band(*frontend.bank.frequencies_hz[[0, -1]].tolist())},"
    if frontend.hop_s is not None:
        hop, unit = frontend.hop_s / units.n_seconds, units.duration
        text += f" every {1e3 * hop:g} ms" if unit == "s" and hop < 1 else f" every {hop:g} {unit}"
    text += ", learned with the rest" if frontend.learned else ""
    return text + _reason(plan, "frontend")


def _reason(plan: Plan, name: str) -> str:
    return f" ({plan.why[name]})" if plan.why.get(name) else ""


def _samples(sampling: Sampling) -> str:
    """Describe how times and missing samples enter the network."""
    missing = {
        "gap": "a gap in time where one is missing" if sampling.gaps else "the last value is held where one is missing",
        "mask": "marked where one is missing",
        "line": "on a grid, linearly interpolated where one is missing",
        "error": "none may be missing",
    }[sampling.missing]
    if sampling.grid and sampling.missing in ("gap", "mask"):
        missing = "on a grid, interpolated where one is missing"
    marked = f", {counted(len(sampling.masked), 'channel')} with a mask" if sampling.masked else ""
    marked += ", most values missing" if sampling.mostly_missing else ""
    return f"{'at their own times' if sampling.times else 'at a regular rate'}; {missing}{marked}"


@torch.no_grad()
def _coverage(network: S4Network, step_s: float) -> tuple[float, float, float, float]:
    """Return slowest and fastest frequency below Nyquist, and shortest and longest time constant, of the modes."""
    angles, decays = [], []
    for block in cast(Iterable[S4Block], network.blocks):
        modes = block.layer.kernel.modes()
        angles.append(modes.im.abs().flatten())
        decays.append(-modes.re.flatten())
    angle, decay = torch.cat(angles), torch.cat(decays)
    below_nyquist = angle <= math.pi
    hertz = angle[below_nyquist] / (2 * math.pi * step_s)
    seconds = step_s / decay[below_nyquist]
    return float(hertz.min()), float(hertz.max()), float(seconds.min()), float(seconds.max())
