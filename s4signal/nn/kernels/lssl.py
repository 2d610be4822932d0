"""LSSL: dense state matrices, one single-input single-output system per channel."""

import numpy as np
import torch
from scipy import linalg
from torch import Tensor, nn

from s4signal.nn.kernels.base import DenseKernel
from s4signal.ssm import MEASURES, DenseSystem


class LSSLKernel(DenseKernel):
    """Dense systems, one per channel: x' = A x + B u, y = C x, with every entry of A learned.

    A = K - K^T - R R^T: the symmetric part of A is never positive, so that states cannot grow during training. Every
    stable matrix has this form in some coordinates.

    References
    ----------
    Gu, Johnson, Goel, Saab, Dao, Rudra, Ré, "Combining Recurrent, Convolutional, and Continuous-time Models with Linear
    State-Space Layers", 2021, doi:10.48550/arXiv.2110.13985.
    """

    STATE_SPACE_PARAMETERS = ("log_dt", "K", "R", "B")
    INITS = MEASURES
    PAIRS = False

    def build(self, init: str) -> None:
        """Create the parameters of the state matrix, input and output vectors."""
        A, B = _dissipative(*MEASURES[init](self.d_state))
        decay, basis = np.linalg.eigh(-0.5 * (A + A.T))
        R = basis * np.sqrt(np.maximum(decay, 0.0))
        self.K = nn.Parameter(_repeated(0.25 * (A - A.T), self.d_model))
        self.R = nn.Parameter(_repeated(R, self.d_model))
        self.B = nn.Parameter(_repeated(B, self.d_model))
        self.C = nn.Parameter(torch.randn(self.d_model, self.d_state))
        self.C_reverse = nn.Parameter(torch.randn(self.d_model, self.d_state)) if self.bidirectional else None

    def matrices(self) -> tuple[Tensor, Tensor]:
        """Return A (d_model, d_state, d_state) and B (d_model, d_state) in continuous time."""
        K, R = self._exact(self.K), self._exact(self.R)
        return K - K.transpose(1, 2) - R @ R.transpose(1, 2), self._exact(self.B)

    def system(self, D: Tensor, *, rate: float = 1.0) -> DenseSystem:
        """Discretise the system."""
        A_bar, B_bar = self.RULES[self.discretization](*self.matrices(), self._dt() * rate)
        reverse = None if self.C_reverse is None else self._exact(self.C_reverse)
        return DenseSystem(A_bar, B_bar, self._exact(self.C), self._exact(D), reverse)


def _dissipative(A: np.ndarray, B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Change coordinates, if needed, so that A + A^T has no positive eigenvalue."""
    if np.linalg.eigvalsh(A + A.T)[-1] <= 1e-9 * np.abs(A).max():
        return A, B
    # A^T X + X A = -I has a positive definite solution for every stable A; its root is the change of coordinates.
    root = linalg.sqrtm(linalg.solve_continuous_lyapunov(A.T, -np.eye(len(A)))).real
    inverse = np.linalg.inv(root)
    return root @ A @ inverse, root @ B


def _repeated(value: np.ndarray, d_model: int) -> Tensor:
    return torch.from_numpy(np.repeat(value[None], d_model, 0)).float()
