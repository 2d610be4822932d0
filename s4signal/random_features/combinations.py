"""Random combinations of a few filters: they respond to a shape where one oscillator responds to a frequency.

Some modes with random weights are what an S4D kernel is before training; here they stay so.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

EDGE = 0.1  # standard deviations around a threshold, over which a frame counts in part
_MEMBERS = 3  # filter outputs in a combination
_THRESHOLDS = 4  # of each sum


def normal_quantiles(*shape: int) -> Tensor:
    """Return quantiles of the normal distribution at evenly spread probabilities, whatever their number."""
    # Multiples of the golden ratio spread evenly over the unit interval.
    numbers = torch.arange(1, math.prod(shape) + 1, dtype=torch.float64)
    quantiles: Tensor = torch.special.ndtri(numbers * ((math.sqrt(5) - 1) / 2) % 1)
    return quantiles.view(shape)


def soft_above(frames: Tensor, thresholds: Tensor, scales: Tensor) -> Tensor:
    """Return 1 for frames (..., m) above their thresholds (...) and 0 below; the mean is the PPV.

    A frame next to its threshold counts in part: rounding moves the mean by no more than rounding.
    """
    start, slopes = (part[..., None].to(frames.dtype) for part in soft_edges(thresholds, scales))
    return torch.addcmul(start, frames, slopes).clamp_(0.0, 1.0)


def soft_edges(thresholds: Tensor, scales: Tensor) -> tuple[Tensor, Tensor]:
    """Return start and slope of the lines that `soft_above` cuts off at 0 and 1."""
    slopes = torch.where(scales > 0, 1.0 / (EDGE * scales), 0.0)
    return 0.5 - thresholds * slopes, slopes


@dataclass(frozen=True, eq=False)
class FilterCombinations:
    """Weighted sums of the real and imaginary parts of k filter outputs; as many sums as parts, T thresholds each.

    Shapes: members (Q, k), filters counted over all oscillators; weights (Q, 2 k, 2 k); quantiles, in standard
    deviations of a sum, and thresholds, in `EDGE` of one (Q, 2 k, T).

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
        """Find the combinations (q,) of the oscillators ``index`` (f,), and their members (q, k) among these."""
        owners = self.members // n_filters
        which = torch.isin(owners, index).all(1).nonzero()[:, 0]
        place = torch.searchsorted(index, owners[which].contiguous()) * n_filters + self.members[which] % n_filters
        return which, place

    def parts(self, frames: Tensor, place: Tensor) -> Tensor:
        """Take the real and imaginary parts of the members: (n, f, J, 2, m) -> (n, q, 2 k, m)."""
        members = frames.flatten(1, 2).index_select(1, place.flatten())
        return members.view(frames.shape[0], len(place), 2 * place.shape[1], frames.shape[-1])

    def count_above(self, frames: Tensor, which: Tensor, place: Tensor, inside: Tensor) -> Tensor:
        """Add up the members, and the frames in which the sums lie above their thresholds.

        Shapes: frames (n, f, J, 2, m), inside (n, m), 1 for a frame of the case → (n, q, 2 k, T).
        """
        sums = torch.einsum("qsk,nqkm->qsnm", self.weights[which], self.parts(frames, place))
        sums += torch.log(inside)  # 0, or what lies above no threshold
        above, counted = torch.empty_like(sums), []
        # One threshold after the other, in one piece of memory: all at once take twice the time. As `soft_above`.
        for start in (self.thresholds[which] - 0.5).unbind(-1):
            torch.sub(sums, start[..., None, None], out=above)
            counted.append(above.clamp_(0.0, 1.0).sum(-1))
        return torch.stack(counted, -1).permute(2, 0, 1, 3)

    def calibrated(self, mean: Tensor, products: Tensor) -> "FilterCombinations":
        """Scale each sum to a standard deviation of 1 / EDGE, and put the thresholds at quantiles of it.

        Shapes: mean (F, J, 2) of the filter outputs, products (Q, 2 k, 2 k), mean products of the members.
        """
        centre = mean.flatten(0, 1)[self.members].flatten(1)
        covariance = products - centre[:, :, None] * centre[:, None]
        variance = covariance.diagonal(dim1=1, dim2=2)
        constant = variance <= 1e-12 * products.diagonal(dim1=1, dim2=2).clamp_min(1e-30)
        weights = self.weights * torch.where(constant, 0.0, variance.clamp_min(1e-30).rsqrt())[:, None]
        spread = EDGE * torch.einsum("qsk,qkl,qsl->qs", weights, covariance, weights).clamp_min(0.0).sqrt()
        weights = weights * torch.where(spread > 0, 1.0 / spread, 0.0)[..., None]
        around = torch.einsum("qsk,qk->qs", weights, centre)[..., None]
        thresholds = torch.where(spread[..., None] > 0, around + self.quantiles / EDGE, 0.0)
        return replace(self, weights=weights, thresholds=thresholds)


def draw_combinations(
    groups: Iterable[NDArray[np.integer]],
    frequencies: NDArray[np.floating],
    n_filters: int,
    *,
    rng: np.random.RandomState,
    dtype: torch.dtype,
) -> FilterCombinations:
    """Deal the outputs of each group of oscillators (f,), which share a hop, into combinations, and draw their weights.

    Members lie within an octave: at half the sampling rate, only the highest combinations are lost.
    """
    members = []
    octaves = np.floor(np.log2(frequencies.max() / np.maximum(frequencies, 1e-9 * frequencies.max())))
    octaves = np.minimum(octaves, octaves[frequencies > 0].max(initial=0.0))  # low-passes are with the lowest
    parts = (group[octaves[group] == octave] for group in groups for octave in np.unique(octaves[group]))
    for group in parts:
        outputs = rng.permutation((group[:, None] * n_filters + np.arange(n_filters)).ravel())
        members.append(np.resize(outputs, (-(-len(outputs) // _MEMBERS), _MEMBERS)))
    dealt = np.concatenate(members)
    Q, n_parts = len(dealt), 2 * _MEMBERS
    quantiles = normal_quantiles(Q, n_parts, _THRESHOLDS).to(dtype)
    weights = torch.from_numpy(rng.standard_normal((Q, n_parts, n_parts))).to(dtype)
    return FilterCombinations(torch.from_numpy(dealt.astype(np.int64)), weights, quantiles, torch.zeros_like(quantiles))
