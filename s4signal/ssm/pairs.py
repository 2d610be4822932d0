"""Complex numbers as two real tensors, so that no complex dtype reaches autograd, autocast or export."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Pair", "construction_dtype"]


class Pair(NamedTuple):
    """A complex tensor held as its real and imaginary parts.

    Parameters
    ----------
    re, im : Tensor
        Real and imaginary part, of one shape.

    Examples
    --------
    >>> z = Pair(torch.tensor(0.0), torch.tensor(1.0))
    >>> z.times(z).re.item()
    -1.0
    """

    re: Tensor
    im: Tensor

    @classmethod
    def of(cls, x: Tensor) -> Pair:
        """Return the pair whose parts lie beside one another on the last axis, (..., 2)."""
        return cls(*x.unbind(-1))

    def stacked(self) -> Tensor:
        """Return both parts beside one another on a new last axis, (..., 2): the way back from `of`."""
        return torch.stack([self.re, self.im], -1)

    def times(self, other: Pair) -> Pair:
        """Return the product with another pair (shapes broadcast)."""
        return Pair(self.re * other.re - self.im * other.im, self.re * other.im + self.im * other.re)

    def times_state(self, state: Tensor) -> Tensor:
        """Return the product of modes (d_model, n) with a state (d_model, batch, 2 n), in the dtype of the state."""
        product = self.to(state.dtype).unsqueeze(1).times(Pair.of(state.unflatten(-1, (-1, 2))))
        return product.stacked().flatten(-2)

    def scaled(self, factor: Tensor | float) -> Pair:
        """Return the product with a real factor."""
        return Pair(self.re * factor, self.im * factor)

    def reciprocal(self) -> Pair:
        """Return 1 / z."""
        square = self.re * self.re + self.im * self.im
        return Pair(self.re / square, -self.im / square)

    def exp(self) -> Pair:
        """Return exp(z)."""
        radius = torch.exp(self.re)
        return Pair(radius * torch.cos(self.im), radius * torch.sin(self.im))

    def expm1(self) -> Pair:
        """Return exp(z) - 1 without cancellation near z = 0."""
        # exp(x) cos y - 1 loses three digits in float32 when |z| < 1e-3; this sum keeps them all.
        half = torch.sin(0.5 * self.im)
        return Pair(
            torch.expm1(self.re) * torch.cos(self.im) - 2.0 * half * half, torch.exp(self.re) * torch.sin(self.im)
        )

    def unsqueeze(self, dim: int) -> Pair:
        """Return the pair with a dimension of size one inserted."""
        return Pair(self.re.unsqueeze(dim), self.im.unsqueeze(dim))

    def to(self, dtype: torch.dtype) -> Pair:
        """Return the pair in another real dtype."""
        return Pair(self.re.to(dtype), self.im.to(dtype))


def construction_dtype(device: torch.device) -> torch.dtype:
    """Return the precision in which systems and tables are built on a device."""
    return torch.float32 if device.type == "mps" else torch.float64
