"""Upper bands fall silent in training, as they do at a lower sampling rate."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["BandDropout"]


class BandDropout(nn.Module):
    """Silence the upper bands of some cases in training, as a recording at a lower rate would; off in evaluation.

    At a lower rate the bands beyond the Nyquist frequency are silent. A network that never met that in training takes
    the silence for a property of what it hears.

    References
    ----------
    Park, Chan, Zhang, Chiu, Zoph, Cubuk, Le, "SpecAugment: A Simple Data Augmentation Method for Automatic Speech
    Recognition", 2019, doi:10.21437/Interspeech.2019-2680: frequency masking, anywhere along the bands.
    """

    def __init__(self, share: float = 0.25, *, lowest: float = 0.25) -> None:
        super().__init__()
        if not 0 <= share <= 1:
            raise ValueError(f"share={share:g} must be in [0, 1].")
        if not 0 < lowest <= 1:
            raise ValueError(f"lowest={lowest:g} must be in (0, 1].")
        self.share, self.lowest = share, lowest

    def forward(self, features: Tensor, heights: Tensor, *, silence: float = 0.0) -> Tensor:
        """Silence bands.

        Shapes: features (n_planes * n_bands, batch, n_steps), heights (n_bands,) → (n_planes * n_bands, batch,
        n_steps).
        """
        if not self.training or self.share == 0.0:
            return features
        chance, place = torch.rand(2, features.shape[1], 1, device=features.device)
        cutoffs = torch.where(chance < self.share, self.lowest**place, torch.inf)
        audible = (heights.to(features.device) < cutoffs).repeat(1, features.shape[0] // len(heights))
        return torch.where(audible.t().unsqueeze(-1), features, silence)
