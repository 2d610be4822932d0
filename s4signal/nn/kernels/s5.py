"""S5: one diagonal system with many inputs and outputs, shared by all channels."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from s4signal.nn.kernels.base import PairKernel
from s4signal.ssm import DIAGONAL_INITS, DISCRETIZATIONS, Pair, SharedSystem

__all__ = ["S5Kernel"]


class S5Kernel(PairKernel):
    """One diagonal system for all channels: x' = Lambda x + B u, y = 2 Re(C x), each mode with a step of its own.

    Parameters
    ----------
    d_model : int, >= 1
        Channels, inputs and outputs of the system.
    d_state : int, even, >= 2, default=64
        Real state size N, shared: N / 2 conjugate pairs.
    init : str, default="legs"
        Initial poles: ``"legs"``, ``"inv"``, ``"lin"``, ``"real"``, ``"fout"`` or ``"random"``.
    bidirectional : bool, default=False
        Add an anti-causal direction with the same poles and inputs and its own output matrix.
    dt_range : tuple of two float, default=(1e-3, 0.1)
        Range of the initial steps, in training sample periods; 1 / dt is the memory in samples.
    discretization : str, optional
        A name in `DISCRETIZATIONS`, ``"zoh"`` by default.

    Raises
    ------
    ValueError
        If an option is unknown, d_state is odd or the range is not increasing and positive.

    References
    ----------
    Smith, Warrington, Linderman, "Simplified State Space Layers for Sequence Modeling", 2023,
    doi:10.48550/arXiv.2208.04933.
    """

    STATE_SPACE_PARAMETERS = ("log_dt", "log_decay", "frequency", "B")
    INITS = DIAGONAL_INITS
    RULES = DISCRETIZATIONS
    SHARED = True

    def build(self, init: str) -> None:
        """Make the parameters of modes, input and output matrices.

        Parameters
        ----------
        init : str
            A name in ``INITS``.
        """
        super().build(init)
        self.B = nn.Parameter(torch.randn(self.d_state // 2, self.d_model, 2) * (0.5 / self.d_model) ** 0.5)

    def _poles(self, init: str) -> NDArray[np.complex128]:
        return DIAGONAL_INITS[init](self.d_state)

    def system(self, D: Tensor, *, rate: float = 1.0) -> SharedSystem:
        """Discretise the system.

        Parameters
        ----------
        D : Tensor (d_model,)
            Feed-through.
        rate : float, > 0, default=1.0
            Sample period in use over the training sample period.

        Returns
        -------
        SharedSystem
            In float64 where the device has it; modes above the Nyquist frequency of the rate in use are silent.
        """
        Lambda, dt, audible = self._modes(rate)
        Lambda_bar, gain = DISCRETIZATIONS[self.discretization](Lambda, dt)
        B = self._exact(self.B)
        C, C_reverse = self._outputs(audible)
        return SharedSystem(
            Lambda_bar, gain.unsqueeze(-1).times(Pair(B[..., 0], B[..., 1])), C, self._exact(D), C_reverse
        )
