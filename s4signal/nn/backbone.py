"""A stack of state space blocks, and a backbone for use in any torch model."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from s4signal.errors import ShapeError, check_choice
from s4signal.nn.block import ChannelLinear, ChannelNorm, S4Block
from s4signal.nn.kernels import Kernel
from s4signal.nn.layer import S4Layer
from s4signal.nn.replay import Replays


@dataclass(frozen=True, kw_only=True)
class StackOptions:
    """Options of a stack of state space blocks.

    Parameters
    ----------
    d_model : int, >= 1, default=64
        Number of features inside and of the output, of each network.
    n_layers : int, >= 1, default=4
        Number of blocks.
    n_networks : int, >= 1, default=1
        Number of networks side by side, whose blocks share no weights.
    d_state, kernel, init, bidirectional : as in `S4Layer`
        Options of each layer.
    dropout : float in [0, 1), default=0.1
        Fraction of features dropped at a training step.
    dropout_axis : {"case", "batch"}, default="case"
        Whether dropped features are drawn for each case or once for the batch.
    dt_range, discretization : as in `S4Layer`
        Options of each layer.
    lookahead : float, > 0, optional
        As in `S4Layer`, summed over all layers.

    Raises
    ------
    ValueError
        If n_layers, n_networks, dropout or dropout_axis is invalid; the blocks check the other options when they are
        built, and refuse several networks for a kernel whose state all channels share.

    Examples
    --------
    >>> StackOptions(d_model=16, n_layers=2).d_state
    64
    """

    d_model: int = 64
    n_layers: int = 4
    n_networks: int = 1
    d_state: int = 64
    kernel: str | type[Kernel] = "s4d"
    init: str = "legs"
    bidirectional: bool = False
    dropout: float = 0.1
    dropout_axis: str = "case"
    dt_range: tuple[float, float] = (1e-3, 0.1)
    discretization: str | None = None
    lookahead: float | None = None

    def __post_init__(self) -> None:
        """Check the options that the layers do not check."""
        for name in ("n_layers", "n_networks"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1.")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout={self.dropout} must be in [0, 1).")
        check_choice("dropout_axis", self.dropout_axis, ("case", "batch"))

    @property
    def width(self) -> int:
        """Number of features of all networks."""
        return self.n_networks * self.d_model

    def blocks(self) -> nn.ModuleList:
        """Build the blocks."""
        names = ("kernel", "init", "bidirectional", "dt_range", "discretization")
        options: dict[str, Any] = {name: getattr(self, name) for name in names}
        options["lookahead"] = None if self.lookahead is None else self.lookahead / self.n_layers
        layer = partial(S4Layer, self.width, self.d_state, **options)
        block = partial(S4Block, dropout=self.dropout, dropout_axis=self.dropout_axis, n_groups=self.n_networks)
        # No norm in the first block: it would divide slow waves by their own amplitude.
        blocks = [block(layer(), norm=index > 0) for index in range(self.n_layers)]
        if self.n_networks > 1 and blocks[0].layer.kernel.state_size[0] < self.width:
            raise ValueError(f"n_networks={self.n_networks}: kernel={self.kernel!r} has one state for all; use 's4d'.")
        return nn.ModuleList(blocks)


def length_mask(lengths: Tensor, n_times: int, dtype: torch.dtype) -> Tensor:
    """Return a mask (batch, n_times) for lengths (batch,): 1 for samples of a case, 0 for padding."""
    return (torch.arange(n_times, device=lengths.device) < lengths[:, None]).to(dtype)


def state_space_parameters(network: nn.Module) -> list[str]:
    """Return the names of parameters with the state-space learning rate and no weight decay; `deepcopy` keeps names."""
    kernels = [(path, module) for path, module in network.named_modules() if isinstance(module, Kernel)]
    return [f"{path}.{name}" if path else name for path, kernel in kernels for name in kernel.STATE_SPACE_PARAMETERS]


class S4Backbone(nn.Module):
    """Linear encoder and residual state space blocks, for use in any torch model.

    Parameters
    ----------
    d_input : int, >= 1
        Number of features of the input.
    d_model, n_layers, d_state, kernel, init, bidirectional, dropout, dt_range, discretization : as in `StackOptions`
        Number of features inside and of the output, and options of the blocks.
    checkpointing : bool, default=False
        Store only the input of each block for the backward pass and recompute the rest, for inputs of an hour or so.

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

    replays: Replays | None = None  # recorded calls of `step`, set by `for_inference`

    def __init__(
        self,
        d_input: int,
        d_model: int = 64,
        n_layers: int = 4,
        *,
        d_state: int = 64,
        kernel: str | type[Kernel] = "s4d",
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
        options: dict[str, Any] = {"d_model": d_model, "n_layers": n_layers, "d_state": d_state, "dt_range": dt_range}
        options |= {"kernel": kernel, "init": init, "bidirectional": bidirectional, "dropout": dropout}
        self.blocks = StackOptions(**options, discretization=discretization).blocks()
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
            Number of valid samples of each case; the rest is padding. All samples are valid by default.
        rate, gaps : as in `S4Layer.forward`
            Sample period and irregular times; values of gaps in the padding are ignored.

        Returns
        -------
        Tensor (batch, n_times, d_model)
            Features, zero where padded.

        Raises
        ------
        ShapeError, ValueError
            If x, lengths or gaps has the wrong shape, a gap is negative, or gaps are given to a dense kernel.
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
        """Advance a causal backbone by one sample; on a copy made by `for_inference` it is many times faster.

        Parameters
        ----------
        x : Tensor (batch, d_input)
            The sample.
        state : list of Tensor (n_systems, batch, d_state), optional
            State of each block before it; zero by default.
        rate : float, > 0, default=1.0
            Current sample period divided by the training sample period.

        Returns
        -------
        y : Tensor (batch, d_model)
            Features.
        state : list of Tensor (n_systems, batch, d_state)
            State of each block after it.

        Raises
        ------
        ShapeError, ValueError
            If x has another shape, or the backbone is bidirectional.
        """
        if x.ndim != 2 or x.shape[-1] != self.d_input:
            raise ShapeError(f"x must have shape (batch, {self.d_input}), got {tuple(x.shape)}.")
        if state is None or self.replays is None or torch.compiler.is_compiling() or x.requires_grad or not x.is_cpu:
            return self._step(x, [None] * len(self.blocks) if state is None else state, rate)

        def run(inputs: Sequence[Tensor]) -> tuple[list[Tensor], None]:
            y, after = self._step(inputs[0], inputs[1:], rate)
            return [y, *after], None

        outputs, _ = self.replays((x.shape, x.dtype, rate), run, [x, *state])
        y, *after = (torch.from_numpy(o) if isinstance(o, np.ndarray) else o for o in outputs)
        return y, after

    def _step(self, x: Tensor, state: Sequence[Tensor | None], rate: float) -> tuple[Tensor, list[Tensor]]:
        h: Tensor = self.encoder(x.t()).unsqueeze(-1)
        after: list[Tensor] = []
        for block, entering in zip(self.blocks, state, strict=True):
            h, block_state = cast(S4Block, block).step(h, entering, rate=rate)
            after.append(block_state)
        return self.norm(h).squeeze(-1).t(), after
