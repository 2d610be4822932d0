"""Options of the training loop from an estimator's parameters and plan, and the fingerprint of a training."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state
from torch import Tensor

from s4signal.estimators.standardizer import Standardizer
from s4signal.estimators.trained.defaults import LabelledCases
from s4signal.estimators.trained.inference import inference_options, most_steps
from s4signal.estimators.trained.plan import Plan, Schedule
from s4signal.estimators.trained.precompute import score_features
from s4signal.nn import S4Network
from s4signal.nn.backbone import state_space_parameters
from s4signal.training import TrainingOptions, agreed, check_folder, resolve_device
from s4signal.training.step import Loss

# Parameters that do not affect training; the seed stands for random_state.
_FREE = ("checkpoint_dir", "callbacks", "verbose", "device", "memory_budget_gb", "random_state")
# Parameters that a network is built from, beside the training cases.
_BUILT = ["frontend", "kernel", "init", "d_model", "d_state", "n_layers", "n_networks", "bidirectional", "lookahead_s"]
_BUILT += ["dropout", "pooling", "readout", "band_hz", "timescale", "missing", "augmentation", "standardize"]


def built_from(options: Any) -> dict[str, Any]:
    """Return the parameters that the network of an estimator is built from."""
    return {name: getattr(options, name) for name in _BUILT}


def check_unchanged(options: Any, built: dict[str, Any], plan: Plan) -> None:
    """Refuse a parameter other than that of the network that is trained further; "auto" is the one it has."""
    named = {"missing": plan.sampling.missing, "augmentation": (*plan.augmentation,) or None}
    has = plan._asdict() | plan.stack | named
    for name, before in built.items():
        auto, now = isinstance(before, str) and before == "auto", getattr(options, name)
        if now not in [before, "auto", has.get(name) if auto else before]:
            raise ValueError(
                f"{name}={now!r}, but the network that warm_start or partial_fit trains further was built with "
                f"{name}={before!r}; set it back, or build another network: fit with warm_start=False."
            )


def over_networks(loss: Loss) -> Loss:
    """Return the mean of a loss over the outputs of several networks, (n_networks, batch, n_outputs)."""

    def mean(outputs: Tensor, targets: Tensor) -> Tensor:
        if outputs.ndim == 2:
            return loss(outputs, targets)
        return torch.stack([loss(own, targets) for own in outputs]).mean(0)

    return mean


def prepare(options: Any) -> torch.device:
    """Check early what would make a fit fail at its end: a device without the precision, a folder without access."""
    device = resolve_device(options.device, precision=options.precision)
    if options.checkpoint_dir is not None:
        agreed(partial(check_folder, options.checkpoint_dir), device)
    return device


def draw_seed(options: Any, device: torch.device) -> int:
    """Draw the seed of a fit; processes that train together use the seed of the first."""
    drawn = int(check_random_state(options.random_state).randint(2**31 - 1))
    return agreed(lambda: drawn, device)


def training_options(
    options: Any, plan: Plan, schedule: Schedule, network: S4Network, *, seed: int, device: torch.device
) -> TrainingOptions:
    """Return the options to train the network, on precomputed features if the front end learns nothing."""
    chosen: dict[str, Any] = {name: value for name, value in schedule._asdict().items() if name != "text"}
    chosen |= {"max_samples": most_steps(plan), "seed": seed, "state_space": state_space_parameters(network)}
    whole = replace(inference_options(options, plan, device), **chosen)
    return whole if network.frontend.learned else replace(whole, forward=score_features, cuda_graphs=True)


def fingerprint_of(
    options: Any,
    plan: Plan,
    standardizer: Standardizer,
    network: S4Network,
    seed: int,
    parts: Iterable[LabelledCases | None],
) -> str:
    """Hash the settings, the initial network, and the data: every value in order, weights, targets and groups."""
    settings = sorted((k, repr(v)) for k, v in options.get_params(deep=False).items() if k not in _FREE)
    digest = hashlib.sha256(json.dumps([settings, seed, plan.to_state().plain], default=str).encode())
    for array in standardizer.to_state().arrays.values():
        digest.update(array.tobytes())
    for name, tensor in network.state_dict().items():
        digest.update(name.encode() + tensor.detach().cpu().numpy().tobytes())
    for part in parts:
        digest.update(b"none" if part is None else b"".join(part.found.digests))
        if part is not None:
            digest.update(part.weights.tobytes() + np.ascontiguousarray(part.targets).tobytes())
        if part is not None and part.groups is not None:
            digest.update(np.unique(part.groups, return_inverse=True)[1].tobytes())
    return digest.hexdigest()
