"""Covariances in evenly spaced narrow bands relative to their neighbours: a signal-to-noise ratio, as for SSVEP.

Neighbouring bands change together from day to day; a flicker or a rhythm stands out of them.
"""

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s4signal.random_features.filters import oscillator_hops
from s4signal.random_features.statistics import PooledStatistics

_BANDS = 40  # at most: a covariance needs more independent numbers than the narrowest bands of a case have
_ORDER = 2
_POWER = 0.99  # of it lies below the highest band
_HIGHEST = 0.45  # of the sampling rate
_FEWEST = 4  # bands, wherever the power lies
_NEIGHBOURS = 8  # on each side, that a band is compared with
_COMMON = 0.5  # of the neighbours' mean is subtracted
_SHRINKAGE = 0.05  # a narrow band has few independent numbers for its covariance


def narrow_bands(
    bandwidth_hz: float,
    n_components: int,
    *,
    sfreq: float,
    shortest: float,
    longest_hop: float,
    dtype: torch.dtype,
    band_hz: tuple[float, float] | None = None,
) -> PooledStatistics:
    """Space bands evenly up to ``bandwidth_hz``, or over ``band_hz``, no closer than ``shortest`` samples resolve."""
    lowest, highest = band_hz or (0.0, max(bandwidth_hz, _FEWEST * sfreq / shortest))
    width = min(_HIGHEST * sfreq, highest) - lowest
    bands = int(np.clip(width * shortest / sfreq, 1, _BANDS))
    frequencies = lowest + width * (np.arange(bands) + 0.5) / bands
    # As wide as they are apart, on either side: what lies between two of them shows in both.
    bandwidths = np.full(bands, width / bands)
    none = torch.zeros(bands, 0, 2, dtype=dtype)
    return PooledStatistics(
        frequencies_hz=torch.from_numpy(frequencies),
        bandwidths_hz=torch.from_numpy(bandwidths),
        orders=torch.full((bands,), _ORDER),
        hops=torch.from_numpy(oscillator_hops(frequencies, bandwidths, sfreq=sfreq, longest=longest_hop)),
        has_segment_means=torch.zeros(bands, dtype=torch.bool),
        spatial_filters=torch.zeros(bands, 0, n_components, dtype=dtype),
        components=torch.eye(n_components, dtype=dtype),
        quantiles=none,
        thresholds=none,
        scales=none,
        sfreq=sfreq,
        n_windows=1,
        shrinkage=_SHRINKAGE,
    )


def neighbour_contrast(log_covariances: Tensor) -> Tensor:
    """Subtract half the mean of a band's neighbours from each: (n, bands, k) -> (n, bands, k)."""
    offsets = torch.tensor([i for i in range(-_NEIGHBOURS, _NEIGHBOURS + 1) if i])
    last = log_covariances.shape[1] - 1
    around = (torch.arange(last + 1)[:, None] + offsets).clamp(0, last)
    return log_covariances - _COMMON * log_covariances[:, around].mean(2)


def contrast_exists(below_nyquist: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell which ascending bands have a contrast, all of whose neighbours lie below the Nyquist frequency."""
    highest = np.minimum(np.arange(len(below_nyquist)) + _NEIGHBOURS, len(below_nyquist) - 1)
    return np.asarray(below_nyquist[highest])


def power_bandwidth(cases: Iterable[NDArray[np.floating]], sfreq: float, *, longest: int) -> float:
    """Return the frequency in Hz below which 99 % of the power of cases (C, n_times <= longest) lies."""
    power = np.zeros(longest // 2 + 1)
    for data in cases:
        power += (np.abs(np.fft.rfft(data, longest)) ** 2).sum(0)
    below = np.searchsorted(np.cumsum(power), _POWER * power.sum())
    return float(np.fft.rfftfreq(longest, 1.0 / sfreq)[min(int(below), len(power) - 1)])
