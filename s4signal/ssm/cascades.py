"""Cascades of equal one-pole resonators (order 4: the gammatone), with the same gain at every sampling rate.

A bank is F centre frequencies and F bandwidths of each stage, in cycles per sample.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from s4signal.ssm.systems import Pair


class CascadeTables(NamedTuple):
    """What a bank of F cascades multiplies blocks of T samples with; all real, real parts before imaginary ones."""

    W: Tensor  # (F, T, 2 T): samples to outputs
    P: Tensor  # (F, T, 2 order): samples to the state they leave behind
    Q: Tensor  # (F, 2 order, 2 T): the state before the block to outputs
    transition: Tensor  # (F, 2 order, 2 order): the state before the block to the state after it


class StateTables(NamedTuple):
    """What states that come in at each sample of a block are multiplied with, as `CascadeTables` does samples."""

    W: Tensor  # (F, 2 order T, 2 T)
    P: Tensor  # (F, 2 order T, 2 order)


def cascade_response(frequencies: Tensor, bandwidths: Tensor, order: int, times: Tensor) -> Pair:
    r"""Return the states of cascades at times after a unit state in the first stage.

    Stage j holds :math:`(\beta t)^j / j! \; e^{(-\beta + 2\pi i f) t}` with :math:`\beta = 2\pi b`, (F, order, T).

    References
    ----------
    Slaney, "An Efficient Implementation of the Patterson-Holdsworth Auditory Filter Bank", Apple Technical Report 35,
    1993, section 2.
    """
    beta = 2.0 * math.pi * bandwidths
    t = times.to(beta)
    x = beta[:, None] * t
    stages = torch.stack([x**j / math.factorial(j) * torch.exp(-x) for j in range(order)], 1)
    angle = (2.0 * math.pi * frequencies[:, None] * t).unsqueeze(1)
    return Pair(stages * torch.cos(angle), stages * torch.sin(angle))


def cascade_tables(
    frequencies: Tensor,
    bandwidths: Tensor,
    order: int,
    length: int,
    dtype: torch.dtype,
    *,
    tables: dict[tuple[int, torch.dtype], CascadeTables] | None = None,
) -> CascadeTables:
    """Build the tables of a bank whose filters (F,) have gain one at their centre frequencies.

    Poles and stages are exact under a zero-order hold; what the hold itself takes away at the centre is given back.
    ``tables`` is where to look for the tables of this very bank, and to leave them for the next call.
    """
    if tables is not None:
        if (length, dtype) not in tables:
            tables[length, dtype] = cascade_tables(frequencies, bandwidths, order, length, dtype)
        return tables[length, dtype]
    F, T = len(frequencies), length
    states = cascade_response(frequencies, bandwidths, order, torch.arange(T + 1, device=frequencies.device))
    B_bar = held_response(frequencies, bandwidths, order, torch.ones(1, device=frequencies.device))
    # The state at lag k after an input sample: the k-th power of the transition times B_bar, a product of polynomials.
    into = _stage_product(Pair(states.re[..., :-1], states.im[..., :-1]), B_bar)
    kernel = torch.stack([into.re[:, -1], into.im[:, -1]], 1)  # (F, 2, T): the output is the last stage
    lags = torch.nn.functional.pad(kernel, (T - 1, 0))
    W = lags.unfold(-1, T, 1).flip(2).transpose(1, 2).reshape(F, T, 2 * T)
    P = torch.cat([into.re, into.im], 1).flip(-1).transpose(1, 2)
    # Entering stage j reaches the last stage through order - 1 - j further stages.
    Q = _output_vectors(Pair(states.re[..., 1:], states.im[..., 1:])).flatten(2)
    transition = _real_transition(Pair(states.re[..., -1], states.im[..., -1]))
    return CascadeTables(W.to(dtype), P.to(dtype), Q.to(dtype), transition.to(dtype))


def state_tables(frequencies: Tensor, bandwidths: Tensor, order: int, length: int, dtype: torch.dtype) -> StateTables:
    """Build the tables for states that come in at the samples of a block, beside what the samples themselves bring."""
    states = cascade_response(frequencies, bandwidths, order, torch.arange(length, device=frequencies.device))
    lags = torch.nn.functional.pad(_output_vectors(states), (length - 1, 0))
    W = lags.unfold(-1, length, 1).flip(3).permute(0, 3, 1, 2, 4).reshape(len(lags), -1, 2 * length)
    columns = Pair(states.re.flip(2).mT.flatten(0, 1), states.im.flip(2).mT.flatten(0, 1))
    P = _real_transition(columns).reshape(len(lags), -1, 2 * order)
    return StateTables(W.to(dtype), P.to(dtype))


def held_response(frequencies: Tensor, bandwidths: Tensor, order: int, times: Tensor) -> Pair:
    """Return the states of cascades at rest, (F, order, T), after an input of one was held for times (T,)."""
    beta, t = 2.0 * math.pi * bandwidths, times.to(bandwidths)
    pole = Pair(-beta, 2.0 * math.pi * frequencies).unsqueeze(-1)
    inverse = pole.reciprocal()
    states = cascade_response(frequencies, bandwidths, order, t)
    stages = [pole.scaled(t).expm1().times(inverse)]
    for j in range(1, order):  # integration by parts, stage by stage
        previous = stages[-1].scaled(-beta[:, None])
        current = Pair(states.re[:, j] + previous.re, states.im[:, j] + previous.im)
        stages.append(current.times(inverse))
    # Holding a sample damps frequency f by sinc(f): without this a band would be quieter at a lower sampling rate.
    gain = (beta / torch.sinc(frequencies))[:, None, None]
    return Pair(torch.stack([s.re for s in stages], 1), torch.stack([s.im for s in stages], 1)).scaled(gain)


def _output_vectors(states: Pair) -> Tensor:
    """(F, order, T) states after a unit state in the first stage -> (F, 2 order, 2, T): any state to the output."""
    out = Pair(states.re.flip(1), states.im.flip(1))
    return torch.cat([torch.stack([out.re, out.im], 2), torch.stack([-out.im, out.re], 2)], 1)


def _stage_product(states: Pair, vector: Pair) -> Pair:
    """Lower triangular Toeplitz matrix in the stages (first column ``states``) times ``vector``."""
    order = states.re.shape[1]
    re, im = torch.zeros_like(states.re), torch.zeros_like(states.im)
    for shift in range(order):
        lower = Pair(states.re[:, shift : shift + 1], states.im[:, shift : shift + 1])
        product = lower.times(Pair(vector.re[:, : order - shift], vector.im[:, : order - shift]))
        re[:, shift:] += product.re
        im[:, shift:] += product.im
    return Pair(re, im)


def _real_transition(column: Pair) -> Tensor:
    """(F, order) first column of the triangular Toeplitz transition -> (F, 2 order, 2 order), for rows of states."""
    F, order = column.re.shape
    re, im = column.re.new_zeros(F, order, order), column.im.new_zeros(F, order, order)
    for j in range(order):
        re[:, j, j:] = column.re[:, : order - j]
        im[:, j, j:] = column.im[:, : order - j]
    return torch.cat([torch.cat([re, im], -1), torch.cat([-im, re], -1)], 1)
