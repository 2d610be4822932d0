"""HiPPO as an online memory: feed a signal, keep a fixed number of coefficients, reconstruct the past at any time.

The coefficients are updated chunk by chunk. The update is exact if the signal is constant within a sample.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.polynomial.legendre import leggauss, legvander
from numpy.typing import ArrayLike, NDArray

from s4signal.errors import ShapeError, check_choice
from s4signal.ssm.discretization import dense_zero_order_hold
from s4signal.ssm.hippo import BASES, MEASURES

Real = NDArray[np.float64]
CHUNK = 1024  # samples at a time: bounds the memory, and keeps the tables of 64 states in the cache


class HiPPO:
    """Compress the past of a signal into d_state coefficients, online.

    Each sample is held over the time since the sample before it. For this held signal, the differential equation of the
    measure is solved exactly, for any division into chunks. The cost does not depend on the samples fed before.

    Parameters
    ----------
    measure : {"legs", "legt", "lagt", "fout", "chebt"}, default="legs"
        ``"legs"`` holds the whole past, uniformly weighted, in Legendre polynomials. ``"legt"``, ``"fout"`` and
        ``"chebt"`` hold the last ``window`` in Legendre polynomials, a Fourier series or Chebyshev polynomials.
        ``"lagt"`` weights the past by an exponential with time constant ``window``, in Laguerre polynomials.
    d_state : int, >= 1, default=64
        Coefficients per channel; even for ``"fout"``.
    window : float, > 0, optional
        Length in samples, or in the unit of ``times`` if those are given. Not for ``"legs"``, whose result does not
        depend on the unit of time.

    Raises
    ------
    ValueError
        If the measure is unknown, d_state is not valid for it, or the window is missing or not allowed.

    References
    ----------
    Gu, Dao, Ermon, Rudra, Ré, "HiPPO: Recurrent Memory with Optimal Polynomial Projections", 2020,
    doi:10.48550/arXiv.2008.07669.

    Examples
    --------
    >>> signal = np.sin(np.arange(1000) / 50)
    >>> memory = HiPPO("legs", 32).update(signal[:600]).update(signal[600:])
    >>> memory.coefficients.shape
    (32,)
    >>> past = memory.reconstruct(np.arange(1000) + 0.5)  # sample k stands for the time from k to k + 1
    >>> bool(np.abs(past - signal).max() < 0.03)
    True
    """

    def __init__(self, measure: str = "legs", d_state: int = 64, *, window: float | None = None) -> None:
        check_choice("measure", measure, MEASURES)
        if not isinstance(d_state, int | np.integer) or d_state < 1:
            raise ValueError(f"d_state={d_state!r} must be at least 1, and an integer.")
        if measure == "legs" and window is not None:
            raise ValueError(f"window={window} has no meaning for measure='legs', which holds the whole past: omit it.")
        if measure != "legs" and (window is None or not 0 < window < math.inf):
            raise ValueError(f"window={window} must be a positive length for measure={measure!r}, in samples or time.")
        self.measure, self.d_state, self.window = measure, d_state, window
        self._projection = _WholePast(d_state) if window is None else _FadingPast(*MEASURES[measure](d_state), window)
        self.reset()

    def reset(self) -> HiPPO:
        """Clear the state, the number of channels and whether times are used; return this memory."""
        self._state: Real | None = None
        self._one_dimensional = self._timed = False
        self._start = self._now = 0.0
        return self

    @property
    def coefficients(self) -> Real:
        """The state, (d_state,) or (n_channels, d_state): the past in the orthonormal basis of the measure."""
        state = self._fed_state()
        return (state[0] if self._one_dimensional else state).copy()

    @property
    def span(self) -> tuple[float, float]:
        """Earliest and latest time that `reconstruct` accepts."""
        self._fed_state()
        windowed = self.measure not in ("legs", "lagt")
        return (self._now - float(self.window or 0.0) if windowed else self._start), self._now

    def update(self, samples: ArrayLike, times: ArrayLike | None = None) -> HiPPO:
        """Feed the next samples, and return this memory.

        Parameters
        ----------
        samples : array-like (n_times,) or (n_channels, n_times)
            The next samples, in a chunk of any length.
        times : array-like (n_times,), optional
            Times of the samples, increasing; the time of the very first sample is the start of the memory. By default a
            sample lasts one unit of time and the first one begins at zero. For all measures but ``"legs"``, each
            distinct gap costs a matrix exponential per chunk, so that jittered times are slow.

        Raises
        ------
        ShapeError, ValueError
            If samples or times have another shape than before, a sample is not real and finite or is too large, times
            do not increase, or only some chunks have times.
        """
        values = self._checked_samples(samples)
        if values.shape[1] == 0:
            return self
        edges = self._edges(times, values.shape[1])
        state, start, opens = self._state, self._start, self._state is None
        if state is None:
            state, start = np.zeros((len(values), self.d_state)), float(edges[0])
            if self.measure == "legs":  # a constant signal of length zero
                state[:, 0] = values[:, 0]
        if len(edges) == values.shape[1]:  # the first sample only marks the start
            values = values[:, 1:]
        with np.errstate(over="ignore", invalid="ignore"):
            for begin in range(0, values.shape[1], CHUNK):
                chunk = values[:, begin : begin + CHUNK]
                state = self._projection.advanced(state, chunk, edges[begin : begin + CHUNK + 1] - start)
        if not np.isfinite(state).all():
            raise ValueError(f"samples up to {np.abs(values).max():g} are too large to add up: scale them down.")
        if opens:
            self._timed, self._one_dimensional = times is not None, np.ndim(samples) == 1
        self._state, self._start, self._now = state, start, float(edges[-1])
        return self

    def reconstruct(self, times: ArrayLike) -> Real:
        """Reconstruct the past of the signal from the coefficients.

        Parameters
        ----------
        times : array-like (n_times,)
            Times within `span`; without times in `update`, sample k stands for the time from k to k + 1.

        Returns
        -------
        ndarray (n_times,) or (n_channels, n_times)
            The approximation of the signal by the coefficients.

        Raises
        ------
        ShapeError, ValueError
            If times are not one-dimensional, nothing was fed yet, or a time lies outside `span`.
        """
        state = self._fed_state()
        moments = np.asarray(times, dtype=np.float64)
        if moments.ndim != 1:
            raise ShapeError(f"times must have shape (n_times,), got {moments.shape}.")
        first, last = self.span
        slack = 1e-9 * (last - first) + 4.0 * np.spacing(abs(last))
        if not ((moments >= first - slack) & (moments <= last + slack)).all():
            raise ValueError(
                f"times reach from {moments.min():g} to {moments.max():g}, but this memory holds {first:g} to {last:g}."
            )
        length = self.window or (last - first) or 1.0
        age = (last - np.clip(moments, first, last)) / length
        signal: Real = state @ BASES[self.measure](self.d_state, age)
        return signal[0] if self._one_dimensional else signal

    def _fed_state(self) -> Real:
        if self._state is None:
            raise ValueError("this memory is empty: feed it samples with update(samples) first.")
        return self._state

    def _checked_samples(self, samples: ArrayLike) -> Real:
        values = _real(samples, "samples")
        if values.ndim not in (1, 2):
            raise ShapeError(f"samples must have shape (n_times,) or (n_channels, n_times), got {values.shape}.")
        if not np.isfinite(values).all():
            raise ValueError("samples contain NaN or inf: leave those samples out, and give the times of the others.")
        if self._state is not None:
            expected = "(n_times,)" if self._one_dimensional else f"({len(self._state)}, n_times)"
            if (values.ndim == 1) != self._one_dimensional or len(np.atleast_2d(values)) != len(self._state):
                raise ShapeError(f"samples must have shape {expected} as before, got {values.shape}; or reset() first.")
        return np.atleast_2d(values)

    def _edges(self, times: ArrayLike | None, n_times: int) -> Real:
        """Return the edges of the samples: the current time, if there is one, then the given or counted times."""
        if times is None:
            if self._state is not None and self._timed:
                raise ValueError("the chunks before this one came with times: give times for this one, or reset().")
            return self._now + np.arange(n_times + 1, dtype=np.float64)
        stamps = _real(times, "times")
        if stamps.shape != (n_times,):
            raise ShapeError(f"times must have shape ({n_times},), one for each sample, got {stamps.shape}.")
        if not np.isfinite(stamps).all():
            raise ValueError("times contain NaN or inf: leave those samples out.")
        if self._state is not None:
            if not self._timed:
                raise ValueError("the chunks before this one came without times: omit them here too, or reset().")
            stamps = np.concatenate([[self._now], stamps])
        steps = np.diff(stamps)
        if (steps <= 0).any():
            before, after = stamps[np.argmax(steps <= 0) :][:2]
            raise ValueError(f"times must increase, but {after:g} follows {before:g}: sort the samples by time.")
        return stamps


def _real(x: ArrayLike, name: str) -> Real:
    values = np.asarray(x)
    if values.dtype.kind not in "buif":
        raise ValueError(f"{name} must be real numbers, got {values.dtype}.")
    return values.astype(np.float64)


class _WholePast:
    """LegS: the Legendre coefficients of the signal since time zero.

    The old coefficients describe a polynomial on [0, t1]. Gauss quadrature projects it onto polynomials on [0, t2],
    without error, since the integrand is a product of two polynomials of degree N - 1. Each new sample adds the
    integrals of the polynomials over its interval. Nothing grows, and no matrix is inverted.
    """

    def __init__(self, d_state: int) -> None:
        y, weights = leggauss(d_state)
        self._norms = np.sqrt(2.0 * np.arange(d_state) + 1.0)
        self._nodes = 0.5 * (y + 1.0)
        self._masses = 0.5 * weights[:, None] * legvander(y, d_state - 1) * self._norms

    def advanced(self, state: Real, samples: Real, edges: Real) -> Real:
        """Return the state after samples (n_channels, n), held between edges (n + 1,)."""
        positions = edges / edges[-1]
        P = legvander(2.0 * np.concatenate([positions, positions[0] * self._nodes]) - 1.0, len(self._norms))
        new, old = P[: len(edges)], P[len(edges) :, :-1]
        # (2 n + 1) P_n is the derivative of P_{n+1} - P_{n-1}.
        steps = samples @ np.diff(new, axis=0)
        integrals = np.concatenate([steps[:, 1:2], steps[:, 2:] - steps[:, :-2]], 1)
        masses = positions[0] * (state @ self._masses.T)
        return np.asarray(integrals / (2.0 * self._norms) + self._norms * (masses @ old))


class _FadingPast:
    """The other measures: a linear time-invariant system, c' = (A c + B f) / window."""

    def __init__(self, A: Real, B: Real, window: float) -> None:
        self._A, self._B, self._window = torch.from_numpy(A), torch.from_numpy(B), window
        self._gap = 0.0

    def advanced(self, state: Real, samples: Real, edges: Real) -> Real:
        """Return the state after samples (n_channels, n), held between edges (n + 1,)."""
        gaps, n = np.diff(edges), samples.shape[1]
        if np.ptp(gaps) > 1e-9 * gaps[0]:
            return self._irregular(state, samples, gaps)
        # Tables for n equal gaps, by doubling; they are reused while the gap stays the same.
        gap = float(gaps.mean())
        if abs(gap - self._gap) > 1e-9 * gap:
            A_bar, B_bar = self._held(np.array([gap]))
            # The transition over 1, 2, 4 ... gaps, and the state 0, 1, 2 ... gaps after an impulse.
            self._gap, self._powers, self._responses = gap, [A_bar[0]], B_bar
        while len(self._responses) < n:
            power = self._powers[-1]
            self._responses = np.concatenate([self._responses, self._responses @ power.T])
            self._powers.append(power @ power)
        for bit, power in enumerate(self._powers):
            if n >> bit & 1:
                state = state @ power.T
        return np.asarray(state + samples @ self._responses[:n][::-1])

    def _irregular(self, state: Real, samples: Real, gaps: Real) -> Real:
        for begin in range(0, len(gaps), CHUNK // 8):
            block = slice(begin, begin + CHUNK // 8)
            unique, which = np.unique(gaps[block], return_inverse=True)
            A_bar, B_bar = self._held(unique)
            for sample, k in zip(samples[:, block].T, which, strict=True):
                state = state @ A_bar[k].T + np.outer(sample, B_bar[k])
        return state

    def _held(self, gaps: Real) -> tuple[Real, Real]:
        """Return A_bar (n, d_state, d_state) and B_bar (n, d_state) for each gap."""
        dt = torch.from_numpy(gaps / self._window).unsqueeze(-1)
        A_bar, B_bar = dense_zero_order_hold(self._A, self._B, dt)
        return A_bar.numpy(), B_bar.numpy()
