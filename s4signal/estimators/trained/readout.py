"""The readout in closed form: what ridge regression says of the cases, from which the layers learn the rest.

The layers are trained on what is left of the training cases by predictions of each case from the others, so that what
the regression has learned by heart is not taken for what it knows.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import nn

from s4signal.errors import ModelFileError
from s4signal.estimators.calibration import temperature
from s4signal.estimators.features.drawing import FeatureOptions
from s4signal.estimators.features.recordings import TrainingCases, on_grid
from s4signal.estimators.features.regression import FeatureRegression, fit_regression
from s4signal.estimators.features.streaming import FeatureStream
from s4signal.estimators.model_file import State
from s4signal.estimators.standardizer import Standardizer
from s4signal.estimators.survey import Survey
from s4signal.signals import Signals

MOST_CASES = 4000  # each of which is predicted from all others
MOST_NUMBERS = 2**27  # of the training cases: what is kept in memory, half a gigabyte in single precision

Floats = NDArray[np.float64]


def check_many(readout: str, n_cases: int) -> str:
    """Return the readout, unless there are too many cases for it."""
    if readout == "closed_form" and n_cases > MOST_CASES:
        raise ValueError(
            f"readout='closed_form' takes at most {MOST_CASES:,} training cases, got {n_cases:,}; use readout='pooled'."
        )
    return readout


class Readout(NamedTuple):
    """A regression on frozen features, and the factor from its outputs to those of the network."""

    regression: FeatureRegression
    scale: float

    def scores(self, signals: Signals) -> Floats:
        """Score cases, (n, n_outputs)."""
        return self.scale * self.regression.outputs(on_grid(signals, self.regression.feature_map.sfreq or 1.0))

    def stream(self, period: float) -> FeatureStream:
        """Return what scores a signal as it arrives, (n_outputs,)."""

        def scores(features: Floats, period: float) -> Floats:
            return self.scale * self.regression.of_features(features, np.array([period]))

        return FeatureStream(self.regression.feature_map, scores, period=period)

    def describe(self) -> str:
        """Return a phrase for a person."""
        ridge = self.regression.ridge
        return f"closed form, of {len(ridge.mean):,} features ({', '.join(ridge.blocks)}), to which the layers add"

    def to_state(self) -> State:
        """Say it in plain values and arrays."""
        state = self.regression.to_state(0)
        return State({**state.plain, "scale": self.scale}, state.arrays)

    @classmethod
    def from_state(
        cls, state: State, *, n_channels: int, n_outputs: int, sfreq: float | None, precision: str
    ) -> Readout:
        """Check and restore what `to_state` said."""
        precision = _precision(precision)
        regression, _ = FeatureRegression.from_state(state, n_channels=n_channels, sfreq=sfreq, precision=precision)
        if regression.ridge.coef.shape[-1] != n_outputs:
            raise ModelFileError(f"its readout has {regression.ridge.coef.shape[-1]} outputs, not {n_outputs}.")
        return cls(regression, state.value("scale", float, low=0.0, high=np.exp(5.01)))


def fit_readout(
    signals: Signals,
    found: Survey,
    weights: Floats,
    targets: Floats,
    *,
    task: str,
    standardizer: Standardizer,
    sfreq: float | None,
    precision: str,
    band_hz: tuple[float, float] | None,
    seed: int,
    groups: NDArray[Any] | None,
) -> tuple[Readout, Floats]:
    """Fit to training cases; return also the scores (n, n_outputs) of each by the regression on the others.

    Cases of one group are left out together, where each class is of several groups.

    Targets are signs of "classes" or "tags", or standardised "numbers", (n, n_outputs).
    """
    cases = TrainingCases(on_grid(signals, sfreq or 1.0), targets, weights / weights.max(), groups)
    complete = not found.has_times.any() and not found.missing.any()
    solved = fit_regression(
        FeatureOptions(band_hz=band_hz, precision=_precision(precision)),
        cases,
        np.random.RandomState(seed),
        seed=seed,
        targets=lambda merged: merged.targets,
        found=found if complete else None,
        standardizer=standardizer,
    )
    left_out, scale = solved.regression.ridge.loo_predictions, 1.0
    if task != "numbers":
        scale = temperature(left_out, solved.cases.targets, solved.cases.weights, tags=task == "tags")
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
