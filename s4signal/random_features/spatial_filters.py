"""Spatial filters: random filters, and the principal components whose covariances are features."""

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_MOST_CHANNELS = 9  # largest number of channels in one spatial filter
_COMPONENTS = 12  # largest number of channels without a reduction to principal components


def draw_spatial_filters(
    n_oscillators: int, n_filters: int, n_channels: int, rng: np.random.RandomState
) -> NDArray[np.float64]:
    """Draw spatial filters (F, J, C) of one to nine channels each (log-uniform), with normal weights of unit energy."""
    filters = np.zeros((n_oscillators, n_filters, n_channels))
    if n_channels == 1:
        return filters + 1.0
    most = min(n_channels, _MOST_CHANNELS)
    for row in filters.reshape(-1, n_channels):
        k = min(int((most + 1.0) ** rng.uniform()), most)
        row[rng.permutation(n_channels)[:k]] = rng.standard_normal(k) / np.sqrt(k)
    return filters


def principal_components(
    cases: Iterable[NDArray[np.floating]], weights: NDArray[np.float64], n_channels: int
) -> NDArray[np.float64]:
    """Return the first principal components (K, C) of standardised cases (C, n_times), the identity if C is small."""
    if n_channels <= _COMPONENTS:
        return np.eye(n_channels)
    covariance = np.zeros((n_channels, n_channels))
    for data, weight in zip(cases, weights, strict=True):
        covariance += weight * (data @ data.T)
    return np.ascontiguousarray(np.linalg.eigh(covariance)[1][:, : -_COMPONENTS - 1 : -1].T)


class SpatialFilters:
    """Spatial filters (f, J, C) of some oscillators, and components (K, C) for the covariances of some of them.

    Filters over channels and over time commute: ``before`` (f, R, C) are applied first if that is less work, else None.
    """

    def __init__(self, filters: Tensor, components: Tensor, has_covariance: Tensor) -> None:
        self.filters, self.components, self.has_covariance = filters, components, has_covariance
        self._chosen = None if has_covariance.all() else has_covariance.nonzero()[:, 0]
        every = components.expand(len(filters), *components.shape)
        both = torch.cat([filters, every], 1) if has_covariance.any() else filters
        self.before = both if both.shape[1] < both.shape[2] else None

    def rows(self, n: int) -> int:
        """Return the number of signals that each oscillator filters for n cases."""
        return n * (self.filters.shape[2] if self.before is None else self.before.shape[1])

    def split(self, frames: Tensor, n: int) -> tuple[Tensor, Tensor]:
        """Split frames (f, R * n, 2, m) into (n, f, J, 2, m) of filters and (f', K, n, 2, m) of components."""
        z, J = frames.unflatten(1, (self.rows(1), n)), self.filters.shape[1]
        filtered = _applied(self.filters, z) if self.before is None else z[:, :J]
        z = z if self.before is None else z[:, J:]
        z = z if self._chosen is None else z[self._chosen]
        if self.before is None and self.components.shape[0] < self.components.shape[1]:
            z = _applied(self.components.expand(len(z), *self.components.shape), z)
        return filtered.permute(2, 0, 1, 3, 4).contiguous(), z


def _applied(filters: Tensor, z: Tensor) -> Tensor:
    """Apply spatial filters (f, R, C) to (f, C, n, 2, m), giving (f, R, n, 2, m)."""
    return torch.matmul(filters, z.flatten(2)).view(*filters.shape[:2], *z.shape[2:])
