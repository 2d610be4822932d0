"""Units in which a person reads frequencies and durations."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Units", "readable_units"]

_SLOW = 1 / 60  # Hz; what is slower than a cycle a minute is read in hours


class Units(NamedTuple):
    """How to say frequencies and durations."""

    frequency: str
    duration: str
    n_seconds: float

    def band(self, lowest: float, highest: float) -> str:
        """Say two frequencies, given in Hz or in cycles a sample."""
        return f"{lowest * self.n_seconds:.3g} - {highest * self.n_seconds:.3g} {self.frequency}"

    def memory(self, shortest: float, longest: float) -> str:
        """Say two durations, given in seconds or in samples."""
        return f"{shortest / self.n_seconds:.3g} - {longest / self.n_seconds:.3g} {self.duration}"

    def rate(self, sfreq: float | None) -> str:
        """Say a sampling rate, given in Hz."""
        if sfreq is None:
            return "unknown"
        return f"{sfreq:g} Hz" if self.n_seconds == 1.0 else f"{sfreq * self.n_seconds:g} an hour"


def readable_units(sfreq: float | None, highest: float) -> Units:
    """Choose units."""
    if sfreq is None:
        return Units("cycles a sample", "samples", 1.0)
    return Units("cycles an hour", "h", 3600.0) if highest < _SLOW else Units("Hz", "s", 1.0)
