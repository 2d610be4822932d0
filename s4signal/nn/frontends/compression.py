"""From energies to features: smoothing, and compression by a logarithm, a power law or an automatic gain (PCEN)."""

import math

import torch
from torch import Tensor

from s4signal.ssm import cascade_tables

EXPONENT = 0.3  # of loudness over intensity: Stevens, "On the psychophysical law", 1957, doi:10.1037/h0046162
PCEN_GAIN, PCEN_OFFSET, PCEN_EXPONENT = 0.98, 2.0, 0.5  # Wang et al., 2017, section 2


def compress(output: str, energy: Tensor, floor: float, slow: Tensor | None) -> Tensor:
    """Compress energies E by the rule ``output``; ``slow`` is M, the slowly smoothed energy, for "pcen" only.

    log: log(E + floor); power: (E + floor)^0.3; pcen: (E / (M + floor)^0.98 + 2)^0.5 - 2^0.5 (Wang et al., equation 1).
    """
    if output == "log":
        return torch.log(energy + floor)
    if output == "power" or slow is None:
        return torch.pow(energy + floor, EXPONENT)
    normalised = energy * (slow + floor) ** -PCEN_GAIN + PCEN_OFFSET
    rooted: Tensor = normalised**PCEN_EXPONENT - PCEN_OFFSET**PCEN_EXPONENT
    return rooted


def low_pass(x: Tensor, time_constants: Tensor, level: Tensor | None) -> tuple[Tensor, Tensor]:
    """Smooth x (n_bands, rows, n_steps) by y_k = a y_{k-1} + (1 - a) x_k, a = exp(-1 / time constant in steps).

    The initial level y_{-1} (n_bands, rows, 1) defaults to x_0; the last level is also returned.
    """
    followed = follow(x, follower_tables(time_constants, min(64, x.shape[-1]), x.dtype), level)
    return followed, followed[..., -1:]


def follower_tables(time_constants: Tensor, length: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Build the matrices of `follow` for ``length`` steps (F, length, length) and a level (F, 1, length)."""
    # A real pole is a resonator at 0 Hz with unit gain; its bandwidth in cycles per step is 1 / (2 pi time constant).
    bandwidths = 1.0 / (2.0 * math.pi * time_constants)
    tables = cascade_tables(torch.zeros_like(bandwidths), bandwidths, 1, length, dtype)
    return tables.W[..., :length], tables.Q[:, :1, :length]


def follow(x: Tensor, tables: tuple[Tensor, Tensor], level: Tensor | None) -> Tensor:
    """Smooth x (n_bands, rows, n_steps) as `low_pass` does, with given tables."""
    into, out = tables
    level = x[..., :1] if level is None else level
    followed = []
    for u in x.split(into.shape[1], -1):
        steps = u.shape[-1]
        followed.append(torch.baddbmm(torch.bmm(u, into[:, :steps, :steps]), level, out[..., :steps]))
        level = followed[-1][..., -1:]
    return followed[0] if len(followed) == 1 else torch.cat(followed, -1)
