"""Random combinations of a few filters: they respond to a waveform, whereas one oscillator responds to a frequency.

Such a sum of modes with random weights is an S4D kernel at initialisation; here it is not trained.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

EDGE = 0.1  # width of the soft threshold, in standard deviations
_MEMBERS = 3  # filter outputs per combination
_THRESHOLDS = 4  # per sum


def normal_quantiles(*shape: int) -> Tensor:
    """Return quantiles of the normal distribution at evenly spread probabilities, in an array of the given shape."""
    # Multiples of the golden ratio modulo 1 are spread evenly over the unit interval.
    numbers = torch.arange(1, math.prod(shape) + 1, dtype=torch.float64)
    quantiles: Tensor = torch.special.ndtri(numbers * ((math.sqrt(5) - 1) / 2) % 1)
    return quantiles.view(shape)


def soft_above(frames: Tensor, thresholds: Tensor, scales: Tensor) -> Tensor:
    """Return 1 for frames (..., m) above their thresholds (...) and 0 below; the mean over frames is the PPV.

    Near the threshold, the value rises linearly from 0 to 1, so that rounding changes the mean only by rounding.
    """
    start, slopes = (part[..., None].to(frames.dtype) for part in soft_edges(thresholds, scales))
    return torch.addcmul(start, frames, slopes).clamp_(0.0, 1.0)


def soft_edges(thresholds: Tensor, scales: Tensor) -> tuple[Tensor, Tensor]:
    """Return intercept and slope of the lines that `soft_above` clips to [0, 1]."""
    slopes = torch.where(scales > 0, 1.0 / (EDGE * scales), 0.0)
    return 0.5 - thresholds * slopes, slopes


@dataclass(frozen=True, eq=False)
class FilterCombinations:
    """Weighted sums of the 2 k real and imaginary parts of k filter outputs; 2 k sums with T thresholds each.

    Shapes: members (Q, k), flat indices of filters over all oscillators; weights (Q, 2 k, 2 k); quantiles (Q, 2 k, T),
    in standard deviations of a sum, and thresholds (Q, 2 k, T), in units of `EDGE` standard deviations.

    References
    ----------
    Gu, Goel, Gupta, Ré, "On the Parameterization and Initialization of Diagonal State Space Models", 2022,
    doi:10.48550/arXiv.2206.11893 (a kernel is a sum of modes).
    """

    members: Tensor
    weights: Tensor
    quantiles: Tensor
    thresholds: Tensor

    def among(self, index: Tensor, n_filters: int) -> tuple[Tensor, Tensor]:
        """Return the combinations (q,) of the oscillators ``index`` (f,), and their members (q, k) within these."""
        owners = self.members // n_filters
        which = torch.isin(owners, index).all(1).nonzero()[:, 0]
        place = torch.searchsorted(index, owners[which].contiguous()) * n_filters + self.members[which] % n_filters
        return which, place

    def parts(self, frames: Tensor, place: Tensor) -> Tensor:
        """Gather the real and imaginary parts of the members: (n, f, J, 2, m) -> (n, q, 2 k, m)."""
        members = frames.flatten(1, 2).index_select(1, place.flatten())
        return members.view(frames.shape[0], len(place), 2 * place.shape[1], frames.shape[-1])

    def count_above(self, frames: Tensor, which: Tensor, place: Tensor, inside: Tensor) -> Tensor:
        """Sum the members, and count the frames in which the sums exceed their thresholds.

        Shapes: frames (n, f, J, 2, m), inside (n, m), 1 for frames of the case → (n, q, 2 k, T).
        """
        sums = torch.einsum("qsk,nqkm->qsnm", self.weights[which], self.parts(frames, place))
        sums += torch.log(inside)  # 0 within the case, else -inf, below every threshold
        above, counted = torch.empty_like(sums), []
        # `soft_above`, one threshold after the other in the same memory: all at once take twice the time.
        for start in (self.thresholds[which] - 0.5).unbind(-1):
            torch.sub(sums, start[..., None, None], out=above)
            counted.append(above.clamp_(0.0, 1.0).sum(-1))
        return torch.stack(counted, -1).permute(2, 0, 1, 3)

    def calibrated(self, mean: Tensor, products: Tensor) -> "FilterCombinations":
        """Scale each sum to a standard deviation of 1 / EDGE, and set the thresholds to its quantiles.

        Shapes: mean (F, J, 2) of the filter outputs, products (Q, 2 k, 2 k), mean products of the members.
        """
        centre = mean.flatten(0, 1)[self.members].flatten(1)
        covariance = products - centre[:, :, None] * centre[:, None]
        variance = covariance.diagonal(dim1=1, dim2=2)
        constant = variance <= 1e-12 * products.diagonal(dim1=1, dim2=2).clamp_min(1e-30)
        weights = self.weights * torch.where(constant, 0.0, variance.clamp_min(1e-30).rsqrt())[:, None]
        spread = EDGE * torch.einsum("qsk,qkl,qsl->qs", weights, covariance, weights).clamp_min(0.0).sqrt()
        weights = weights * torch.where(spread > 0, 1.0 / spread, 0.0)[..., None]
        thresholds = torch.einsum("qsk,qk->qs", weights, centre)[..., None] + self.quantiles / EDGE
        return replace(self, weights=weights, thresholds=thresholds)


def draw_combinations(
    groups: Iterable[NDArray[np.integer]],
    frequencies: NDArray[np.floating],
    n_filters: int,
    *,
    rng: np.random.RandomState,
    dtype: torch.dtype,
) -> FilterCombinations:
    """Partition the outputs of each group of oscillators (f,), which share a hop, into combinations; draw weights.

    Members lie within an octave, so that half the sampling rate removes only the highest combinations.
    """
    members = []
    octaves = np.floor(np.log2(frequencies.max() / np.maximum(frequencies, 1e-9 * frequencies.max())))
    octaves = np.minimum(octaves, octaves[frequencies > 0].max(initial=0.0))  # low-passes belong to the lowest octave
    parts = (group[octaves[group] == octave] for group in groups for octave in np.unique(octaves[group]))
    for group in parts:
        outputs = rng.permutation((group[:, None] * n_filters + np.arange(n_filters)).ravel())
        members.append(np.resize(outputs, (-(-len(outputs) // _MEMBERS), _MEMBERS)))
    index = torch.from_numpy(np.concatenate(members).astype(np.int64))
    Q, n_parts = len(index), 2 * _MEMBERS
    quantiles = normal_quantiles(Q, n_parts, _THRESHOLDS).to(dtype)
    weights = torch.from_numpy(rng.standard_normal((Q, n_parts, n_parts))).to(dtype)
    return FilterCombinations(index, weights, quantiles, torch.zeros_like(quantiles))
