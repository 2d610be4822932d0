"""S4D: diagonal state matrices, one single-input single-output system per channel."""

import torch
from torch import Tensor

from s4signal.nn.kernels.base import PairKernel
from s4signal.ssm import DISCRETIZATIONS, DiagonalSystem, Modes, Pair, irregular_scan


class S4DKernel(PairKernel):
    """Diagonal systems, one per channel: x' = Lambda x + u, y = 2 Re(C x).

    References
    ----------
    Gu, Goel, Gupta, Ré, "On the Parameterization and Initialization of Diagonal State Space Models", 2022,
    doi:10.48550/arXiv.2206.11893.
    """

    TAKES_GAPS = True

    def system(self, D: Tensor, *, rate: float = 1.0) -> DiagonalSystem:
        """Discretise the system."""
        Lambda, dt, below_nyquist = self._modes(rate)
        Lambda_bar, B_bar = DISCRETIZATIONS[self.discretization](Lambda, dt * rate)
        C, C_reverse = self._outputs(below_nyquist)
        return DiagonalSystem(Lambda_bar, B_bar, C, self._exact(D), C_reverse)

    def _scan(
        self, D: Tensor, u: Tensor, gaps: Tensor, state: Tensor | None, rate: float, return_state: bool
    ) -> tuple[Tensor, Tensor | None]:
        Lambda, dt, below_nyquist = self._modes(rate)
        Lambda_dt = Lambda.scaled(dt)
        if not return_state:
            # Modes without output are replaced by slow ones: fast modes cost the most.
            Lambda_dt = Pair(Lambda_dt.re.where(below_nyquist, -1e-3), Lambda_dt.im.where(below_nyquist, 0.0))
        B = Pair(dt.expand_as(Lambda.re), torch.zeros_like(Lambda.re))
        C, C_reverse = self._outputs(below_nyquist)
        modes = Modes(Lambda_dt, B, C, self._exact(D), C_reverse)
        return irregular_scan(modes, u, gaps, state, return_state=return_state)
