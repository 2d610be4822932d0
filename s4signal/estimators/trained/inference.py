"""Prediction by copies of a network, on the given device and in the given precision; the network is not changed."""

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from s4signal.estimators.trained.plan import Plan
from s4signal.nn import Frames, S4Network
from s4signal.nn.network import network_steps
from s4signal.nn.steps import NetworkSteps
from s4signal.training import PRECISIONS, Batch, Cases, TrainingOptions, TrainingResult, call_network, evaluate_network

Forward = Callable[[nn.Module, Batch, torch.Generator | None], Tensor]
_MOST_SAMPLES = 2**20  # at once: a minute at 16 kHz; 330 s of clips take 0.8 GB
_PIECE = 2**16  # samples; 40 bands take 20 MB, 64 features as much


class InferenceCopies:
    """Copies of a network in evaluation mode, one per device and dtype, updated when its weights have changed."""

    def __init__(self) -> None:
        self._kept: dict[tuple[torch.device, torch.dtype], tuple[nn.Module, Any, S4Network]] = {}

    def __reduce__(self) -> Any:
        """Pickle and copy without the copies, which can be made again."""
        return InferenceCopies, ()

    def of(self, network: S4Network, device: torch.device, precision: str) -> S4Network:
        """Return a copy that no other code changes; the network keeps its device, dtype and mode."""
        key = device, PRECISIONS[precision]
        # An in-place change increments a tensor's version; any other change moves its memory.
        weights = [(t.data_ptr(), t._version) for t in chain(network.parameters(), network.buffers())]
        source, versions, own = self._kept.get(key, (None, None, network))
        if source is not network or versions != weights:
            own = copy.deepcopy(network).to(*key).eval().requires_grad_(False)
            self._kept[key] = network, weights, own
        return own


def on_host(result: TrainingResult[S4Network]) -> tuple[S4Network, dict[str, Any]]:
    """Return a trained network and its optimizer state on the CPU, so that any machine can load them."""
    moments = {i: {k: x.cpu() for k, x in kept.items()} for i, kept in result.optimizer_state["state"].items()}
    return result.network.cpu(), {**result.optimizer_state, "state": moments}


def score_cases(
    network: S4Network, cases: Cases, options: TrainingOptions, *, forward: Forward | None = None
) -> NDArray[np.float64]:
    """Return the outputs of a network (n, n_outputs), or the result of ``forward``; the network is not changed."""
    if forward is None and not any(bool(weight.any()) for weight in network.last_weights()):  # a readout decides alone
        for index in range(len(cases)):  # check each
            cases.load(index)
        return np.zeros((len(cases), network.head.out_features))
    in_pieces = partial(_in_pieces, longest=options.max_samples)
    return np.asarray(evaluate_network(network, cases, options=replace(options, forward=forward or in_pieces)).numpy())


def _in_pieces(network: Any, batch: Batch, generator: torch.Generator | None, *, longest: int) -> Any:
    """Return scores of cases, (batch, n_outputs); a causal network computes long cases in pieces, with its state."""
    x, n_times = batch.x, batch.x.shape[-1]
    if n_times <= longest or x.shape[1] > 1 or batch.gaps is not None or network.summary is not None:
        return call_network(network, batch, generator)
    try:
        steps = NetworkSteps(network, batch.rate)
    except ValueError:  # it looks ahead, or its front end takes whole cases
        return call_network(network, batch, generator)
    n_times = n_times if batch.mask is None else int(batch.mask.sum())
    outputs, state = None, None
    with torch.autocast(x.device.type, enabled=False):
        for start in range(0, n_times, _PIECE):
            stop = min(start + _PIECE, n_times)
            outputs, state = steps.advance(x[..., start:stop], state, answer=stop == n_times)
    return torch.as_tensor(outputs)


def inference_options(options: Any, plan: Plan, device: torch.device) -> TrainingOptions:
    """Return the options to run the whole network on raw signals; ``options`` has the parameters of an estimator."""
    hop = plan.step_s * (plan.sfreq or 1.0)
    names = ("learning_rate", "ssm_learning_rate", "weight_decay", "n_iter_no_change", "precision")
    # The front end stores little per sample: a quarter of the memory of the blocks per step.
    max_samples = min(max(1, int(most_steps(plan) * max(1.0, hop / 4.0))), _MOST_SAMPLES)
    return TrainingOptions(max_samples=max_samples, device=device, **{name: getattr(options, name) for name in names})


def embed_batch(network: nn.Module, batch: Batch, generator: torch.Generator | None) -> Tensor:
    """Return the input of the head for the cases of a batch, (batch, d_model * order)."""
    own = cast(S4Network, network)
    frames = own.frontend.features(Frames(batch.x, batch.mask, batch.rate, batch.gaps))
    return cast(Tensor, own.pooling(network_steps(own, frames), frames.mask, frames.gaps))


def most_steps(plan: Plan) -> int:
    """Return how many frames fit into memory at once."""
    # A training step stores some 2 kB per frame, layer and 64 features, and 4 kB for mixing bands: about a gigabyte.
    width: int = plan.stack["d_model"] * plan.stack["n_layers"] + 128 * (plan.hop_s is not None)
    return max(1, 2**25 // (width * int(plan.stack["n_networks"])))
