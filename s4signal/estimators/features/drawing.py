"""Draw the feature map of the closed form from training cases, in one pass over them."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s4signal.estimators.features.feature_map import FeatureMap, ObservationSummaries
from s4signal.estimators.features.recordings import Recordings, weights_of_first
from s4signal.estimators.parameters import check_band
from s4signal.estimators.standardizer import Standardizer
from s4signal.estimators.survey import Survey, check_squares, survey
from s4signal.random_features.combinations import draw_combinations, normal_quantiles
from s4signal.random_features.contrast import contrast_banks
from s4signal.random_features.filters import (
    draw_oscillators,
    draw_spatial_filters,
    oscillator_hops,
    principal_components,
)
from s4signal.random_features.statistics import PooledStatistics
from s4signal.signals import Signal, Signals
from s4signal.training import PRECISIONS

_CALIBRATION = 64  # cases from which thresholds and principal components are computed
_MOST_NUMBERS = 2**26  # values in these cases together
_FRAMES = 8  # minimum in each window of the shortest case
_OUTPUTS = 1536  # channels x oscillators, by default


class FeatureOptions(NamedTuple):
    """The parameters of `S4RandomFeatures` that determine a feature map, and their defaults."""

    n_oscillators: str | int = "auto"
    orders: tuple[int, ...] = (1, 2)
    n_spatial_filters: int = 4
    n_windows: int = 4
    band_hz: tuple[float, float] | None = None
    precision: str = "32"


class Drawn(NamedTuple):
    """A feature map without ``fill``, its calibration cases and their weights, and the survey of all cases."""

    feature_map: FeatureMap
    calibration: Recordings
    calibration_weights: NDArray[np.float64]
    found: Survey


def draw_feature_map(
    options: Any,
    recordings: Recordings,
    weights: NDArray[np.float64],
    rng: np.random.RandomState,
    *,
    found: Survey | None = None,
    standardizer: Standardizer | None = None,
) -> Drawn:
    """Draw oscillators for the rate, duration and channels of cases, and compute thresholds from some of them.

    ``options`` has the parameters of `S4RandomFeatures`. Every case is read once; cases of weight 0 are only checked.
    With duplicates, some calibration cases are read again. With a survey ``found`` of complete cases, only the
    calibration cases are read.
    """
    signals, sfreq, visitor = recordings.signals, recordings.signals.sfreq, None
    check_band(options.band_hz, sfreq)
    if found is None:
        visitor = _SurveyVisitor(recordings, set(_calibration_cases(signals, weights, copy.deepcopy(rng)).tolist()))
        found = survey(recordings.recorded, hashed=True, visit=visitor)
    weights, _ = weights_of_first(found.digests, weights / weights.max())
    some = _calibration_cases(signals, found.without_outliers(weights), rng)  # only duplicates change it
    calibration = recordings.take(some).in_memory() if visitor is None else visitor.kept(some)
    if standardizer is None:
        standardizer = Standardizer.fit(found if visitor is None else visitor.on_grid(found), weights)
    used, few_weights = np.flatnonzero(weights > 0), weights[some]
    cases = [standardizer(case.data) for case in calibration.signals]
    for data in cases:
        data[np.isnan(data)] = 0.0  # channels without observations
    rate, shortest, dtype = sfreq or 1.0, float(signals.lengths[used].min()), PRECISIONS[options.precision]
    components = principal_components(cases, few_weights, signals.n_channels)
    oscillators, contrasts = _draw_oscillators(options, components, rate, shortest, rng), {}
    if signals.n_channels > 1:
        longest_hop, band_hz = shortest / (_FRAMES * options.n_windows), options.band_hz
        contrasts = contrast_banks(
            cases, len(components), sfreq=rate, shortest=shortest, longest_hop=longest_hop, dtype=dtype, band_hz=band_hz
        )
    summaries, fill = ObservationSummaries.fit(found.take(used), weights[used]), np.empty(0)
    drawn = FeatureMap(standardizer, oscillators, contrasts, summaries, sfreq, dtype, recordings.timed, fill)
    oscillators = oscillators.calibrated(_weighted_batches(drawn, calibration, few_weights))
    return Drawn(replace(drawn, oscillators=oscillators), calibration, few_weights, found)


class _SurveyVisitor:
    """Visitor of the survey: sums on the grid and keeps the calibration cases."""

    def __init__(self, recordings: Recordings, chosen: set[int]) -> None:
        self._recordings, self._chosen = recordings, chosen
        self._moments: dict[int, tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]] = {}
        self._kept: dict[int, tuple[Signal, Signal]] = {}

    def __call__(self, index: int, case: Signal) -> None:
        data = self._recordings.fill(case, index)
        if data is not case.data:  # the survey adds up other samples
            count = np.where(np.isnan(data[:, 0]), 0, data.shape[1])
            observed = np.where(count[:, None] > 0, data, 0.0)
            with np.errstate(over="ignore"):
                variances = observed.var(1, dtype=np.float64)
            check_squares(variances, case, index)
            self._moments[index] = (count, observed.mean(1, dtype=np.float64), variances)
        if index in self._chosen:
            on_grid = self._recordings.signals[index] if self._recordings.timed else case
            self._kept[index] = (replace(on_grid, data=data), case)

    def on_grid(self, found: Survey) -> Survey:
        """Return the survey with the sums of the interpolated samples on the grid."""
        n_observed, sums, squares = found.n_observed.copy(), found.sums.copy(), found.squares.copy()
        for index, (count, mean, variance) in self._moments.items():
            centred = mean - found.shift
            n_observed[index], sums[index] = count, count * centred
            squares[index] = count * (variance + centred**2)
        return replace(found, n_observed=n_observed, sums=sums, squares=squares)

    def kept(self, some: NDArray[np.intp]) -> Recordings:
        """Return the calibration cases, in memory; load those that were not chosen before."""
        self._chosen = set(some.tolist())
        for index in self._chosen - set(self._kept):
            self(index, self._recordings.recorded[index])
        on_grid, recorded = zip(*(self._kept[index] for index in some.tolist()), strict=True)
        return Recordings(Signals.from_cases(on_grid), Signals.from_cases(recorded), self._recordings.timed)


def _calibration_cases(signals: Signals, weights: NDArray[np.float64], rng: np.random.RandomState) -> NDArray[np.intp]:
    """Choose at most 64 cases of positive weight to keep in memory; fewer if they are long."""
    used = np.flatnonzero(weights > 0)
    numbers = signals.lengths[used] * signals.n_channels
    if len(used) > _CALIBRATION or numbers.sum() > _MOST_NUMBERS:
        used = used[rng.permutation(len(used))[:_CALIBRATION]]
        fitting = np.cumsum(signals.lengths[used] * signals.n_channels) <= _MOST_NUMBERS
        used = used[: max(1, int(fitting.sum()))]
    return np.sort(used)


def _draw_oscillators(
    options: Any, components: NDArray[np.float64], sfreq: float, shortest: float, rng: np.random.RandomState
) -> PooledStatistics:
    C, n_windows, dtype = components.shape[1], options.n_windows, PRECISIONS[options.precision]
    J = 1 if C == 1 else options.n_spatial_filters
    F = min(max(_OUTPUTS // C, 64), 256) if isinstance(options.n_oscillators, str) else options.n_oscillators
    frequencies, bandwidths = draw_oscillators(
        F, sfreq=sfreq, duration_s=shortest / sfreq, rng=rng, band_hz=options.band_hz
    )
    hops = oscillator_hops(frequencies, bandwidths, sfreq=sfreq, longest=shortest / (_FRAMES * n_windows))
    filters, quantiles = draw_spatial_filters(F, J, C, rng), normal_quantiles(F, J, 2).to(dtype)
    bank = PooledStatistics(
        frequencies_hz=torch.from_numpy(frequencies),
        bandwidths_hz=torch.from_numpy(bandwidths),
        orders=torch.from_numpy(np.resize(options.orders, F).astype(np.int64)),
        hops=torch.from_numpy(hops),
        # The mean over a window shorter than a period depends on the phase.
        has_segment_means=torch.from_numpy(frequencies * shortest <= n_windows * sfreq),
        spatial_filters=torch.from_numpy(filters).to(dtype),
        components=torch.from_numpy(components).to(dtype),
        quantiles=quantiles,
        thresholds=torch.zeros_like(quantiles),
        scales=torch.zeros_like(quantiles),
        sfreq=sfreq,
        n_windows=n_windows,
        shrinkage=0.01,
    )
    groups = (group.oscillators.numpy() for group in bank.groups(1.0))
    return replace(bank, combinations=draw_combinations(groups, frequencies, J, rng=rng, dtype=dtype))


def _weighted_batches(
    drawn: FeatureMap, cases: Recordings, weights: NDArray[np.float64]
) -> Iterator[tuple[Tensor, Tensor, float, Tensor]]:
    for indices, x, lengths, rate, _ in drawn.batches(cases, np.empty((len(weights), cases.signals.n_channels + 1))):
        yield x, lengths, rate, torch.from_numpy(weights[indices]).to(x.dtype)
