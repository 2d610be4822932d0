"""The fitted feature map of the closed form: computes named feature blocks of checked cases."""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s4signal.estimators.features.recordings import Recordings
from s4signal.estimators.model_file import State
from s4signal.estimators.standardizer import FURTHEST, Standardizer, warn_of_differences
from s4signal.estimators.survey import Survey, relative_periods
from s4signal.random_features.contrast import CONTRASTS, contrast_exists
from s4signal.random_features.statistics import STATISTICS, PooledStatistics, feature_blocks
from s4signal.signals import Signal

_MEANS = ("mean", "recency-weighted mean", "last observation")


class ObservationSummaries(NamedTuple):
    """Means of the observations of each channel, split at the training mean, and their number.

    A mean with weights exp(-age / time_constant) is exact at any times and uses no interpolated values. The three means
    weight all observations equally, decay within a third of a case, and take the last observation only.
    """

    standardizer: Standardizer
    time_constant: float  # s, or samples where no rate is known

    @property
    def size(self) -> int:
        """Number of statistics."""
        return len(self.names([""] * len(self.standardizer.mean)))

    @classmethod
    def fit(cls, found: Survey, weights: NDArray[np.float64]) -> Self | None:
        """Fit to the channels (weights (n,)); return None unless most values are missing."""
        if not found.mostly_missing(weights):
            return None
        mean, std = found.moments(weights)
        scale = np.where(std > 1e-12 * np.abs(mean), std, np.inf)
        spans = np.where(found.has_times, found.spans_s, (found.lengths - 1) / np.nan_to_num(found.sfreqs, nan=1.0))
        return cls(Standardizer(np.nan_to_num(mean), scale), max(float(np.median(spans)), 1e-9) / 3.0)

    def describe(self, case: Signal, period: float) -> NDArray[np.float64]:
        """Return the statistics (size,); ``period`` is the sample period relative to training."""
        data, observed = self.standardizer(case.data), case.observed
        times = np.arange(case.length) / (case.sfreq or 1.0) if case.times is None else np.asarray(case.times, float)
        values = np.where(observed, np.clip(data, -FURTHEST, FURTHEST), 0.0)
        last = observed.shape[1] - 1 - observed[:, ::-1].argmax(1)
        age = np.maximum(times[last][:, None] - times, 0.0)
        ones, rows = observed.astype(np.float64), np.arange(len(observed))
        recent = ones * np.exp(-age / self.time_constant)
        means = [_mean(values, ones), _mean(values, recent), values[rows, last]]
        halves = [side(mean, 0.0) for mean in means for side in (np.maximum, np.minimum)]
        return np.concatenate([*halves, ones.sum(1) * period])

    def names(self, channels: list[str]) -> list[str]:
        """Return the names of the statistics."""
        halves = [f"{mean} {side} the training mean" for mean in _MEANS for side in ("above", "below")]
        return [f"{what}, {channel}" for what in (*halves, "number of observations") for channel in channels]

    def to_state(self) -> State:
        """Return the state in plain values and arrays."""
        return State({"time_constant": self.time_constant}, {}).nest("standardizer", self.standardizer.to_state())

    @classmethod
    def from_state(cls, state: State, n_channels: int) -> Self:
        """Restore the summaries of `to_state`."""
        standardizer = Standardizer.from_state(state.part("standardizer"), n_channels=n_channels)
        return cls(standardizer, state.value("time_constant", float, low=1e-12))


def _mean(values: NDArray[np.floating], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return weighted means of (n_channels, n_times); 0, the training mean, for a channel without observations."""
    total = weights.sum(1)
    return np.asarray((values * weights).sum(1) / np.where(total > 0, total, 1.0))


OBSERVATIONS = "observation summaries"
BLOCKS = (*STATISTICS, *CONTRASTS, OBSERVATIONS)

_BATCH_SAMPLES = 2**21  # numbers in a batch of cases
_BATCH_OUTPUTS = 2**16  # cases x channels x oscillators in a batch

Blocks = dict[str, NDArray[np.floating]]


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """Standardised channels, frozen oscillators, contrasts (for several channels) and observation summaries."""

    standardizer: Standardizer
    oscillators: PooledStatistics
    contrasts: Mapping[str, PooledStatistics]  # by block
    summaries: ObservationSummaries | None
    sfreq: float | None  # Hz, at training
    dtype: torch.dtype  # of the arithmetic
    timed: bool  # whether training cases carried times
    fill: NDArray[np.floating]  # (n_features,), training means, for features above the Nyquist frequency

    @property
    def banks(self) -> list[PooledStatistics]:
        """Oscillators, and the banks of contrasts if there are several channels."""
        return [self.oscillators, *self.contrasts.values()]

    def needed(self, wanted: Set[str]) -> list[Set[str]]:
        """Return the statistics of each bank that feature blocks need."""
        contrasts = [{"energies"} if name in wanted else frozenset[str]() for name in self.contrasts]
        return [wanted & {*STATISTICS}, *contrasts]

    @property
    def frequencies(self) -> NDArray[np.float64]:
        """Centre frequencies of all oscillators and bands, in Hz or cycles per sample."""
        return np.concatenate([bank.frequencies_hz.numpy() for bank in self.banks])

    @property
    def time_constants(self) -> NDArray[np.float64]:
        """Time constants of all oscillators and bands, in seconds or samples."""
        return np.concatenate([1.0 / (2.0 * np.pi * bank.bandwidths_hz.numpy()) for bank in self.banks])

    @property
    def sizes(self) -> dict[str, int]:
        """Number of features in each block."""
        pooled = [bank.finished(bank.empty(0, bank.spatial_filters)) for bank in self.banks]  # of no cases
        summaries = np.empty((0, 0 if self.summaries is None else self.summaries.size))
        return {name: block.shape[1] for name, block in self._named(pooled, summaries).items()}

    @property
    def members(self) -> NDArray[np.intp]:
        """Indices of the oscillators in each filter combination, (Q, k)."""
        combinations, J = self.oscillators.combinations, self.oscillators.spatial_filters.shape[1]
        return np.empty((0, 1), np.intp) if combinations is None else np.asarray(combinations.members.numpy() // J)

    @property
    def owners(self) -> NDArray[np.intp]:
        """Oscillator index of each feature, (n_features,); the highest frequency of a combination, -1 for summaries."""
        bank, sizes = self.oscillators, self.sizes
        F, J, _ = bank.spatial_filters.shape
        every, first = np.arange(F), np.cumsum([len(bank.hops) for bank in self.banks])
        segmented = np.repeat(every[bank.has_segment_means.numpy()], 2 * J * bank.n_windows)
        highest = np.take_along_axis(self.members, self.frequencies[self.members].argmax(1)[:, None], 1)[:, 0]
        owners = {
            "means": every,
            "ppv": every,
            "combinations": highest,
            "energies": every[bank.has_covariance.numpy()],
            **{name: np.arange(*ends) for name, ends in zip(self.contrasts, pairwise(first), strict=True)},
            OBSERVATIONS: np.array([-1]),
        }
        sizes["means"] -= len(segmented)
        repeated = {name: np.repeat(owners[name], size // max(1, len(owners[name]))) for name, size in sizes.items()}
        repeated["means"] = np.concatenate([repeated["means"], segmented])
        return np.concatenate(list(repeated.values()))

    def exists(self, rate: float) -> NDArray[np.bool_]:
        """Return which features exist, (n_features,), at a sample period of ``rate`` training periods."""
        drawn, *narrow = (bank.below_nyquist(rate).numpy() for bank in self.banks)
        exists = np.concatenate([drawn, *(contrast_exists(bands) for bands in narrow), [True]])  # last: summaries
        return np.asarray(exists[self.owners])

    def filled(self, features: NDArray[np.floating]) -> NDArray[np.floating]:
        """Replace features that do not exist (NaN) by their training means."""
        return np.where(np.isnan(features), self.fill, features)

    def with_fill(self, blocks: Mapping[str, NDArray[np.floating]], weights: NDArray[np.float64]) -> Self:
        """Return the map with the weighted means of these features as ``fill``."""
        return replace(self, fill=np.concatenate([np.average(b, axis=0, weights=weights) for b in blocks.values()]))

    def blocks(self, recordings: Recordings, *, wanted: Set[str] = frozenset(BLOCKS), warn: bool = False) -> Blocks:
        """Return the features of cases by block, each (n, p_i); NaN if they do not exist or are not ``wanted``.

        ``warn`` if cases differ from training: other units, another reference, a dead channel.
        """
        rows: Blocks = {}
        stats = np.full((len(recordings.signals), recordings.signals.n_channels + 1), np.nan)
        for indices, x, lengths, rate, summaries in self.batches(recordings, stats):
            parts = [
                bank.pool(self.input(bank, x), lengths, rate=rate, wanted=names)
                for bank, names in zip(self.banks, self.needed(wanted), strict=True)
            ]
            named = self._named(parts, summaries)
            rows = rows or {name: np.empty((len(stats), p.shape[1]), p.dtype) for name, p in named.items()}
            for name, part in named.items():
                rows[name][indices] = part
        if warn:
            warn_of_differences(self.standardizer, stats, recordings.signals.cases[0].ch_names)
        return rows

    def input(self, bank: PooledStatistics, x: Tensor) -> Tensor:
        """Return the input of a bank from channels (C, ...): the channels, or their components for contrasts."""
        components = self.oscillators.components
        reduced = bank is not self.oscillators and len(components) < len(x)
        return torch.tensordot(components, x, dims=1) if reduced else x

    def concatenated(self, pooled: Sequence[Mapping[str, Tensor]]) -> NDArray[np.floating]:
        """Concatenate the pooled statistics of the banks, (n, n_features), without summaries."""
        return np.concatenate(list(self._named(pooled, np.empty((0, 0))).values()), axis=1)

    def batches(
        self, recordings: Recordings, stats: NDArray[np.float64]
    ) -> Iterator[tuple[NDArray[np.intp], Tensor, Tensor, float, NDArray[np.float64]]]:
        """Yield batches of one rate and similar length: indices, (C, n, n_times), (n,), rate, summaries (n, p).

        Stores the measurements of the standardizer in ``stats``, (n_samples, n_channels + 1).
        """
        signals = recordings.signals
        lengths, rates, C = signals.lengths, relative_periods(signals, self.sfreq), signals.n_channels
        order, first = np.lexsort((lengths, rates)), 0
        while first < len(order):
            rate, shortest = rates[order[first]], C * int(lengths[order[first]])
            fitting = min(_BATCH_SAMPLES // shortest, _BATCH_OUTPUTS // (C * len(self.oscillators.hops)))
            indices = order[first : first + max(1, fitting)]
            indices = indices[rates[indices] == rate]
            first += len(indices)
            x = torch.zeros(C, len(indices), int(lengths[indices].max()), dtype=self.dtype)
            summaries = []
            for column, index in enumerate(indices.tolist()):
                recorded, data = recordings.load(index)
                stats[index] = self.standardizer.statistics(recorded.data)
                # A channel without observations takes its mean.
                standardised = np.nan_to_num(self.standardizer(data, f"case {index}"), copy=False)
                x[:, column, : data.shape[1]] = torch.from_numpy(np.ascontiguousarray(standardised))
                summaries += [] if self.summaries is None else [self.summaries.describe(recorded, rate)]
            yield indices, x, torch.from_numpy(lengths[indices]), float(rate), np.array(summaries)

    def _named(self, pooled: Sequence[Mapping[str, Tensor]], summaries: NDArray[np.float64]) -> Blocks:
        drawn, *others = pooled
        named = {name: block.numpy() for name, block in feature_blocks(drawn).items()}
        for name, part in zip(self.contrasts, others, strict=True):
            kind, energies = CONTRASTS[name], part["energies"]
            absent = bool(energies.isnan().all())  # only the wanted blocks are computed
            named[name] = (energies[..., : kind.size] if absent else kind.compare(energies)).flatten(1).numpy()
        if self.summaries is not None:
            named[OBSERVATIONS] = summaries.astype(named["means"].dtype)
        return named
