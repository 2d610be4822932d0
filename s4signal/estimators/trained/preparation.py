"""Cases as the learned part of a network takes them, and what of the network is fitted before it is trained."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from s4signal.estimators.trained.plan import Plan
from s4signal.estimators.trained.precompute import Look, feature_batches, precompute, with_offsets, with_sample_dropout
from s4signal.estimators.trained.readout import CaseStatistics, start_at_zero
from s4signal.nn import S4Network
from s4signal.training import Cases, TrainingOptions


def prepare_training(
    network: S4Network,
    cases: Cases,
    options: TrainingOptions,
    plan: Plan,
    *,
    groups: NDArray[Any] | None,
    seed: int,
    first: bool,
    refit: bool,
    ask: bool,
) -> tuple[Cases, Plan]:
    """Return training cases, augmented by removed samples where the plan says so, and the plan with what they decided.

    A network that is ``first`` trained is calibrated. Its power readout is fitted where ``refit``, and taken out where
    the cases, asked by ``ask``, do not want it.
    """
    frontend, (found, look) = network.frontend.eval(), _statistics(network, plan)
    if "sample_dropout" in plan.augmentation:
        cases = with_sample_dropout(frontend, cases, options, seed=seed, look=look)
    else:
        cases = precompute(frontend, cases, options, look=look)
    if first:
        frontend.calibrate(feature_batches(frontend, cases, options))
    if found is None or cases.targets is None:
        return cases, plan
    if not refit:
        return with_offsets(cases, found.scores()), plan
    fitted = found.fit(cases.targets, cases.weights, groups)
    plan = plan._replace(why={**plan.why, "readout": "auto, " * ask + fitted.why})
    if first and ask and not fitted.better:
        network.readout = None
        return cases, plan._replace(n_oscillators=0)
    if first:
        start_at_zero(network.head)
    return with_offsets(cases, fitted.offsets), plan


def prepare_validation(network: S4Network, cases: Cases, options: TrainingOptions, plan: Plan) -> Cases:
    """Return cases to score."""
    found, look = _statistics(network, plan)
    cases = precompute(network.frontend, cases, options, look=look)
    return cases if found is None else with_offsets(cases, found.scores())


def _statistics(network: S4Network, plan: Plan) -> tuple[CaseStatistics, Look] | tuple[None, None]:
    if network.readout is None:
        return None, None
    found = CaseStatistics(network.readout, plan.n_inputs)
    return found, found.look
