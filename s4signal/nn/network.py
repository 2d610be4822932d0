"""The network that the estimators train: front end, state space blocks, pooling and linear head."""

import math
from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn

from s4signal.nn.backbone import StackOptions
from s4signal.nn.block import ChannelNorm, S4Block
from s4signal.nn.frontends.base import Frames, Frontend
from s4signal.nn.pooling import LastPooling, MeanPooling, make_pooling


class S4Network(nn.Module):
    """Front end ▸ state space blocks ▸ norm ▸ masked pooling ▸ linear head.

    Parameters
    ----------
    frontend : Module
        Instance of a class in ``FRONTENDS``; it turns samples into frames.
    n_outputs : int, >= 1
        Number of outputs: logits or targets.
    options : StackOptions
        Options of the blocks.
    pooling : {"mean", "legs", "attention", "max", "last"} or ("legs", order), default="mean"
        Pooling of a sequence of frames to one vector per case.
    n_summaries : int, default=0
        Number of features of the front end, if a linear head on their mean and last value bypasses the blocks.

    Raises
    ------
    ValueError
        If an option is unknown or out of its range.

    Examples
    --------
    >>> import torch
    >>> from s4signal.nn import FRONTENDS, S4Network, StackOptions
    >>> frontend = FRONTENDS["linear"](n_channels=2, d_model=16)
    >>> net = S4Network(frontend, n_outputs=3, options=StackOptions(d_model=16, n_layers=1))
    >>> net(torch.randn(2, 5, 300)).shape
    torch.Size([5, 3])
    """

    def __init__(
        self,
        frontend: Frontend,
        n_outputs: int,
        *,
        options: StackOptions,
        pooling: str | tuple[str, int] = "mean",
        n_summaries: int = 0,
    ) -> None:
        super().__init__()
        self.frontend = frontend
        self.blocks = options.blocks()
        self.norm = ChannelNorm(options.n_networks)
        self.pooling = make_pooling(pooling, options.width, options.n_networks)
        self.head = MeanHead(options.d_model * self.pooling.order, n_outputs, options.n_networks)
        self.summary = SummaryHead(n_summaries, n_outputs) if n_summaries else None

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        *,
        rate: float = 1.0,
        gaps: Tensor | None = None,
        offset: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return the outputs for a batch of cases.

        Parameters
        ----------
        x : Tensor (n_channels, batch, n_times)
            Standardised signals, zero where masked.
        mask : Tensor (batch, n_times), optional
            1 where a sample is valid, 0 where it is padding.
        rate, gaps : as in `S4Layer.forward`
            Sample period and irregular times; a filter bank resamples to its own grid.
        offset : Tensor (batch, n_outputs), optional
            Added to the outputs.
        generator : torch.Generator, optional
            Generator for dropout and augmentation in training, on the device of x; torch's global one by default.

        Returns
        -------
        Tensor (batch, n_outputs)
            Logits or standardised targets; (n_networks, batch, n_outputs) of several networks in training.

        Raises
        ------
        ValueError
            If gaps are given and the front end is a custom module, or it is linear and the kernel is dense.
        """
        frames = self.frontend.features(Frames(x, mask, rate, gaps), generator=generator)
        return self.from_features(frames, offset=offset, generator=generator)

    def from_features(
        self, frames: Frames, *, offset: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return the outputs from precomputed features of the front end, as `forward`.

        Parameters
        ----------
        frames : Frames
            Result of ``frontend.features``.
        offset : Tensor (batch, n_outputs), optional
            As in `forward`.
        generator : torch.Generator, optional
            As in `forward`.
        """
        frames = self.frontend.augment(frames, generator=generator)
        mask, gaps = frames.mask, frames.gaps
        pooled = self.pooling(network_steps(self, frames, generator=generator), mask, gaps)
        scores: Tensor = self.head(pooled)
        if self.summary is not None:
            scores = scores + self.summary(frames.features, mask, gaps)
        return scores if offset is None else scores + offset

    def last_weights(self) -> list[nn.Parameter]:
        """Return the weights that the outputs are proportional to."""
        return [p for part in (self.head, self.summary) if part is not None for p in part.parameters()]

    def advance(self, x: Tensor, state: list[Any] | None, *, rate: float = 1.0) -> tuple[Tensor, list[Any]]:
        """Run a causal network over a piece of signal, without the pooling and the head.

        Parameters
        ----------
        x : Tensor (n_channels, batch, n_times)
            The piece, a multiple of ``frontend.unit(rate)`` samples unless it is the last.
        state : list or None
            State of the front end and of each block before the piece; None at the start.
        rate : float, > 0, default=1.0
            As in `forward`.

        Returns
        -------
        h : Tensor (d_model, batch, n_steps)
            Normalised features, ready for ``pooling.advance``.
        state : list
            State after the piece.
        """
        before = [None] * (1 + len(self.blocks)) if state is None else state
        frames = self.frontend.advance(x, before[0], rate=rate)
        h, after = frames.features, [frames.state]
        for block, entering in zip(cast(Iterable[S4Block], self.blocks), before[1:], strict=True):
            h, block_state = block.advance(h, entering, rate=frames.rate)
            after.append(block_state)
        return self.norm(h), after


def network_steps(
    network: S4Network, frames: Frames, *, keep: Tensor | None = None, generator: torch.Generator | None = None
) -> Tensor:
    """Return the input of the pooling (d_model, batch, n_steps), zero where masked.

    If ``keep`` (batch, n_steps) is 0 at a step, the blocks receive zeros for this step.
    """
    h = network.frontend.encode(frames, generator=generator)
    h = h if keep is None else h * keep
    for block in network.blocks:
        h = block(h, frames.mask, rate=frames.rate, gaps=frames.gaps, generator=generator)
    normed: Tensor = network.norm(h, frames.mask)
    return normed


class MeanHead(nn.Linear):
    """Linear head on the features of each of several networks, with a common bias; after training, their mean."""

    def __init__(self, n_features: int, n_outputs: int, n_networks: int = 1) -> None:
        super().__init__(n_networks * n_features, n_outputs)
        self.n_networks = n_networks
        with torch.no_grad():
            self.weight.mul_(math.sqrt(n_networks))  # the initial range of a network alone

    def forward(self, x: Tensor) -> Tensor:
        """Map features (batch, n_networks * n_features) to outputs as in `S4Network.forward`."""
        if self.n_networks == 1:
            return super().forward(x)
        shape = -1, self.n_networks, x.shape[1] // self.n_networks
        features, weights = (y.view(shape).transpose(0, 1) for y in (x, self.weight))
        each = torch.matmul(features, weights.mT) + self.bias
        return each if self.training else each.mean(0)


class SummaryHead(nn.Module):
    """Linear head on the mean and the last value of each input channel, added to the outputs; bypasses the blocks.

    Values are split into positive and negative parts, as high and low values may both matter. Weights start at zero.
    """

    def __init__(self, n_channels: int, n_outputs: int) -> None:
        super().__init__()
        self.mean, self.last = MeanPooling(n_channels), LastPooling(n_channels)
        self.weight = nn.Parameter(torch.zeros(n_outputs, 4 * n_channels))

    def forward(self, x: Tensor, mask: Tensor | None = None, gaps: Tensor | None = None) -> Tensor:
        """Return the terms to add to the outputs.

        Shapes: x (n_channels, batch, n_times), mask (batch, n_times), gaps (batch, n_times) → (batch, n_outputs).
        """
        summary = torch.cat([self.mean(x, mask, gaps), self.last(x, mask, gaps)], 1)
        return torch.cat([summary.clamp_min(0.0), summary.clamp_max(0.0)], 1) @ self.weight.T
