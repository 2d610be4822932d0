"""Cases that are computed from other cases when they are asked for, or kept in a cache on disk."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from s4signal.errors import RecordingError
from s4signal.signals.annotation import Annotation
from s4signal.signals.case import Case, Signal

__all__ = ["CachedCase", "TransformedCase", "cache_folder", "ready_to_cut"]


@dataclass(frozen=True, slots=True)
class _Wrapper:
    """A case that says of itself what another one says."""

    case: Case

    @property
    def n_channels(self) -> int:
        return self.case.n_channels

    @property
    def ch_names(self) -> tuple[str, ...] | None:
        return self.case.ch_names

    @property
    def annotations(self) -> tuple[Annotation, ...]:
        return self.case.annotations

    @property
    def source(self) -> str:
        return self.case.source


@dataclass(frozen=True, slots=True)
class TransformedCase(_Wrapper):
    """A case that is changed after it is read."""

    transform: Callable[[Signal], Signal]
    length: int
    sfreq: float | None
    has_times: bool = False

    @property
    def first_sample(self) -> int:
        """What the recording counts the first sample as, at the new rate."""
        if self.sfreq is None or self.case.sfreq is None:
            return self.case.first_sample
        return round(self.case.first_sample * self.sfreq / self.case.sfreq)

    def load(self) -> Signal:
        """Read the case and change it."""
        return self.transform(self.case.load())

    def crop(self, start: int, stop: int) -> Signal:
        """Cut out a stretch, after reading: a filter reaches past the ends of any stretch."""
        return self.load().crop(start, stop)


@dataclass(frozen=True, slots=True)
class CachedCase(_Wrapper):
    """A case that is read once, decoded and resampled as it may be, and from then on comes from a cache."""

    memory: Any

    @property
    def length(self) -> int:
        """Number of samples in time."""
        return self.case.length

    @property
    def sfreq(self) -> float | None:
        """Samples per second [Hz]."""
        return self.case.sfreq

    @property
    def has_times(self) -> bool:
        """Whether every sample carries its time."""
        return self.case.has_times

    @property
    def first_sample(self) -> int:
        """What the recording itself counts the first sample as."""
        return self.case.first_sample

    def load(self) -> Signal:
        """Take the case from the cache, or read it and put it there."""
        signal: Signal = self.memory.cache(_load)(self.case, _stamp(self.source))
        return signal

    def crop(self, start: int, stop: int) -> Case:
        """Cut out a stretch; it is read, and cached, when it is asked for."""
        if isinstance(self.case, TransformedCase):
            return self.load().crop(start, stop)
        return CachedCase(self.case.crop(start, stop), self.memory)


def cache_folder(cache: Any) -> Any:
    """Make a joblib.Memory of a folder."""
    if not isinstance(cache, str | os.PathLike):
        return cache
    from joblib import Memory

    return Memory(cache, verbose=0)


def ready_to_cut(case: Case) -> Case:
    """Read a case of which every stretch would cost reading the whole."""
    kept = case.case if isinstance(case, CachedCase) else case
    return case.load() if isinstance(kept, TransformedCase) else case


def _load(case: Case, stamp: tuple[int, int]) -> Signal:
    """Read a case; the stamp only tells the cache which state of the file it knows."""
    return case.load()


def _stamp(source: str) -> tuple[int, int]:
    """Tell one state of a file from another."""
    try:
        state = os.stat(source)
    except OSError:
        raise RecordingError(f"{source} does not exist. Check the path.") from None
    return state.st_mtime_ns, state.st_size
