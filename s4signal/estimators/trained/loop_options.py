"""From an estimator's parameters to the options of the training loop."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from s4signal.estimators.trained.precompute import score_heard
from s4signal.nn.backbone import state_space_parameters
from s4signal.training import TrainingOptions

if TYPE_CHECKING:
    from s4signal.estimators.trained.base import S4Estimator

__all__ = ["network_options", "training_options"]

AVERAGING = 0.98  # of the weights: over some fifty steps, for sparse records and behind the filter bank


def network_options(estimator: S4Estimator, n_cases: int, device: torch.device) -> TrainingOptions:
    """Say how to run and train the whole network on raw signals."""
    plan, batch_size, max_epochs = estimator._plan, estimator.batch_size, estimator.max_epochs
    ears = plan.frontend == "filterbank"
    if isinstance(batch_size, str):
        # Ears gain by more steps of fewer cases, at about the time of more passes.
        batch_size = 64 if n_cases > 4096 else 16 if ears else 32
    steps = 1 if batch_size is None else math.ceil(n_cases / batch_size)
    if isinstance(max_epochs, str):
        # Small sets need steps, large ones passes; sparse records are known by heart after a few.
        max_epochs = max(5 if plan.sampling.sparse else 15 if ears else 20, math.ceil(200 / steps))
    hop = 1.0 if plan.hop_s is None else plan.hop_s * (plan.sfreq or 1.0)
    return TrainingOptions(
        max_epochs=max_epochs,
        batch_size=batch_size,
        learning_rate=estimator.learning_rate,
        ssm_learning_rate=estimator.ssm_learning_rate,
        weight_decay=estimator.weight_decay,
        n_iter_no_change=estimator.n_iter_no_change,
        # The front end keeps little of each sample: a quarter of what the blocks keep of a step.
        max_samples=max(1, int(_max_steps(estimator) * max(1.0, hop / 4.0))),
        device=device,
        precision=estimator.precision,
        seed=0,
        state_space=state_space_parameters(estimator.network_),
        averaging=AVERAGING if plan.sampling.sparse or ears else 0.0,
    )


def training_options(
    estimator: S4Estimator, n_cases: int, seed: int, device: torch.device, **changes: Any
) -> TrainingOptions:
    """Say how to train the learned part of the network: on what its front end hears, if that has nothing to learn."""
    options = network_options(estimator, n_cases, device)
    if estimator.network_.frontend.precomputable:
        options = replace(options, forward=score_heard)
    return replace(options, seed=seed, max_samples=_max_steps(estimator), **changes)


def _max_steps(estimator: S4Estimator) -> int:
    # A training step keeps some 2 kB a step, layer and 64 features, the ears' mixing 4 kB: about a gigabyte.
    plan = estimator._plan
    width: int = plan.stack["d_model"] * plan.stack["n_layers"] + 128 * (plan.hop_s is not None)
    return max(1, 2**25 // width)
