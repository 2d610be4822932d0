"""S5: one diagonal system with many inputs and outputs, shared by all channels."""

import torch
from torch import Tensor, nn

from s4signal.nn.kernels.base import PairKernel
from s4signal.ssm import DISCRETIZATIONS, Pair, SharedSystem, shared_scan
from s4signal.ssm.shared import last_state, modal_state, project_in, project_out


class S5Kernel(PairKernel):
    """One diagonal system for all channels: x' = Lambda x + B u, y = 2 Re(C x), with a step size per mode.

    References
    ----------
    Smith, Warrington, Linderman, "Simplified State Space Layers for Sequence Modeling", 2023,
    doi:10.48550/arXiv.2208.04933.
    """

    STATE_SPACE_PARAMETERS = ("log_dt", "log_decay", "frequency", "B")
    SHARED = True
    TAKES_GAPS = True

    def build(self, init: str) -> None:
        """Create the parameters of modes, input and output matrices."""
        super().build(init)
        self.B = nn.Parameter(torch.randn(self.d_state // 2, self.d_model, 2) * (0.5 / self.d_model) ** 0.5)

    def system(self, D: Tensor, *, rate: float = 1.0) -> SharedSystem:
        """Discretise the system."""
        Lambda, dt, below_nyquist = self._modes(rate)
        Lambda_bar, gain = DISCRETIZATIONS[self.discretization](Lambda, dt * rate)
        B = Pair.of(self._exact(self.B))
        C, C_reverse = self._outputs(below_nyquist)
        return SharedSystem(Lambda_bar, gain.unsqueeze(-1).times(B), C, self._exact(D), C_reverse)

    def _scan(
        self, D: Tensor, u: Tensor, gaps: Tensor, state: Tensor | None, rate: float, return_state: bool
    ) -> tuple[Tensor, Tensor | None]:
        Lambda, dt, below_nyquist = self._modes(rate)
        C, C_reverse = self._outputs(below_nyquist)
        B = Pair.of(self._exact(self.B))
        Lambda_dt, v = Lambda.scaled(dt), Pair(*project_in(B.scaled(dt[:, None]), u))
        X = torch.stack(shared_scan(Lambda_dt, v, gaps, None if state is None else modal_state(state)))
        y = project_out(C, X) + self._exact(D).to(u.dtype)[:, None, None] * u
        if C_reverse is not None:
            y = y + project_out(C_reverse, torch.stack(shared_scan(Lambda_dt, v, gaps, reverse=True)))
        return y, last_state(X) if return_state else None
