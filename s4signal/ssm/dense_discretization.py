"""From a dense continuous system to a discrete one: the rules of ``discretization``, for real matrices.

All are differentiable, and broadcast over leading dimensions: A (..., N, N), B (..., N), dt (..., 1).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

__all__ = [
    "DENSE_DISCRETIZATIONS",
    "dense_backward_euler",
    "dense_bilinear",
    "dense_dirac",
    "dense_forward_euler",
    "dense_generalized_bilinear",
    "dense_zero_order_hold",
]


def dense_zero_order_hold(A: Tensor, B: Tensor, dt: Tensor) -> tuple[Tensor, Tensor]:
    r"""Discretise a system exactly for an input that is constant within a sample.

    .. math:: \exp\!\left(\begin{bmatrix} A & B \\ 0 & 0 \end{bmatrix} \Delta\right)
              = \begin{bmatrix} \bar A & \bar B \\ 0 & 1 \end{bmatrix}

    Nothing is inverted or subtracted: A may be singular, and dt as small as it likes.

    Shapes: A (..., N, N), B (..., N), dt (..., 1) → (..., N, N), (..., N).

    References
    ----------
    Van Loan, "Computing Integrals Involving the Matrix Exponential", IEEE Transactions on Automatic Control 23(3),
    1978, doi:10.1109/TAC.1978.1101743.
    """
    augmented = torch.nn.functional.pad(_augmented(A * dt.unsqueeze(-1), B * dt), (0, 0, 0, 1))
    exponential = _matrix_exp(augmented)
    return exponential[..., :-1, :-1], exponential[..., :-1, -1]


def dense_generalized_bilinear(A: Tensor, B: Tensor, dt: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    r"""Discretise a system by a weighted trapezoid rule.

    .. math:: \bar A = (I - \alpha\Delta A)^{-1} (I + (1 - \alpha)\Delta A), \qquad
              \bar B = (I - \alpha\Delta A)^{-1} \Delta B

    Stable systems stay stable from ``alpha=0.5`` on. Half is the trapezoid rule of LSSL and S4 (Tustin): frequencies
    are warped. One, the slope at the end of a step (backward Euler), damps oscillations by the step itself. Zero, the
    slope at its start (forward Euler), is **unstable** where the step is too large: with HiPPO-LegS, whose fastest mode
    decays as exp(-N t), every step beyond 2 / N.

    Shapes: A (..., N, N), B (..., N), dt (..., 1) → (..., N, N), (..., N).

    References
    ----------
    Gu, Johnson, Goel, Saab, Dao, Rudra, Ré, "Combining Recurrent, Convolutional, and Continuous-time Models with
    Linear State-Space Layers", 2021, section 2, doi:10.48550/arXiv.2110.13985.
    """
    step = A * dt.unsqueeze(-1)
    eye = torch.eye(A.shape[-1], dtype=A.dtype, device=A.device)
    right = _augmented(eye + (1.0 - alpha) * step, B * dt)
    solved = right if alpha == 0.0 else torch.linalg.solve(eye - alpha * step, right)
    return solved[..., :-1], solved[..., -1]


def dense_dirac(A: Tensor, B: Tensor, dt: Tensor) -> tuple[Tensor, Tensor]:
    """Discretise a system for an input of impulses, one a sample, of area u dt: exp(A dt) and B dt.

    Shapes: A (..., N, N), B (..., N), dt (..., 1) → (..., N, N), (..., N).
    """
    return _matrix_exp(A * dt.unsqueeze(-1)), B * dt


def _augmented(A: Tensor, B: Tensor) -> Tensor:
    """[A | B], whatever their leading dimensions."""
    batch = torch.broadcast_shapes(A.shape[:-2], B.shape[:-1])
    return torch.cat([A.expand(*batch, -1, -1), B.unsqueeze(-1).expand(*batch, -1, -1)], -1)


def _matrix_exp(M: Tensor) -> Tensor:
    # Of a single matrix of norm 0.003 to 0.05, torch 2.14 gets ten digits only; of a batch of two, all sixteen.
    exponential: Tensor = torch.linalg.matrix_exp(M if M.shape[:-2].numel() > 1 else torch.stack([M, M]))
    return exponential if exponential.ndim == M.ndim else exponential[0]


dense_bilinear = partial(dense_generalized_bilinear, alpha=0.5)
dense_forward_euler = partial(dense_generalized_bilinear, alpha=0.0)
dense_backward_euler = partial(dense_generalized_bilinear, alpha=1.0)

DENSE_DISCRETIZATIONS: dict[str, Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "zoh": dense_zero_order_hold,
    "bilinear": dense_bilinear,
    "forward": dense_forward_euler,
    "backward": dense_backward_euler,
    "dirac": dense_dirac,
}
