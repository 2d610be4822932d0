"""The state space layer: a learnable linear system per channel."""

import math

import torch
from torch import Tensor, nn

from s4signal.errors import ShapeError, check_choice
from s4signal.nn.kernels import KERNELS, Kernel
from s4signal.ssm import block_scan, step
from s4signal.ssm.convolution import cut_off
from s4signal.ssm.systems import System


class S4Layer(nn.Module):
    """Linear state space layer, y = K * u + D u.

    Parameters
    ----------
    d_model : int, >= 1
        Number of channels.
    d_state : int, even, default=64
        Real state size of each system.
    kernel : {"s4d", "s4", "lssl", "s5"} or subclass of Kernel, default="s4d"
        Diagonal, diagonal plus low rank, dense, or one diagonal system that all channels share; or a custom class.
    init : str, default="legs"
        Initial dynamics, a name in ``KERNELS[kernel].INITS``.
    bidirectional : bool, default=False
        Whether outputs depend on future samples too.
    lookahead : float, > 0, optional
        Limit of the future, in training sample periods, rounded down to whole samples; no limit by default.
    dt_range : tuple of two float, default=(1e-3, 0.1)
        Range of the initial step sizes, in training sample periods; 1 / dt is the memory in samples.
    discretization : str, optional
        A name in ``KERNELS[kernel].RULES``; by default ``"zoh"`` for diagonal systems, ``"bilinear"`` for the others.
    frozen : bool, default=False
        Keep state matrices and step sizes as initialised; only input, output and feed-through vectors are learned.

    Raises
    ------
    ValueError
        If an option is unknown or out of its range, or there is a ``lookahead`` and the layer is causal.

    Examples
    --------
    >>> import torch
    >>> layer = S4Layer(d_model=4, d_state=8)
    >>> u = torch.randn(4, 2, 300)
    >>> y, state = layer(u[..., :100], return_state=True)
    >>> rest = layer(u[..., 100:], state=state)
    >>> torch.allclose(torch.cat([y, rest], -1), layer(u), atol=1e-4)
    True
    """

    def __init__(
        self,
        d_model: int,
        d_state: int = 64,
        *,
        kernel: str | type[Kernel] = "s4d",
        init: str = "legs",
        bidirectional: bool = False,
        lookahead: float | None = None,
        dt_range: tuple[float, float] = (1e-3, 0.1),
        discretization: str | None = None,
        frozen: bool = False,
    ) -> None:
        super().__init__()
        if not (isinstance(kernel, type) and issubclass(kernel, Kernel)):
            check_choice("kernel", kernel, KERNELS)
        if lookahead is not None and not (bidirectional and lookahead > 0):
            raise ValueError(f"lookahead={lookahead} must be positive, in a layer with bidirectional=True, or None.")
        self.d_model, self.d_state, self.bidirectional, self.lookahead = d_model, d_state, bidirectional, lookahead
        self.kernel = (KERNELS[kernel] if isinstance(kernel, str) else kernel)(
            d_model, d_state, init=init, bidirectional=bidirectional, dt_range=dt_range, discretization=discretization
        )
        if frozen:
            self.kernel.freeze()
        self.D = nn.Parameter(torch.randn(d_model))

    def forward(
        self,
        u: Tensor,
        *,
        state: Tensor | None = None,
        return_state: bool = False,
        rate: float = 1.0,
        gaps: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Run the layer over signals.

        Parameters
        ----------
        u : Tensor (d_model, batch, n_times)
            Input; float32 or float64, lower precisions are computed in float32.
        state : Tensor (n_systems, batch, d_state), optional
            State before the first sample; zero by default. Causal layers only.
        return_state : bool, default=False
            Also return the state after the last sample. Causal layers only.
        rate : float, > 0, default=1.0
            Current sample period divided by the training sample period: 2.0 if each sample now lasts twice as long.
        gaps : Tensor (batch, n_times), optional
            Time from the previous sample to each sample, >= 0, in training sample periods; in padding, gaps and u are
            0. u_k is held over the time since sample k - 1 and integrated exactly; ``rate`` then only determines which
            modes are above the Nyquist frequency. Kernels ``"s4d"`` and ``"s5"``.

        Returns
        -------
        y : Tensor (d_model, batch, n_times)
            Output.
        state : Tensor (n_systems, batch, d_state)
            Only if ``return_state``.

        Raises
        ------
        ShapeError, ValueError
            If u, the state or the gaps have the wrong shape, a state is passed to or requested from a bidirectional
            layer, the rate is not positive, a gap is negative, or a dense kernel or ``lookahead`` is used with gaps.
        """
        if u.ndim != 3 or u.shape[0] != self.d_model or u.shape[-1] == 0:
            raise ShapeError(f"u must have shape ({self.d_model}, batch, n_times), got {tuple(u.shape)}.")
        self._check(state, u.shape[1], rate, None if state is None and not return_state else "a carried state")
        if gaps is not None:
            _check_gaps(gaps, u)
            if self.lookahead is not None:
                raise ValueError("gaps cannot be combined with a limited look-ahead; build with lookahead=None.")
        exact = _exact_dtype(u)
        # Powers of poles near the unit circle are too inaccurate in bfloat16: the scan runs without autocast.
        with torch.autocast(u.device.type, enabled=False):
            state = None if state is None else state.to(exact)
            if gaps is None:
                y, final = block_scan(self.system(rate), u.to(exact), state, return_state=return_state)
            else:
                y, final = self.kernel.scan(self.D, u.to(exact), gaps, state, rate=rate, return_state=return_state)
        y = y.to(u.dtype)
        return y if final is None else (y, final)

    def step(self, u: Tensor, state: Tensor | None = None, *, rate: float = 1.0) -> tuple[Tensor, Tensor]:
        """Advance by one sample.

        Parameters
        ----------
        u : Tensor (d_model, batch)
            The sample.
        state, rate : as in `forward`
            State before it, and sample period.

        Returns
        -------
        y : Tensor (d_model, batch)
            Output.
        state : Tensor (n_systems, batch, d_state)
            State after the sample.

        Raises
        ------
        ShapeError, ValueError
            If u or the state has the wrong shape, the layer is bidirectional, or the rate is not positive.
        """
        if u.ndim != 2 or u.shape[0] != self.d_model:
            raise ShapeError(f"u must have shape ({self.d_model}, batch), got {tuple(u.shape)}.")
        self._check(state, u.shape[1], rate, "step")
        exact = _exact_dtype(u)
        with torch.autocast(u.device.type, enabled=False):
            state = None if state is None else state.to(exact)
            y, state = step(self.system(rate), u.to(exact), state)
        return y.to(u.dtype), state

    def system(self, rate: float = 1.0) -> System:
        """Return the discretised system of the layer.

        Parameters
        ----------
        rate : float, > 0, default=1.0
            As in `forward`.
        """
        system = self.kernel.system(self.D, rate=rate)
        return system if self.lookahead is None else cut_off(system, math.floor(self.lookahead / rate + 1e-6))

    def _check(self, state: Tensor | None, batch: int, rate: float, causal_for: str | None) -> None:
        """Raise an error for invalid arguments, or for a request that needs a causal layer."""
        if causal_for is not None and self.bidirectional:
            raise ValueError(f"{causal_for} needs a causal layer; build it with bidirectional=False.")
        n_systems, d_state = self.kernel.state_size
        shape = (n_systems, batch, d_state)
        if state is not None and state.shape != shape:
            raise ShapeError(f"state must have shape (n_systems, batch, d_state) = {shape}, got {tuple(state.shape)}.")
        if not rate > 0:
            raise ValueError(f"rate={rate} must be positive: the current sample period divided by the training one.")


def _check_gaps(gaps: Tensor, u: Tensor) -> None:
    if gaps.shape != u.shape[1:]:
        raise ShapeError(f"gaps must have shape (batch, n_times) = {tuple(u.shape[1:])}, got {tuple(gaps.shape)}.")
    # Reading the values would force a synchronisation with an accelerator.
    if gaps.device.type == "cpu" and not bool(((gaps >= 0) & gaps.isfinite()).all()):
        raise ValueError("gaps must be finite and at least 0, the time since the sample before; sort samples by time.")


def _exact_dtype(u: Tensor) -> torch.dtype:
    return u.dtype if u.dtype in (torch.float32, torch.float64) else torch.float32
