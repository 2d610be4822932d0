"""Cascades of identical one-pole resonators (order 4: the gammatone), with the same gain at every sampling rate.

A bank has F centre frequencies, and F bandwidths of each stage, in cycles per sample. A state is a row of 2 order real
numbers: the real parts of all stages, then the imaginary parts.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from s4signal.ssm.systems import Pair


class CascadeTables(NamedTuple):
    """Matrices of a bank of F cascades for blocks of T samples; all real, real parts before imaginary parts."""

    W: Tensor  # (F, T, 2 T): samples to outputs; with every=n, 2 T / n columns
    P: Tensor  # (F, T, 2 order): samples to the state they add
    Q: Tensor  # (F, 2 order, 2 T): the state before the block to outputs, with as many columns as W
    transition: Tensor  # (F, 2 order, 2 order): the state before the block to the state after it


class EnergyTables(NamedTuple):
    """Tables for sums over time of products of the outputs of a bank, for blocks of T samples.

    The energy of the response to a block alone, tail included, follows from the spectrum of the block. The products
    with the response of the state before the block are added, and the energy after the last block is subtracted.
    """

    spectrum: Tensor  # (F, T + 1): weights of the squares of `torch.fft.rfft(block, 2 T)`
    P: Tensor  # (F, T, 2 order): samples to the state they add
    N: Tensor  # (F, T, 2 order): samples to the vector that the state before the block is multiplied by
    transition: Tensor  # (F, 2 order, 2 order): the state before the block to the state after it
    remaining: Tensor  # (F, 2 order, 2 order): quadratic form of a state, the energy of its free response


def cascade_tables(
    frequencies: Tensor, bandwidths: Tensor, order: int, length: int, dtype: torch.dtype, *, every: int = 1
) -> CascadeTables:
    """Build the tables of a bank whose filters (F,) have unit gain at their centres, for every ``every``-th output.

    Poles and stages are exact under a zero-order hold. The attenuation by the hold at the centre is compensated.
    """
    R = _transitions(frequencies, bandwidths, order, torch.arange(length + 1, device=frequencies.device))
    B_bar = held_response(frequencies, bandwidths, order, torch.ones(1, device=frequencies.device))
    into = torch.einsum("fit,flij->flj", B_bar, R[:, :-1])  # the state at each lag after a sample
    samples = _to_outputs(_last_stage(into).mT, every)
    tables = samples, into.flip(1), _last_stage(R[:, 1::every]).permute(0, 2, 3, 1).flatten(2)
    return CascadeTables(*(table.to(dtype) for table in (*tables, R[:, -1])))


def energy_tables(frequencies: Tensor, bandwidths: Tensor, order: int, length: int) -> EnergyTables:
    r"""Build the tables of sums over time of real parts of :math:`z_c \bar z_d`, in float64.

    The output of a state s is :math:`s R_t q` after t samples, so that its energy is :math:`s L s^T` with
    :math:`L = \sum_t R_t q q^T R_t^T`. Its product with the response to a sample at time t is :math:`s R_t L B^T`. For
    the state after a single sample, :math:`s = B`, this is the autocorrelation of the filter.
    """
    R = _transitions(frequencies, bandwidths, order, torch.arange(length + 1, device=frequencies.device))
    B = held_response(frequencies, bandwidths, order, torch.ones(1, device=frequencies.device)).mT
    q = _last_stage(torch.eye(2 * order).to(R))
    one = power = R[:, 1]
    L = (q @ q.mT).expand_as(one)
    for _ in range(64):  # each doubles the time
        L, power = L + power @ L @ power.mT, power @ power
    products = R @ (L @ B.mT)[:, None]
    autocorrelation = (B @ products[:, :-1].squeeze(-1).mT).squeeze(1)
    spectrum = 2.0 * torch.fft.rfft(autocorrelation, 2 * length).real - autocorrelation[:, :1]
    spectrum[:, 1:-1] *= 2.0  # includes the negative frequencies
    P = (B[:, None] @ R[:, :-1]).squeeze(2).flip(1)
    return EnergyTables(spectrum / (2 * length), P, products[:, 1:].squeeze(-1), R[:, -1], one @ L @ one.mT)


def state_tables(
    frequencies: Tensor, bandwidths: Tensor, order: int, length: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Build W (F, T 2 order, 2 T) and P (F, T 2 order, 2 order) for states that are added at the samples of a block."""
    R = _transitions(frequencies, bandwidths, order, torch.arange(length, device=frequencies.device))
    W = _to_outputs(_last_stage(R).permute(0, 2, 3, 1))
    return W.flatten(1, 2).to(dtype), R.flip(1).flatten(1, 2).to(dtype)


def held_response(frequencies: Tensor, bandwidths: Tensor, order: int, times: Tensor) -> Tensor:
    """Return the step response of cascades: states (F, 2 order, T) after an input of one is held for times (T,)."""
    beta, t = 2.0 * math.pi * bandwidths, times.to(bandwidths)
    pole = Pair(-beta, 2.0 * math.pi * frequencies).unsqueeze(-1)
    inverse, states = pole.reciprocal(), _unit_response(frequencies, bandwidths, order, t)
    stages = [pole.scaled(t).expm1().times(inverse)]
    for j in range(1, order):  # integration by parts, stage by stage
        previous = stages[-1].scaled(-beta[:, None])
        stages.append(Pair(states.re[:, j] + previous.re, states.im[:, j] + previous.im).times(inverse))
    # The hold attenuates frequency f by sinc(f): without compensation, the gain would fall at lower sampling rates.
    gain = (beta / torch.sinc(frequencies))[:, None, None]
    return torch.stack([z.re for z in stages] + [z.im for z in stages], 1) * gain


def _unit_response(frequencies: Tensor, bandwidths: Tensor, order: int, times: Tensor) -> Pair:
    r"""Return the states of cascades at times after a unit state in the first stage.

    Stage j holds :math:`(\beta t)^j / j! \; e^{(-\beta + 2\pi i f) t}` with :math:`\beta = 2\pi b`, (F, order, T).

    References
    ----------
    Slaney, "An Efficient Implementation of the Patterson-Holdsworth Auditory Filter Bank", Apple Technical Report 35,
    1993, section 2.
    """
    t = 2.0 * math.pi * times.to(bandwidths)
    x, angle = bandwidths[:, None] * t, (frequencies[:, None] * t).unsqueeze(1)
    stages = torch.stack([x**j / math.factorial(j) * torch.exp(-x) for j in range(order)], 1)
    return Pair(stages * torch.cos(angle), stages * torch.sin(angle))


def _transitions(frequencies: Tensor, bandwidths: Tensor, order: int, times: Tensor) -> Tensor:
    """Return the transition matrices of a state (as a row) over each time, (F, T, 2 order, 2 order)."""
    # The response of stage j to stage i is that of stage j - i to the first stage: triangular Toeplitz matrices.
    re, im = (_toeplitz(part.mT) for part in _unit_response(frequencies, bandwidths, order, times))
    return torch.cat([torch.cat([re, im], -1), torch.cat([-im, re], -1)], -2)


def _last_stage(rows: Tensor) -> Tensor:
    """Return the real and imaginary part of the last stage, (..., 2 order) -> (..., 2)."""
    parts: Tensor = rows.unflatten(-1, (2, -1))
    return parts[..., -1]


def _toeplitz(response: Tensor, every: int = 1) -> Tensor:
    """Return Toeplitz matrices (..., n, n / every) of causal responses (..., n): one row per input sample."""
    n = response.shape[-1]
    return torch.nn.functional.pad(response, (n - 1, 0)).unfold(-1, n, 1)[..., ::every].flip(-2)


def _to_outputs(response: Tensor, every: int = 1) -> Tensor:
    """Return the matrix from inputs to real and imaginary outputs, (F, ..., 2, T) -> (F, T, ..., 2 T)."""
    return _toeplitz(response, every).movedim(-2, 1).flatten(-2)
