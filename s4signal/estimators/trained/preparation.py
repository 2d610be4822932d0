"""Cases as the learned part of a network takes them, and what is known of them in closed form."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from s4signal.estimators.calibration import signs
from s4signal.estimators.standardizer import Standardizer
from s4signal.estimators.trained.plan import Plan
from s4signal.estimators.trained.precompute import feature_batches, precompute_versions
from s4signal.estimators.trained.readout import Readout, fit_readout, start_at_zero
from s4signal.estimators.trained.training import LabelledCases
from s4signal.nn import S4Network
from s4signal.training import Cases, TrainingOptions


def prepare_training(
    network: S4Network, cases: Cases, options: TrainingOptions, plan: Plan, seed: int, *, first: bool
) -> Cases:
    """Return training cases, with changed versions where they have such.

    The front end of a network that is ``first`` trained is calibrated, and its head has nothing to add to a readout.
    """
    frontend = network.frontend.eval()
    cases = precompute_versions(frontend, cases, options, seed=seed)
    if first and plan.readout == "closed_form":
        start_at_zero(network.head)
    if first:
        frontend.calibrate(feature_batches(frontend, cases, options))
    return cases


def fit_closed_form(
    data: LabelledCases, plan: Plan, standardizer: Standardizer, *, classifies: bool, precision: str, seed: int
) -> tuple[Readout, NDArray[np.float64]]:
    """Fit the readout to cases with classes, tags or standardised targets; return also what it says of those left out.

    Shape: (n, n_outputs).
    """
    task = "numbers" if not classifies else "tags" if data.targets.ndim == 2 else "classes"
    return fit_readout(
        data.signals,
        data.found,
        data.weights,
        signs(data.targets, plan.n_outputs) if classifies else data.targets,
        task=task,
        standardizer=standardizer,
        sfreq=plan.sfreq,
        precision=precision,
        band_hz=plan.band_hz,
        seed=seed,
        groups=data.groups,
    )
