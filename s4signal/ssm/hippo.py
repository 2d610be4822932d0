"""Initial poles of the diagonal kernels: HiPPO-LegS, its closed-form relatives, and random ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from s4signal.ssm.measures import legs_transition

__all__ = ["DIAGONAL_INITS", "fout_poles", "inv_poles", "legs_poles", "lin_poles", "random_poles", "real_poles"]

Poles = NDArray[np.complex128]


def legs_poles(d_state: int) -> Poles:
    """Return the poles of S4D-LegS: eigenvalues of the normal part of HiPPO-LegS, upper half plane.

    Shape: (d_state // 2,).

    References
    ----------
    Gu, Goel, Gupta, Ré, 2022, section 4.2, doi:10.48550/arXiv.2206.11893.
    """
    A, B = legs_transition(d_state)
    # A + B B^T / 2 = -1/2 + a skew-symmetric matrix, whose spectrum is exact through a Hermitian solver.
    skew = A + 0.5 * np.outer(B, B) + 0.5 * np.eye(d_state)
    frequencies = np.linalg.eigvalsh(1j * skew)
    return np.asarray(-0.5 + 1j * np.sort(frequencies[frequencies > 0]), dtype=np.complex128)


def lin_poles(d_state: int) -> Poles:
    """Return the poles of S4D-Lin, -1/2 + i pi n: the frequencies of a truncated Fourier basis.

    Shape: (d_state // 2,).

    References
    ----------
    Gu, Goel, Gupta, Ré, 2022, equation 9, doi:10.48550/arXiv.2206.11893.
    """
    return np.asarray(-0.5 + 1j * np.pi * np.arange(d_state // 2), dtype=np.complex128)


def inv_poles(d_state: int) -> Poles:
    """Return the poles of S4D-Inv, -1/2 + i N/pi (N/(2n+1) - 1): the asymptotic spectrum of LegS.

    Shape: (d_state // 2,).

    References
    ----------
    Gu, Goel, Gupta, Ré, 2022, equation 8, doi:10.48550/arXiv.2206.11893.
    """
    n = np.arange(d_state // 2)
    return np.asarray(-0.5 + 1j * d_state / np.pi * (d_state / (2 * n + 1) - 1), dtype=np.complex128)


def real_poles(d_state: int) -> Poles:
    """Return the poles of S4D-Real, -(n + 1): the true spectrum of HiPPO-LegS.

    Shape: (d_state // 2,).

    References
    ----------
    Gu, Goel, Gupta, Ré, 2022, section 4.4, doi:10.48550/arXiv.2206.11893.
    """
    return np.asarray(-(np.arange(d_state // 2) + 1.0), dtype=np.complex128)


def fout_poles(d_state: int) -> Poles:
    """Return the diagonal of HiPPO-FouT in its Fourier basis, -2 + 2 i pi n: what is left without the coupling.

    Shape: (d_state // 2,).

    References
    ----------
    Gu, Johnson, Timalsina, Rudra, Ré, "How to Train Your HiPPO", 2022, S4-FouT, doi:10.48550/arXiv.2206.12037.
    """
    return np.asarray(-2.0 + 2j * np.pi * np.arange(d_state // 2), dtype=np.complex128)


def random_poles(d_state: int) -> Poles:
    """Return unstructured poles: decays uniform in (0, 1], frequencies uniform over the range of S4D-Lin.

    They come from the global generator of torch, as the other random numbers of a kernel do: ``torch.manual_seed``
    repeats them.

    Shape: (d_state // 2,).

    References
    ----------
    Gu, Goel, Gupta, Ré, 2022, section 4.4 (that structure matters), doi:10.48550/arXiv.2206.11893.
    """
    decay, frequency = torch.rand(2, d_state // 2, dtype=torch.float64).numpy()
    return np.asarray(decay - 1.0 + 0.5j * np.pi * d_state * frequency, dtype=np.complex128)


DIAGONAL_INITS: dict[str, Callable[[int], Poles]] = {
    "legs": legs_poles,
    "inv": inv_poles,
    "lin": lin_poles,
    "real": real_poles,
    "fout": fout_poles,
    "random": random_poles,
}
