"""The filter bank as a front end: energies, mean subtraction, standardisation, and convolutions over bands and time."""

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from s4signal.errors import check_choice
from s4signal.nn.frontends.augmentation import SilencePadding, SpecAugment
from s4signal.nn.frontends.bank import BankState, FilterBank
from s4signal.nn.frontends.bank_steps import BankSteps
from s4signal.nn.frontends.base import Frames, FrontendSteps, StandardizedFrontend
from s4signal.nn.frontends.loudness import FLOOR_DB, Loudness, LoudnessState
from s4signal.nn.frontends.time_frequency_conv import TimeFrequencyConv

SUBTRACTIONS = ("none", "case", "running", "active")


class _State(NamedTuple):
    """State of a front end between two pieces."""

    bank: BankState | None
    running: tuple[Tensor, Tensor] | None  # sum of the features (n_features, batch, 1) and number of frames so far
    loudness: LoudnessState | None
    mix: list[Tensor] | None


class FilterBankFrontend(StandardizedFrontend):
    """A `FilterBank`, mean subtraction, standardisation and convolutions over bands and frames.

    With log energies, this is cepstral mean normalisation: it removes a gain or a channel response.
    ``mean_subtraction="case"`` subtracts the mean of each case, ``"running"`` the mean of the frames so far,
    ``"active"`` the mean of the loud frames, with a floor ``floor_db`` below the loudest frame (`Loudness`), which also
    removes the effect of silence. ``"active"`` is applied after augmentation, in `encode`.
    """

    def __init__(
        self,
        n_channels: int,
        d_model: int,
        *,
        bank: FilterBank,
        mean_subtraction: str = "none",
        floor_db: float = FLOOR_DB,
        causal: bool = False,
        n_groups: int = 1,
        augmentations: Iterable[nn.Module] = (),
    ) -> None:
        check_choice("mean_subtraction", mean_subtraction, SUBTRACTIONS)
        if mean_subtraction == "active" and bank.output != "log":
            raise ValueError(f"mean_subtraction='active' needs a bank with output='log', got {bank.output!r}.")
        n_features = n_channels * bank.n_outputs
        super().__init__(n_features)
        self.bank, self.mean_subtraction = bank, mean_subtraction
        self.loudness = Loudness(floor_db=floor_db, causal=causal) if mean_subtraction == "active" else None
        self.augmentations = nn.ModuleList(augmentations)  # in the order of application
        planes = n_features // bank.n_bands
        self.mix = TimeFrequencyConv(planes, bank.n_bands, d_model, n_groups=n_groups, causal=causal)
        self.hop_s = bank.hop_s

    @property
    def learned(self) -> bool:
        """Whether the bands are learned."""
        return any(p.requires_grad for p in self.bank.parameters())

    def features(self, signals: Frames, *, generator: torch.Generator | None = None) -> Frames:
        """Compute energies, with the mean subtracted per case or running; gaps are converted to a regular grid."""
        frames = self.bank(signals.features, signals.mask, rate=signals.rate, gaps=signals.gaps)
        features = frames.features
        if self.mean_subtraction == "case":
            weight = features.new_ones(features.shape[1:]) if frames.mask is None else frames.mask
            features = features - (features * weight).sum(-1, keepdim=True) / weight.sum(-1)[:, None]
        elif self.mean_subtraction == "running":
            features, _ = _without_running_mean(features, None)
        return Frames(features, frames.mask, frames.rate)

    def augment(self, frames: Frames, *, generator: torch.Generator | None = None) -> Frames:
        """Apply the augmentations in training."""
        features, mask, bank = frames.features, frames.mask, self.bank
        heights = 2.0 * bank.frequencies_hz / bank.sfreq
        # The floor is constant: after mean subtraction it is zero.
        floor = bank.floor_value if self.mean_subtraction in ("none", "active") else 0.0
        for part in self.augmentations:
            if isinstance(part, SilencePadding):
                hop_s = bank.hop_s * frames.rate
                features, mask = part(
                    features, mask, bandwidths_hz=bank.bandwidths_hz, hop_s=hop_s, floor=floor, generator=generator
                )
            elif isinstance(part, SpecAugment):
                hop_s = bank.hop_s * frames.rate
                features = part(features, mask, n_bands=bank.n_bands, hop_s=hop_s, generator=generator)
            else:
                features = part(features, heights, floor=floor, generator=generator)
        return replace(frames, features=features, mask=mask)

    def encode(self, frames: Frames, *, generator: torch.Generator | None = None) -> Tensor:
        """Normalise the loudness, standardise and mix."""
        mixed: Tensor = self.mix(self.standardize(self._normalised(frames), frames.mask), frames.mask)
        return mixed

    def calibrate(self, batches: Iterable[tuple[Frames, Tensor]]) -> None:
        """Compute mean and standard deviation of each feature, after loudness normalisation."""
        super().calibrate((replace(frames, features=self._normalised(frames)), weight) for frames, weight in batches)

    def _normalised(self, frames: Frames) -> Tensor:
        return frames.features if self.loudness is None else self.loudness(frames.features, frames.mask)

    def steps(self, rate: float) -> FrontendSteps:
        """Return an encoder of pieces at a rate, hop by hop."""
        if self.mean_subtraction == "case" or (self.loudness is not None and not self.loudness.causal):
            raise ValueError(
                f"mean_subtraction={self.mean_subtraction!r} needs the whole case; for pieces use 'running', or "
                "'active' with causal=True."
            )
        return _Steps(self, rate)

    def describe(self) -> str:
        """Describe a frame."""
        what = "band signals" if self.bank.output == "linear" else "gammatone energies"
        bands = self.bank.frequencies_hz
        return f"{len(bands)} {what} {bands.min():.0f} - {bands.max():.0f} Hz"


class _Steps(FrontendSteps):
    """Encoder of pieces at one rate."""

    def __init__(self, frontend: FilterBankFrontend, rate: float) -> None:
        center, scale = frontend.center[:, None, None], frontend.scale[:, None, None]
        self._bank = BankSteps(frontend.bank, rate, scale.dtype)
        self.unit, self.rate = self._bank.unit, self._bank.rate
        self._running_mean, self._loudness = frontend.mean_subtraction == "running", frontend.loudness
        self._scale, self._shift, self._mix = scale, -center * scale, frontend.mix.for_steps()

    def advance(self, x: Tensor, state: _State | None, *, keep_last: bool = True) -> tuple[Tensor, _State]:
        """Encode a piece of signal."""
        bank, running, loudness, mix = (None, None, None, None) if state is None else state
        features, bank = self._bank.advance(x, bank, keep_last=keep_last)
        if self._running_mean:
            features, (totals, counts) = _without_running_mean(features, running)
            if keep_last or len(counts) > 1:  # the state before the last frame, if that is not kept
                last = slice(-1, None) if keep_last else slice(-2, -1)
                running = totals[..., last], counts[last]
        if self._loudness is not None:
            features, loudness = self._loudness.advance(features, loudness, keep_last=keep_last)
        h, mix = self._mix.advance(torch.addcmul(self._shift, features, self._scale), mix, keep_last=keep_last)
        return h, _State(bank, running, loudness, mix)


def _without_running_mean(
    features: Tensor, before: tuple[Tensor, Tensor] | None
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Subtract the mean of the frames so far; also return the sum and the number of frames up to each frame."""
    totals = features.double().cumsum(-1)
    counts = torch.arange(1, 1 + features.shape[-1], device=features.device)
    if before is not None:
        totals, counts = totals + before[0], counts + before[1]
    return features - (totals / counts).to(features.dtype), (totals, counts)
