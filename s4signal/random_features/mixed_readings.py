"""Mixes of what oscillators read from several channels."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["MixedReadings"]


class MixedReadings:
    """Mixes of the outputs of f oscillators, and the outputs of some of them whose products are taken.

    Shapes: mixes (f, J, C), components (K, C), weighed (f,).
    """

    def __init__(self, mixes: Tensor, components: Tensor, weighed: Tensor) -> None:
        self._mixes, self._weighed = mixes, weighed
        self._components = components.expand(len(mixes), *components.shape)
        heard = torch.cat([mixes, self._components], 1) if weighed.any() else mixes
        self.before = heard if heard.shape[1] < heard.shape[2] else None

    def rows(self, n: int) -> int:
        """How many signals each oscillator hears of n cases."""
        return n * (self._mixes.shape[2] if self.before is None else self.before.shape[1])

    def split(self, readings: Tensor, n: int) -> tuple[Tensor, Tensor]:
        """Mix and sort readings.

        Shapes: readings (f, R * n, 2, m) → (n, f, J, 2, m), (f', K, n, 2, m).
        """
        z, J, weighed = readings.unflatten(1, (-1, n)), self._mixes.shape[1], self._weighed
        waves = _mixed(self._mixes, z) if self.before is None else z[:, :J]
        z = z if self.before is None else z[:, J:]
        z = z if weighed.all() else z[weighed]
        if self.before is None and self._components.shape[1] < self._components.shape[2]:
            z = _mixed(self._components[weighed], z)
        return waves.permute(2, 0, 1, 3, 4).contiguous(), z


def _mixed(mixes: Tensor, z: Tensor) -> Tensor:
    """(f, R, C), (f, C, n, 2, m) -> (f, R, n, 2, m)."""
    mixed: Tensor = torch.matmul(mixes, z.flatten(2)).unflatten(-1, z.shape[2:])
    return mixed
