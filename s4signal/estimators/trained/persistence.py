"""Conversion of a trained network, its plan and its standardizer to a state, and back."""

import math
import re
from typing import Any

import torch
from torch import nn

from s4signal.errors import ModelFileError
from s4signal.estimators.model_file import State
from s4signal.estimators.standardizer import Standardizer
from s4signal.estimators.trained.defaults import BY_HOPS
from s4signal.estimators.trained.plan import Plan, build_network
from s4signal.nn import FilterBank, S4Network
from s4signal.nn.randomness import draws_from
from s4signal.training import PRECISIONS

_LARGEST_DENSE = 2048  # d_state of kernels with an initial dense matrix: a larger one would take minutes to build
_FIGURES = ("loss", "validation_loss", "validation_score", "seconds")


def network_state(plan: Plan, standardizer: Standardizer, network: S4Network) -> State:
    """Return the state of everything that a prediction needs, for a file."""
    weights = {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in network.state_dict().items()}
    state = State({}, {}).nest("plan", plan.to_state()).nest("standardizer", standardizer.to_state())
    return state.nest("network", State({}, weights))


def network_from_state(state: State, *, frontend: Any, precision: str) -> tuple[Plan, Standardizer, S4Network]:
    """Check and restore `network_state` on the CPU; the sizes are checked against the weights before it is built."""
    plan, weights = Plan.from_state(state.part("plan")), state.part("network")
    given = plan.frontend == "module"
    if given != isinstance(frontend, nn.Module):
        what = "was fitted with a custom front end; pass" if given else "has a built-in front end; do not pass"
        raise ModelFileError(f"the model {what} frontend=, a torch module.")
    _check_sizes(plan, weights)
    if isinstance(frontend, nn.Module) and plan.n_features is None and not isinstance(frontend, FilterBank):
        raise ModelFileError("the model was fitted with a FilterBank as front end; pass such a bank as frontend=.")
    with draws_from(torch.Generator()):
        network = build_network(plan, frontend).to(PRECISIONS[precision])
    arrays = {name: torch.from_numpy(array.copy()) for name, array in weights.arrays.items()}
    if not all(bool(torch.isfinite(tensor).all()) for tensor in arrays.values()):
        raise ModelFileError("a weight of the network is not finite.")
    network.load_state_dict(arrays)
    standardizer = Standardizer.from_state(state.part("standardizer"), n_channels=plan.n_channels)
    return plan, standardizer, network.eval()


def plain_history(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Replace numbers that are not finite by None, because JSON has none of them."""
    return [{k: v if v is None or math.isfinite(v) else None for k, v in line.items()} for line in history]


def history_from_state(state: State) -> list[dict[str, Any]]:
    """Check and restore `history_`."""
    lines = [State(line, {}) for line in state.values("history", dict)]
    return [
        {"epoch": line.value("epoch", int), **{name: line.value(name, float, None) for name in _FIGURES}}
        for line in lines
    ]


def _check_sizes(plan: Plan, weights: State) -> None:
    """Check the sizes of a plan against the weights, before the network is built."""
    each, d_state, n_layers = (plan.stack[name] for name in ("d_model", "d_state", "n_layers"))
    d_model = each * plan.stack["n_networks"]
    weights.array("head.weight", plan.n_outputs, d_model * plan.pooling_order)
    found = {match[1] for name in weights.arrays if (match := re.match(r"blocks\.(\d+)\.", name))}
    if found != {str(index) for index in range(min(n_layers, len(found) + 1))}:
        raise ModelFileError(f"the plan has {n_layers} layers, but there are weights of {len(found)}.")
    weights.array("blocks.0.mix.weight", 2 * d_model, each)
    dense = plan.stack["kernel"] in ("s4", "lssl")
    size = weights.arrays["blocks.0.layer.kernel.C"].size
    if size != d_model * d_state or d_state > (_LARGEST_DENSE if dense else size):
        raise ModelFileError(f"d_state={d_state} does not match the weights, or is too large to be built.")
    if plan.frontend in ("linear", *BY_HOPS):
        weights.array("frontend.mix.weight", d_model, plan.n_inputs)
    elif plan.n_channels * 5 > sum(array.size for array in weights.arrays.values()):
        raise ModelFileError(f"there are no weights for {plan.n_channels} channels.")
