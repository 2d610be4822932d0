"""Which mixes of the channels instant models listen to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from s4signal.estimators.standardizer import Standardizer
from s4signal.signals import Signals

__all__ = ["draw_mixes", "principal_channels"]

_MIXED = 9  # most channels in one mix
_COMPONENTS = 12  # most channels whose covariance is taken


def draw_mixes(n_oscillators: int, n_mixes: int, n_channels: int, rng: np.random.RandomState) -> NDArray[np.float64]:
    """Draw one to nine channels for each mix, few more often than many, with normal weights of unit energy together.

    Shape: (F, J, C).
    """
    mixes = np.zeros((n_oscillators, n_mixes, n_channels))
    if n_channels == 1:
        return mixes + 1.0
    most = min(n_channels, _MIXED)
    for mix in mixes.reshape(-1, n_channels):
        k = min(int((most + 1.0) ** rng.uniform()), most)
        mix[rng.permutation(n_channels)[:k]] = rng.standard_normal(k) / np.sqrt(k)
    return mixes


def principal_channels(
    signals: Signals, weights: NDArray[np.float64], standardizer: Standardizer
) -> NDArray[np.float64]:
    """Return the channels themselves, or so many principal components of them.

    Shapes: weights (n,) → (K, C).
    """
    C = signals.n_channels
    if C <= _COMPONENTS:
        return np.eye(C)
    covariance = np.zeros((C, C))
    for case, weight in zip(signals, weights, strict=True):
        data = standardizer(case.data)
        covariance += weight * (data @ data.T)
    return np.ascontiguousarray(np.linalg.eigh(covariance)[1][:, : -_COMPONENTS - 1 : -1].T)
