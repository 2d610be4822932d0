"""Chords: random sums of a few oscillators, which answer to a shape where one oscillator answers to a frequency."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from s4signal.random_features.thresholds import EDGE, spread_levels

__all__ = ["Chords", "draw_chords"]

_NOTES = 3  # oscillators of a chord
_LEVELS = 4  # thresholds of each sum


class Chords(nn.Module):
    """Random sums of the outputs of a few oscillators each, as many sums as these have real outputs.

    Some modes with random weights are what an S4D kernel is before training; here they stay so.

    Shapes: notes (Q, k), weights (Q, 2 k, 2 k), levels (Q, 2 k, T).

    References
    ----------
    Gu, Goel, Gupta, Ré, "On the Parameterization and Initialization of Diagonal State Space Models", 2022,
    doi:10.48550/arXiv.2206.11893 (a kernel is a sum of modes).
    """

    notes: Tensor
    weights: Tensor
    levels: Tensor
    thresholds: Tensor

    def __init__(self, notes: Tensor, weights: Tensor, levels: Tensor) -> None:
        super().__init__()
        self.register_buffer("notes", notes)
        self.register_buffer("weights", weights)
        self.register_buffer("levels", levels)
        self.register_buffer("thresholds", torch.zeros_like(levels))

    def among(self, index: Tensor, n_mixes: int) -> tuple[Tensor, Tensor]:
        """Find the chords of some oscillators.

        Shapes: index (f,) → (q,), (q, k).
        """
        owners = self.notes // n_mixes
        which = torch.isin(owners, index).all(1).nonzero()[:, 0]
        place = torch.searchsorted(index, owners[which].contiguous()) * n_mixes + self.notes[which] % n_mixes
        return which, place

    def parts(self, waves: Tensor, place: Tensor) -> Tensor:
        """Take the real and imaginary parts of the notes: (n, f, J, 2, m) -> (n, q, 2 k, m)."""
        parts: Tensor = waves.flatten(1, 2)[:, place].flatten(2, 3)
        return parts

    def count(self, waves: Tensor, which: Tensor, place: Tensor, share: Tensor) -> Tensor:
        """Add up the notes, and the time that the sums spend above their thresholds.

        Shapes: waves (n, f, J, 2, m), share (n, m) → (n, q, 2 k, T).
        """
        sums = torch.matmul(self.weights[which], self.parts(waves, place))
        above, counted = torch.empty_like(sums), []
        # One threshold after the other, in one piece of memory: all at once take twice the time. As `share_above`.
        for start in (self.thresholds[which] - 0.5).unbind(-1):
            torch.sub(sums, start[..., None], out=above)
            counted.append(torch.bmm(above.clamp_(0.0, 1.0).flatten(1, 2), share[..., None]))
        rows: Tensor = torch.cat(counted, -1).unflatten(1, sums.shape[1:3])
        return rows

    def calibrate(self, mean: Tensor, products: Tensor) -> None:
        """Scale the weights and set the thresholds.

        Shapes: mean (F, J, 2), products (Q, 2 k, 2 k).
        """
        centre = mean.flatten(0, 1)[self.notes].flatten(1)
        covariance = products - centre[:, :, None] * centre[:, None]
        variance = covariance.diagonal(dim1=1, dim2=2)
        silent = variance <= 1e-12 * products.diagonal(dim1=1, dim2=2).clamp_min(1e-30)
        weights = self.weights * torch.where(silent, 0.0, variance.clamp_min(1e-30).rsqrt())[:, None]
        spread = EDGE * torch.einsum("qsk,qkl,qsl->qs", weights, covariance, weights).clamp_min(0.0).sqrt()
        self.weights.copy_(weights * torch.where(spread > 0, 1.0 / spread, 0.0)[..., None])
        around = torch.einsum("qsk,qk->qs", self.weights, centre)[..., None]
        self.thresholds.copy_(torch.where(spread[..., None] > 0, around + self.levels / EDGE, 0.0))


def draw_chords(
    groups: Iterable[NDArray[np.integer]],
    frequencies: NDArray[np.floating],
    n_mixes: int,
    *,
    rng: np.random.RandomState,
    dtype: torch.dtype,
) -> Chords:
    """Share the outputs of each group of oscillators out to chords, and draw their weights.

    Notes of a chord lie within an octave: at half the rate, all chords but the highest are still heard.

    Shapes: groups (f,), frequencies (F,).
    """
    notes = []
    octaves = np.floor(np.log2(frequencies.max() / np.maximum(frequencies, 1e-9 * frequencies.max())))
    octaves = np.minimum(octaves, octaves[frequencies > 0].max(initial=0.0))  # low-passes are with the lowest
    parts = (group[octaves[group] == octave] for group in groups for octave in np.unique(octaves[group]))
    for group in parts:
        outputs = rng.permutation((group[:, None] * n_mixes + np.arange(n_mixes)).ravel())
        notes.append(np.resize(outputs, (-(-len(outputs) // _NOTES), _NOTES)))
    shared = np.concatenate(notes)
    shape = (len(shared), 2 * _NOTES, 2 * _NOTES)
    return Chords(
        torch.from_numpy(shared.astype(np.int64)),
        torch.from_numpy(rng.standard_normal(shape)).to(dtype),
        spread_levels(*shape[:2], _LEVELS).to(dtype),
    )
