"""S4: HiPPO matrices as diagonal plus low rank, one single-input single-output system per channel."""

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from s4signal.nn.kernels.base import DenseKernel, PairKernel
from s4signal.ssm import LOW_RANK_PARTS, DenseSystem, Pair, low_rank_form
from s4signal.ssm.hippo import Complex


class S4Kernel(DenseKernel, PairKernel):
    """Diagonal-plus-low-rank systems, one per channel: x' = (Lambda - P P*) x + B u, y = 2 Re(C x).

    The low-rank term is subtracted as P P*, and Re(Lambda) < 0: A + A* stays negative definite, also during training.
    The system runs as a dense real system of size d_state. The tests compare it with its closed form, Cauchy sums.

    References
    ----------
    Gu, Goel, Ré, "Efficiently Modeling Long Sequences with Structured State Spaces", 2022, section 3,
    doi:10.48550/arXiv.2111.00396. Stability by P P*: Goel, Gu, Donahue, Ré, "It's Raw! Audio Generation with
    State-Space Models", 2022, section 4.1, doi:10.48550/arXiv.2202.09729.
    """

    STATE_SPACE_PARAMETERS = ("log_dt", "log_decay", "frequency", "P", "B")
    INITS = LOW_RANK_PARTS

    def build(self, init: str) -> None:
        """Create the parameters of modes, low rank, input and output vectors."""
        super().build(init)
        _, P, B = low_rank_form(init, self.d_state)
        self.P = nn.Parameter(_parts(P.T).repeat(self.d_model, 1, 1, 1))  # (d_model, rank, d_state // 2, 2)
        self.B = nn.Parameter(_parts(B).repeat(self.d_model, 1, 1))

    def _poles(self, init: str) -> Complex:
        return low_rank_form(init, self.d_state)[0]

    def matrices(self) -> tuple[Tensor, Tensor]:
        """Return A (d_model, d_state, d_state) and B (d_model, d_state) in continuous time, as real systems."""
        Lambda, _, _ = self._modes(1.0)
        # Summed over a pair, P* x is 2 Re(conj(P) x): twice the inner product of the real vectors.
        P = self._exact(self.P).flatten(-2)
        A = _rotations(Lambda) - 2.0 * P.transpose(1, 2) @ P
        return A, self._exact(self.B).flatten(-2)

    def system(self, D: Tensor, *, rate: float = 1.0) -> DenseSystem:
        """Discretise the system."""
        A, B = self.matrices()
        _, dt, below_nyquist = self._modes(rate)
        A_bar, B_bar = self.RULES[self.discretization](A, B, dt * rate)
        # 2 Re(C x) as a real inner product with (re, im) of each pair.
        C, C_reverse = (
            None if z is None else Pair(2.0 * z.re, -2.0 * z.im).stacked().flatten(-2)
            for z in self._outputs(below_nyquist)
        )
        return DenseSystem(A_bar, B_bar, cast(Tensor, C), self._exact(D), C_reverse)


def _parts(z: Complex) -> Tensor:
    return torch.from_numpy(np.stack([z.real, z.imag], -1)).float()


def _rotations(Lambda: Pair) -> Tensor:
    """Return block-diagonal matrices (d_model, 2 n, 2 n) with a block [[re, -im], [im, re]] per mode (d_model, n)."""
    blocks = torch.stack([torch.stack([Lambda.re, -Lambda.im], -1), torch.stack([Lambda.im, Lambda.re], -1)], -2)
    return torch.diag_embed(blocks.permute(2, 3, 0, 1)).permute(2, 3, 0, 4, 1).flatten(3, 4).flatten(1, 2)
