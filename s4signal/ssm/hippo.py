"""HiPPO: state matrices that compress the past of a signal, the bases of their states, and their modes.

The state c(t) projects the past of a signal f onto an orthonormal basis: c_n(t) = sum of f(t - s) p_n(s) over the ages
s, weighted by the measure. It obeys c' = A c + B f. Windows have length 1 here; for a window of length θ, divide A and
B by θ. Transitions are A (d_state, d_state) and B (d_state,); bases take ages (n,) and return (d_state, n).

A real system of size d_state has d_state // 2 conjugate pairs of modes. One mode of each pair is kept, with Im >= 0.

References
----------
HiPPO: Gu, Dao, Ermon, Rudra, Ré, "HiPPO: Recurrent Memory with Optimal Polynomial Projections", 2020,
doi:10.48550/arXiv.2008.07669.
S4D: Gu, Goel, Gupta, Ré, "On the Parameterization and Initialization of Diagonal State Space Models", 2022,
doi:10.48550/arXiv.2206.11893.
HTTYH: Gu, Johnson, Timalsina, Rudra, Ré, "How to Train Your HiPPO", 2022, doi:10.48550/arXiv.2206.12037.
Tau: Gottlieb, Orszag, "Numerical Analysis of Spectral Methods", 1977, doi:10.1137/1.9781611970425.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.polynomial import chebyshev, laguerre, legendre
from numpy.typing import NDArray

Real = NDArray[np.float64]
Complex = NDArray[np.complexfloating[Any, Any]]


def legs_transition(d_state: int) -> tuple[Real, Real]:
    """Return the state matrices of HiPPO-LegS: the whole past, uniformly weighted.

    The state is exact for c' = (A c + B f) / t, with the orthonormal Legendre basis on [0, t].
    S4 drops the 1 / t. (HiPPO, theorem 2.)
    """
    n = np.arange(d_state, dtype=np.float64)
    B = np.sqrt(2.0 * n + 1.0)
    return np.tril(np.outer(-B, B), -1) - np.diag(n + 1.0), B


def legt_transition(d_state: int) -> tuple[Real, Real]:
    """Return the state matrices of HiPPO-LegT: the last unit of time, uniformly weighted, in the Legendre basis.

    The value that leaves the window, f(t - 1), is estimated from the state. The equation is exact for polynomials of
    degree below d_state, and approximate otherwise. (HiPPO, theorem 1 and appendix D.1, in the orthonormal scaling.)
    """
    n = np.arange(d_state)
    B = np.sqrt(2.0 * n + 1.0)
    lag = n[:, None] - n
    return -np.outer(B, B) * np.where(lag >= 0, 1.0, (-1.0) ** np.abs(lag)), B


def lagt_transition(d_state: int) -> tuple[Real, Real]:
    """Return the state matrices of HiPPO-LagT: the whole past under the weight exp(-s), in the Laguerre basis.

    The equation is exact. (HiPPO, theorem 1 and appendix D.2.)
    """
    return np.tril(np.full((d_state, d_state), -1.0)), np.ones(d_state)


def fout_transition(d_state: int) -> tuple[Real, Real]:
    """Return the state matrices of HiPPO-FouT: the last unit of time, uniformly weighted, in a truncated Fourier basis.

    The basis is 1, 0, √2 cos 2πs, √2 sin 2πs, √2 cos 4πs ... It keeps the sine of frequency zero, so that every
    frequency is a pair; the state of this sine is always zero. The value that leaves the window is estimated from the
    Fourier series. The equation is exact for trigonometric polynomials of period 1 and frequencies below d_state / 2,
    and approximate otherwise. (HTTYH, S4-FouT.)
    """
    check_even(d_state)
    at_zero = np.zeros(d_state)
    at_zero[0::2] = np.sqrt(2.0)
    at_zero[0] = 1.0
    omega = np.zeros(d_state - 1)
    omega[0::2] = 2.0 * np.pi * np.arange(d_state // 2)
    # f(t - 1) = 2 p(0)·c - f(t): at a jump a Fourier series converges to the mean of both sides.
    return np.diag(omega, -1) - np.diag(omega, 1) - 2.0 * np.outer(at_zero, at_zero), 2.0 * at_zero


def chebt_transition(d_state: int) -> tuple[Real, Real]:
    r"""Return the state matrices of a Chebyshev memory: the last unit of time under :math:`1/(\pi\sqrt{s(1-s)})`.

    The basis is 1, √2 T_1(1 - 2s), √2 T_2(1 - 2s) ... The window moves by c' = -D c, where D differentiates a
    Chebyshev series. D needs one coefficient more than the state has: it is chosen so that the series equals f(t) at
    age zero (Lanczos' tau method). The equation is exact for polynomials of degree up to d_state, and approximate
    otherwise. The translated Chebyshev of HiPPO tilts the measure instead. (The measure: HiPPO, appendix D.5; the tau
    method: Tau, section 2.)
    """
    at_zero = np.full(d_state + 1, np.sqrt(2.0))
    at_zero[0] = 1.0
    # Twice d/dy, y = 1 - 2s, between orthonormal polynomials; rows are coefficients of the derivative.
    minus_D = 2.0 * chebyshev.chebder(np.diag(at_zero)) / at_zero[:d_state, None]
    beyond = minus_D[:, d_state] / at_zero[d_state]
    return minus_D[:, :d_state] - np.outer(beyond, at_zero[:d_state]), beyond


def legendre_basis(d_state: int, age: Real) -> Real:
    """Evaluate the orthonormal Legendre polynomials of LegS and LegT."""
    return np.asarray((legendre.legvander(1.0 - 2.0 * age, d_state - 1) * np.sqrt(2.0 * np.arange(d_state) + 1.0)).T)


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


def check_even(d_state: int) -> None:
    """Raise ValueError if the state size is not a positive even integer."""
    if not isinstance(d_state, int | np.integer) or d_state < 2 or d_state % 2:
        raise ValueError(f"d_state={d_state!r} must be even and at least 2: modes, cosines and sines come in pairs.")


def _numbers(d_state: int) -> Real:
    """Return the indices of the pairs, 0 ... d_state // 2 - 1."""
    check_even(d_state)
    return np.arange(d_state // 2, dtype=np.float64)


def legs_poles(d_state: int) -> Complex:
    """Return the poles of S4D-LegS: eigenvalues of the normal part of HiPPO-LegS (S4D, section 4.2)."""
    check_even(d_state)
    A, B = legs_transition(d_state)
    # A + B B^T / 2 = -1/2 + a skew-symmetric matrix; a Hermitian solver keeps its eigenvalues purely imaginary.
    skew = A + 0.5 * np.outer(B, B) + 0.5 * np.eye(d_state)
    return -0.5 + 1j * np.linalg.eigvalsh(1j * skew)[d_state // 2 :]


def inv_poles(d_state: int) -> Complex:
    """Return the poles of S4D-Inv, -1/2 + i N/pi (N/(2n+1) - 1): the asymptotic spectrum of LegS (S4D, equation 8)."""
    return -0.5 + 1j * d_state / np.pi * (d_state / (2.0 * _numbers(d_state) + 1.0) - 1.0)


def lin_poles(d_state: int) -> Complex:
    """Return the poles of S4D-Lin, -1/2 + i pi n: the frequencies of a truncated Fourier basis (S4D, equation 9)."""
    return -0.5 + 1j * np.pi * _numbers(d_state)


def real_poles(d_state: int) -> Complex:
    """Return the poles of S4D-Real, -(n + 1): the true spectrum of HiPPO-LegS (S4D, section 4.4)."""
    return -1.0 - _numbers(d_state) + 0j


def fout_poles(d_state: int) -> Complex:
    """Return the diagonal of HiPPO-FouT in its Fourier basis, -2 + 2 i pi n, without the coupling (HTTYH, S4-FouT)."""
    return -2.0 + 2j * np.pi * _numbers(d_state)


def random_poles(d_state: int) -> Complex:
    """Return unstructured poles: decays uniform in (0, 1], frequencies uniform over the range of S4D-Lin.

    They are drawn from torch's global generator, like the other random numbers of a kernel. (S4D, section 4.4.)
    """
    check_even(d_state)
    decay, frequency = torch.rand(2, d_state // 2, dtype=torch.float64).numpy()
    return np.asarray(decay - 1.0 + 0.5j * np.pi * d_state * frequency)


_POLES = (legs_poles, inv_poles, lin_poles, real_poles, fout_poles, random_poles)
DIAGONAL_INITS = {poles.__name__.removesuffix("_poles"): poles for poles in _POLES}


def low_rank_form(measure: str, d_state: int) -> tuple[Complex, Complex, Complex]:
    """Return a HiPPO system in diagonal-plus-low-rank form, with one mode of each conjugate pair.

    The other half of Lambda, P and B is the conjugate of this one. Phases are chosen so that B is real and positive.
    Re(Lambda) is -1/2 for ``"legs"`` and ``"lagt"``. It is zero for ``"legt"`` and ``"fout"``: P holds all their decay.

    Parameters
    ----------
    measure : {"legs", "legt", "lagt", "fout"}
        The measure; ``"chebt"`` has no such form.
    d_state : int, even, >= 2
        Real state size N.

    Returns
    -------
    Lambda : ndarray (d_state // 2,) of complex
        Eigenvalues of the normal part, Im > 0 and increasing; the first one of ``"fout"`` is zero.
    P : ndarray (d_state // 2, rank) of complex
        Low-rank part; rank 2 for ``"legt"``, 1 for the others.
    B : ndarray (d_state // 2,) of complex
        Input vector.

    Raises
    ------
    ValueError
        If the measure has no such form, or d_state is odd.

    References
    ----------
    Gu, Goel, Ré, "Efficiently Modeling Long Sequences with Structured State Spaces", 2022, theorem 1 and appendix C.1,
    doi:10.48550/arXiv.2111.00396.

    Examples
    --------
    >>> Lambda, P, B = low_rank_form("legs", 4)
    >>> Lambda.real.round(3).tolist(), P.shape
    ([-0.5, -0.5], (2, 1))
    """
    V = low_rank_basis(measure, d_state)
    (A, B), P = MEASURES[measure](d_state), LOW_RANK_PARTS[measure](d_state)
    frequency = np.einsum("in,ij,jn->n", V.conj(), A, V).imag  # P P^T is symmetric, and contributes nothing
    # The symmetric part of the normal matrix is a multiple of the identity: no rounding errors in Re(Lambda).
    decay = (A[0, 0] + P[0] @ P[0]).round(12)
    return decay + 1j * frequency, V.conj().T @ P, V.conj().T @ B


def low_rank_basis(measure: str, d_state: int) -> Complex:
    """Return the modes V (d_state, d_state // 2) of `low_rank_form`: a real state is x = 2 Re(V z)."""
    if measure not in LOW_RANK_PARTS:
        choices = ", ".join(map(repr, LOW_RANK_PARTS))
        raise ValueError(f"measure={measure!r} has no diagonal-plus-low-rank form; choose one of {choices}.")
    check_even(d_state)
    A, B = MEASURES[measure](d_state)
    skew = 0.5 * (A - A.T)  # of the normal matrix A + P P^T too
    if measure == "fout":
        # Frequency zero is a double eigenvalue. Shifting all frequencies by one separates it like the other pairs.
        skew += np.kron(np.eye(d_state // 2), [[0.0, -1.0], [1.0, 0.0]])
    V = np.linalg.eigh(-1j * skew)[1][:, d_state // 2 :]
    phase = V.conj().T @ B
    return np.asarray(V * (phase / np.abs(phase)))


def _half_input(measure: str) -> Callable[[int], Real]:
    return lambda d_state: np.asarray(np.sqrt(0.5) * MEASURES[measure](d_state)[1][:, None])


def _parities(d_state: int) -> Real:
    """Separate even and odd degrees: the symmetric part of LegT does not mix them."""
    degree = np.arange(d_state)[:, None]
    return np.asarray(np.sqrt(2.0 * degree + 1.0) * (degree % 2 == [0, 1]))


LOW_RANK_PARTS: dict[str, Callable[[int], Real]] = {
    "legs": _half_input("legs"),
    "legt": _parities,
    "lagt": _half_input("lagt"),
    "fout": _half_input("fout"),
}
