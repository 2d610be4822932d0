"""Random systems of every init, discretisation, rate and direction, and the relative error between two results."""

from dataclasses import dataclass

import numpy as np
import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor

from s4signal.ssm import DIAGONAL_INITS, DISCRETIZATIONS, DiagonalSystem, Modes, Pair

__all__ = [
    "BATCH",
    "D_MODEL",
    "SCIPY_RULES",
    "STABLE",
    "TOLERANCE",
    "Drawn",
    "drawn_systems",
    "dtypes",
    "few_examples",
    "relative_error",
]

D_MODEL, BATCH = 3, 2
STABLE = sorted(set(DISCRETIZATIONS) - {"forward"})  # forward Euler's systems may grow without bound
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}
SCIPY_RULES = {
    "zoh": "zoh",
    "bilinear": "bilinear",
    "forward": "euler",
    "backward": "backward_diff",
    "dirac": "impulse",
}
few_examples = settings(max_examples=25, deadline=None, derandomize=True)
dtypes = st.sampled_from(list(TOLERANCE))


@dataclass(frozen=True)
class Drawn:
    """A system in continuous time, and how to discretise it.

    Parameters
    ----------
    init, discretization : str
        Keys of `DIAGONAL_INITS` and `DISCRETIZATIONS`.
    rate : float
        Factor of every step.
    bidirectional : bool
        Whether the system has an anti-causal direction.
    d_state : int
        Real state size.
    seed : int
        Seed of the output vectors, the steps and the signals.
    """

    init: str
    discretization: str
    rate: float
    bidirectional: bool
    d_state: int
    seed: int

    @property
    def poles(self) -> np.ndarray:
        """Continuous-time poles, (d_state / 2,)."""
        torch.manual_seed(self.seed)  # the poles of "random"
        return DIAGONAL_INITS[self.init](self.d_state)

    @property
    def dt(self) -> Tensor:
        """Steps at the rate in use, (D_MODEL, 1): memories of a few samples to a few hundred."""
        return self.rate * torch.logspace(-2.5, -0.5, D_MODEL, dtype=torch.float64)[:, None]

    def system(self) -> DiagonalSystem:
        """Discretise."""
        generator = torch.Generator().manual_seed(self.seed)
        poles = torch.from_numpy(self.poles).expand(D_MODEL, -1)
        Lambda_bar, B_bar = DISCRETIZATIONS[self.discretization](Pair(poles.real, poles.imag), self.dt)
        vectors = torch.randn(5, D_MODEL, self.d_state // 2, dtype=torch.float64, generator=generator)
        reverse = Pair(vectors[2], vectors[3]) if self.bidirectional else None
        return DiagonalSystem(Lambda_bar, B_bar, Pair(vectors[0], vectors[1]), vectors[4, :, 0], reverse)

    def modes(self) -> Modes:
        """Return the modes in continuous time; with ``"zoh"``, `system` is their hold for gaps equal to the rate."""
        poles, system = torch.from_numpy(self.poles).expand(D_MODEL, -1), self.system()
        dt = (self.dt / self.rate).expand_as(poles.real)
        Lambda_dt = Pair(poles.real * dt, poles.imag * dt)
        return Modes(Lambda_dt, Pair(dt.clone(), torch.zeros_like(dt)), system.C, system.D, system.C_reverse)

    def signal(self, n_times: int, dtype: torch.dtype) -> Tensor:
        """White noise (D_MODEL, BATCH, n_times)."""
        generator = torch.Generator().manual_seed(self.seed + 1)
        return torch.randn(D_MODEL, BATCH, n_times, dtype=torch.float64, generator=generator).to(dtype)

    def state(self, dtype: torch.dtype) -> Tensor:
        """State of an earlier signal, (D_MODEL, BATCH, d_state)."""
        generator = torch.Generator().manual_seed(self.seed + 2)
        return torch.randn(D_MODEL, BATCH, self.d_state, dtype=torch.float64, generator=generator).to(dtype)


drawn_systems = st.builds(
    Drawn,
    init=st.sampled_from(sorted(DIAGONAL_INITS)),
    discretization=st.sampled_from(STABLE),
    rate=st.sampled_from([0.5, 1.0, 2.0, 3.7]),
    bidirectional=st.booleans(),
    d_state=st.sampled_from([2, 6, 16]),
    seed=st.integers(0, 1000),
)


def relative_error(got: Tensor, expected: Tensor) -> float:
    """Largest deviation over the largest value."""
    return float((got.double() - expected.double()).abs().max() / expected.double().abs().max())
