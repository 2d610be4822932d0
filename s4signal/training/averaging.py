"""Weight averaging."""

import copy

import torch
from torch import nn


class RunningMean:
    """What a network was, on average: over all steps at first, then by a mean that keeps a share of what it was."""

    def __init__(self, network: nn.Module, kept: float) -> None:
        self.module, self.kept, self.n_steps = copy.deepcopy(network), kept, 0

    @torch.no_grad()
    def follow(self, network: nn.Module) -> None:
        """Take in the weights after a step; buffers are those of the network."""
        self.n_steps += 1
        share = max(1.0 - self.kept, 1.0 / self.n_steps)
        for mean, parameter in zip(self.module.parameters(), network.parameters(), strict=True):
            mean.lerp_(parameter, share)
        for copied, buffer in zip(self.module.buffers(), network.buffers(), strict=True):
            copied.copy_(buffer)
