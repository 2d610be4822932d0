"""Discrete systems: diagonal, dense, and shared by all channels."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from s4signal.ssm.pairs import Pair

__all__ = ["DenseSystem", "DiagonalSystem", "SharedSystem", "System"]


class DiagonalSystem(NamedTuple):
    """x_k = Lambda_bar x_{k-1} + B_bar u_k,  y_k = 2 Re(C x_k) + D u_k, one system a channel.

    Each of the ``n_pairs = d_state / 2`` modes stands for itself and its conjugate.

    Parameters
    ----------
    Lambda_bar : Pair of (d_model, n_pairs)
        Discrete poles, inside the unit circle.
    B_bar, C : Pair of (d_model, n_pairs)
        Input and output vectors.
    D : Tensor (d_model,)
        Feed-through.
    C_reverse : Pair of (d_model, n_pairs) or None
        Output vector of the anti-causal direction, which sees the samples after k only; None: causal.
    """

    Lambda_bar: Pair
    B_bar: Pair
    C: Pair
    D: Tensor
    C_reverse: Pair | None = None

    @property
    def n_pairs(self) -> int:
        """Number of conjugate pairs."""
        return int(self.Lambda_bar.re.shape[-1])

    @property
    def state_size(self) -> tuple[int, int]:
        """Systems, and real numbers in the state of each: (re, im) of each pair."""
        return int(self.Lambda_bar.re.shape[0]), 2 * self.n_pairs

    def mirrored(self) -> DiagonalSystem | None:
        """Return the anti-causal direction as a causal system of its own, without feed-through; None: there is none."""
        if self.C_reverse is None:
            return None
        return self._replace(C=self.C_reverse, D=torch.zeros_like(self.D), C_reverse=None)


class DenseSystem(NamedTuple):
    """x_k = A_bar x_{k-1} + B_bar u_k,  y_k = C x_k + D u_k, one real system a channel.

    Parameters
    ----------
    A_bar : Tensor (d_model, d_state, d_state)
        State matrices, eigenvalues inside the unit circle.
    B_bar, C : Tensor (d_model, d_state)
        Input and output vectors.
    D : Tensor (d_model,)
        Feed-through.
    C_reverse : Tensor (d_model, d_state) or None
        Output vector of the anti-causal direction, which sees the samples after k only; None: causal.

    Examples
    --------
    >>> one = torch.ones(1, 1)
    >>> DenseSystem(0.5 * one.unsqueeze(-1), one, one, torch.zeros(1)).state_size  # x_k = x_{k-1} / 2 + u_k, y_k = x_k
    (1, 1)
    """

    A_bar: Tensor
    B_bar: Tensor
    C: Tensor
    D: Tensor
    C_reverse: Tensor | None = None

    @property
    def state_size(self) -> tuple[int, int]:
        """Systems, and real numbers in the state of each."""
        return int(self.B_bar.shape[0]), int(self.B_bar.shape[1])

    def mirrored(self) -> DenseSystem | None:
        """Return the anti-causal direction as a causal system of its own, without feed-through; None: there is none."""
        if self.C_reverse is None:
            return None
        return self._replace(C=self.C_reverse, D=torch.zeros_like(self.D), C_reverse=None)


class SharedSystem(NamedTuple):
    """x_k = Lambda_bar x_{k-1} + B_bar u_k,  y_k = 2 Re(C x_k) + D u_k, one system for all channels.

    Parameters
    ----------
    Lambda_bar : Pair of (n_pairs,)
        Discrete poles, inside the unit circle.
    B_bar : Pair of (n_pairs, d_model)
        Input matrix.
    C : Pair of (d_model, n_pairs)
        Output matrix.
    D : Tensor (d_model,)
        Feed-through, a channel to itself.
    C_reverse : Pair of (d_model, n_pairs) or None
        Output matrix of the anti-causal direction, which sees the samples after k only; None: causal.
    """

    Lambda_bar: Pair
    B_bar: Pair
    C: Pair
    D: Tensor
    C_reverse: Pair | None = None

    @property
    def n_pairs(self) -> int:
        """Number of conjugate pairs."""
        return int(self.Lambda_bar.re.shape[-1])

    @property
    def state_size(self) -> tuple[int, int]:
        """Systems, one, and real numbers in its state: (re, im) of each pair."""
        return 1, 2 * self.n_pairs

    def mirrored(self) -> SharedSystem | None:
        """Return the anti-causal direction as a causal system of its own, without feed-through; None: there is none."""
        if self.C_reverse is None:
            return None
        return self._replace(C=self.C_reverse, D=torch.zeros_like(self.D), C_reverse=None)


System = DiagonalSystem | DenseSystem | SharedSystem
