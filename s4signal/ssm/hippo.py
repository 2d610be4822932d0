"""HiPPO as modes: initial poles of diagonal systems, and state matrices as diagonal plus low rank.

A real system of d_state numbers is d_state // 2 conjugate pairs of modes, of which one each is kept: Im >= 0.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from s4signal.ssm.measures import MEASURES, legs_transition

__all__ = ["DIAGONAL_INITS", "LOW_RANK_PARTS", "low_rank_basis", "low_rank_form"]

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]


def legs_poles(d_state: int) -> Complex:
    """Return the poles of S4D-LegS: eigenvalues of the normal part of HiPPO-LegS, upper half plane.

    References
    ----------
    Gu, Goel, Gupta, Ré, "On the Parameterization and Initialization of Diagonal State Space Models", 2022,
    section 4.2, doi:10.48550/arXiv.2206.11893.
    """
    A, B = legs_transition(d_state)
    # A + B B^T / 2 = -1/2 + a skew-symmetric matrix, whose spectrum is exact through a Hermitian solver.
    skew = A + 0.5 * np.outer(B, B) + 0.5 * np.eye(d_state)
    frequencies = np.linalg.eigvalsh(1j * skew)
    return np.asarray(-0.5 + 1j * np.sort(frequencies[frequencies > 0]), dtype=np.complex128)


def lin_poles(d_state: int) -> Complex:
    """Return the poles of S4D-Lin, -1/2 + i pi n: the frequencies of a truncated Fourier basis.

    References
    ----------
    Gu, Goel, Gupta, Ré, 2022, equation 9, doi:10.48550/arXiv.2206.11893.
    """
    return np.asarray(-0.5 + 1j * np.pi * np.arange(d_state // 2), dtype=np.complex128)


def inv_poles(d_state: int) -> Complex:
    """Return the poles of S4D-Inv, -1/2 + i N/pi (N/(2n+1) - 1): the asymptotic spectrum of LegS.

    References
    ----------
    Gu, Goel, Gupta, Ré, 2022, equation 8, doi:10.48550/arXiv.2206.11893.
    """
    n = np.arange(d_state // 2)
    return np.asarray(-0.5 + 1j * d_state / np.pi * (d_state / (2 * n + 1) - 1), dtype=np.complex128)


def real_poles(d_state: int) -> Complex:
    """Return the poles of S4D-Real, -(n + 1): the true spectrum of HiPPO-LegS.

    References
    ----------
    Gu, Goel, Gupta, Ré, 2022, section 4.4, doi:10.48550/arXiv.2206.11893.
    """
    return np.asarray(-(np.arange(d_state // 2) + 1.0), dtype=np.complex128)


def fout_poles(d_state: int) -> Complex:
    """Return the diagonal of HiPPO-FouT in its Fourier basis, -2 + 2 i pi n: what is left without the coupling.

    References
    ----------
    Gu, Johnson, Timalsina, Rudra, Ré, "How to Train Your HiPPO", 2022, S4-FouT, doi:10.48550/arXiv.2206.12037.
    """
    return np.asarray(-2.0 + 2j * np.pi * np.arange(d_state // 2), dtype=np.complex128)


def random_poles(d_state: int) -> Complex:
    """Return unstructured poles: decays uniform in (0, 1], frequencies uniform over the range of S4D-Lin.

    They come from the global generator of torch, as the other random numbers of a kernel do: ``torch.manual_seed``
    repeats them.

    References
    ----------
    Gu, Goel, Gupta, Ré, 2022, section 4.4 (that structure matters), doi:10.48550/arXiv.2206.11893.
    """
    decay, frequency = torch.rand(2, d_state // 2, dtype=torch.float64).numpy()
    return np.asarray(decay - 1.0 + 0.5j * np.pi * d_state * frequency, dtype=np.complex128)


DIAGONAL_INITS: dict[str, Callable[[int], Complex]] = {
    "legs": legs_poles,
    "inv": inv_poles,
    "lin": lin_poles,
    "real": real_poles,
    "fout": fout_poles,
    "random": random_poles,
}


def low_rank_form(measure: str, d_state: int) -> tuple[Complex, Complex, Complex]:
    """Return a HiPPO system as diagonal plus low rank, one of each pair of conjugate modes.

    The other half of Lambda, P and B is the conjugate of this one. Phases are chosen so that B is real and positive.
    Re(Lambda) is -1/2 for ``"legs"`` and ``"lagt"``, zero for ``"legt"`` and ``"fout"``, whose decay is all in P.

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
    A, B = MEASURES[measure](d_state)
    P = LOW_RANK_PARTS[measure](d_state)
    Lambda = np.einsum("in,ij,jn->n", V.conj(), A + P @ P.T, V)
    # What is symmetric in the normal part is a multiple of the identity: no rounding errors in Re(Lambda).
    decay = (A[0, 0] + P[0] @ P[0]).round(12)
    return decay + 1j * Lambda.imag, V.conj().T @ P, V.conj().T @ B


def low_rank_basis(measure: str, d_state: int) -> Complex:
    """Return the modes that `low_rank_form` is written in: a real state is x = 2 Re(V z).

    Shape: (d_state, d_state // 2).
    """
    if measure not in LOW_RANK_PARTS:
        choices = ", ".join(map(repr, LOW_RANK_PARTS))
        raise ValueError(f"measure={measure!r} has no diagonal-plus-low-rank form; choose one of {choices}.")
    if d_state < 2 or d_state % 2:
        raise ValueError(f"d_state={d_state} must be even and at least 2: modes come in conjugate pairs.")
    A, B = MEASURES[measure](d_state)
    P = LOW_RANK_PARTS[measure](d_state)
    normal = A + P @ P.T
    skew = 0.5 * (normal - normal.T)
    if measure == "fout":
        # Frequency zero is a pair of equal eigenvalues: moved up by one with the others, it comes apart the same way.
        skew += np.kron(np.eye(d_state // 2), [[0.0, -1.0], [1.0, 0.0]])
    V = np.linalg.eigh(-1j * skew)[1][:, d_state // 2 :]
    phase = V.conj().T @ B
    return np.asarray(V * (phase / np.abs(phase)), dtype=np.complex128)


def _half_input(d_state: int, measure: str) -> Real:
    _, B = MEASURES[measure](d_state)
    return np.asarray(np.sqrt(0.5) * B[:, None])


def _parities(d_state: int) -> Real:
    """Even and odd degrees apart: the symmetric part of LegT does not mix them."""
    degree = np.arange(d_state)[:, None]
    return np.asarray(np.sqrt(2.0 * degree + 1.0) * (degree % 2 == [0, 1]))


LOW_RANK_PARTS: dict[str, Callable[[int], Real]] = {
    "legs": lambda d_state: _half_input(d_state, "legs"),
    "legt": _parities,
    "lagt": lambda d_state: _half_input(d_state, "lagt"),
    "fout": lambda d_state: _half_input(d_state, "fout"),
}
