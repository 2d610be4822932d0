"""The readout in closed form: what ridge regression says of the cases, from which the layers learn the rest.

The layers are trained on what is left of the training cases by predictions of each case from the others, so that what
the regression has learned by heart is not taken for what it knows.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import nn

from s4signal.errors import ModelFileError
from s4signal.estimators.calibration import calibrated_losses, signs, temperature
from s4signal.estimators.features.drawing import FeatureOptions
from s4signal.estimators.features.recordings import TrainingCases, on_grid
from s4signal.estimators.features.regression import FeatureRegression, fit_regression
from s4signal.estimators.features.streaming import FeatureStream
from s4signal.estimators.model_file import State
from s4signal.estimators.standardizer import Standardizer
from s4signal.estimators.trained.defaults import MOST_CASES, MOST_NUMBERS
from s4signal.estimators.trained.plan import Plan
from s4signal.estimators.trained.training import LabelledCases
from s4signal.random_features.left_out import squared_errors
from s4signal.signals import Signals

Floats = NDArray[np.float64]


class Readout(NamedTuple):
    """A regression on frozen features, and the factor from its outputs to those of the network."""

    regression: FeatureRegression
    scale: float

    def scores(self, signals: Signals) -> Floats:
        """Score cases, (n, n_outputs); they are not read where nothing of it counts."""
        if self.scale == 0.0:
            return np.zeros((len(signals), self.regression.ridge.coef.shape[-1]))
        return self.scale * self.regression.outputs(on_grid(signals, self.regression.feature_map.sfreq or 1.0))

    def stream(self, period: float) -> FeatureStream:
        """Return what scores a signal as it arrives, (n_outputs,)."""
        used, scores = frozenset(self.regression.ridge.blocks), self.regression.at(period, factor=self.scale)
        return FeatureStream(self.regression.feature_map, scores, period=period, wanted=used)

    def describe(self) -> str:
        """Return a phrase for a person."""
        ridge = self.regression.ridge
        return f"closed form, of {len(ridge.mean):,} features ({', '.join(ridge.blocks)}), to which the layers add"

    def to_state(self) -> State:
        """Say it in plain values and arrays."""
        state = self.regression.to_state(0)
        return State({**state.plain, "scale": self.scale}, state.arrays)

    @classmethod
    def from_state(cls, state: State, plan: Plan, precision: str) -> Readout:
        """Check and restore what `to_state` said, for a network of this plan."""
        known: dict[str, Any] = {"n_channels": plan.n_channels, "sfreq": plan.sfreq, "precision": _precision(precision)}
        regression, _ = FeatureRegression.from_state(state, **known)
        n_outputs = regression.ridge.coef.shape[-1]
        if n_outputs != plan.n_outputs:
            raise ModelFileError(f"its readout has {n_outputs} outputs, not {plan.n_outputs}.")
        return cls(regression, state.value("scale", float, low=0.0, high=np.exp(5.01)))


def fit_readout(
    data: LabelledCases, plan: Plan, standardizer: Standardizer, *, classifies: bool, precision: str, seed: int
) -> tuple[Readout, Floats]:
    """Fit to cases with classes, tags or standardised targets; return also the scores (n, n_outputs) of those left out.

    Each case is left out, or all of its group, where each class is of several groups.
    """
    if len(data.signals) > MOST_CASES:
        raise ValueError(
            f"readout='closed_form' takes at most {MOST_CASES:,} training cases, got {len(data.signals):,}; use "
            "readout='pooled', and warm_start=False."
        )
    targets, found = signs(data.targets, plan.n_outputs) if classifies else data.targets, data.found
    recordings, weights = on_grid(data.signals, plan.sfreq or 1.0), data.weights / data.weights.max()
    loss = partial(calibrated_losses, tags=data.targets.ndim == 2) if classifies else squared_errors
    complete = not found.has_times.any() and not found.missing.any()
    solved = fit_regression(
        FeatureOptions(band_hz=plan.band_hz, precision=_precision(precision)),
        TrainingCases(recordings, targets, weights, data.groups),
        np.random.RandomState(seed),
        seed=seed,
        targets=lambda merged: merged.targets,
        found=found if complete else None,
        standardizer=standardizer,
        loss=loss,
    )
    left_out, scale = solved.regression.ridge.loo_predictions, 1.0
    if classifies:
        scale = temperature(left_out, solved.cases.targets, solved.cases.weights, tags=data.targets.ndim == 2)
    return Readout(solved.regression, scale), scale * left_out[solved.places]


def in_memory(signals: Signals) -> Signals:
    """Read cases, if they are not too large to be kept; else they are read once more."""
    if int(signals.lengths.sum()) * signals.n_channels > MOST_NUMBERS:
        return signals
    return Signals.from_cases(case.load() for case in signals.cases)


def start_at_zero(head: nn.Linear) -> None:
    """Let a head begin with nothing to add."""
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)


def _precision(precision: str) -> str:
    return "64" if precision == "64" else "32"
