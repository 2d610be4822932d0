"""A ridge regression on the blocks of a feature map, for the closed form and to initialise networks; and its file."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s4signal.errors import ModelFileError
from s4signal.estimators.features.drawing import draw_feature_map
from s4signal.estimators.features.feature_map import (
    OBSERVATIONS,
    Blocks,
    FeatureMap,
    ObservationSummaries,
)
from s4signal.estimators.features.recordings import Recordings, TrainingCases
from s4signal.estimators.model_file import State
from s4signal.estimators.standardizer import Standardizer
from s4signal.estimators.survey import Survey, relative_periods
from s4signal.random_features.combinations import FilterCombinations
from s4signal.random_features.contrast import CONTRASTS, LINES
from s4signal.random_features.left_out import ALPHAS, Floats, LeftOut, Loss, squared_errors
from s4signal.random_features.ridge import Ridge, Rule, fit_ridge
from s4signal.random_features.statistics import PooledStatistics
from s4signal.training import PRECISIONS

_OCTAVES = 2  # halvings of the sampling rate with coefficients of their own


class FeatureRegression(NamedTuple):
    """A feature map and the regression on its features."""

    feature_map: FeatureMap
    ridge: Ridge

    def outputs(self, recordings: Recordings, *, warn: bool = False) -> Floats:
        """Return the outputs for cases, (n, n_outputs); ``warn`` if cases have other units."""
        blocks = self.feature_map.blocks(recordings, wanted=frozenset(self.ridge.blocks), warn=warn)
        return self.ridge.predict(np.concatenate([*blocks.values()], axis=1), self.octaves(recordings))

    def octaves(self, recordings: Recordings) -> NDArray[np.int64]:
        """Return the octaves between the rate of each case and that of the feature map, (n,)."""
        return self._octaves(relative_periods(recordings.signals, self.feature_map.sfreq))

    def at(self, period: float, *, factor: float = 1.0) -> Rule:
        """Return the rule from features (n, p) of cases with this period to the outputs, times a factor."""
        return self.ridge.of_subset(int(self._octaves(np.array([period]))[0]), factor=factor)

    def _octaves(self, periods: Floats) -> NDArray[np.int64]:
        octaves = np.ceil(np.log2(periods) - 1e-6)
        return np.clip(octaves, 0, n_octaves(self.feature_map.sfreq)).astype(np.int64)

    def to_state(self, seed: int) -> State:
        """Return the state, including the seed of the feature map."""
        arrays = {name: value for name, value in self.ridge._asdict().items() if isinstance(value, np.ndarray)}
        ridge = State({"alpha": self.ridge.alpha, "blocks": list(self.ridge.blocks)}, arrays)
        return State({}, {}).nest("features", map_state(self.feature_map, seed)).nest("ridge", ridge)

    @classmethod
    def from_state(
        cls, state: State, *, n_channels: int, sfreq: float | None, precision: str
    ) -> "tuple[FeatureRegression, int]":
        """Check and restore the state of `to_state`; return the regression and the seed."""
        feature_map, seed = map_from_state(state.part("features"), n_channels, sfreq, precision)
        ridge = ridge_from_state(state.part("ridge"), feature_map.sizes, n_subsets=n_octaves(sfreq))
        return cls(feature_map, ridge), seed


class Solved(NamedTuple):
    """A fitted regression, its cases and blocks; duplicates are merged, ``places`` are the positions of given cases."""

    regression: FeatureRegression
    cases: TrainingCases
    places: NDArray[np.intp]
    blocks: Blocks
    solve: Callable[[Any], Ridge]  # fits another ridge on some of these cases

    def outputs_without(self, held_out: NDArray[np.intp]) -> tuple[Floats, NDArray[np.intp]]:
        """Return outputs (n, n_outputs) of a ridge fitted to the other merged cases (leave-one-out), and their indices.

        The feature map is fitted to all cases, because it does not depend on targets.
        """
        others = np.delete(np.arange(len(self.cases.weights)), held_out)
        ridge = self.solve(others)
        outputs = np.empty((len(self.cases.weights), ridge.coef.shape[-1]))
        outputs[others] = ridge.loo_predictions
        features = np.concatenate([block[held_out] for block in self.blocks.values()], axis=1)
        outputs[held_out] = ridge.predict(features, self.regression.octaves(self.cases.recordings.take(held_out)))
        return outputs, others


def fit_regression(
    options: Any,
    cases: TrainingCases,
    rng: np.random.RandomState,
    *,
    seed: int,
    targets: Callable[[TrainingCases], Floats] = attrgetter("targets"),
    alphas: Sequence[float] = ALPHAS,
    found: Survey | None = None,
    standardizer: Standardizer | None = None,
    loss: Loss = squared_errors,
) -> Solved:
    """Draw a feature map, compute features, and fit a regression to the targets, or to what ``targets`` returns.

    ``options`` has the parameters of `S4RandomFeatures`. ``found``, a survey of the cases with digests, and
    ``standardizer`` are computed if they are not given. ``loss`` is the loss of left-out groups.
    """
    draws = np.random.RandomState(seed)
    drawn = draw_feature_map(options, cases.recordings, cases.weights, draws, found=found, standardizer=standardizer)
    cases, places = cases.merged(drawn.found.digests)
    blocks = drawn.feature_map.blocks(cases.recordings)
    feature_map = drawn.feature_map.with_fill(blocks, cases.weights)

    def solve(rows: Any) -> Ridge:
        some = cases.take(rows)
        groups, weights = _left_out_together(some), some.weights / some.weights.mean()
        return fit_ridge(
            {name: block[rows] for name, block in blocks.items()},
            LeftOut(targets(some), weights, alphas, groups, squared_errors if groups is None else loss),
            rng,
            shared_scale=CONTRASTS.keys(),  # large variance in a narrow band is not noise
            preferred=OBSERVATIONS,
            doubtful=frozenset({LINES}),
            subsets=octave_subsets(feature_map),
        )

    return Solved(FeatureRegression(feature_map, solve(slice(None))), cases, places, blocks, solve)


def _left_out_together(cases: TrainingCases) -> NDArray[np.intp] | None:
    """Return the group number of each case, (n,); None if a class or tag, or its absence, occurs in only one group."""
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
    """Return which features exist at half the rate and at a quarter of it."""
    return [feature_map.exists(2.0**i) for i in range(1, n_octaves(feature_map.sfreq) + 1)]


def n_octaves(sfreq: float | None) -> int:
    """Return the number of halvings of the sampling rate with coefficients of their own."""
    return 0 if sfreq is None else _OCTAVES


_REVISION = 1  # of the feature definitions; a file of another revision is refused, as its coefficients do not apply
_HIGHEST_ORDER = 64
_LONGEST_HOP = 64


def map_state(features: FeatureMap, seed: int) -> State:
    """Return the state of a feature map and the seed it was drawn with."""
    state = State({"revision": _REVISION, "seed": seed, "timed": features.timed}, {"fill": features.fill})
    state = state.nest("standardizer", features.standardizer.to_state())
    state = state.nest("oscillators", _bank_state(features.oscillators))
    for name, bank in features.contrasts.items():
        state = state.nest(CONTRASTS[name].part, _bank_state(bank))
    if features.summaries is not None:
        state = state.nest("summaries", features.summaries.to_state())
    return state


def map_from_state(state: State, n_channels: int, sfreq: float | None, precision: str) -> tuple[FeatureMap, int]:
    """Restore the feature map of `map_state`, and its seed."""
    if state.value("revision", int) != _REVISION:
        raise ModelFileError("it is of a version of s4signal that has other features; fit and save again.")
    standardizer = Standardizer.from_state(state.part("standardizer"), n_channels=n_channels)
    dtype, summaries = PRECISIONS[precision], None
    oscillators = _bank_from_state(state.part("oscillators"), n_channels, sfreq or 1.0, dtype)
    contrasts = {}
    for name, kind in CONTRASTS.items() if n_channels > 1 else ():
        if name != LINES or kind.part in state.plain:  # files of older versions, and of short cases, have no lines
            log = kind.shrinkage is not None
            bank = _bank_from_state(state.part(kind.part), len(oscillators.components), sfreq or 1.0, dtype, log=log)
            contrasts[name] = bank
    if "summaries" in state.plain:
        summaries = ObservationSummaries.from_state(state.part("summaries"), n_channels)
    fill, timed = state.array("fill", None), state.value("timed", bool)
    features = FeatureMap(standardizer, oscillators, contrasts, summaries, sfreq, dtype, timed, fill)
    if len(fill) != sum(features.sizes.values()):
        raise ModelFileError("its parts are of models of different sizes.")
    return features, state.value("seed", int, low=0)


def ridge_from_state(state: State, sizes: Mapping[str, int], *, n_subsets: int) -> Ridge:
    """Restore a regression on feature blocks of these sizes."""
    used, n_features = state.values("blocks", str), sum(sizes.values())
    if not used or not set(used) <= set(sizes):
        raise ModelFileError(f"blocks must be some of {', '.join(sizes)}, got {used[:10]}.")
    coef = state.array("coef", 1 + n_subsets, n_features, None)
    k = coef.shape[-1]
    return Ridge(
        **{name: state.array(name, n_features) for name in ("mean", "scale", "low", "high")},
        coef=coef,
        intercept=state.array("intercept", k),
        alpha=state.value("alpha", float, low=0.0),
        blocks=tuple(used),
        loo_predictions=state.array("loo_predictions", None, k, finite=False),
    )


def _bank_state(bank: PooledStatistics) -> State:
    state = State({"n_windows": bank.n_windows, "shrinkage": bank.shrinkage}, _arrays(bank))
    return state if bank.combinations is None else state.nest("combinations", State({}, _arrays(bank.combinations)))


def _arrays(record: Any) -> dict[str, NDArray[Any]]:
    """Return the tensors of a dataclass, by name."""
    values = {field.name: getattr(record, field.name) for field in fields(record)}
    return {name: value.numpy() for name, value in values.items() if isinstance(value, Tensor)}


def _bank_from_state(
    state: State, n_channels: int, sfreq: float, dtype: torch.dtype, *, log: bool = True
) -> PooledStatistics:
    filters = state.array("spatial_filters", None, None, n_channels)
    F, J, _ = filters.shape
    orders, hops = state.array("orders", F, kinds="i"), state.array("hops", F, positive=True)
    components = state.array("components", None, n_channels)
    if F == 0 or (orders < 1).any() or orders.max() > _HIGHEST_ORDER or hops.max() > _LONGEST_HOP:
        raise ModelFileError("the orders or hops of its oscillators are out of range.")
    if not 1 <= len(components) <= n_channels:
        raise ModelFileError(f"it has {len(components)} components of {n_channels} channels.")
    combinations = _combinations_from_state(state.part("combinations"), F * J, dtype) if J > 0 else None
    gaussian = {name: state.array(name, F, J, 2) for name in ("quantiles", "thresholds", "scales")}
    floats = {"spatial_filters": filters, "components": components, **gaussian}
    return PooledStatistics(
        frequencies_hz=torch.from_numpy(state.array("frequencies_hz", F).astype(np.float64)),
        bandwidths_hz=torch.from_numpy(state.array("bandwidths_hz", F, positive=True).astype(np.float64)),
        orders=torch.from_numpy(orders.astype(np.int64)),
        hops=torch.from_numpy(hops.astype(np.float64)),
        has_segment_means=torch.from_numpy(state.array("has_segment_means", F, kinds="b")),
        **{name: torch.from_numpy(array).to(dtype) for name, array in floats.items()},
        sfreq=sfreq,
        # The feature map checks sizes; narrow bands have no spatial filters and no windows.
        n_windows=state.value("n_windows", int, low=1, high=2**20 if J > 0 else 1),
        shrinkage=state.value("shrinkage", float if log else None, low=0.0),
        combinations=combinations,
    )


def _combinations_from_state(state: State, n_outputs: int, dtype: torch.dtype) -> FilterCombinations:
    members = state.array("members", None, None, kinds="i")
    Q, k = members.shape
    if Q == 0 or k == 0 or members.min() < 0 or members.max() >= n_outputs:
        raise ModelFileError("its filter combinations refer to filters that do not exist.")
    weights, quantiles = state.array("weights", Q, 2 * k, 2 * k), state.array("quantiles", Q, 2 * k, None)
    floats = weights, quantiles, state.array("thresholds", *quantiles.shape)
    return FilterCombinations(
        torch.from_numpy(members.astype(np.int64)), *(torch.from_numpy(x).to(dtype) for x in floats)
    )
