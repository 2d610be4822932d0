"""Augmentations of samples, which keep the label of a case. A new one is a class here and a line in the table.

All draw from a random generator and have parameters in seconds; missing samples (NaN) stay missing.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from scipy.signal import fftconvolve, resample_poly

from s4signal.signals.case import Signal, part_of
from s4signal.signals.checks import FloatArray
from s4signal.signals.resampling import fill_missing

Range = tuple[float, float]


@dataclass(frozen=True)
class Draw:
    """Random source of an augmentation; ``other`` returns the samples of another case, (n_channels, any length)."""

    sfreq: float
    rng: np.random.Generator
    other: Callable[[np.random.Generator], FloatArray]

    def uniform(self, bounds: Range) -> float:
        """Draw a uniform number."""
        return float(self.rng.uniform(*bounds))

    def log_uniform(self, bounds: Range) -> float:
        """Draw a positive number whose logarithm is uniform."""
        return float(np.exp(self.rng.uniform(*np.log(bounds))))

    def segment(self, longest_s: float, n_times: int) -> slice:
        """Draw a segment inside a case, of at most `longest_s` seconds."""
        n = min(round(self.rng.uniform(0.0, longest_s) * self.sfreq), n_times)
        start = int(self.rng.integers(n_times - n + 1))
        return slice(start, start + n)


@dataclass(frozen=True, kw_only=True)
class SampleChange(ABC):
    """Augmentation of samples (n_channels, n_times), applied with probability ``share``."""

    text: ClassVar[str]
    keeps_times: ClassVar[bool] = True  # whether it applies to cases at irregular times
    share: float = 0.5

    @abstractmethod
    def __call__(self, x: FloatArray, draw: Draw) -> FloatArray:
        """Return the augmented samples, (n_channels, any length)."""

    def describe(self, sfreq: float) -> str:
        """Return the variation that a model is trained for, as text."""
        return self.text.format(**vars(self))


@dataclass(frozen=True, kw_only=True)
class ChannelDropout(SampleChange):
    """Replace channels by NaN, as those of bad electrodes; at least one stays."""

    text = "{channels:.0%} of the channels missing"
    channels: float = 0.2  # probability of each channel

    def __call__(self, x: FloatArray, draw: Draw) -> FloatArray:
        order = draw.rng.random(len(x))
        return np.where(((order < self.channels) & (order < order.max()))[:, None], np.nan, x)


@dataclass(frozen=True, kw_only=True)
class TimeMasking(SampleChange):
    """Replace a segment by the mean of each channel."""

    text = "up to {longest_s:g} s without signal"
    keeps_times = False
    longest_s: float = 0.5

    def __call__(self, x: FloatArray, draw: Draw) -> FloatArray:
        masked, where = x.copy(), draw.segment(self.longest_s, x.shape[1])
        masked[:, where] = np.where(np.isnan(x[:, where]), np.nan, mean_of(x))
        return masked


@dataclass(frozen=True, kw_only=True)
class Noise(SampleChange):
    """Add white noise at a signal-to-noise ratio over the case, in each channel."""

    text = "white noise at {snr_db[0]:g} to {snr_db[1]:g} dB"
    snr_db: Range = (0.0, 30.0)

    def __call__(self, x: FloatArray, draw: Draw) -> FloatArray:
        return at_snr(x, draw.rng.standard_normal(x.shape), draw.uniform(self.snr_db))


@dataclass(frozen=True, kw_only=True)
class Babble(SampleChange):
    """Add several other cases at a signal-to-noise ratio; each starts at a random sample and repeats to the end."""

    text = "{voices:g} other cases added at {snr_db[0]:g} to {snr_db[1]:g} dB"
    snr_db: Range = (0.0, 30.0)
    voices: float = 6

    def __call__(self, x: FloatArray, draw: Draw) -> FloatArray:
        babble = np.zeros(x.shape)
        for _ in range(round(self.voices)):
            other = np.nan_to_num(draw.other(draw.rng))
            repeated = other[:, (draw.rng.integers(other.shape[1]) + np.arange(x.shape[1])) % other.shape[1]]
            babble += repeated / np.maximum(deviation_of(other), 1e-300)
        return at_snr(x, babble, draw.uniform(self.snr_db))


@dataclass(frozen=True, kw_only=True)
class Gain(SampleChange):
    """Change the level, by decibels."""

    text = "gains of {db[0]:+g} to {db[1]:+g} dB"
    db: Range = (-10.0, 10.0)

    def __call__(self, x: FloatArray, draw: Draw) -> FloatArray:
        return np.asarray(x * 10.0 ** (draw.uniform(self.db) / 20.0))


@dataclass(frozen=True, kw_only=True)
class Shift(SampleChange):
    """Shift in time by whole samples; the sample at the edge is repeated."""

    text = "up to {longest_s:g} s earlier or later"
    keeps_times = False
    longest_s: float = 0.1

    def __call__(self, x: FloatArray, draw: Draw) -> FloatArray:
        n = round(draw.uniform((-self.longest_s, self.longest_s)) * draw.sfreq)
        return x[:, np.clip(np.arange(x.shape[1]) - n, 0, x.shape[1] - 1)]


@dataclass(frozen=True, kw_only=True)
class Speed(SampleChange):
    """Play faster or slower, which scales all frequencies; resampled with an anti-aliasing filter."""

    text = "up to {most:.0%} faster or slower"
    keeps_times = False
    most: float = 0.1  # faster, or slower

    def __call__(self, x: FloatArray, draw: Draw) -> FloatArray:
        ratio = Fraction(draw.log_uniform((1.0 / (1.0 + self.most), 1.0 + self.most))).limit_denominator(50)
        missing = np.isnan(x)
        filled = fill_missing(x, missing) if missing.any() else x
        resampled = np.asarray(resample_poly(filled, ratio.numerator, ratio.denominator, axis=1, padtype="line"))
        if missing.any():
            nearest = np.rint(np.arange(resampled.shape[1]) / float(ratio)).astype(int)
            resampled[missing[:, np.minimum(nearest, x.shape[1] - 1)]] = np.nan
        return resampled


@dataclass(frozen=True, kw_only=True)
class Room(SampleChange):
    """Add reverberation: noise that decays by 60 dB in ``rt60_s``, at a level relative to the direct sound.

    The reverberation after the end is kept until it has decayed by 30 dB.

    References
    ----------
    Ko, Peddinti, Povey, Seltzer, Khudanpur, "A study on data augmentation of reverberant speech for robust speech
    recognition", 2017, doi:10.1109/ICASSP.2017.7953152.
    """

    text = "reverberation times of {rt60_s[0]:g} to {rt60_s[1]:g} s"
    keeps_times = False
    rt60_s: Range = (0.2, 1.0)
    direct_db: Range = (0.0, 10.0)  # energy of the direct sound over that of the echoes

    def __call__(self, x: FloatArray, draw: Draw) -> FloatArray:
        rt60 = draw.log_uniform(self.rt60_s)
        response = room_response(rt60, draw.sfreq, direct_db=draw.uniform(self.direct_db), rng=draw.rng)
        missing, n_times = np.isnan(x), x.shape[1]
        output = fftconvolve(np.where(missing, 0.0, x), response[None], axes=1)
        output[:, :n_times][missing] = np.nan
        return np.asarray(output[:, : n_times + len(response) // 2])


@dataclass(frozen=True, kw_only=True)
class Clipping(SampleChange):
    """Clip samples beyond a level, as a saturated converter does."""

    text = "clipped at {level[0]:g} to {level[1]:g} of the peak"
    level: Range = (0.05, 0.5)  # of the largest absolute value

    def __call__(self, x: FloatArray, draw: Draw) -> FloatArray:
        limit = draw.log_uniform(self.level) * np.fmax.reduce(np.abs(x), axis=None, initial=0.0)
        return np.clip(x, -limit, limit)


@dataclass(frozen=True, kw_only=True)
class SampleDropout(SampleChange):
    """Replace random samples by NaN, in all channels, but never the first or the last.

    The model interpolates them like any missing samples. The interpolation error is largest in the upper bands; a
    network that has never seen it takes it for a property of the signal.
    """

    text = "up to {removed[1]:.0%} of samples missing"
    removed: Range = (0.1, 0.8)  # of the samples

    def __call__(self, x: FloatArray, draw: Draw) -> FloatArray:
        removed = np.asarray(draw.rng.random(x.shape[1]) < draw.uniform(self.removed))
        removed[[0, -1]] = False
        return np.where(removed, np.nan, x)


SAMPLE_CHANGES: dict[str, type[SampleChange]] = {  # in the order of application
    "speed": Speed,
    "time_shift": Shift,
    "room": Room,
    "babble": Babble,
    "noise": Noise,
    "gain": Gain,
    "clipping": Clipping,
    "time_masking": TimeMasking,
    "channel_dropout": ChannelDropout,
    "sample_dropout": SampleDropout,
}


def change_case(
    case: Signal,
    changes: Sequence[SampleChange],
    rng: np.random.Generator,
    *,
    sfreq: float | None,
    other: Callable[[np.random.Generator], FloatArray],
) -> Signal:
    """Return an augmented case; ``sfreq`` is the rate if the case has none; without any, a sample is a second."""
    x, draw = case.data, Draw(case.sfreq or sfreq or 1.0, rng, other)
    for change in changes:
        if rng.random() < change.share:
            x = change(x, draw)
    return part_of(case, data=np.asarray(x, dtype=case.data.dtype))


def mean_of(x: FloatArray) -> FloatArray:
    """Return the mean of each channel over observed samples, (n_channels, 1); 0 if there are none."""
    observed = ~np.isnan(x)
    return np.asarray(np.where(observed, x, 0.0).sum(1, keepdims=True) / np.maximum(observed.sum(1, keepdims=True), 1))


def deviation_of(x: FloatArray) -> FloatArray:
    """Return the standard deviation of each channel over observed samples, (n_channels, 1)."""
    return np.asarray(np.sqrt(mean_of((x - mean_of(x)) ** 2)))


def at_snr(x: FloatArray, noise: FloatArray, snr_db: float) -> FloatArray:
    """Add noise of the same shape to x, scaled to a signal-to-noise ratio in each channel."""
    return np.asarray(x + noise * (deviation_of(x) / np.maximum(deviation_of(noise), 1e-300) * 10 ** (-snr_db / 20)))


def room_response(
    rt60_s: float, sfreq: float, *, direct_db: float, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Return an impulse response: a direct sound of 1, then noise until it has decayed by 60 dB."""
    times = np.arange(1, max(2, round(rt60_s * sfreq))) / sfreq
    echoes = rng.standard_normal(len(times)) * 10.0 ** (-3.0 * times / rt60_s)
    return np.concatenate([[1.0], echoes * 10.0 ** (-direct_db / 20.0) / np.linalg.norm(echoes)])
