"""State matrices of the HiPPO measures, and the bases that their states are coefficients in.

The state c(t) projects the past of a signal f onto an orthonormal basis: c_n(t) = sum of f(t - s) p_n(s) over the ages
s, weighted by the measure. It obeys c' = A c + B f. Windows have length 1 here; a window of length θ divides A and B
by θ. Transitions are A (d_state, d_state) and B (d_state,); bases take ages (n,) and return (d_state, n).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.polynomial import chebyshev, laguerre
from numpy.typing import NDArray

__all__ = ["BASES", "MEASURES", "legendre", "legs_transition"]

Real = NDArray[np.float64]


def legs_transition(d_state: int) -> tuple[Real, Real]:
    """Return the state matrices of HiPPO-LegS: the whole past, uniformly.

    The state is exact for c' = (A c + B f) / t, with the orthonormal Legendre basis on [0, t]. S4 drops the 1 / t.

    References
    ----------
    Gu, Dao, Ermon, Rudra, Ré, "HiPPO: Recurrent Memory with Optimal Polynomial Projections", 2020, theorem 2,
    doi:10.48550/arXiv.2008.07669.
    """
    n = np.arange(d_state, dtype=np.float64)
    B = np.sqrt(2.0 * n + 1.0)
    A = np.tril(np.outer(-B, B), -1) - np.diag(n + 1.0)
    return A, B


def legt_transition(d_state: int) -> tuple[Real, Real]:
    """Return the state matrices of HiPPO-LegT: the last unit of time, uniformly, in the orthonormal Legendre basis.

    What leaves the window, f(t - 1), is read from the state: the equation is exact for polynomials of degree below
    d_state, and an approximation for other signals.

    References
    ----------
    Gu, Dao, Ermon, Rudra, Ré, 2020, theorem 1 and appendix D.1, in the orthonormal scaling,
    doi:10.48550/arXiv.2008.07669.
    """
    n = np.arange(d_state)
    B = np.sqrt(2.0 * n + 1.0)
    lag = n[:, None] - n
    return -np.outer(B, B) * np.where(lag >= 0, 1.0, (-1.0) ** np.abs(lag)), B


def lagt_transition(d_state: int) -> tuple[Real, Real]:
    """Return the state matrices of HiPPO-LagT: the whole past under the weight exp(-s), in the Laguerre basis.

    The equation is exact.

    References
    ----------
    Gu, Dao, Ermon, Rudra, Ré, 2020, theorem 1 and appendix D.2, doi:10.48550/arXiv.2008.07669.
    """
    return np.tril(np.full((d_state, d_state), -1.0)), np.ones(d_state)


def fout_transition(d_state: int) -> tuple[Real, Real]:
    """Return the state matrices of HiPPO-FouT: the last unit of time, uniformly, in a truncated Fourier basis.

    The basis is 1, 0, √2 cos 2πs, √2 sin 2πs, √2 cos 4πs ...: the sine of frequency zero keeps its place, so that
    every frequency is a pair, and its state stays at zero. What leaves the window is read from the Fourier series: the
    equation is exact for trigonometric polynomials of period 1 and frequencies below d_state / 2, and an approximation
    for other signals.

    References
    ----------
    Gu, Johnson, Timalsina, Rudra, Ré, "How to Train Your HiPPO", 2022, S4-FouT, doi:10.48550/arXiv.2206.12037.
    """
    if d_state < 2 or d_state % 2:
        raise ValueError(f"d_state={d_state} must be even and at least 2: cosines and sines come in pairs.")
    at_zero = np.zeros(d_state)
    at_zero[0::2] = np.sqrt(2.0)
    at_zero[0] = 1.0
    omega = np.zeros(d_state - 1)
    omega[0::2] = 2.0 * np.pi * np.arange(d_state // 2)
    # f(t - 1) = 2 p(0)·c - f(t): at a jump a Fourier series converges to the mean of both sides.
    return np.diag(omega, -1) - np.diag(omega, 1) - 2.0 * np.outer(at_zero, at_zero), 2.0 * at_zero


def chebt_transition(d_state: int) -> tuple[Real, Real]:
    r"""Return the state matrices of a Chebyshev memory: the last unit of time under :math:`1/(\pi\sqrt{s(1-s)})`.

    The basis is 1, √2 T_1(1 - 2s), √2 T_2(1 - 2s) ... The window moves by c' = -D c, with D the derivative of a
    Chebyshev series; the one coefficient beyond the state that D needs is the one with which the series meets f(t) at
    age zero (Lanczos' tau method). The equation is exact for polynomials of degree up to d_state, and an approximation
    for other signals. (The paper's translated Chebyshev tilts the measure instead.)

    References
    ----------
    Gu, Dao, Ermon, Rudra, Ré, 2020, appendix D.5 (the measure), doi:10.48550/arXiv.2008.07669.
    Gottlieb, Orszag, "Numerical Analysis of Spectral Methods", 1977, section 2 (tau), doi:10.1137/1.9781611970425.
    """
    at_zero = np.full(d_state + 1, np.sqrt(2.0))
    at_zero[0] = 1.0
    # Twice d/dy, y = 1 - 2s, between orthonormal polynomials; rows are coefficients of the derivative.
    series = chebyshev.chebder(np.diag(at_zero))
    minus_D = 2.0 * series / at_zero[:d_state, None]
    beyond = minus_D[:, d_state] / at_zero[d_state]
    return minus_D[:, :d_state] - np.outer(beyond, at_zero[:d_state]), beyond


def legendre(degree: int, y: Real) -> Real:
    """Evaluate the Legendre polynomials P_0 ... P_degree.

    Shapes: y (n,) → (degree + 1, n).
    """
    P = np.ones((degree + 1, len(y)))
    if degree:
        P[1] = y
    for n in range(1, degree):
        np.multiply(P[n], y, out=P[n + 1])
        P[n + 1] *= (2 * n + 1) / (n + 1)
        P[n + 1] -= n / (n + 1) * P[n - 1]
    return P


def legendre_basis(d_state: int, age: Real) -> Real:
    """Evaluate the orthonormal Legendre polynomials of LegS and LegT."""
    norms: Real = np.sqrt(2.0 * np.arange(d_state) + 1.0)
    return norms[:, None] * legendre(d_state - 1, 1.0 - 2.0 * age)


def lagt_basis(d_state: int, age: Real) -> Real:
    """Evaluate the Laguerre polynomials of LagT."""
    return np.asarray(laguerre.lagvander(age, d_state - 1).T)


def fout_basis(d_state: int, age: Real) -> Real:
    """Evaluate the Fourier basis of FouT, cosine and sine of each frequency."""
    angle = 2.0 * np.pi * np.arange(d_state // 2)[:, None] * age
    rows: Real = np.sqrt(2.0) * np.stack([np.cos(angle), np.sin(angle)], 1).reshape(d_state, -1)
    rows[0] = 1.0
    return rows


def chebt_basis(d_state: int, age: Real) -> Real:
    """Evaluate the orthonormal Chebyshev polynomials of ChebT."""
    angle = np.arccos(np.clip(1.0 - 2.0 * age, -1.0, 1.0))
    rows: Real = np.sqrt(2.0) * np.cos(np.arange(d_state)[:, None] * angle)
    rows[0] = 1.0
    return rows


MEASURES: dict[str, Callable[[int], tuple[Real, Real]]] = {
    "legs": legs_transition,
    "legt": legt_transition,
    "lagt": lagt_transition,
    "fout": fout_transition,
    "chebt": chebt_transition,
}

BASES: dict[str, Callable[[int, Real], Real]] = {
    "legs": legendre_basis,
    "legt": legendre_basis,
    "lagt": lagt_basis,
    "fout": fout_basis,
    "chebt": chebt_basis,
}
