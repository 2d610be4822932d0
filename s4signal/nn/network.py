"""Networks: a stack of state space blocks, the public backbone, and the network that the estimators train."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from s4signal.errors import ShapeError
from s4signal.nn.block import ChannelLinear, ChannelNorm, S4Block
from s4signal.nn.frontends.filter_bank import FilterBankFrontend, LinearFrontend
from s4signal.nn.frontends.module import ModuleFrontend
from s4signal.nn.heads import POOLINGS, LevelHead
from s4signal.nn.kernels import Kernel
from s4signal.nn.layer import S4Layer

__all__ = ["S4Backbone", "S4Network", "StackOptions", "length_mask", "state_space_parameters"]


class StackOptions(NamedTuple):
    """What a stack of blocks is built from; see `S4Backbone` for the meaning of each."""

    d_model: int = 64
    n_layers: int = 4
    d_state: int = 64
    kernel: str = "s4d"
    init: str = "legs"
    bidirectional: bool = False
    dropout: float = 0.1
    dropout_axis: str = "case"
    dt_range: tuple[float, float] = (1e-3, 0.1)
    discretization: str | None = None

    def blocks(self) -> nn.ModuleList:
        """Build the blocks."""
        if self.n_layers < 1:
            raise ValueError(f"n_layers={self.n_layers} must be at least 1.")
        blocks = nn.ModuleList()
        for index in range(self.n_layers):
            layer = S4Layer(
                self.d_model,
                self.d_state,
                kernel=self.kernel,
                init=self.init,
                bidirectional=self.bidirectional,
                dt_range=self.dt_range,
                discretization=self.discretization,
            )
            # The first layer must see amplitudes: a norm before it would divide a slow wave by its own size.
            blocks.append(S4Block(layer, dropout=self.dropout, dropout_axis=self.dropout_axis, norm=index > 0))
        return blocks


def length_mask(lengths: Tensor, n_times: int, dtype: torch.dtype) -> Tensor:
    """Return 1 where a sample is within its case, 0 where it is padding.

    Shapes: lengths (batch,) → (batch, n_times).
    """
    return (torch.arange(n_times, device=lengths.device) < lengths[:, None]).to(dtype)


def state_space_parameters(network: nn.Module) -> list[str]:
    """Name the parameters that want the state-space learning rate and no weight decay.

    Names survive ``deepcopy``, ``clone`` and averaging; attributes hung on a parameter do not.
    """
    kernels = [(path, module) for path, module in network.named_modules() if isinstance(module, Kernel)]
    return [f"{path}.{name}" if path else name for path, kernel in kernels for name in kernel.STATE_SPACE_PARAMETERS]


class S4Backbone(nn.Module):
    """Residual state space blocks on a linear encoder, for use in any torch model.

    Parameters
    ----------
    d_input : int, >= 1
        Features of the input.
    d_model : int, default=64
        Features inside and of the output.
    n_layers : int, default=4
        Blocks.
    d_state : int, even, default=64
        Real state size of each system.
    kernel : {"s4d", "s4", "lssl", "s5"}, default="s4d"
        Diagonal, diagonal plus low rank, or dense systems, one a channel; or one diagonal system for all channels.
    init : str, default="legs"
        Initial dynamics, a name in ``KERNELS[kernel].INITS``.
    bidirectional : bool, default=False
        Whether outputs see the future too.
    dropout : float in [0, 1), default=0.1
        Share of features left out at a training step.
    dt_range : tuple of two float, default=(1e-3, 0.1)
        Range of the initial steps, in training sample periods.
    discretization : str, optional
        A name in ``KERNELS[kernel].RULES``; by default ``"zoh"`` for diagonal systems, ``"bilinear"`` for the others.
    checkpointing : bool, default=False
        Keep only the input of each block for the backward pass and compute the rest again: for inputs of an hour.

    Raises
    ------
    ValueError
        If an option is unknown or out of its range.

    Examples
    --------
    >>> import torch
    >>> from s4signal.nn import S4Backbone
    >>> net = S4Backbone(d_input=8, d_model=16, n_layers=2)
    >>> net(torch.randn(3, 500, 8)).shape
    torch.Size([3, 500, 16])
    """

    def __init__(
        self,
        d_input: int,
        d_model: int = 64,
        n_layers: int = 4,
        *,
        d_state: int = 64,
        kernel: str = "s4d",
        init: str = "legs",
        bidirectional: bool = False,
        dropout: float = 0.1,
        dt_range: tuple[float, float] = (1e-3, 0.1),
        discretization: str | None = None,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.d_input = d_input
        self.encoder = ChannelLinear(d_input, d_model)
        self.blocks = StackOptions(
            d_model, n_layers, d_state, kernel, init, bidirectional, dropout, "case", dt_range, discretization
        ).blocks()
        self.norm = ChannelNorm()
        self.checkpointing = checkpointing

    def forward(
        self, x: Tensor, *, lengths: Tensor | None = None, rate: float = 1.0, gaps: Tensor | None = None
    ) -> Tensor:
        """Run the backbone.

        Parameters
        ----------
        x : Tensor (batch, n_times, d_input)
            Input.
        lengths : Tensor (batch,), optional
            Valid samples of each case, the rest being padding; all by default.
        rate : float, > 0, default=1.0
            Sample period in use over the training sample period.
        gaps : Tensor (batch, n_times), optional
            Time from the sample before to each sample, >= 0, in training sample periods, where samples are not equally
            far apart; what stands in the padding does not matter.

        Returns
        -------
        Tensor (batch, n_times, d_model)
            Features, zero where padded.

        Raises
        ------
        ShapeError
            If x, lengths or gaps has another shape.
        ValueError
            If a gap is negative, or the kernel is dense and gets gaps.
        """
        if x.ndim != 3 or x.shape[-1] != self.d_input:
            raise ShapeError(f"x must have shape (batch, n_times, {self.d_input}), got {tuple(x.shape)}.")
        if lengths is not None and lengths.shape != x.shape[:1]:
            raise ShapeError(f"lengths must have shape ({x.shape[0]},), got {tuple(lengths.shape)}.")
        mask = None if lengths is None else length_mask(lengths, x.shape[1], x.dtype)
        if gaps is not None and mask is not None and gaps.shape == mask.shape:
            gaps = gaps.masked_fill(mask == 0, 0.0)
        h: Tensor = self.encoder(x.permute(2, 0, 1))
        for block in self.blocks:
            if self.checkpointing and torch.is_grad_enabled():
                h = checkpoint(block, h, mask, rate=rate, gaps=gaps, use_reentrant=False)
            else:
                h = block(h, mask, rate=rate, gaps=gaps)
        h = self.norm(h, mask)
        return h.permute(1, 2, 0)

    def step(self, x: Tensor, state: list[Tensor] | None = None, *, rate: float = 1.0) -> tuple[Tensor, list[Tensor]]:
        """Advance a causal backbone by one sample; on a copy made by `fixed` it is many times faster.

        Parameters
        ----------
        x : Tensor (batch, d_input)
            The sample.
        state : list of Tensor (n_systems, batch, d_state), optional
            State of each block before it; at rest by default.
        rate : float, > 0, default=1.0
            Sample period in use over the training sample period.

        Returns
        -------
        y : Tensor (batch, d_model)
            Features.
        state : list of Tensor (n_systems, batch, d_state)
            State of each block after it.

        Raises
        ------
        ShapeError
            If x has another shape.
        ValueError
            If the backbone is bidirectional.
        """
        if x.ndim != 2 or x.shape[-1] != self.d_input:
            raise ShapeError(f"x must have shape (batch, {self.d_input}), got {tuple(x.shape)}.")
        h: Tensor = self.encoder(x.t())
        before = [None] * len(self.blocks) if state is None else state
        after: list[Tensor] = []
        for block, entering in zip(self.blocks, before, strict=True):
            h, left = cast(S4Block, block).step(h, entering, rate=rate)
            after.append(left)
        return self.norm(h).t(), after


class S4Network(nn.Module):
    """Front end ▸ state space blocks ▸ norm ▸ masked pooling ▸ linear head.

    Parameters
    ----------
    frontend : LinearFrontend, FilterBankFrontend or ModuleFrontend
        From channels to features.
    n_outputs : int, >= 1
        Outputs: logits or targets.
    options : StackOptions
        The blocks.
    pooling : {"mean", "max", "last"}, default="mean"
        From a sequence of features to one vector a case.
    n_levels : int, default=0
        The number of features if the outputs also see their mean and last value, past the blocks.

    Raises
    ------
    ValueError
        If an option is unknown or out of its range.

    Examples
    --------
    >>> from s4signal.nn.frontends.filter_bank import LinearFrontend
    >>> net = S4Network(LinearFrontend(2, 16), n_outputs=3, options=StackOptions(d_model=16, n_layers=1))
    >>> net(torch.randn(2, 5, 300)).shape
    torch.Size([5, 3])
    """

    def __init__(
        self,
        frontend: LinearFrontend | FilterBankFrontend | ModuleFrontend,
        n_outputs: int,
        *,
        options: StackOptions,
        pooling: str = "mean",
        n_levels: int = 0,
    ) -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise ValueError(f"pooling={pooling!r} is unknown; choose one of {', '.join(map(repr, POOLINGS))}.")
        self.frontend = frontend
        self.blocks = options.blocks()
        self.norm = ChannelNorm()
        self.pooling = pooling
        self.head = nn.Linear(options.d_model, n_outputs)
        self.levels = LevelHead(n_levels, n_outputs) if n_levels else None

    def forward(
        self, x: Tensor, mask: Tensor | None = None, *, rate: float = 1.0, gaps: Tensor | None = None
    ) -> Tensor:
        """Score the cases of a batch.

        Parameters
        ----------
        x : Tensor (n_channels, batch, n_times)
            Standardised signals, zero where masked.
        mask : Tensor (batch, n_times), optional
            1 where a sample is valid, 0 where it is padding.
        rate : float, > 0, default=1.0
            Sample period in use over the training sample period.
        gaps : Tensor (batch, n_times), optional
            Time before each sample, in training sample periods, 0 where padded; a filter bank reads it on its grid.

        Returns
        -------
        Tensor (batch, n_outputs)
            Logits or standardised targets.

        Raises
        ------
        ValueError
            If gaps are given to a module as front end, or to a dense kernel behind the linear one.
        """
        if gaps is not None and not isinstance(self.frontend, LinearFrontend):
            return self.from_features(*self.frontend.features(x, mask, rate=rate, gaps=gaps))
        return self.from_features(*self.frontend.features(x, mask, rate=rate), gaps)

    def from_features(
        self, features: Tensor, mask: Tensor | None = None, rate: float = 1.0, gaps: Tensor | None = None
    ) -> Tensor:
        """Score cases from what the fixed part of the front end hears: all that is learned.

        Parameters
        ----------
        features : Tensor (n_features, batch, n_steps)
            As ``frontend.features`` gives them.
        mask : Tensor (batch, n_steps), optional
            1 where a step is valid.
        rate : float, > 0, default=1.0
            Step period in use over the training step period.
        gaps : Tensor (batch, n_steps), optional
            Time before each step, in training step periods, 0 where padded.

        Returns
        -------
        Tensor (batch, n_outputs)
            Logits or standardised targets.
        """
        h = self.frontend.encode(features, mask)
        for block in self.blocks:
            h = block(h, mask, rate=rate, gaps=gaps)
        scores: Tensor = self.head(POOLINGS[self.pooling](self.norm(h, mask), mask, gaps))
        return scores if self.levels is None else scores + self.levels(features, mask, gaps)

    def advance(self, x: Tensor, state: list[Any] | None, *, rate: float = 1.0) -> tuple[Tensor, list[Any]]:
        """Run a causal network over a piece of signal, up to the pooling.

        Parameters
        ----------
        x : Tensor (n_channels, batch, n_times)
            The piece, a multiple of ``frontend.unit(rate)`` samples unless it is the last.
        state : list or None
            State of the front end and of each block before it; None at rest.
        rate : float, > 0, default=1.0
            Sample period in use over the training sample period.

        Returns
        -------
        h : Tensor (d_model, batch, n_steps)
            Normalised features, ready for pooling.
        state : list
            State after it.
        """
        before = [None] * (1 + len(self.blocks)) if state is None else state
        h, frontend_state, rate = self.frontend.advance(x, before[0], rate=rate)
        after: list[Any] = [frontend_state]
        for block, block_state in zip(cast(Iterable[S4Block], self.blocks), before[1:], strict=True):
            h, block_state = block.advance(h, block_state, rate=rate)
            after.append(block_state)
        normed: Tensor = self.norm(h)
        return normed, after

    @torch.no_grad()
    def calibrate(self, batches: Iterable[tuple[Tensor, Tensor | None, Tensor]]) -> None:
        """Fit the standardisation of the front end's features, if it has one, to training cases.

        Parameters
        ----------
        batches : iterable of (features, mask, weight)
            Features and mask as ``frontend.features`` gives them; weight has shape (batch,).
        """
        if isinstance(self.frontend, LinearFrontend):
            return
        count: Tensor | float = 0.0
        total: Tensor | float = 0.0
        square: Tensor | float = 0.0
        for features, mask, weight in batches:
            w = weight[:, None] * (torch.ones_like(features[0]) if mask is None else mask)
            count = count + w.sum().double()
            total = total + (features.double() * w).sum((1, 2))
            square = square + (features.double().square() * w).sum((1, 2))
        center = torch.as_tensor(total / count)
        spread = (torch.as_tensor(square / count) - center**2).clamp_min(0.0).sqrt()
        self.frontend.center.copy_(center)
        # A feature that never moves says nothing: it is silenced, not divided by almost zero.
        self.frontend.scale.copy_(torch.where(spread > 1e-6, 1.0 / spread.clamp_min(1e-6), 0.0))
