"""Bands move up or down in training, as another voice moves them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["BandShift"]


class BandShift(nn.Module):
    """Move what each case hears along the bands in training, by a fraction of a band; off in evaluation.

    A shorter vocal tract scales all resonances of a voice up, a longer one down. On a scale of the ear's bandwidths a
    scale of frequency is nearly a shift.

    References
    ----------
    Jaitly, Hinton, "Vocal Tract Length Perturbation (VTLP) improves speech recognition", ICML Workshop on Deep Learning
    for Audio, Speech and Language Processing, 2013.
    """

    def __init__(self, bands: float = 1.0) -> None:
        super().__init__()
        if not bands >= 0:
            raise ValueError(f"bands={bands:g} must be at least 0.")
        self.bands = bands

    def forward(self, features: Tensor, *, n_bands: int) -> Tensor:
        """Shift bands.

        Shapes: features (n_planes * n_bands, batch, n_steps) → (n_planes * n_bands, batch, n_steps).
        """
        if not self.training or self.bands == 0.0 or n_bands == 1:
            return features
        shifts = self.bands * (2.0 * torch.rand(features.shape[1], device=features.device) - 1.0)
        places = (torch.arange(n_bands, device=features.device)[:, None] + shifts).clamp(0.0, n_bands - 1.0)
        below = places.floor().clamp_max(n_bands - 2.0)
        share = (places - below).to(features.dtype)[None, :, :, None]
        planes = features.unflatten(0, (-1, n_bands))  # type: ignore[no-untyped-call]
        at = below.long()[None, :, :, None].expand(planes.shape)
        shifted: Tensor = torch.lerp(planes.gather(1, at), planes.gather(1, at + 1), share).flatten(0, 1)
        return shifted
