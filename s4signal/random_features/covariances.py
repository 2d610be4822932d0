"""Covariances between channels within the band of an oscillator, and their logarithms."""

import math
from collections.abc import Callable
from functools import reduce

import torch
from torch import Tensor

_SUMMED = 128  # products that are added up in single precision


def sum_of_products(z: Tensor, inside: Tensor) -> Tensor:
    """(f, K, n, 2, m) -> (n, f, K, K): the sum of Re z z* over frames with ``inside`` (n, m) 1, not 0, in float64."""
    rows = (z if inside.all() else z * inside[:, None]).permute(2, 0, 1, 3, 4).flatten(3)
    # A logarithm magnifies the rounding of the largest eigenvalue to that of the smallest.
    parts = (torch.matmul(part, part.transpose(-1, -2)).double() for part in rows.split(_SUMMED, -1))
    return reduce(torch.add, parts)


def log_energy(energy: Tensor) -> Tensor:
    """Take the logarithm, with a floor far below any sensible energy of a standardised channel."""
    return torch.log(energy + 1e-10)


def matrix_log(covariance: Tensor) -> Tensor:
    """Take the logarithm of symmetric matrices (..., K, K)."""
    values, vectors = torch.linalg.eigh(covariance)
    return torch.matmul(vectors * torch.log(values.clamp_min(1e-12))[..., None, :], vectors.transpose(-1, -2))


def log_euclidean(
    covariance: Tensor, shrinkage: float, *, logarithm: Callable[[Tensor], Tensor] = matrix_log
) -> Tensor:
    """Take the matrix logarithm: (..., K, K) -> (..., K (K + 1) / 2), scaled to keep the Frobenius norm.

    It is shrunk towards the identity times its mean eigenvalue, which bounds the logarithm from below.
    """
    K = covariance.shape[-1]
    mean_eigenvalue = covariance.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
    eye = torch.eye(K, dtype=covariance.dtype, device=covariance.device)
    row, column = torch.triu_indices(K, K)
    upper: Tensor = logarithm(covariance + (shrinkage * mean_eigenvalue + 1e-10) * eye)[..., row, column]
    off_diagonal: Tensor = (row != column).to(upper)  # counts twice in the norm
    return upper * (1.0 + (math.sqrt(2.0) - 1.0) * off_diagonal)
