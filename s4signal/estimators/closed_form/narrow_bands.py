"""Evenly spaced narrow bands over what recordings of several channels hold: where a flicker or a rhythm shows."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from s4signal.estimators.standardizer import Standardizer
from s4signal.random_features.filters import oscillator_hops
from s4signal.random_features.statistics import OscillatorStatistics
from s4signal.signals import Signals

__all__ = ["hears_neighbours", "narrow_bands", "stand_out"]

_BANDS = 40  # at most: a covariance needs more independent numbers than the narrowest bands of a case have
_ORDER = 2
_SHARE = 0.99  # of the power lies below the highest band
_HIGHEST = 0.45  # of the sampling rate
_FEWEST = 4  # bands, whatever is loud
_NEIGHBOURS = 8  # on each side, that a band is compared with
_COMMON = 0.5  # of what the neighbours hold is taken off: it changes from day to day, a flicker does not
_SHRINKAGE = 0.05  # a narrow band tells few independent numbers of its covariance


def narrow_bands(
    signals: Signals,
    standardizer: Standardizer,
    n_components: int,
    *,
    sfreq: float,
    shortest: float,
    longest_hop: float,
    dtype: torch.dtype,
) -> OscillatorStatistics:
    """Space bands from 0 Hz to the frequency below which nearly all power of the training cases lies."""
    highest = min(_HIGHEST * sfreq, max(_loud_below(signals, standardizer, sfreq), _FEWEST * sfreq / shortest))
    bands = int(np.clip(highest * shortest / sfreq, 1, _BANDS))
    frequencies = highest * (np.arange(bands) + 0.5) / bands
    # As wide as they are apart, on either side: what lies between two of them shows in both.
    bandwidths = np.full(bands, highest / bands)
    hops = oscillator_hops(frequencies, bandwidths, sfreq=sfreq, longest=longest_hop)
    return OscillatorStatistics(
        frequencies_hz=torch.from_numpy(frequencies),
        bandwidths_hz=torch.from_numpy(bandwidths),
        orders=torch.full((bands,), _ORDER),
        hops=torch.from_numpy(hops),
        mixes=torch.zeros(bands, 0, n_components, dtype=dtype),
        levels=torch.zeros(bands, 0, 2, dtype=dtype),
        projection=torch.eye(n_components, dtype=dtype),
        sfreq=sfreq,
        shrinkage=_SHRINKAGE,
    )


def stand_out(energy: torch.Tensor) -> torch.Tensor:
    """Compare what is in each band with its neighbours.

    Shapes: energy (n, bands, k) → (n, bands, k).
    """
    offsets = torch.tensor([i for i in range(-_NEIGHBOURS, _NEIGHBOURS + 1) if i])
    around = (torch.arange(energy.shape[1])[:, None] + offsets).clamp(0, energy.shape[1] - 1)
    return energy - _COMMON * energy[:, around].mean(2)


def hears_neighbours(audible: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell which bands `stand_out` knows, of ascending bands (bands,) that are audible."""
    highest = np.minimum(np.arange(len(audible)) + _NEIGHBOURS, len(audible) - 1)
    return np.asarray(audible[highest])


def _loud_below(signals: Signals, standardizer: Standardizer, sfreq: float) -> float:
    """Frequency in Hz below which nearly all power of the cases lies."""
    n_times = int(signals.lengths.max())
    power = np.zeros(n_times // 2 + 1)
    for case in signals:
        power += (np.abs(np.fft.rfft(standardizer(case.data), n_times)) ** 2).sum(0)
    below = np.searchsorted(np.cumsum(power), _SHARE * power.sum())
    return float(np.fft.rfftfreq(n_times, 1.0 / sfreq)[min(int(below), len(power) - 1)])
