"""Text description of a fitted model and its choices."""

from collections.abc import Iterable
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

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
    hertz, seconds = map(np.concatenate, zip(*block_modes(network, plan.step_s), strict=True))
    units, stack = readable_units(plan.sfreq, hertz.max()), plan.stack
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
        "band": units.band(hertz.min(), hertz.max()),
        "memory": units.memory(seconds.min(), seconds.max()),
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
def block_modes(network: S4Network, step_s: float) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return frequencies and time constants (n,) of the modes of each block that are below the Nyquist frequency."""
    found = []
    for block in cast(Iterable[S4Block], network.blocks):
        re, im = (part.double().cpu().numpy().ravel() for part in block.layer.kernel.modes())
        below = np.abs(im) <= np.pi
        found.append((np.abs(im[below]) / (2 * np.pi * step_s), step_s / np.maximum(-re[below], 1e-12)))
    return found
