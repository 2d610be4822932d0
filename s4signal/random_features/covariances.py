"""Covariances between channels in the bands of oscillators, and their matrix logarithms."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from s4signal.random_features.filters import filter_frames
from s4signal.ssm.carry import carry
from s4signal.ssm.cascades import EnergyTables, energy_tables

_SUMMED = 128  # products that are summed in single precision
_LONGEST_BLOCK = 1024  # samples; the memory of the tables grows with it
_AT_ONCE = 2**20  # numbers in products and spectra at once


def sum_of_products(
    x: Tensor, lengths: Tensor, bands: tuple[Tensor, Tensor], order: int, hop: int, tables: dict[Any, Any]
) -> Tensor:
    """Sum Re z z* over all frames z of f filters: x (K, n, n_times), lengths (n,) -> (n, f, K, K), in float64.

    ``bands`` are frequencies and bandwidths (f,) in cycles per sample; ``tables`` is a cache for their tables.
    """
    (K, n, n_times), f = x.shape, len(bands[0])
    sums = torch.zeros(n, f, K, K, dtype=torch.float64)
    if f == 0:
        return sums
    if hop == 1:
        block = energy_block(n_times, order)
        if block not in tables:
            tables[block] = energy_tables(*bands, order, block)
        return sum_over_all_samples(x, lengths, tables[block])
    frames = filter_frames(x.flatten(0, 1), *bands, order=order, hop=hop, at_once=_AT_ONCE, tables=tables)
    for start, part in frames:
        inside = start + hop * torch.arange(part.shape[-1]) < lengths[:, None]
        z = part.unflatten(1, (K, n))
        rows = (z if inside.all() else z * inside[:, None]).permute(2, 0, 1, 3, 4).flatten(3)
        # Short sums in float32: in a logarithm, rounding errors of large eigenvalues dominate the small eigenvalues.
        for some in rows.split(_SUMMED, -1):
            sums += torch.matmul(some, some.mT)
    return sums


def energy_block(n_times: int, order: int) -> int:
    """Return the block length in samples for `sum_over_all_samples`: equal blocks, with little padding."""
    n_blocks = math.ceil(n_times * order / _LONGEST_BLOCK)
    return 16 * math.ceil(n_times / n_blocks / 16)


def sum_over_all_samples(x: Tensor, lengths: Tensor, tables: EnergyTables) -> Tensor:
    """Sum Re z z* over all outputs z of f filters at the full rate: (K, n, n_times) -> (n, f, K, K), in float64.

    The outputs are not computed: the sum follows from the spectrum of each block and the state before it.
    """
    (f, T, S), (K, n, n_times) = tables.P.shape, x.shape
    into = torch.cat([tables.P, tables.N], -1).transpose(0, 1).flatten(1)
    n_blocks, most = math.ceil(n_times / T), max(1, _AT_ONCE // (K * (into.shape[1] + 2 * T)))
    cases, sums = max(1, most // n_blocks), torch.zeros(n, f, K * K, dtype=torch.float64)
    for some in torch.arange(n).split(cases):
        state = sums.new_zeros(f, len(some) * K, S)
        for first in range(0, n_blocks, most):
            # Cases are aligned at their ends: zeros before the first sample have no effect.
            u = _aligned_at_end(x, lengths, some.tolist(), first * T - n_blocks * T, min(most, n_blocks - first) * T)
            u = u.unflatten(2, (-1, T))
            product = (u.flatten(0, 2) @ into).view(len(some) * K, -1, f, 2, S)
            entering, later = product.permute(3, 2, 0, 1, 4)
            entering = entering.contiguous()
            state = carry(entering, tables.transition, state)
            carried = entering.reshape(f, len(some), K, -1) @ later.reshape(f, len(some), K, -1).mT
            spectra = torch.view_as_real(torch.fft.rfft(u, 2 * T)).permute(0, 3, 1, 2, 4).flatten(3)
            inside = tables.spectrum @ (spectra @ spectra.mT).flatten(2)
            sums[some] += inside + (carried + carried.mT).transpose(0, 1).flatten(2)
        last = state.unflatten(1, (-1, K))
        sums[some] -= (last @ tables.remaining[:, None] @ last.mT).transpose(0, 1).flatten(2)
    return sums.view(n, f, K, K)


def _aligned_at_end(x: Tensor, lengths: Tensor, some: list[int], start: int, n_times: int) -> Tensor:
    """Return ``n_times`` samples of some cases from ``start`` < 0, relative to their ends, (k, K, n_times)."""
    u = torch.zeros(len(some), len(x), n_times, dtype=torch.float64)
    for row, case in zip(u, some, strict=True):
        first = int(lengths[case]) + start
        before, end = max(-first, 0), first + n_times
        if before < n_times:
            row[:, before:] = x[:, case, first + before : end]
    return u


def log_energy(energy: Tensor) -> Tensor:
    """Return the logarithm, with a floor far below any typical energy of a standardised channel."""
    return torch.log(energy + 1e-10)


def matrix_log(covariance: Tensor) -> Tensor:
    """Return the matrix logarithm of symmetric matrices (..., K, K)."""
    values, vectors = torch.linalg.eigh(covariance)
    return torch.matmul(vectors * torch.log(values.clamp_min(1e-12))[..., None, :], vectors.transpose(-1, -2))


def log_euclidean(
    covariance: Tensor, shrinkage: float, *, logarithm: Callable[[Tensor], Tensor] = matrix_log
) -> Tensor:
    """Return the upper triangle of the matrix logarithm, (..., K, K) -> (..., K (K + 1) / 2), with the Frobenius norm.

    The covariance is shrunk towards the identity times its mean eigenvalue, which bounds the logarithm from below.
    """
    K = covariance.shape[-1]
    mean_eigenvalue = covariance.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
    eye = torch.eye(K, dtype=covariance.dtype, device=covariance.device)
    row, column = torch.triu_indices(K, K)
    upper: Tensor = logarithm(covariance + (shrinkage * mean_eigenvalue + 1e-10) * eye)[..., row, column]
    off_diagonal: Tensor = (row != column).to(upper)  # counts twice in the norm
    return upper * (1.0 + (math.sqrt(2.0) - 1.0) * off_diagonal)
