"""What an instant model knows of cases, and how it follows from sums over the readings of oscillators."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = ["FeatureTable", "PooledFeatures", "Sums", "log_energy", "log_euclidean"]


class PooledFeatures(NamedTuple):
    """Features of n cases, by family.

    Shapes: mean (n, F, J, 2), course (n, S, J, 2, W - 1), positive (n, F, J, 2, W), chords (n, Q, S, T), energy (n, F,
    W).
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

    Shapes: windows (n, f, ..., W).
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

    Shapes: mixes (F, J, C), weighed (F,).
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

        Shapes: index (f,), which (q,).
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
    """Take the logarithm, with a floor far below any sensible energy of a standardised channel."""
    return torch.log(energy + 1e-10)


def log_euclidean(covariance: Tensor, shrinkage: float) -> Tensor:
    """Take the logarithm of covariance matrices.

    Shapes: covariance (..., K, K) → (..., K (K + 1) / 2).
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
