"""Readable units of frequencies and durations."""

from typing import NamedTuple

_SLOW = 1 / 60  # Hz; below one cycle per minute frequencies are per hour


class Units(NamedTuple):
    """Names of the units, and seconds per unit of duration."""

    frequency: str
    duration: str
    n_seconds: float

    def band(self, lowest: float, highest: float) -> str:
        """Format a range of frequencies, given in Hz or in cycles per sample."""
        return f"{lowest * self.n_seconds:.3g} - {highest * self.n_seconds:.3g} {self.frequency}"

    def memory(self, shortest: float, longest: float) -> str:
        """Format a range of durations, given in seconds or in samples."""
        return f"{shortest / self.n_seconds:.3g} - {longest / self.n_seconds:.3g} {self.duration}"

    def rate(self, sfreq: float | None) -> str:
        """Format a sampling rate, given in Hz."""
        if sfreq is None:
            return "unknown: durations are in samples; pass sfreq=, or Signals(X, sfreq=...), to have seconds and Hz"
        return f"{sfreq:g} Hz" if self.n_seconds == 1.0 else f"{sfreq * self.n_seconds:g} per hour"


def counted(n: int, noun: str) -> str:
    """Return a number with its noun: 1 channel, 2 channels."""
    return f"{n} {noun}{'s' * (n != 1)}"


def readable_units(sfreq: float | None, highest: float) -> Units:
    """Return the units for a rate and the highest frequency, in Hz."""
    if sfreq is None:
        return Units("cycles per sample", "samples", 1.0)
    return Units("cycles per hour", "h", 3600.0) if highest < _SLOW else Units("Hz", "s", 1.0)
