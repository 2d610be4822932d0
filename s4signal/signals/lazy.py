"""Lazy cases, read or computed on access, and a cache of plain arrays on disk."""

import hashlib
import os
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from s4signal.errors import RecordingError
from s4signal.signals.case import Annotation, Signal, cropped, part_of
from s4signal.signals.checks import FloatArray, check_file


@dataclass(frozen=True, slots=True, kw_only=True)
class LazyCase:
    """Describe a case that is not in memory; the fields are those of `Signal`.

    ``read(start, stop)`` returns the samples from start to stop - 1, (n_channels, n_times), or a whole `Signal`.
    """

    read: Callable[[int, int], FloatArray | Signal]
    n_channels: int
    length: int
    sfreq: float | None
    ch_names: tuple[str, ...] | None = None
    has_times: bool = False
    annotations: tuple[Annotation, ...] = ()
    source: str = ""
    first_sample: float = 0
    recorded_sfreq: float | None = None
    modality: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    positions: FloatArray | None = None
    start: int = 0
    in_one: bool = False  # a segment costs as much as the whole: a filter needs samples around it

    @property
    def duration_s(self) -> float | None:
        """Duration in seconds; None if unknown before reading."""
        return None if self.has_times or self.sfreq is None else self.length / self.sfreq

    def load(self) -> Signal:
        """Read the case into memory."""
        data = self.read(self.start, self.start + self.length)
        if isinstance(data, Signal):  # names and metadata may have been set since it was built
            return part_of(data, ch_names=self.ch_names, positions=self.positions, metadata=self.metadata)
        names = [f.name for f in fields(Signal) if f.name not in ("data", "times")]
        return Signal(data, **{name: getattr(self, name) for name in names})

    def crop(self, start: int, stop: int) -> "Case":
        """Return a segment, without reading it if possible."""
        if self.in_one:
            return self.load().crop(start, stop)
        rate = self.sfreq or np.nan
        new = cropped(self, start, start / rate, stop / rate)
        return replace(self, start=self.start + start, length=stop - start, **new)


Case: TypeAlias = Signal | LazyCase


def transformed(case: Case, transform: Callable[[Signal], Signal], **new: Any) -> Case:
    """Transform a case: now if it is in memory, else on reading; `new` replaces fields of the lazy case."""
    if isinstance(case, Signal):
        return transform(case)
    return replace(case, read=partial(_read_and_transform, case, transform), in_one=True, **new)


def _read_and_transform(case: LazyCase, transform: Callable[[Signal], Signal], start: int, stop: int) -> Signal:
    return transform(case.load())


def with_fields(case: Case, **new: Any) -> Case:
    """Replace fields of a case, without reading it."""
    return part_of(case, **new) if isinstance(case, Signal) else replace(case, **new)


def with_metadata(case: Case, **more: Any) -> Case:
    """Add to the metadata of a case, without reading it."""
    return with_fields(case, metadata={**case.metadata, **more})


def recount(case: Case, sfreq: float, rate: float | None = None) -> dict[str, Any]:
    """Return `sfreq`, `first_sample` and `recorded_sfreq` of a case after resampling from `rate` to `sfreq`."""
    rate = case.sfreq if rate is None else rate
    if rate is None:
        return {"sfreq": sfreq, "first_sample": 0.0, "recorded_sfreq": 0.0}
    recorded = rate if case.recorded_sfreq is None else case.recorded_sfreq
    first = case.first_sample * sfreq / rate
    return {"sfreq": sfreq, "first_sample": first, "recorded_sfreq": None if recorded == sfreq else recorded}


def cached(case: Case, folder: Path) -> Case:
    """Store the samples of a file without times in a folder of arrays when they are first read."""
    return case if isinstance(case, Signal) else replace(case, read=partial(_read_cached, case, folder))


def _read_cached(case: LazyCase, folder: Path, start: int, stop: int) -> FloatArray:
    """Return samples from the cache, or read and store them."""
    check_file(case.source)
    state = os.stat(case.source)
    key = (os.path.abspath(case.source), state.st_mtime_ns, state.st_size, case.n_channels, case.sfreq, start, stop)
    path = folder / (hashlib.sha256(repr(key).encode()).hexdigest() + ".npy")
    try:
        data: FloatArray = np.load(path, allow_pickle=False)  # never unpickle
        if data.shape == (case.n_channels, stop - start) and data.dtype == np.float32:
            return data
    except (OSError, ValueError, EOFError):  # missing or damaged
        pass
    data = replace(case, start=start, length=stop - start).load().data
    partial_file = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with partial_file.open("xb") as file:
            np.save(file, data, allow_pickle=False)
        partial_file.replace(path)  # atomic, even if other processes write it too
    except OSError as error:
        with suppress(OSError):
            partial_file.unlink()
        raise RecordingError(
            f"cache={str(folder)!r} cannot be written ({error.strerror or error}). Free space there, choose another "
            "folder, or leave cache out."
        ) from error
    return data
