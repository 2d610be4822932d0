"""A trained model as plain values and tensors, and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from s4signal.errors import ModelFileError
from s4signal.estimators.model_file import estimator_entries, new_estimator, restore_learned
from s4signal.estimators.parameters import check_options
from s4signal.estimators.standardizer import Standardizer
from s4signal.estimators.trained.missing import Sampling
from s4signal.estimators.trained.plan import NetworkPlan, build_network
from s4signal.nn.randomness import draws_from
from s4signal.training import PRECISIONS, resolve_device

if TYPE_CHECKING:
    from s4signal.estimators.trained.base import S4Estimator

__all__ = ["pack_estimator", "unpack_estimator"]

# And each class's own.
_LEARNED = ("n_features_in_", "n_channels_in_", "ch_names_", "sfreq_", "n_iter_", "best_epoch_", "history_")
_OPTIONAL = ("feature_names_in_", "fit_seconds_")
_PREFIX = "network."


def pack_estimator(estimator: S4Estimator) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Take an estimator apart."""
    learned = (*_LEARNED, *estimator._learned)
    # Of a module its weights alone: to build it would be to execute what a file contains.
    left_out = ("callbacks", "frontend") if isinstance(estimator.frontend, nn.Module) else ("callbacks",)
    header = {
        **estimator_entries(estimator, learned, optional=_OPTIONAL, left_out=left_out),
        "plan": {**estimator._plan._asdict(), "sampling": estimator._plan.sampling._asdict()},
    }
    tensors = {_PREFIX + k: v.detach().cpu().contiguous() for k, v in estimator.network_.state_dict().items()}
    tensors["mean"] = torch.from_numpy(estimator._standardizer.mean)
    tensors["scale"] = torch.from_numpy(estimator._standardizer.scale)
    return header, tensors


def unpack_estimator(
    kind: type, header: dict[str, Any], tensors: dict[str, torch.Tensor], path: Path, *, frontend: Any = None
) -> Any:
    """Put an estimator together."""
    estimator = new_estimator(kind, header, path, tuples=("timescale",))
    given = header["plan"]["frontend"] == "module"
    if given != isinstance(frontend, nn.Module):
        state = "was fitted with a front end of its own; pass" if given else "has its own front end; do not pass"
        raise ModelFileError(f"{path} holds a model that {state} frontend=, a torch module.")
    if given:
        estimator.frontend = frontend
    check_options(estimator)
    try:
        resolve_device(estimator.device)
    except ValueError:
        estimator.device = "auto"  # fitted on a device that this machine does not have
    plan = _plan(header["plan"])
    with draws_from(torch.Generator()):
        network = build_network(plan, frontend).to(PRECISIONS[estimator.precision])
    weights = {k.removeprefix(_PREFIX): v for k, v in tensors.items() if k.startswith(_PREFIX)}
    network.load_state_dict(weights)
    estimator.network_, estimator._plan = network.eval(), plan
    estimator._standardizer = Standardizer(tensors["mean"].numpy(), tensors["scale"].numpy())
    estimator._optimizer_state = {}
    restore_learned(estimator, header, path, (*_LEARNED, *estimator._learned), optional=_OPTIONAL)
    if not plan.n_channels == estimator.n_channels_in_ == len(tensors["mean"]) == len(tensors["scale"]):
        raise ModelFileError(f"{path} is damaged: its entries are of models with different numbers of channels.")
    return estimator


def _plan(entries: dict[str, Any]) -> NetworkPlan:
    sampling = Sampling(**{**entries["sampling"], "masked": tuple(entries["sampling"]["masked"])})
    return NetworkPlan(**{**entries, "dt_range": tuple(entries["dt_range"]), "sampling": sampling})
