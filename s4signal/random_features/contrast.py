"""Covariances in evenly spaced bands relative to neighbouring bands: a signal-to-noise ratio, as for SSVEP.

Neighbouring bands vary together between days and people; a flicker response or a rhythm exceeds them.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s4signal.random_features.filters import oscillator_hops
from s4signal.random_features.statistics import PooledStatistics

NARROW_BANDS, LINES = "narrow bands", "spectral lines"

_POWER, _STEPS = 0.99, 0.9  # fractions of the power of samples and of their differences below the highest band
_HIGHEST = 0.45  # largest frequency, as a fraction of the sampling rate
_FEWEST = 4  # smallest number of bands, for any spectrum
_NEIGHBOURS = 8  # number of neighbours on each side
_GAP = 2  # number of lines on each side that a line leaks into; the others are its neighbours
_COMMON = 0.5  # fraction of the neighbours' mean that is subtracted
_NOISE = 0.01  # fraction of the mean eigenvalue by which the covariance of the neighbours is shrunk


def neighbour_contrast(log_covariances: Tensor) -> Tensor:
    """Subtract half the mean of its neighbours from each band: (n, bands, k) -> (n, bands, k)."""
    return log_covariances - _COMMON * _mean_around(log_covariances, 0)


def line_contrast(covariances: Tensor, *, solve: Callable[[Tensor, Tensor], Tensor] = torch.linalg.solve) -> Tensor:
    """Return the power of each line relative to its neighbours, (n, bands, K (K + 1) / 2) -> (n, bands, 1).

    For covariances S of a line and N of its neighbours, this is tr(N^-1 S) / K: the mean power after spatial filters
    that whiten the neighbours. But for the shrinkage of N, no invertible mixture of the channels changes it: other
    people mix the same sources otherwise.
    """
    K = round(((8 * covariances.shape[-1] + 1) ** 0.5 - 1) / 2)
    place, noise = torch.from_numpy(_places(K)), _mean_around(covariances, _GAP)
    lines, around = (part.nan_to_num().double()[..., place] for part in (covariances, noise))
    mean_eigenvalue = around.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
    ratio = solve(around + (_NOISE * mean_eigenvalue + 1e-10) * torch.eye(K, dtype=around.dtype), lines)
    mean_power = ratio.diagonal(dim1=-2, dim2=-1).mean(-1, keepdim=True).to(covariances)
    return mean_power.masked_fill((covariances + noise)[..., :1].isnan(), torch.nan)


def contrast_exists(below_nyquist: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which of the ascending bands have a contrast: all of their neighbours are below the Nyquist frequency."""
    highest = np.minimum(np.arange(len(below_nyquist)) + _NEIGHBOURS, len(below_nyquist) - 1)
    return np.asarray(below_nyquist[highest])


class Contrast(NamedTuple):
    """Evenly spaced bands, and how their covariances are compared with those of their neighbours."""

    compare: Callable[[Tensor], Tensor]
    part: str  # name in model files
    size: int | None  # number of features per band; None: one for each pair of channels
    fewest: int
    most: int
    order: int
    width: float  # bandwidth on either side of the centre, relative to the spacing
    shrinkage: float | None  # of the covariances before their logarithm; None: no logarithm

    def bank(
        self,
        band_hz: tuple[float, float],
        n_components: int,
        *,
        sfreq: float,
        shortest: float,
        longest_hop: float,
        dtype: torch.dtype,
    ) -> PooledStatistics:
        """Space bands evenly over ``band_hz``, at least sfreq / ``shortest`` apart."""
        lowest, highest = band_hz
        width = min(_HIGHEST * sfreq, highest) - lowest
        bands = int(np.clip(width * shortest / sfreq, 1, self.most))
        frequencies = lowest + width * (np.arange(bands) + 0.5) / bands
        bandwidths = np.full(bands, self.width * width / bands)
        none = torch.zeros(bands, 0, 2, dtype=dtype)
        return PooledStatistics(
            frequencies_hz=torch.from_numpy(frequencies),
            bandwidths_hz=torch.from_numpy(bandwidths),
            orders=torch.full((bands,), self.order),
            hops=torch.from_numpy(oscillator_hops(frequencies, bandwidths, sfreq=sfreq, longest=longest_hop)),
            has_segment_means=torch.zeros(bands, dtype=torch.bool),
            spatial_filters=torch.zeros(bands, 0, n_components, dtype=dtype),
            components=torch.eye(n_components, dtype=dtype),
            quantiles=none,
            thresholds=none,
            scales=none,
            sfreq=sfreq,
            n_windows=1,
            shrinkage=self.shrinkage,
        )


CONTRASTS = {
    # Narrower bands have too few independent samples per case for a covariance. They overlap with their neighbours.
    NARROW_BANDS: Contrast(neighbour_contrast, "bands", None, fewest=1, most=40, order=2, width=1.0, shrinkage=0.05),
    # As narrow as the shortest case allows, for constant frequencies: one number needs few independent samples.
    LINES: Contrast(line_contrast, "lines", 1, fewest=16, most=320, order=1, width=0.5, shrinkage=None),
}


def contrast_banks(
    cases: Sequence[NDArray[np.floating]],
    n_components: int,
    *,
    sfreq: float,
    shortest: float,
    longest_hop: float,
    dtype: torch.dtype,
    band_hz: tuple[float, float] | None,
) -> dict[str, PooledStatistics]:
    """Return the bands of each contrast for cases (C, n_times), over ``band_hz`` or up to nearly all of the power."""
    longest, banks = max(data.shape[1] for data in cases), {}
    # A line is compared with its neighbours only: strong drifts, which differences lack, do not bound the band.
    for name, some, power in ((NARROW_BANDS, cases, _POWER), (LINES, [np.diff(data) for data in cases], _STEPS)):
        band = band_hz or (0.0, max(power_bandwidth(some, sfreq, power, longest=longest), _FEWEST * sfreq / shortest))
        bank = CONTRASTS[name].bank(
            band, n_components, sfreq=sfreq, shortest=shortest, longest_hop=longest_hop, dtype=dtype
        )
        if len(bank.hops) >= CONTRASTS[name].fewest:
            banks[name] = bank
    return banks


def power_bandwidth(cases: Iterable[NDArray[np.floating]], sfreq: float, share: float, *, longest: int) -> float:
    """Return the frequency in Hz that has this share of the power of cases (C, n_times <= longest) below it."""
    power = np.zeros(longest // 2 + 1)
    for data in cases:
        power += (np.abs(np.fft.rfft(data, longest)) ** 2).sum(0)
    below = np.searchsorted(np.cumsum(power), share * power.sum())
    return float(np.fft.rfftfreq(longest, 1.0 / sfreq)[min(int(below), len(power) - 1)])


@cache
def _places(K: int) -> NDArray[np.int64]:
    """Return the place of each pair of channels in the upper triangle of a covariance, (K, K).

    No tensor: one that is made while a model is exported must not be kept.
    """
    row, column = np.triu_indices(K)
    places = np.zeros((K, K), dtype=np.int64)
    places[row, column] = places[column, row] = np.arange(len(row))
    return places


def _mean_around(values: Tensor, gap: int) -> Tensor:
    """Return the mean of the neighbours of each band, (n, bands, k); beyond the ends the last band is repeated."""
    offsets = torch.tensor([i for i in range(-_NEIGHBOURS, _NEIGHBOURS + 1) if abs(i) > gap])
    last = values.shape[1] - 1
    neighbours = (torch.arange(last + 1)[:, None] + offsets).clamp(0, last)
    return values[:, neighbours].mean(2)
