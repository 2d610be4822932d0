"""Covariances in evenly spaced narrow bands relative to neighbouring bands: a signal-to-noise ratio, as for SSVEP.

Neighbouring bands vary together between days; a flicker response or a rhythm exceeds them.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s4signal.random_features.filters import oscillator_hops
from s4signal.random_features.statistics import PooledStatistics

_BANDS = 40  # largest number: narrower bands have too few independent samples per case for a covariance
_ORDER = 2
_POWER = 0.99  # fraction of the power below the highest band
_HIGHEST = 0.45  # largest frequency, as a fraction of the sampling rate
_FEWEST = 4  # smallest number of bands, for any spectrum
_NEIGHBOURS = 8  # number of neighbours on each side
_COMMON = 0.5  # fraction of the neighbours' mean that is subtracted
_SHRINKAGE = 0.05  # a narrow band has few independent samples for its covariance


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
    """Space bands evenly up to ``bandwidth_hz``, or over ``band_hz``, at least sfreq / ``shortest`` apart."""
    lowest, highest = band_hz or (0.0, max(bandwidth_hz, _FEWEST * sfreq / shortest))
    width = min(_HIGHEST * sfreq, highest) - lowest
    bands = int(np.clip(width * shortest / sfreq, 1, _BANDS))
    frequencies = lowest + width * (np.arange(bands) + 0.5) / bands
    # The bandwidth equals the spacing, on either side of the centre: neighbouring bands overlap.
    bandwidths = np.full(bands, width / bands)
    empty: dict[str, Any] = dict.fromkeys(("quantiles", "thresholds", "scales"), torch.zeros(bands, 0, 2, dtype=dtype))
    return PooledStatistics(
        frequencies_hz=torch.from_numpy(frequencies),
        bandwidths_hz=torch.from_numpy(bandwidths),
        orders=torch.full((bands,), _ORDER),
        hops=torch.from_numpy(oscillator_hops(frequencies, bandwidths, sfreq=sfreq, longest=longest_hop)),
        has_segment_means=torch.zeros(bands, dtype=torch.bool),
        spatial_filters=torch.zeros(bands, 0, n_components, dtype=dtype),
        components=torch.eye(n_components, dtype=dtype),
        **empty,
        sfreq=sfreq,
        n_windows=1,
        shrinkage=_SHRINKAGE,
    )


def neighbour_contrast(log_covariances: Tensor) -> Tensor:
    """Subtract half the mean of its neighbours from each band: (n, bands, k) -> (n, bands, k)."""
    offsets = torch.tensor([i for i in range(-_NEIGHBOURS, _NEIGHBOURS + 1) if i])
    last = log_covariances.shape[1] - 1
    neighbours = (torch.arange(last + 1)[:, None] + offsets).clamp(0, last)
    return log_covariances - _COMMON * log_covariances[:, neighbours].mean(2)


def contrast_exists(below_nyquist: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which of the ascending bands have a contrast: all of their neighbours are below the Nyquist frequency."""
    highest = np.minimum(np.arange(len(below_nyquist)) + _NEIGHBOURS, len(below_nyquist) - 1)
    return np.asarray(below_nyquist[highest])


def power_bandwidth(cases: Iterable[NDArray[np.floating]], sfreq: float, *, longest: int) -> float:
    """Return the frequency in Hz that has 99 % of the power of cases (C, n_times <= longest) below it."""
    power = np.zeros(longest // 2 + 1)
    for data in cases:
        power += (np.abs(np.fft.rfft(data, longest)) ** 2).sum(0)
    below = np.searchsorted(np.cumsum(power), _POWER * power.sum())
    return float(np.fft.rfftfreq(longest, 1.0 / sfreq)[min(int(below), len(power) - 1)])
