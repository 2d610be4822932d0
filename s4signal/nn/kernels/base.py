"""Base classes of kernels: options, step sizes, and the parameters of conjugate pairs of modes."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from s4signal.errors import check_choice
from s4signal.ssm import DENSE_DISCRETIZATIONS, DIAGONAL_INITS, DISCRETIZATIONS, Pair, construction_dtype
from s4signal.ssm.hippo import Complex
from s4signal.ssm.systems import System


class Kernel(nn.Module, ABC):
    """A learnable linear system, parametrised in continuous time.

    A custom kernel is a subclass with four tables and three methods: `build` creates its parameters, `system`
    discretises them, `modes` returns its eigenvalues. `S4Layer` and `StackOptions` accept it as ``kernel=``.

    Parameters
    ----------
    d_model, d_state, init, bidirectional, dt_range, discretization : as in `S4Layer`
        Sizes, a name in ``INITS``, directions, the range of the log-uniform step sizes, a name in ``RULES``.

    Raises
    ------
    ValueError
        If an option is unknown or out of its range.

    Examples
    --------
    >>> from s4signal.nn import KERNELS, S4Layer
    >>> class Tustin(KERNELS["s4d"]):
    ...     DEFAULT_RULE = "bilinear"
    >>> S4Layer(d_model=4, d_state=8, kernel=Tustin).kernel.discretization
    'bilinear'
    """

    #: Names of the parameters with the small state-space learning rate and no weight decay.
    STATE_SPACE_PARAMETERS: ClassVar[tuple[str, ...]]
    #: Allowed values of ``init``.
    INITS: ClassVar[Collection[str]]
    #: Allowed values of ``discretization``, and its default.
    RULES: ClassVar[Mapping[str, Callable[..., Any]]]
    DEFAULT_RULE: ClassVar[str] = "zoh"
    #: Whether d_state counts both modes of conjugate pairs.
    PAIRS: ClassVar[bool] = True
    #: Whether all channels share one system, with a step size per mode; otherwise each has its system and step size.
    SHARED: ClassVar[bool] = False
    #: Whether `scan` accepts irregular sample times.
    TAKES_GAPS: ClassVar[bool] = False

    def __init__(
        self,
        d_model: int,
        d_state: int = 64,
        *,
        init: str = "legs",
        bidirectional: bool = False,
        dt_range: tuple[float, float] = (1e-3, 0.1),
        discretization: str | None = None,
    ) -> None:
        super().__init__()
        discretization = self.DEFAULT_RULE if discretization is None else discretization
        if d_state < 1 or (self.PAIRS and d_state % 2):
            need = "even and at least 2: modes come in conjugate pairs" if self.PAIRS else "at least 1"
            raise ValueError(f"d_state={d_state} must be {need}.")
        check_choice("init", init, self.INITS)
        check_choice("discretization", discretization, self.RULES)
        dt_min, dt_max = dt_range
        if not 0 < dt_min <= dt_max:
            raise ValueError(f"dt_range={dt_range} must be two positive numbers, the smaller one first.")
        if dt_max > 1:
            raise ValueError(
                f"dt_range={dt_range}: a step above 1 is a memory of less than one sample, with modes above the "
                "Nyquist frequency; lower the larger number."
            )
        self.d_model, self.d_state = d_model, d_state
        self.bidirectional, self.discretization = bidirectional, discretization
        n_steps = (d_state // 2,) if self.SHARED else (d_model, 1)
        self.log_dt = nn.Parameter(torch.empty(n_steps).uniform_(math.log(dt_min), math.log(dt_max)))
        self.build(init)

    @abstractmethod
    def build(self, init: str) -> None:
        """Create the parameters.

        Parameters
        ----------
        init : str
            A name in ``INITS``.
        """

    @abstractmethod
    def system(self, D: Tensor, *, rate: float = 1.0) -> System:
        """Discretise the system.

        Parameters
        ----------
        D : Tensor (d_model,)
            Feed-through of the layer.
        rate : float, > 0, default=1.0
            Current sample period divided by the training sample period; step sizes are multiplied by it.

        Returns
        -------
        DiagonalSystem, DenseSystem or SharedSystem
            The discrete system; modes above the Nyquist frequency have no output.
        """

    def scan(
        self,
        D: Tensor,
        u: Tensor,
        gaps: Tensor,
        state: Tensor | None = None,
        *,
        rate: float = 1.0,
        return_state: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Run the system over irregular sample times, integrating each gap exactly.

        u_k is held over the time since sample k - 1, of length gaps_k.

        Parameters
        ----------
        D : Tensor (d_model,)
            Feed-through of the layer.
        u, gaps, state, rate, return_state : as in `S4Layer.forward`
            Input, gaps and state.

        Returns
        -------
        y, state : Tensor, Tensor or None
            As in `S4Layer.forward`.

        Raises
        ------
        ValueError
            If the kernel does not support gaps, or the discretization is not the zero-order hold.
        """
        if not self.TAKES_GAPS:
            raise ValueError(
                f"gaps need a diagonal state matrix, but {type(self).__name__} has dense ones: each gap would need its "
                "own matrix exponentials. Use kernel='s4d' or 's5', or resample the signal to a regular grid."
            )
        if self.discretization != "zoh":
            raise ValueError(
                f"gaps need the zero-order hold, but discretization={self.discretization!r}; build the layer with "
                "discretization='zoh'."
            )
        return self._scan(D, u, gaps, state, rate, return_state)

    def _scan(
        self, D: Tensor, u: Tensor, gaps: Tensor, state: Tensor | None, rate: float, return_state: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Implement `scan` for kernels with ``TAKES_GAPS``."""
        raise NotImplementedError

    @abstractmethod
    def modes(self) -> Pair:
        """Return the eigenvalues of the state matrices times the step sizes, (n_systems, n_modes)."""

    @property
    def state_size(self) -> tuple[int, int]:
        """Number of systems, and of real numbers in each state."""
        return (1 if self.SHARED else self.d_model), self.d_state

    def freeze(self) -> None:
        """Exclude the state matrices and step sizes from training."""
        for name in self.STATE_SPACE_PARAMETERS:
            getattr(self, name).requires_grad_(False)

    def _exact(self, parameter: Tensor) -> Tensor:
        return parameter.to(construction_dtype(parameter.device))

    def _dt(self) -> Tensor:
        return torch.exp(self._exact(self.log_dt))


class PairKernel(Kernel):
    """A kernel of conjugate pairs of modes: decays, frequencies and complex output vectors."""

    STATE_SPACE_PARAMETERS: ClassVar[tuple[str, ...]] = ("log_dt", "log_decay", "frequency")
    INITS: ClassVar[Collection[str]] = DIAGONAL_INITS
    RULES: ClassVar[Mapping[str, Callable[..., Any]]] = DISCRETIZATIONS

    def build(self, init: str) -> None:
        """Create the parameters of modes and output vectors."""
        poles = self._poles(init)
        if not self.SHARED:
            poles = np.broadcast_to(poles, (self.d_model, len(poles)))
        # An undamped mode starts with a memory of 10,000 / dt samples: the logarithm of a zero decay is not finite.
        self.log_decay = nn.Parameter(torch.from_numpy(np.log(np.maximum(-poles.real, 1e-4))).float())
        self.frequency = nn.Parameter(torch.from_numpy(poles.imag.copy()).float())
        self.C = self._vectors()
        self.C_reverse = self._vectors() if self.bidirectional else None

    def modes(self) -> Pair:
        """Return the poles times the step sizes, (n_systems, n_modes)."""
        Lambda, dt, _ = self._modes(1.0)
        return Lambda.scaled(dt)

    def _poles(self, init: str) -> Complex:
        """Return the initial poles, (d_state // 2,)."""
        return DIAGONAL_INITS[init](self.d_state)

    def _vectors(self) -> nn.Parameter:
        return nn.Parameter(torch.randn(self.d_model, self.d_state // 2, 2) * 0.5**0.5)

    def _modes(self, rate: float) -> tuple[Pair, Tensor, Tensor]:
        """Return poles, training step sizes, and which modes are below the Nyquist frequency at the current rate."""
        # Re < 0 by construction: -exp.
        Lambda, dt = Pair(-torch.exp(self._exact(self.log_decay)), self._exact(self.frequency)), self._dt()
        return Lambda, dt, (Lambda.im * dt * rate).abs() <= math.pi

    def _outputs(self, below_nyquist: Tensor) -> tuple[Pair, Pair | None]:
        """Return the output vectors, zero for modes above the Nyquist frequency."""
        C, C_reverse = self.C, self.C_reverse
        reverse = None if C_reverse is None else Pair.of(self._exact(C_reverse)).scaled(below_nyquist)
        return Pair.of(self._exact(C)).scaled(below_nyquist), reverse


class DenseKernel(Kernel):
    """A kernel that runs with dense real state matrices."""

    RULES: ClassVar[Mapping[str, Callable[..., Any]]] = DENSE_DISCRETIZATIONS
    DEFAULT_RULE = "bilinear"

    @abstractmethod
    def matrices(self) -> tuple[Tensor, Tensor]:
        """Return A (d_model, d_state, d_state) and B (d_model, d_state) in continuous time."""

    def modes(self) -> Pair:
        """Return the eigenvalues of the state matrices times the step sizes, (d_model, d_state)."""
        values = torch.linalg.eigvals(self.matrices()[0]) * self._dt()
        return Pair(values.real, values.imag)
