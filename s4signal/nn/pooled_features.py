"""What an instant model knows of cases, and how it follows from sums over the readings of oscillators."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = ["FeatureTable", "PooledFeatures", "Sums", "log_energy", "log_euclidean"]


class PooledFeatures(NamedTuple):
    """Features of n cases, by family.

    Parameters
    ----------
    mean : Tensor (n, F, J, 2)
        Mean of each mix's real and imaginary part.
    course : Tensor (n, S, J, 2, W - 1)
        Mean within each equal part of the case, of the ``slow`` oscillators.
    positive : Tensor (n, F, J, 2, W)
        Share of each window that they spend above their threshold.
    chords : Tensor (n, Q, S, T)
        Share of the whole case that each sum of each chord spends above each of its thresholds.
    energy : Tensor (n, F, W) or (n, F', K (K + 1) / 2)
        One channel: log energy within each window. Several: upper triangle of the matrix logarithm of the covariance
        between the channels, the off-diagonal times the root of two, of the ``weighed`` oscillators.
    """

    mean: Tensor
    course: Tensor
    positive: Tensor
    chords: Tensor
    energy: Tensor

    @property
    def families(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Means, shares above a threshold of oscillators and of chords, and energies, each (n, ...)."""
        means = torch.cat([self.mean.flatten(1), self.course.flatten(1)], 1)
        return means, self.positive.flatten(1), self.chords.flatten(1), self.energy.flatten(1)


class Sums(NamedTuple):
    """Sums, or means, over the readings of f oscillators; what nobody wants is not there.

    Parameters
    ----------
    windows : dict of Tensor (n, f, ..., W)
        Within each window: "waves", mixes of the outputs, and "above", readings of these above their thresholds, both
        (n, f, J, 2, W); "squares" of a single channel, (n, f, W).
    whole : dict of Tensor
        Over the whole case: "chords", readings of these above their thresholds, (n, q, S, T); "products" of several
        channels, (n, f', K, K).
    """

    windows: dict[str, Tensor]
    whole: dict[str, Tensor]

    def __add__(self, other: tuple[Any, ...]) -> Sums:  # type: ignore[override]
        """Add up what both have."""
        return Sums(
            *({name: part + more[name] for name, part in one.items()} for one, more in zip(self, other, strict=True))
        )


class FeatureTable:
    """Features that come group by group of oscillators, NaN until then.

    Parameters
    ----------
    n : int
        Cases.
    n_windows : int
        Windows, the whole case among them, W.
    mixes : Tensor (F, J, C)
        Weights of the channels in the mixes of each oscillator's outputs.
    chords : tuple of int
        Chords, sums of each and thresholds, (Q, S, T).
    weighed : Tensor (F,) of bool
        Which oscillators have energies.
    n_components : int
        Channels whose covariance is taken, K.
    shrinkage : float
        Of a covariance.
    like : Tensor
        Of the dtype and on the device of the features.
    """

    def __init__(
        self,
        n: int,
        n_windows: int,
        *,
        mixes: Tensor,
        chords: tuple[int, ...],
        weighed: Tensor,
        n_components: int,
        shrinkage: float,
        like: Tensor,
    ) -> None:
        F, J, C = mixes.shape
        self._weighed, self._place, self._shrinkage = weighed, weighed.cumsum(0) - 1, shrinkage
        pairs = n_components * (n_components + 1) // 2
        self._mean, self._positive = (like.new_full((n, F, J, 2, n_windows), torch.nan) for _ in range(2))
        self._chords = like.new_full((n, *chords), torch.nan)
        self._energy = like.new_full((n, F, n_windows) if C == 1 else (n, int(weighed.sum()), pairs), torch.nan)

    def put(self, index: Tensor, which: Tensor, means: Sums) -> None:
        """Enter what is known of some oscillators.

        Parameters
        ----------
        index : Tensor (f,)
            Their numbers.
        which : Tensor (q,)
            Numbers of their chords.
        means : Sums
            Means over their readings.
        """
        windows, whole = means
        if "waves" in windows:
            self._mean[:, index] = windows["waves"].to(self._mean)
        if "above" in windows:
            self._positive[:, index] = windows["above"].to(self._positive)
        if "chords" in whole:
            self._chords[:, which] = whole["chords"].to(self._chords)
        place = self._place[index[self._weighed[index]]]
        if "squares" in windows:
            self._energy[:, place] = log_energy(windows["squares"]).to(self._energy)
        if "products" in whole:
            self._energy[:, place] = log_euclidean(whole["products"], self._shrinkage).to(self._energy)

    def features(self, slow: Tensor) -> PooledFeatures:
        """Return all that was entered, with the course of the oscillators that are ``slow``, (F,) of bool."""
        mean = self._mean
        return PooledFeatures(mean[..., 0], mean[:, slow, ..., 1:], self._positive, self._chords, self._energy)


def log_energy(energy: Tensor) -> Tensor:
    """Take the logarithm, with a floor far below any sensible energy of a standardised channel.

    Parameters
    ----------
    energy : Tensor
        Mean squares.

    Returns
    -------
    Tensor
        Of that shape.
    """
    return torch.log(energy + 1e-10)


def log_euclidean(covariance: Tensor, shrinkage: float) -> Tensor:
    """Take the logarithm of covariance matrices.

    Parameters
    ----------
    covariance : Tensor (..., K, K)
        Positive semi-definite.
    shrinkage : float
        Added to each matrix first: so many times its mean eigenvalue, times the identity.

    Returns
    -------
    Tensor (..., K (K + 1) / 2)
        Upper triangles of the matrix logarithms, the off-diagonal times the root of two.
    """
    K = covariance.shape[-1]
    level = covariance.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
    eye = torch.eye(K, dtype=covariance.dtype, device=covariance.device)
    values, vectors = torch.linalg.eigh(covariance + (shrinkage * level + 1e-10) * eye)
    logarithm = torch.matmul(vectors * torch.log(values.clamp_min(1e-12))[..., None, :], vectors.transpose(-1, -2))
    row, column = torch.triu_indices(K, K)
    upper: Tensor = logarithm[..., row, column]
    twice: Tensor = (row != column).to(upper)
    return upper * (1.0 + (math.sqrt(2.0) - 1.0) * twice)
