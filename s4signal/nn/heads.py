"""A skip from the input channels to the outputs."""

import torch
from torch import Tensor, nn

from s4signal.nn.pooling import LastPooling, MeanPooling


class SummaryHead(nn.Module):
    """Add scores of the mean and the last value of each input channel to the outputs, past all blocks.

    Each is split at zero, as too high and too low may both be bad. The weights begin at zero.
    """

    def __init__(self, n_channels: int, n_outputs: int) -> None:
        super().__init__()
        self.mean, self.last = MeanPooling(n_channels), LastPooling(n_channels)
        self.weight = nn.Parameter(torch.zeros(n_outputs, 4 * n_channels))

    def forward(self, x: Tensor, mask: Tensor | None = None, gaps: Tensor | None = None) -> Tensor:
        """Score cases.

        Shapes: x (n_channels, batch, n_times), mask (batch, n_times), gaps (batch, n_times) → (batch, n_outputs).
        """
        summary = torch.cat([self.mean(x, mask, gaps), self.last(x, mask, gaps)], 1)
        return torch.cat([summary.clamp_min(0.0), summary.clamp_max(0.0)], 1) @ self.weight.T
