"""One layer of state spaces: a learnable linear system per channel."""

import torch
from torch import Tensor, nn

from s4signal.errors import ShapeError
from s4signal.nn.choices import check_choice
from s4signal.nn.kernels import KERNELS, Kernel
from s4signal.ssm import block_scan, step


class S4Layer(nn.Module):
    """Linear state space layer, y = K * u + D u.

    Parameters
    ----------
    d_model : int, >= 1
        Channels.
    d_state : int, even, default=64
        Real state size of each system.
    kernel : {"s4d", "s4", "lssl", "s5"} or subclass of Kernel, default="s4d"
        Diagonal, diagonal plus low rank, or dense systems, one per channel; one diagonal system for all channels; or a
        class of your own, see `Kernel`.
    init : str, default="legs"
        Initial dynamics, a name in ``KERNELS[kernel].INITS``.
    bidirectional : bool, default=False
        Whether outputs see the future too.
    dt_range : tuple of two float, default=(1e-3, 0.1)
        Range of the initial steps, in training sample periods; 1 / dt is the memory in samples.
    discretization : str, optional
        A name in ``KERNELS[kernel].RULES``; by default ``"zoh"`` for diagonal systems, ``"bilinear"`` for the others.
    frozen : bool, default=False
        Keep state matrices and steps as initialised; only input, output and feed-through vectors are learned.

    Raises
    ------
    ValueError
        If an option is unknown or out of its range.

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
        dt_range: tuple[float, float] = (1e-3, 0.1),
        discretization: str | None = None,
        frozen: bool = False,
    ) -> None:
        super().__init__()
        if not (isinstance(kernel, type) and issubclass(kernel, Kernel)):
            check_choice("kernel", kernel, KERNELS)
        self.d_model, self.d_state, self.bidirectional = d_model, d_state, bidirectional
        self.kernel = (KERNELS[kernel] if isinstance(kernel, str) else kernel)(
            d_model,
            d_state,
            init=init,
            bidirectional=bidirectional,
            dt_range=dt_range,
            discretization=discretization,
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
            State before the first sample; at rest by default. Causal layers only.
        return_state : bool, default=False
            Also return the state after the last sample. Causal layers only.
        rate : float, > 0, default=1.0
            Sample period in use over the training sample period: 2.0 if each sample now lasts twice as long.
        gaps : Tensor (batch, n_times), optional
            Time from the sample before to each sample, >= 0, in training sample periods, for irregular sampling; 0, and
            u = 0, where padded. The input is held from the past: u_k stands for the time since sample k - 1, and is
            integrated exactly. ``rate`` then only says which modes are above the Nyquist frequency. Kernels ``"s4d"``
            and ``"s5"``.

        Returns
        -------
        y : Tensor (d_model, batch, n_times)
            Output.
        state : Tensor (n_systems, batch, d_state)
            Only if ``return_state``.

        Raises
        ------
        ShapeError
            If u, the state or the gaps have another shape.
        ValueError
            If a state is passed to or asked of a bidirectional layer, the rate is not positive, a gap is negative, or
            the kernel is dense and gets gaps.
        """
        if u.ndim != 3 or u.shape[0] != self.d_model or u.shape[-1] == 0:
            raise ShapeError(f"u must have shape ({self.d_model}, batch, n_times), got {tuple(u.shape)}.")
        if state is not None or return_state:
            self._need_causal("a carried state")
        self._need_state(state, u.shape[1])
        self._need_rate(rate)
        self._need_gaps(gaps, u)
        exact = _exact_dtype(u)
        # Powers of poles near the unit circle do not survive bfloat16: the state math leaves autocast.
        with torch.autocast(u.device.type, enabled=False):
            state = None if state is None else state.to(exact)
            if gaps is None:
                system = self.kernel.system(self.D, rate=rate)
                y, final = block_scan(system, u.to(exact), state, return_state=return_state)
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
        ShapeError
            If u or the state has another shape.
        ValueError
            If the layer is bidirectional or the rate is not positive.
        """
        self._need_causal("step")
        self._need_rate(rate)
        if u.ndim != 2 or u.shape[0] != self.d_model:
            raise ShapeError(f"u must have shape ({self.d_model}, batch), got {tuple(u.shape)}.")
        self._need_state(state, u.shape[1])
        exact = _exact_dtype(u)
        with torch.autocast(u.device.type, enabled=False):
            n_systems, d_state = self.kernel.state_size
            rest = u.new_zeros(n_systems, u.shape[1], d_state, dtype=exact)
            state = rest if state is None else state.to(exact)
            y, state = step(self.kernel.system(self.D, rate=rate), u.to(exact), state)
        return y.to(u.dtype), state

    def _need_causal(self, what: str) -> None:
        if self.bidirectional:
            raise ValueError(f"{what} needs a causal layer; build it with bidirectional=False.")

    def _need_state(self, state: Tensor | None, batch: int) -> None:
        n_systems, d_state = self.kernel.state_size
        shape = (n_systems, batch, d_state)
        if state is not None and state.shape != shape:
            raise ShapeError(f"state must have shape (n_systems, batch, d_state) = {shape}, got {tuple(state.shape)}.")

    @staticmethod
    def _need_gaps(gaps: Tensor | None, u: Tensor) -> None:
        if gaps is None:
            return
        if gaps.shape != u.shape[1:]:
            raise ShapeError(f"gaps must have shape (batch, n_times) = {tuple(u.shape[1:])}, got {tuple(gaps.shape)}.")
        # Looking at the values would make an accelerator wait for them.
        if gaps.device.type == "cpu" and not bool(((gaps >= 0) & gaps.isfinite()).all()):
            raise ValueError(
                "gaps must be at least 0 and finite, the time from the sample before; sort the samples by time."
            )

    @staticmethod
    def _need_rate(rate: float) -> None:
        if not rate > 0:
            raise ValueError(f"rate={rate} must be positive: the sample period in use over the training one.")


def _exact_dtype(u: Tensor) -> torch.dtype:
    return u.dtype if u.dtype in (torch.float32, torch.float64) else torch.float32
