"""Channels are centred and scaled by the training cases."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from s4signal.signals import Signals

__all__ = ["FURTHEST", "Standardizer"]

FURTHEST = 4.0  # standard deviations: in a sparse record a slip of the pen counts no more than that


class Standardizer(NamedTuple):
    """Channel means and scales of the training cases.

    Shapes: mean (n_channels,), scale (n_channels,).
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    @classmethod
    def fit(cls, signals: Signals, weights: NDArray[np.float64], *, identity: bool = False) -> Standardizer:
        """Measure the channels in one pass over the cases; missing samples are left out.

        Shapes: weights (n,).
        """
        n_channels = signals.n_channels
        if identity:
            return cls(np.zeros(n_channels), np.ones(n_channels))
        total, square, count = np.zeros(n_channels), np.zeros(n_channels), np.zeros(n_channels)
        # Sums around the first mean: microvolts on an electrode's offset of a volt would cancel otherwise.
        offset = np.full(n_channels, np.nan)
        for index, case in enumerate(signals):
            data, n_there = _observations(case.data)
            there = n_there > 0
            first = there & np.isnan(offset)
            offset[first] = data.sum(1, dtype=np.float64)[first] / n_there[first]
            data = data - np.where(there, offset, 0.0)[:, None]
            if n_there.min() < data.shape[1]:
                data = np.where(np.isnan(case.data), 0.0, data)
            total += weights[index] * data.sum(1)
            square += weights[index] * np.einsum("ct,ct->c", data, data)
            count += weights[index] * n_there
        seen = count > 0
        count = np.where(seen, count, 1.0)
        shift = total / count
        std = np.sqrt(np.maximum(square / count - shift**2, 0.0))
        mean = np.where(seen, offset, 0.0) + shift
        constant = std <= 1e-12 * np.maximum(np.abs(mean), np.sqrt(square / count))
        # Dividing by infinity silences a channel that was never observed.
        return cls(mean, np.where(seen, np.where(constant, 1.0, std), np.inf))

    def __call__(self, data: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return (n_channels, n_times) standardised."""
        return (data - self.mean[:, None]) / self.scale[:, None]


def _observations(data: NDArray[np.floating]) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
    """Return the data with zero for NaN, and how many samples each channel has."""
    if not np.isnan(data.sum()):
        return data, np.full(len(data), data.shape[1])
    holes = np.isnan(data)
    return np.where(holes, 0.0, data), (~holes).sum(1)
