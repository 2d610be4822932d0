"""S4D: diagonal state matrices, one single-input single-output system a channel."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from s4signal.ssm import DIAGONAL_INITS, DISCRETIZATIONS, DiagonalSystem, Pair, construction_dtype

__all__ = ["S4DKernel"]


class S4DKernel(nn.Module):
    """Learnable diagonal system, held in continuous time.

    Parameters
    ----------
    d_model : int, >= 1
        Channels, each with its own system.
    d_state : int, even, >= 2
        Real state size N of each system: N / 2 conjugate pairs.
    init : str, default="legs"
        Initial poles: ``"legs"``, ``"inv"``, ``"lin"`` or ``"real"``.
    bidirectional : bool, default=False
        Add an anti-causal direction with the same poles and its own output vector.
    dt_range : tuple of two float, default=(1e-3, 0.1)
        Range of the initial steps, in training sample periods; 1 / dt is the memory in samples.
    discretization : str, default="zoh"
        ``"zoh"`` or ``"bilinear"``.

    Raises
    ------
    ValueError
        If an option is unknown, d_state is odd or the range is not increasing and positive.

    References
    ----------
    Gu, Goel, Gupta, Ré, "On the Parameterization and Initialization of Diagonal State Space Models", 2022,
    doi:10.48550/arXiv.2206.11893.
    """

    #: Names of the parameters that want the small state-space learning rate and no weight decay.
    STATE_SPACE_PARAMETERS = ("log_dt", "log_decay", "frequency")

    def __init__(
        self,
        d_model: int,
        d_state: int = 64,
        *,
        init: str = "legs",
        bidirectional: bool = False,
        dt_range: tuple[float, float] = (1e-3, 0.1),
        discretization: str = "zoh",
    ) -> None:
        super().__init__()
        if d_state < 2 or d_state % 2:
            raise ValueError(f"d_state={d_state} must be even and at least 2: modes come in conjugate pairs.")
        if init not in DIAGONAL_INITS:
            raise ValueError(f"init={init!r} is unknown; choose one of {_listed(DIAGONAL_INITS)}.")
        if discretization not in DISCRETIZATIONS:
            raise ValueError(f"discretization={discretization!r} is unknown; choose one of {_listed(DISCRETIZATIONS)}.")
        dt_min, dt_max = dt_range
        if not 0 < dt_min <= dt_max:
            raise ValueError(f"dt_range={dt_range} must be two positive numbers, the smaller one first.")
        self.d_model, self.d_state, self.discretization = d_model, d_state, discretization
        poles = np.broadcast_to(DIAGONAL_INITS[init](d_state), (d_model, d_state // 2))
        self.log_dt = nn.Parameter(torch.empty(d_model, 1).uniform_(math.log(dt_min), math.log(dt_max)))
        self.log_decay = nn.Parameter(torch.from_numpy(np.log(-poles.real)).float())
        self.frequency = nn.Parameter(torch.from_numpy(poles.imag.copy()).float())
        self.C = nn.Parameter(torch.randn(d_model, d_state // 2, 2) * 0.5**0.5)
        self.C_reverse = nn.Parameter(torch.randn(d_model, d_state // 2, 2) * 0.5**0.5) if bidirectional else None

    def system(self, D: Tensor, *, rate: float = 1.0) -> DiagonalSystem:
        """Discretise the system.

        Parameters
        ----------
        D : Tensor (d_model,)
            Feed-through.
        rate : float, > 0, default=1.0
            Sample period in use over the training sample period.

        Returns
        -------
        DiagonalSystem
            In float64 where the device has it; modes above the Nyquist frequency of the rate in use are silent.
        """
        exact = construction_dtype(self.log_dt.device)
        Lambda = Pair(-torch.exp(self.log_decay.to(exact)), self.frequency.to(exact))
        dt = torch.exp(self.log_dt.to(exact)) * rate
        Lambda_bar, B_bar = DISCRETIZATIONS[self.discretization](Lambda, dt)
        audible = (Lambda.im * dt).abs() <= math.pi
        reverse = None if self.C_reverse is None else _masked(self.C_reverse.to(exact), audible)
        return DiagonalSystem(Lambda_bar, B_bar, _masked(self.C.to(exact), audible), D.to(exact), reverse)


def _masked(C: Tensor, keep: Tensor) -> Pair:
    return Pair(C[..., 0] * keep, C[..., 1] * keep)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))
