"""Weight averaging."""

import copy

import torch
from torch import nn


class RunningMean:
    """What a network was, on average: over all steps at first, then by a mean that keeps a share of what it was."""

    def __init__(self, network: nn.Module, kept: float) -> None:
        self.module, self.kept, self.n_steps = copy.deepcopy(network), kept, 0
        # Walking through the modules costs as much as all of the means.
        self._parameters = list(zip(self.module.parameters(), network.parameters(), strict=True))
        self._buffered = [network] if any(True for _ in network.buffers()) else []

    @torch.no_grad()
    def follow(self) -> None:
        """Take in the weights of the network after a step; buffers are those of the network."""
        self.n_steps += 1
        share = max(1.0 - self.kept, 1.0 / self.n_steps)
        for mean, parameter in self._parameters:
            mean.lerp_(parameter, share)
        for network in self._buffered:
            for copied, buffer in zip(self.module.buffers(), network.buffers(), strict=True):
                copied.copy_(buffer)
