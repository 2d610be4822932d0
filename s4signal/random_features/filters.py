"""Random frozen filters: spatial filters of the channels, and oscillators, cascades of one complex pole.

The impulse response of order m is proportional to t^(m-1) exp((2 pi i f - 2 pi b) t), scaled to unit gain at the
frequency f; b is the bandwidth, and the time constant is 1 / (2 pi b). A frame is the complex output at one sample; a
hop is the number of samples per frame.
"""

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from s4signal.ssm import cascade_tables
from s4signal.ssm.carry import carry

Floats = NDArray[np.float64]
_MOST_CHANNELS = 9  # largest number of channels in one spatial filter
_COMPONENTS = 12  # largest number of channels without a reduction to principal components

_LONGEST = 64  # samples, longest hop in training
_BLOCK = 32  # samples: in longer blocks most of the product is zeros, shorter blocks have many states
LONGEST_HOP = 4096  # samples, at any rate: the memory of the tables grows with it
_LOW_PASSES = 0.1  # fraction of oscillators that are low-passes, at 0 Hz
_HIGHEST = 0.45  # highest frequency, as a fraction of the sampling rate
_SHARPEST = 16.0  # largest ratio of a frequency to its bandwidth


def draw_oscillators(
    n_oscillators: int,
    *,
    sfreq: float,
    duration_s: float,
    rng: np.random.RandomState,
    band_hz: tuple[float, float] | None = None,
) -> tuple[Floats, Floats]:
    """Draw frequencies and bandwidths (F,) in Hz, log-uniformly between 1 / (2 duration) and 0.45 of the rate.

    Restricted to ``band_hz`` if given: standardisation would amplify residuals outside of a filter's passband.
    """
    F, highest = n_oscillators, _HIGHEST * sfreq
    lowest = min(0.5 / duration_s, 0.5 * highest)
    if band_hz is not None:
        lowest, highest = max(lowest, band_hz[0]), min(highest, band_hz[1])
    # One in each of F strata, so that all octaves are represented.
    strata = (np.arange(F) + rng.uniform(size=F)) / F
    frequencies = lowest * (highest / lowest) ** strata
    sharpest = np.minimum(np.maximum(lowest / 2, frequencies / _SHARPEST), frequencies)
    bandwidths = sharpest * (frequencies / sharpest) ** rng.uniform(size=F)
    low = rng.permutation(F)[: round(_LOW_PASSES * F)]
    frequencies[low] = 0.0
    bandwidths[low] = lowest * (max(lowest, highest / 2) / lowest) ** rng.uniform(size=len(low))
    return frequencies, bandwidths


def oscillator_hops(frequencies_hz: Floats, bandwidths_hz: Floats, *, sfreq: float, longest: float) -> Floats:
    """Return the hop of each oscillator in samples, (F,): powers of two, with about eight frames per period."""
    hops = sfreq / (8.0 * (frequencies_hz + bandwidths_hz))
    return np.asarray(2.0 ** np.floor(np.log2(np.clip(hops, 1.0, max(1.0, min(longest, _LONGEST))))))


class OscillatorBlocks(NamedTuple):
    """Matrices from a block of samples and the state before it to frames and the state after it.

    Shapes: into (F, block, 2 * block / hop + 2 * order), out (F, 2 * order, 2 * block / hop), transition (F, 2 * order,
    2 * order).
    """

    into: Tensor
    out: Tensor
    transition: Tensor

    @property
    def block(self) -> int:
        """Number of samples per block, a multiple of the hop."""
        return int(self.into.shape[1])

    def at_rest(self, rows: int) -> Tensor:
        """Return the zero state before the first sample, (F, rows, 2 * order)."""
        return self.out.new_zeros(len(self.out), rows, self.out.shape[1])


def oscillator_blocks(
    frequencies: Tensor, bandwidths: Tensor, *, order: int, hop: int, longest: int, dtype: torch.dtype
) -> OscillatorBlocks:
    """Build the matrices of oscillators that share a hop; frequencies and bandwidths (F,) in cycles per sample."""
    tables = cascade_tables(frequencies, bandwidths, order, hop * math.ceil(longest / hop), dtype, every=hop)
    return OscillatorBlocks(torch.cat([tables.W, tables.P], -1), tables.Q, tables.transition)


def filter_frames(
    x: Tensor,
    frequencies: Tensor,
    bandwidths: Tensor,
    *,
    order: int,
    hop: int,
    at_once: int,
    spatial_filters: Tensor | None = None,
    tables: dict[tuple[int, int, torch.dtype, torch.device], OscillatorBlocks] | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """Run oscillators that share a hop, from the zero state; yield the first sample of each piece and its frames.

    Inputs and frames of a piece have about ``at_once`` numbers, at least one block. Shapes: x (rows, n_times),
    frequencies, bandwidths (F,), spatial_filters (F, R, C) → frames (F, R, 2, m).
    """
    F, n_times = len(frequencies), x.shape[1]
    hop, longest = min(hop, n_times), min(_BLOCK, n_times)
    tables, key = {} if tables is None else tables, (hop, longest, x.dtype, x.device)
    if key not in tables:
        tables[key] = oscillator_blocks(frequencies, bandwidths, order=order, hop=hop, longest=longest, dtype=x.dtype)
    bank = tables[key]
    block, width = bank.block, bank.out.shape[-1]
    R, C = (1, 1) if spatial_filters is None else spatial_filters.shape[1:]
    rows = len(x) * R // C
    state = bank.at_rest(rows)
    length = max(1, at_once // (1 + F * rows * (block + width))) * block
    for start in range(0, n_times, length):
        u = x[:, start : start + length]
        u = pad(u, (0, -u.shape[1] % block)).unsqueeze(0)
        if spatial_filters is not None:
            u = torch.matmul(spatial_filters, u.reshape(C, -1))
        product = torch.bmm(u.reshape(len(u), -1, block).expand(F, -1, -1), bank.into)
        entering = product[..., width:].unflatten(1, (rows, -1)).contiguous()
        state = carry(entering, bank.transition, state)
        frames = torch.baddbmm(product[..., :width], entering.flatten(1, 2), bank.out)
        frames = frames.view(F, rows, -1, 2, block // hop).transpose(2, 3).flatten(3)
        yield start, frames[..., : math.ceil((n_times - start) / hop)]


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
