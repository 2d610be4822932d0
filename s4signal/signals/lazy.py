"""Cases that are computed from other cases when they are asked for, or kept as plain arrays in a cache on disk."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

import numpy as np

from s4signal.errors import RecordingError
from s4signal.signals.case import Annotation, Case, Signal
from s4signal.signals.checks import FloatArray

__all__ = ["CachedCase", "TransformedCase", "ready_to_cut"]


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
    def source(self) -> str:
        return self.case.source

    @property
    def modality(self) -> str | None:
        return self.case.modality


@dataclass(frozen=True, slots=True)
class TransformedCase(_Wrapper):
    """A case that is changed after it is read."""

    transform: Callable[[Signal], Signal]
    length: int
    sfreq: float | None
    has_times: bool = False
    first_sample: float = 0
    recorded_sfreq: float | None = None

    @property
    def annotations(self) -> tuple[Annotation, ...]:
        """Marked stretches, which count from the first sample that is left."""
        return self.load().annotations

    def load(self) -> Signal:
        """Read the case and change it."""
        return self.transform(self.case.load())

    def crop(self, start: int, stop: int) -> Signal:
        """Cut out a stretch, after reading: a filter reaches past the ends of any stretch."""
        return self.load().crop(start, stop)


@dataclass(frozen=True, slots=True)
class CachedCase(_Wrapper):
    """A sound that is decoded and resampled once, and from then on comes from a folder of arrays."""

    folder: Path

    has_times = False
    annotations = ()

    @property
    def length(self) -> int:
        """Number of samples in time."""
        return self.case.length

    @property
    def sfreq(self) -> float | None:
        """Samples per second [Hz]."""
        return self.case.sfreq

    @property
    def first_sample(self) -> float:
        """What the recording counts the first sample as."""
        return self.case.first_sample

    @property
    def recorded_sfreq(self) -> float | None:
        """The rate at which the recording counts its samples."""
        return self.case.recorded_sfreq

    def load(self) -> Signal:
        """Take the samples from the cache, or read the case and put them there."""
        path = self.folder / f"{self._key()}.npy"
        data = _kept(path, (self.n_channels, self.length))
        if data is None:
            data = self.case.load().data
            _keep(data, path)
        return Signal(
            data,
            sfreq=self.sfreq,
            ch_names=self.ch_names,
            source=self.source,
            first_sample=self.first_sample,
            recorded_sfreq=self.recorded_sfreq,
            modality=self.modality,
        )

    def crop(self, start: int, stop: int) -> Case:
        """Cut out a stretch; it is read, and cached, when it is asked for."""
        if isinstance(self.case, TransformedCase):
            return self.load().crop(start, stop)
        return CachedCase(self.case.crop(start, stop), self.folder)

    def _key(self) -> str:
        """Name the samples by the file, its state, and what is taken of it."""
        try:
            state = os.stat(self.source)
        except OSError:
            raise RecordingError(f"{self.source} does not exist. Check the path.") from None
        said = (os.path.abspath(self.source), state.st_mtime_ns, state.st_size, self.first_sample, self.length)
        return hashlib.sha256(repr((*said, self.sfreq, self.recorded_sfreq, self.n_channels)).encode()).hexdigest()


def ready_to_cut(case: Case) -> Case:
    """Read a case of which every stretch would cost reading the whole."""
    inner = case.case if isinstance(case, CachedCase) else case
    return case.load() if isinstance(inner, TransformedCase) else case


def _kept(path: Path, shape: tuple[int, int]) -> FloatArray | None:
    """Read an array, None if it is not there or damaged; nothing is ever unpickled."""
    try:
        data: FloatArray = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return data if data.shape == shape and data.dtype == np.float32 else None


def _keep(data: FloatArray, path: Path) -> None:
    """Write an array whole or not at all, whoever else writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
        np.save(file, data, allow_pickle=False)
    os.replace(file.name, path)
