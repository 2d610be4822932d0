"""What is charted now and then: running means of the observations alone, and how many there are."""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from s4signal.estimators.standardizer import FURTHEST, Standardizer
from s4signal.estimators.survey import MOSTLY_MISSING, relative_periods, survey
from s4signal.signals import Signal, Signals

__all__ = ["ObservationLevels"]

_SPANS = ("all", "late", "last")


class ObservationLevels(NamedTuple):
    """Running means of each channel over its observations, split at the training mean, and their number.

    A running mean is an oscillator of frequency zero on the observations, over the same one on ones where there is an
    observation: exact at any times, and free of what an interpolation makes up. Three of them never forget, forget
    within a third of a case, and know the last observation alone.
    """

    standardizer: Standardizer
    decay: float

    @classmethod
    def fit(cls, signals: Signals, weights: NDArray[np.float64]) -> Self | None:
        """Measure the channels.

        Shapes: weights (n,).
        """
        sizes = np.array([(np.isnan(case.data).sum(), case.data.size) for case in signals], dtype=np.float64)
        missing, size = weights @ sizes
        if missing <= MOSTLY_MISSING * size:
            return None
        durations = [np.ptp(_times(case)) for case in signals]
        return cls(Standardizer.fit(survey(signals), weights), max(float(np.median(durations)), 1e-9) / 3.0)

    def __call__(self, signals: Signals, sfreq: float | None) -> NDArray[np.float64]:
        """Describe cases.

        Shape: (n, 7 n_channels).
        """
        periods = relative_periods(signals, sfreq)
        return np.stack([self._describe(case, period) for case, period in zip(signals, periods, strict=True)])

    def names(self, channels: list[str]) -> list[str]:
        """Name the features."""
        halves = [f"{span} mean {side} level" for span in _SPANS for side in ("above", "below")]
        return [f"{what}, {channel}" for what in (*halves, "number of observations") for channel in channels]

    def _describe(self, case: Signal, period: float) -> NDArray[np.float64]:
        data, times, there = self.standardizer(case.data), _times(case), case.observed
        values = np.where(there, np.clip(data, -FURTHEST, FURTHEST), 0.0)
        last = there.shape[1] - 1 - there[:, ::-1].argmax(1)
        age = np.maximum(times[last][:, None] - times, 0.0)
        every = there.astype(np.float64)
        rows = np.arange(len(there))
        means = [_mean(values, every), _mean(values, every * np.exp(-age / self.decay)), values[rows, last]]
        halves = [half for mean in means for half in (np.maximum(mean, 0.0), np.minimum(mean, 0.0))]
        return np.concatenate([*halves, every.sum(1) * period])


def _mean(values: NDArray[np.floating], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted means of (n_channels, n_times); 0, the training mean, where there is nothing."""
    total = weights.sum(1)
    return np.asarray((values * weights).sum(1) / np.where(total > 0, total, 1.0))


def _times(case: Signal) -> NDArray[np.float64]:
    """Seconds of the samples; their numbers where no rate is known."""
    return np.arange(case.length) / (case.sfreq or 1.0) if case.times is None else np.asarray(case.times, np.float64)
