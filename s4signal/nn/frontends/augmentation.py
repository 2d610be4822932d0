"""Augmentations of filter bank energies that keep the label. To add one, add a class and a line in the table."""

import math

import torch
from torch import Tensor, nn

from s4signal.nn.frontends.loudness import DECIBEL


class BandShift(nn.Module):
    """Shift the features of each case along the bands by a random fraction of a band; off in evaluation.

    A shorter vocal tract scales all resonances of a voice up, a longer one down. On a scale of auditory bandwidths, a
    scaling of frequency is nearly a shift.

    References
    ----------
    Jaitly, Hinton, "Vocal Tract Length Perturbation (VTLP) improves speech recognition", ICML Workshop on Deep Learning
    for Audio, Speech and Language Processing, 2013.
    """

    def __init__(self, bands: float = 1.0) -> None:
        super().__init__()
        self.bands = bands  # the largest shift, up or down

    def forward(
        self, features: Tensor, heights: Tensor, *, floor: float = 0.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """Shift bands; the values of the outermost bands are repeated.

        Shapes: features (n_planes * n_bands, batch, n_steps), heights (n_bands,): centre frequencies divided by the
        Nyquist frequency; floor: the value of a band without energy.
        """
        n_bands = len(heights)
        if not self.training or self.bands == 0.0 or n_bands == 1:
            return features
        device = features.device
        shifts = self.bands * (2.0 * torch.rand(features.shape[1], device=device, generator=generator) - 1.0)
        places = (torch.arange(n_bands, device=device)[:, None] + shifts).clamp(0.0, n_bands - 1.0)
        below = places.floor().clamp_max(n_bands - 2.0)
        share = (places - below).to(features.dtype)[None, :, :, None]
        planes = features.unflatten(0, (-1, n_bands))  # type: ignore[no-untyped-call]
        at = below.long()[None, :, :, None].expand(planes.shape)
        shifted: Tensor = torch.lerp(planes.gather(1, at), planes.gather(1, at + 1), share).flatten(0, 1)
        return shifted

    def describe(self, sfreq: float) -> str:
        """Describe the changes to which the network becomes robust."""
        return f"speakers up to {self.bands:g} band higher or lower"


class BandDropout(nn.Module):
    """Set the upper bands of some cases to the floor, as in a recording at a lower rate; off in evaluation.

    At a lower rate, bands above the Nyquist frequency have no energy. A network trained without this example takes the
    missing energy for a property of the sound.

    References
    ----------
    Park, Chan, Zhang, Chiu, Zoph, Cubuk, Le, "SpecAugment: A Simple Data Augmentation Method for Automatic Speech
    Recognition", 2019, doi:10.21437/Interspeech.2019-2680: frequency masking, anywhere along the bands.
    """

    LOWEST = 0.25  # smallest cut-off, divided by the Nyquist frequency; cut-offs are log-uniform

    def __init__(self, share: float = 0.25) -> None:
        super().__init__()
        self.share = share  # of the cases

    def forward(
        self, features: Tensor, heights: Tensor, *, floor: float = 0.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """Drop bands; see `BandShift.forward` for the shapes."""
        if not self.training or self.share == 0.0:
            return features
        chance, place = torch.rand(2, features.shape[1], 1, device=features.device, generator=generator)
        cutoffs = torch.where(chance < self.share, self.LOWEST**place, torch.inf)
        kept = (heights.to(features.device) < cutoffs).repeat(1, features.shape[0] // len(heights))
        return torch.where(kept.t().unsqueeze(-1), features, floor)

    def describe(self, sfreq: float) -> str:
        """Describe the changes to which the network becomes robust."""
        return f"rates from {self.LOWEST * sfreq:g} Hz"


class SilencePadding(nn.Module):
    """Add silence or low noise before and after a fraction of the cases; off in evaluation.

    The amount of silence around a sound is not informative. Features are log energies before loudness normalisation.
    Half of the padded cases get noise over their whole length, 20 to 60 dB below their loudest frame; its energies per
    band vary like those of real noise.
    """

    def __init__(self, share: float = 0.5, *, longest_s: float = 0.5) -> None:
        super().__init__()
        self.share, self.longest_s = share, longest_s

    def forward(
        self,
        features: Tensor,
        mask: Tensor | None,
        *,
        bandwidths_hz: Tensor,
        hop_s: float,
        floor: float,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Pad cases.

        Shapes: features (n_planes * n_bands, batch, n_steps), mask (batch, n_steps), bandwidths_hz (n_bands,). The
        results have more steps.
        """
        if not self.training or self.share == 0.0:
            return features, mask
        (batch, n_steps), device = features.shape[1:], features.device
        draws = torch.rand(6, batch, device=device, generator=generator)
        chosen, longest = draws[0] < self.share, round(self.longest_s / hop_s)
        noisy, sides = (draws[1] < 0.5) & chosen, (draws[2:4] * (longest + 1)).long() * (draws[4:] < 2 / 3) * chosen
        lengths = torch.full_like(sides[0], n_steps) if mask is None else mask.sum(-1).long()
        total = lengths + sides.sum(0)
        # The true width and the rows with noise would force a synchronisation with an accelerator: use upper bounds.
        width = int(total.max()) if features.is_cpu else n_steps + 2 * longest
        rows = noisy.nonzero()[:, 0] if features.is_cpu else torch.arange(batch, device=device)
        place = torch.arange(width, device=device) - sides[0][:, None]
        inside = (place >= 0) & (place < lengths[:, None])
        source = place.clamp(0, n_steps - 1).expand(len(features), -1, -1)
        padded = torch.where(inside, features.gather(-1, source), floor)
        if len(rows):
            silent, widths = padded[:, rows], bandwidths_hz.to(features) * hop_s
            with_noise = torch.logaddexp(silent, _noise(silent, widths, generator))
            padded[:, rows] = torch.where(noisy[rows, None], with_noise, silent)
        longer = (torch.arange(padded.shape[-1], device=device) < total[:, None]).to(features.dtype)
        return padded * longer, longer

    def describe(self, sfreq: float) -> str:
        """Describe the changes to which the network becomes robust."""
        return f"up to {self.longest_s:g} s of silence or noise on both sides"


def _noise(x: Tensor, widths: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw log energies of white noise below the loudest frames of x; widths (n_bands,) in cycles per hop."""
    # A band of width w has about 1 + w degrees of freedom per hop: a gamma distribution, drawn as the cube of a normal
    # variable (Wilson, Hilferty, 1931).
    loudest = x.logsumexp(0, keepdim=True).amax(-1, keepdim=True)
    below = DECIBEL * (20.0 + 40.0 * torch.rand(x.shape[1], 1, device=x.device, generator=generator))
    widths = widths.repeat(len(x) // len(widths))[:, None, None]
    z = torch.randn(x.shape, device=x.device, generator=generator, dtype=x.dtype)
    variance = 1.0 / (9.0 * (1.0 + widths))
    drawn = 3.0 * torch.log((1.0 - variance + variance.sqrt() * z).clamp_min(math.exp(-4.0)))
    return loudest - below.to(x) + (widths / widths.sum()).log() + drawn


class SpecAugment(nn.Module):
    """Replace a range of bands and a range of time by the mean of each feature of the case; off in evaluation.

    References
    ----------
    Park et al., "SpecAugment", 2019, doi:10.21437/Interspeech.2019-2680, without time warping.
    """

    def __init__(self, bands: float = 0.2, *, longest_s: float = 0.1, share: float = 0.5) -> None:
        super().__init__()
        self.bands, self.share = bands, share  # largest fraction of the bands, fraction of the cases
        self.longest_s = longest_s

    def forward(
        self,
        features: Tensor,
        mask: Tensor | None,
        *,
        n_bands: int,
        hop_s: float,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Mask features (n_planes * n_bands, batch, n_steps); ``mask`` (batch, n_steps) is 1 for valid frames."""
        if not self.training or self.share == 0.0:
            return features
        valid = torch.ones_like(features[0]) if mask is None else mask
        means = (features * valid).sum(-1, keepdim=True) / valid.sum(-1).clamp_min(1.0)[:, None]
        draws = torch.rand(5, features.shape[1], 1, device=features.device, generator=generator)
        chosen = draws[0] < self.share
        bands = _random_range(draws[1:3], self.bands * n_bands, torch.full_like(valid[:, :1], n_bands), n_bands)
        times = _random_range(draws[3:5], self.longest_s / hop_s, valid.sum(-1, keepdim=True), features.shape[-1])
        hidden = (bands & chosen).t().repeat(len(features) // n_bands, 1)[..., None] | (times & chosen)
        return torch.where(hidden, means * valid, features)

    def describe(self, sfreq: float) -> str:
        """Describe the changes to which the network becomes robust."""
        return f"up to {self.bands:.0%} of the bands and {self.longest_s:g} s hidden"


def _random_range(draws: Tensor, longest: float, lengths: Tensor, n: int) -> Tensor:
    """Draw a range of at most ``longest`` indices within lengths (batch, 1), as (batch, n) of bool."""
    width = (draws[0] * (longest + 1.0)).floor().minimum(lengths)
    start = (draws[1] * (lengths - width + 1.0)).floor()
    place = torch.arange(n, device=draws.device)
    return (place >= start) & (place < start + width)


FEATURE_CHANGES: dict[str, type[nn.Module]] = {  # in the order of application
    "band_shift": BandShift,
    "band_dropout": BandDropout,
    "silence_padding": SilencePadding,
    "spec_augment": SpecAugment,
}
