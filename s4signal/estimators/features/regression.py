"""A ridge regression on the blocks of a feature map: what the closed form is, and what a network may start from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from s4signal.estimators.features.drawing import draw_feature_map
from s4signal.estimators.features.feature_map import NARROW_BANDS, OBSERVATIONS, Blocks, FeatureMap
from s4signal.estimators.features.recordings import Recordings, TrainingCases
from s4signal.estimators.features.states import map_from_state, map_state, ridge_from_state, ridge_state
from s4signal.estimators.model_file import State
from s4signal.estimators.standardizer import Standardizer
from s4signal.estimators.survey import Survey, relative_periods
from s4signal.random_features.left_out import ALPHAS, Floats, LeftOut, Loss, squared_errors
from s4signal.random_features.ridge import Ridge, Rule, fit_ridge

_OCTAVES = 2  # halvings of the sampling rate that have coefficients of their own


class FeatureRegression(NamedTuple):
    """A feature map and the regression on its features."""

    feature_map: FeatureMap
    ridge: Ridge

    def outputs(self, recordings: Recordings, *, warn: bool = False) -> Floats:
        """Return what it says of cases, (n, n_outputs); ``warn`` of those in other units."""
        blocks = self.feature_map.blocks(recordings, wanted=frozenset(self.ridge.blocks), warn=warn)
        periods = relative_periods(recordings.signals, self.feature_map.sfreq)
        return self.ridge.predict(np.concatenate([*blocks.values()], axis=1), self._octaves(periods))

    def at(self, period: float, *, factor: float = 1.0) -> Rule:
        """Return what says it, times a factor, of features (n, p) of cases with this period."""
        return self.ridge.of_subset(int(self._octaves(np.array([period]))[0]), factor=factor)

    def _octaves(self, periods: Floats) -> NDArray[np.int64]:
        octaves = np.ceil(np.log2(periods) - 1e-6)
        return np.clip(octaves, 0, n_octaves(self.feature_map.sfreq)).astype(np.int64)

    def to_state(self, seed: int) -> State:
        """Say it, and the seed of its feature map."""
        state = State({}, {}).nest("features", map_state(self.feature_map, seed))
        return state.nest("ridge", ridge_state(self.ridge))

    @classmethod
    def from_state(
        cls, state: State, *, n_channels: int, sfreq: float | None, precision: str
    ) -> tuple[FeatureRegression, int]:
        """Check and restore what `to_state` said, and the seed."""
        feature_map, seed = map_from_state(state.part("features"), n_channels, sfreq, precision)
        ridge = ridge_from_state(state.part("ridge"), feature_map.sizes, n_subsets=n_octaves(sfreq))
        return cls(feature_map, ridge), seed


class Solved(NamedTuple):
    """A fitted regression; its cases, of which those that are the same are one (``places`` says which), by block."""

    regression: FeatureRegression
    cases: TrainingCases
    places: NDArray[np.intp]
    blocks: Blocks


def fit_regression(
    options: Any,
    cases: TrainingCases,
    rng: np.random.RandomState,
    *,
    seed: int,
    targets: Callable[[TrainingCases], Floats],
    alphas: Sequence[float] = ALPHAS,
    found: Survey | None = None,
    standardizer: Standardizer | None = None,
    loss: Loss = squared_errors,
) -> Solved:
    """Draw a feature map, describe cases, and regress what ``targets`` makes of them.

    ``options`` has the parameters of `S4RandomFeatures`; ``found`` is what a survey with digests found of the cases,
    and ``standardizer`` one of their channels, where these are there already. ``loss`` is that of groups left out.
    """
    draws = np.random.RandomState(seed)
    drawn = draw_feature_map(options, cases.recordings, cases.weights, draws, found=found, standardizer=standardizer)
    cases, places = cases.merged(drawn.found.digests)
    blocks = drawn.feature_map.blocks(cases.recordings)
    feature_map = drawn.feature_map.with_fill(blocks, cases.weights)
    groups, weights = _left_out_together(cases), cases.weights / cases.weights.mean()
    ridge = fit_ridge(
        blocks,
        LeftOut(targets(cases), weights, alphas, groups, squared_errors if groups is None else loss),
        rng,
        shared_scale={NARROW_BANDS},  # what varies most in a narrow band is no noise
        preferred=OBSERVATIONS,
        subsets=octave_subsets(feature_map),
    )
    return Solved(FeatureRegression(feature_map, ridge), cases, places, blocks)


def _left_out_together(cases: TrainingCases) -> NDArray[np.intp] | None:
    """Number the groups of cases, (n,), unless all cases of a class or tag, or none of it, are of one group."""
    if cases.groups is None:
        return None
    names, numbers = np.unique(cases.groups, return_inverse=True)
    if not 1 < len(names) < len(numbers):
        return None
    for column in cases.targets.T:
        alike = [column == sign for sign in (-1.0, 1.0)]
        if (alike[0] | alike[1]).all() and min(len(np.unique(numbers[some])) for some in alike) < 2:
            return None
    return np.asarray(numbers, dtype=np.intp)


def octave_subsets(feature_map: FeatureMap) -> list[NDArray[np.bool_]]:
    """Which features exist at half the rate, and at half of that."""
    return [feature_map.exists(2.0**i) for i in range(1, n_octaves(feature_map.sfreq) + 1)]


def n_octaves(sfreq: float | None) -> int:
    """How many halvings of the sampling rate have coefficients of their own."""
    return 0 if sfreq is None else _OCTAVES
