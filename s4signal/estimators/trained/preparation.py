"""Cases as the learned part of a network takes them."""

from __future__ import annotations

from s4signal.estimators.trained.plan import Plan
from s4signal.estimators.trained.precompute import feature_batches, precompute_versions
from s4signal.estimators.trained.readout import start_at_zero
from s4signal.nn import S4Network
from s4signal.training import Cases, TrainingOptions


def prepare_training(
    network: S4Network, cases: Cases, options: TrainingOptions, plan: Plan, seed: int, *, first: bool, budget_gb: float
) -> Cases:
    """Return training cases, with changed versions where they have such.

    The front end of a network that is ``first`` trained is calibrated, and its head has nothing to add to a readout.
    """
    frontend = network.frontend.eval()
    cases = precompute_versions(frontend, cases, options, seed=seed, budget_gb=budget_gb)
    if first and plan.readout == "closed_form":
        start_at_zero(network.head)
    if first:
        frontend.calibrate(feature_batches(frontend, cases, options))
    return cases
