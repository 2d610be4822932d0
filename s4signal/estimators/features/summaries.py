"""Summary statistics of the observations themselves, for recordings most of whose values are missing."""

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from s4signal.estimators.model_file import State
from s4signal.estimators.standardizer import FURTHEST, Standardizer
from s4signal.estimators.survey import Survey
from s4signal.signals import Signal

_MEANS = ("mean", "recency-weighted mean", "last observation")


class ObservationSummaries(NamedTuple):
    """Means of each channel over its observations, split at the training mean, and their number.

    A mean with the weights exp(-age / time_constant) is exact at any times, and free of what an interpolation makes up.
    The three never forget, forget within a third of a case, and know the last observation alone.
    """

    standardizer: Standardizer
    time_constant: float  # s, or samples where no rate is known

    @property
    def size(self) -> int:
        """How many statistics there are."""
        return len(self.names([""] * len(self.standardizer.mean)))

    @classmethod
    def fit(cls, found: Survey, weights: NDArray[np.float64]) -> Self | None:
        """Measure the channels (weights (n,)); None if not most of the values are missing."""
        if not found.mostly_missing(weights):
            return None
        mean, std = found.moments(weights)
        scale = np.where(std > 1e-12 * np.abs(mean), std, np.inf)
        spans = np.where(found.has_times, found.spans_s, (found.lengths - 1) / np.nan_to_num(found.sfreqs, nan=1.0))
        return cls(Standardizer(np.nan_to_num(mean), scale), max(float(np.median(spans)), 1e-9) / 3.0)

    def describe(self, case: Signal, period: float) -> NDArray[np.float64]:
        """Return the statistics (size,); ``period`` is that of a sample, over that of the training."""
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
        """Name the statistics."""
        halves = [f"{mean} {side} the training mean" for mean in _MEANS for side in ("above", "below")]
        return [f"{what}, {channel}" for what in (*halves, "number of observations") for channel in channels]

    def to_state(self) -> State:
        """Say the summaries in plain values and arrays."""
        return State({"time_constant": self.time_constant}, {}).nest("standardizer", self.standardizer.to_state())

    @classmethod
    def from_state(cls, state: State, n_channels: int) -> Self:
        """Build the summaries of `to_state`."""
        standardizer = Standardizer.from_state(state.part("standardizer"), n_channels=n_channels)
        return cls(standardizer, state.value("time_constant", float, low=1e-12))


def _mean(values: NDArray[np.floating], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted means of (n_channels, n_times); 0, the training mean, where there is nothing."""
    total = weights.sum(1)
    return np.asarray((values * weights).sum(1) / np.where(total > 0, total, 1.0))
