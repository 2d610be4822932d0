"""Discrete linear state space systems: diagonal, dense, and shared by all channels; and complex numbers as pairs."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from s4signal.errors import ShapeError


class Pair(NamedTuple):
    """A complex tensor as real and imaginary parts, so that autograd, autocast and export see no complex dtype.

    Parameters
    ----------
    re, im : Tensor
        Real and imaginary part, of the same shape.

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
        """Return the pair whose parts are stacked on the last axis.

        Parameters
        ----------
        x : Tensor (..., 2)
            Real parts at 0, imaginary parts at 1.
        """
        return cls(*x.unbind(-1))

    def stacked(self) -> Tensor:
        """Stack both parts on a new last axis, (..., 2): the inverse of `of`."""
        return torch.stack([self.re, self.im], -1)

    def times(self, other: Pair) -> Pair:
        """Return the product with another pair.

        Parameters
        ----------
        other : Pair
            The other factor, of a shape that broadcasts.
        """
        return Pair(self.re * other.re - self.im * other.im, self.re * other.im + self.im * other.re)

    def scaled(self, factor: Tensor | float) -> Pair:
        """Return the product with a real factor.

        Parameters
        ----------
        factor : Tensor or float
            A number, or real numbers of a shape that broadcasts.
        """
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
        # exp(x) cos y - 1 = expm1(x) cos y - 2 sin(y / 2)^2. The left side loses three digits in float32 at |z| < 1e-3.
        half = torch.sin(0.5 * self.im)
        return Pair(
            torch.expm1(self.re) * torch.cos(self.im) - 2.0 * half * half, torch.exp(self.re) * torch.sin(self.im)
        )

    def unsqueeze(self, dim: int) -> Pair:
        """Return the pair with a dimension of size one inserted.

        Parameters
        ----------
        dim : int
            Index at which to insert it.
        """
        return Pair(self.re.unsqueeze(dim), self.im.unsqueeze(dim))

    def to(self, dtype: torch.dtype) -> Pair:
        """Convert the pair to another dtype.

        Parameters
        ----------
        dtype : torch.dtype
            A real dtype.
        """
        return Pair(self.re.to(dtype), self.im.to(dtype))


def times_state(modes: Pair, state: Tensor) -> Tensor:
    """Multiply a state (d_model, batch, 2 n) by factors of its modes (d_model, n), in the dtype of the state."""
    product = modes.to(state.dtype).unsqueeze(1).times(Pair.of(state.unflatten(-1, (-1, 2))))
    return product.stacked().flatten(-2)


class DiagonalSystem(NamedTuple):
    """x_k = Lambda_bar x_{k-1} + B_bar u_k,  y_k = 2 Re(C x_k) + D u_k, one system per channel.

    Each of the n_pairs modes represents a conjugate pair: d_state = 2 n_pairs.

    Parameters
    ----------
    Lambda_bar : Pair of (d_model, n_pairs)
        Discrete poles, inside the unit circle.
    B_bar, C : Pair of (d_model, n_pairs)
        Input and output vectors.
    D : Tensor (d_model,)
        Feed-through.
    C_reverse : Pair of (d_model, n_pairs) or None
        Output vector of the anti-causal direction, which sees only the samples after k. None: the system is causal.
    ahead : Tensor (d_model, n_ahead) or None
        Replaces C_reverse if that direction is truncated: its response to the n_ahead samples after k.

    Examples
    --------
    >>> from s4signal.ssm import impulse_response
    >>> one, zero = torch.ones(1, 1), torch.zeros(1, 1)
    >>> system = DiagonalSystem(Pair(0.5 * one, zero), Pair(one, zero), Pair(one, zero), D=torch.zeros(1))
    >>> impulse_response(system, 4).round(decimals=4).tolist()  # 2 Re(0.5^k)
    [[2.0, 1.0, 0.5, 0.25]]
    """

    Lambda_bar: Pair
    B_bar: Pair
    C: Pair
    D: Tensor
    C_reverse: Pair | None = None
    ahead: Tensor | None = None

    @property
    def state_size(self) -> tuple[int, int]:
        """Number of systems, and of real numbers in each state: (re, im) of each pair."""
        d_model, n_pairs = self.Lambda_bar.re.shape
        return int(d_model), 2 * int(n_pairs)


class DenseSystem(NamedTuple):
    """x_k = A_bar x_{k-1} + B_bar u_k,  y_k = C x_k + D u_k, one real system per channel.

    Parameters
    ----------
    A_bar : Tensor (d_model, d_state, d_state)
        State matrices, eigenvalues inside the unit circle.
    B_bar, C : Tensor (d_model, d_state)
        Input and output vectors.
    D : Tensor (d_model,)
        Feed-through.
    C_reverse : Tensor (d_model, d_state) or None
        Output vector of the anti-causal direction, as in `DiagonalSystem`.
    ahead : Tensor (d_model, n_ahead) or None
        As in `DiagonalSystem`.

    Examples
    --------
    >>> from s4signal.ssm import impulse_response
    >>> one = torch.ones(1, 1)
    >>> system = DenseSystem(0.5 * one.unsqueeze(-1), one, one, D=torch.zeros(1))
    >>> impulse_response(system, 4).tolist()  # x_k = x_{k-1} / 2 + u_k, y_k = x_k
    [[1.0, 0.5, 0.25, 0.125]]
    """

    A_bar: Tensor
    B_bar: Tensor
    C: Tensor
    D: Tensor
    C_reverse: Tensor | None = None
    ahead: Tensor | None = None

    @property
    def state_size(self) -> tuple[int, int]:
        """Number of systems, and of real numbers in each state."""
        return int(self.B_bar.shape[0]), int(self.B_bar.shape[1])


class SharedSystem(NamedTuple):
    """x_k = Lambda_bar x_{k-1} + B_bar u_k,  y_k = 2 Re(C x_k) + D u_k, one system for all channels.

    Parameters
    ----------
    Lambda_bar : Pair of (n_pairs,)
        Discrete poles, inside the unit circle; each represents a conjugate pair.
    B_bar : Pair of (n_pairs, d_model)
        Input matrix.
    C, D, C_reverse : as in `DiagonalSystem`
        Output matrix, feed-through from each channel to itself, and output matrix of the anti-causal direction.
    ahead : Tensor (d_model, d_model, n_ahead) or None
        As in `DiagonalSystem`, from the second channel to the first.

    Examples
    --------
    >>> from s4signal.ssm import impulse_response
    >>> pole, one, zero = Pair(torch.tensor([0.5]), torch.zeros(1)), torch.ones(1, 2), torch.zeros(1, 2)
    >>> system = SharedSystem(pole, Pair(one, zero), Pair(one.T, zero.T), D=torch.zeros(2))
    >>> impulse_response(system, 4)[0, 1].round(decimals=4).tolist()  # from the second channel to the first
    [2.0, 1.0, 0.5, 0.25]
    """

    Lambda_bar: Pair
    B_bar: Pair
    C: Pair
    D: Tensor
    C_reverse: Pair | None = None
    ahead: Tensor | None = None

    @property
    def state_size(self) -> tuple[int, int]:
        """Number of systems, 1, and of real numbers in the state: (re, im) of each pair."""
        return 1, 2 * int(self.Lambda_bar.re.shape[-1])


System = DiagonalSystem | DenseSystem | SharedSystem


def mirrored(system: System) -> System | None:
    """Return the anti-causal direction as a causal system without feed-through, or None if there is none."""
    if system.C_reverse is None:
        return None
    changes: dict[str, Any] = {"C": system.C_reverse, "D": torch.zeros_like(system.D), "C_reverse": None}
    return system._replace(**changes)


def check_signal(system: System, u: Tensor, state: Tensor | None = None) -> None:
    """Raise an error if the signal or state does not fit the system: it could be broadcast or rounded silently."""
    d_model, (n_systems, d_state) = len(system.D), system.state_size
    if u.ndim != 3 or u.shape[0] != d_model or 0 in u.shape:
        raise ShapeError(f"u must have shape ({d_model}, batch, n_times), none of them 0, got {tuple(u.shape)}.")
    if u.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"u must be float32 or float64, got {u.dtype}: convert it with u.float().")
    if state is not None and state.shape != (n_systems, u.shape[1], d_state):
        expected = (n_systems, u.shape[1], d_state)
        raise ShapeError(f"state must have shape (n_systems, batch, d_state) = {expected}, got {tuple(state.shape)}.")


def construction_dtype(device: torch.device) -> torch.dtype:
    """Return the precision in which systems and tables are built on a device."""
    return torch.float32 if device.type == "mps" else torch.float64
