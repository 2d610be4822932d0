"""Cascades of equal one-pole resonators (order 4: the gammatone), with the same gain at every sampling rate.

A bank is F centre frequencies and F bandwidths of each stage, in cycles per sample. A state is a row of 2 order real
numbers: the real parts of all stages, then the imaginary ones.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from s4signal.ssm.systems import Pair


class CascadeTables(NamedTuple):
    """What a bank of F cascades multiplies blocks of T samples with; all real, real parts before imaginary ones."""

    W: Tensor  # (F, T, 2 T): samples to outputs; of every n-th sample T / n of them
    P: Tensor  # (F, T, 2 order): samples to the state they leave behind
    Q: Tensor  # (F, 2 order, 2 T): the state before the block to outputs, as many
    transition: Tensor  # (F, 2 order, 2 order): the state before the block to the state after it


class EnergyTables(NamedTuple):
    """What sums of products over time follow from, of the outputs of a bank for blocks of T samples.

    What a block alone leaves as long as it sounds has a spectrum. With it sounds the state before the block, and what
    the last state would still sound was counted too much.
    """

    spectrum: Tensor  # (F, T + 1): weights of the squares of `torch.fft.rfft(block, 2 T)`
    P: Tensor  # (F, T, 2 order): samples to the state they leave behind
    N: Tensor  # (F, T, 2 order): samples to what the state before the block is multiplied with
    transition: Tensor  # (F, 2 order, 2 order): the state before the block to the state after it
    remaining: Tensor  # (F, 2 order, 2 order): the quadratic form of a state that says what it will still sound


def cascade_tables(
    frequencies: Tensor, bandwidths: Tensor, order: int, length: int, dtype: torch.dtype, *, every: int = 1
) -> CascadeTables:
    """Build the tables of a bank whose filters (F,) have gain one at their centres; of ``every`` n-th output.

    Poles and stages are exact under a zero-order hold; what the hold itself takes away at the centre is given back.
    """
    R = _transitions(frequencies, bandwidths, order, torch.arange(length + 1, device=frequencies.device))
    B_bar = held_response(frequencies, bandwidths, order, torch.ones(1, device=frequencies.device))
    into = torch.einsum("fit,flij->flj", B_bar, R[:, :-1])  # the state at each lag after a sample
    samples = _to_outputs(_last_stage(into).mT, every)
    tables = samples, into.flip(1), _last_stage(R[:, 1::every]).permute(0, 2, 3, 1).flatten(2)
    return CascadeTables(*(table.to(dtype) for table in (*tables, R[:, -1])))


def energy_tables(frequencies: Tensor, bandwidths: Tensor, order: int, length: int) -> EnergyTables:
    r"""Build the tables of sums over time of real parts of :math:`z_c \bar z_d`, in float64.

    Of a state s the output is :math:`s R_t q` t samples later, so that its energy is :math:`s L s^T` with
    :math:`L = \sum_t R_t q q^T R_t^T`, and a sample that comes then has the product :math:`s R_t L B^T` with it. Where
    the state is what another sample left, :math:`B`, this is the autocorrelation of the filter.
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
    spectrum[:, 1:-1] *= 2.0  # of the negative frequencies too
    P = (B[:, None] @ R[:, :-1]).squeeze(2).flip(1)
    return EnergyTables(spectrum / (2 * length), P, products[:, 1:].squeeze(-1), R[:, -1], one @ L @ one.mT)


def state_tables(
    frequencies: Tensor, bandwidths: Tensor, order: int, length: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Build W (F, T 2 order, 2 T) and P (F, T 2 order, 2 order) for states that come in at the samples of a block."""
    R = _transitions(frequencies, bandwidths, order, torch.arange(length, device=frequencies.device))
    W = _to_outputs(_last_stage(R).permute(0, 2, 3, 1))
    return W.flatten(1, 2).to(dtype), R.flip(1).flatten(1, 2).to(dtype)


def held_response(frequencies: Tensor, bandwidths: Tensor, order: int, times: Tensor) -> Tensor:
    """Return the states of cascades at rest, (F, 2 order, T), after an input of one was held for times (T,)."""
    beta, t = 2.0 * math.pi * bandwidths, times.to(bandwidths)
    pole = Pair(-beta, 2.0 * math.pi * frequencies).unsqueeze(-1)
    inverse, states = pole.reciprocal(), _unit_response(frequencies, bandwidths, order, t)
    stages = [pole.scaled(t).expm1().times(inverse)]
    for j in range(1, order):  # integration by parts, stage by stage
        previous = stages[-1].scaled(-beta[:, None])
        stages.append(Pair(states.re[:, j] + previous.re, states.im[:, j] + previous.im).times(inverse))
    # Holding a sample damps frequency f by sinc(f): without this a band would be quieter at a lower sampling rate.
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
    """Return what a row of state is multiplied with to get the one at each time after it, (F, T, 2 order, 2 order)."""
    # A unit in stage i reaches stage j as one in the first stage reaches stage j - i: triangular Toeplitz matrices.
    re, im = (_toeplitz(part.mT) for part in _unit_response(frequencies, bandwidths, order, times))
    return torch.cat([torch.cat([re, im], -1), torch.cat([-im, re], -1)], -2)


def _last_stage(rows: Tensor) -> Tensor:
    """Pick real and imaginary part of the output, (..., 2 order) -> (..., 2)."""
    parts: Tensor = rows.unflatten(-1, (2, -1))
    return parts[..., -1]


def _toeplitz(response: Tensor, every: int = 1) -> Tensor:
    """Lay out causal responses (..., n) as (..., n, n / every): a row for each place of the input."""
    n = response.shape[-1]
    return torch.nn.functional.pad(response, (n - 1, 0)).unfold(-1, n, 1)[..., ::every].flip(-2)


def _to_outputs(response: Tensor, every: int = 1) -> Tensor:
    """(F, ..., 2, T) -> (F, T, ..., 2 T): from an input at each sample to the real and imaginary parts of outputs."""
    return _toeplitz(response, every).movedim(-2, 1).flatten(-2)
