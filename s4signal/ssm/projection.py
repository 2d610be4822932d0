"""How the coefficients of a memory move on by a chunk of samples, exactly if the signal is constant within a sample."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from s4signal.ssm.dense_discretization import dense_zero_order_hold
from s4signal.ssm.measures import legendre

__all__ = ["FadingProjection", "GrowingProjection"]

Real = NDArray[np.float64]
BLOCK = 1024  # samples at a time: bounds the memory, and keeps the tables of 64 states in the cache


class GrowingProjection:
    """LegS: the Legendre coefficients of everything since time zero.

    The old coefficients are a polynomial on [0, t1]; its projection onto polynomials on [0, t2] is a sum over Gauss
    nodes, without error, since the product of two polynomials of degree N - 1 is integrated. The new samples add the
    integrals of the polynomials over each of them. Nothing grows, and nothing is inverted.
    """

    def __init__(self, d_state: int) -> None:
        y, weights = np.polynomial.legendre.leggauss(d_state)
        self._norms = np.sqrt(2.0 * np.arange(d_state) + 1.0)
        self._nodes, self._weights = 0.5 * (y + 1.0), 0.5 * weights
        self._basis = self._norms[:, None] * legendre(d_state, y)[:-1]

    def opened(self, first: Real) -> Real:
        """Return the state of a signal that is as long as nothing: constant.

        Shapes: first (n_channels,) → (n_channels, d_state).
        """
        state = np.zeros((len(first), len(self._norms)))
        state[:, 0] = first
        return state

    def advanced(self, state: Real, samples: Real, edges: Real) -> Real:
        """Return the state after more samples.

        Shapes: state (n_channels, d_state), samples (n_channels, n), edges (n + 1,) → (n_channels, d_state).
        """
        for begin in range(0, samples.shape[1], BLOCK):
            block = samples[:, begin : begin + BLOCK]
            state = self._block(state, block, edges[begin : begin + BLOCK + 1])
        return state

    def _block(self, state: Real, samples: Real, edges: Real) -> Real:
        positions = edges / edges[-1]
        P = legendre(len(self._norms), 2.0 * np.concatenate([positions, positions[0] * self._nodes]) - 1.0)
        new, old = P[:, : len(edges)], P[:-1, len(edges) :]
        # (2 n + 1) P_n is the derivative of P_{n+1} - P_{n-1}.
        steps = samples @ np.diff(new).T
        integrals = np.concatenate([steps[:, 1:2], steps[:, 2:] - steps[:, :-2]], 1)
        masses = (state @ self._basis) * (positions[0] * self._weights)
        return np.asarray(integrals / (2.0 * self._norms) + self._norms * (masses @ old.T))


class FadingProjection:
    """The other measures: a linear system that does not change with time, c' = (A c + B f) / window.

    Shapes: A (d_state, d_state), B (d_state,).
    """

    def __init__(self, A: Real, B: Real, window: float) -> None:
        self._A, self._B, self._window = torch.from_numpy(A), torch.from_numpy(B), window
        self._gap = 0.0
        self._powers: list[Real] = []  # transition over 1, 2, 4 ... gaps
        self._responses = np.empty((0, len(B)))  # what an impulse leaves after 0, 1, 2 ... gaps

    def opened(self, first: Real) -> Real:
        """Return the state at rest: a first sample without duration leaves nothing behind.

        Shapes: first (n_channels,) → (n_channels, d_state).
        """
        return np.zeros((len(first), len(self._B)))

    def advanced(self, state: Real, samples: Real, edges: Real) -> Real:
        """Return the state after more samples.

        Shapes: state (n_channels, d_state), samples (n_channels, n), edges (n + 1,) → (n_channels, d_state).
        """
        for begin in range(0, samples.shape[1], BLOCK):
            block = samples[:, begin : begin + BLOCK]
            gaps = np.diff(edges[begin : begin + BLOCK + 1])
            if np.ptp(gaps) <= 1e-9 * gaps[0]:
                state = self._regular(state, block, float(gaps.mean()))
            else:
                state = self._irregular(state, block, gaps)
        return state

    def _regular(self, state: Real, samples: Real, gap: float) -> Real:
        n = samples.shape[1]
        self._prepare(gap, n)
        for bit, power in enumerate(self._powers):
            if n >> bit & 1:
                state = state @ power.T
        return np.asarray(state + samples @ self._responses[:n][::-1])

    def _prepare(self, gap: float, n: int) -> None:
        """Tables for n equal gaps, by doubling; those of the last gap are kept."""
        if abs(gap - self._gap) > 1e-9 * gap:
            A_bar, B_bar = self._held(np.array([gap]))
            self._gap, self._powers, self._responses = gap, [A_bar[0]], B_bar
        while len(self._responses) < n or 1 << len(self._powers) <= n:
            power = self._powers[-1]
            self._responses = np.concatenate([self._responses, self._responses @ power.T])
            self._powers.append(power @ power)

    def _irregular(self, state: Real, samples: Real, gaps: Real) -> Real:
        for begin in range(0, len(gaps), BLOCK // 8):
            block = slice(begin, begin + BLOCK // 8)
            unique, which = np.unique(gaps[block], return_inverse=True)
            A_bar, B_bar = self._held(unique)
            for sample, k in zip(samples[:, block].T, which, strict=True):
                state = state @ A_bar[k].T + np.outer(sample, B_bar[k])
        return state

    def _held(self, gaps: Real) -> tuple[Real, Real]:
        """A_bar (n, d_state, d_state) and B_bar (n, d_state) for each gap."""
        dt = torch.from_numpy(gaps / self._window).unsqueeze(-1)
        A_bar, B_bar = dense_zero_order_hold(self._A, self._B, dt)
        return A_bar.numpy(), B_bar.numpy()
