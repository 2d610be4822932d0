"""A case that lies in an audio file until it is asked for."""

import re
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from s4signal.errors import MissingDependencyError, RecordingError
from s4signal.signals.case import Case, Signal
from s4signal.signals.checks import check_file

__all__ = ["open_audio"]


@dataclass(frozen=True, slots=True)
class _AudioFile:
    """Samples `start` to `stop` of an audio file; one channel is the average of all."""

    source: str
    sfreq: float
    n_channels: int
    start: int
    stop: int

    ch_names = None
    has_times = False
    annotations = ()
    recorded_sfreq = None
    modality = "audio"

    @property
    def length(self) -> int:
        return self.stop - self.start

    @property
    def first_sample(self) -> int:
        return self.start

    def load(self) -> Signal:
        soundfile = _soundfile()
        try:
            frames, _ = soundfile.read(self.source, start=self.start, stop=self.stop, dtype="float32", always_2d=True)
        except (soundfile.LibsndfileError, OSError) as error:
            raise _unreadable(self.source, str(error)) from None
        if len(frames) != self.length:
            raise _unreadable(self.source, f"it ends after {self.start + len(frames)} of {self.stop} samples")
        data = frames.mean(axis=1, keepdims=True) if self.n_channels == 1 else frames
        return Signal(
            np.ascontiguousarray(data.T),
            sfreq=self.sfreq,
            source=self.source,
            first_sample=self.start,
            modality=self.modality,
        )

    def crop(self, start: int, stop: int) -> "_AudioFile":
        return replace(self, start=self.start + start, stop=self.start + stop)


def open_audio(path: str | PathLike[str], *, mono: bool = True) -> Case:
    """Read the header of an audio file; the samples wait until `load`."""
    soundfile = _soundfile()
    check_file(path)
    if Path(path).stat().st_size == 0:
        raise RecordingError(f"{path} is empty (0 bytes). Copy it again or leave it out.")
    try:
        with soundfile.SoundFile(str(path)) as file:
            audio = _AudioFile(str(path), float(file.samplerate), 1 if mono else file.channels, 0, file.frames)
            if not _is_complete(file):
                raise _unreadable(str(path), "it is incomplete: samples that its header promises are missing")
    except (soundfile.LibsndfileError, OSError) as error:
        raise _unreadable(str(path), str(error)) from None
    if audio.length < 1:
        raise RecordingError(f"{path} holds no samples. Leave it out.")
    return audio


def _is_complete(file: Any) -> bool:
    """Look for the last sample: each format hides a cut in its own way."""
    wav = re.search(r"^data : (\d+) \(should be (\d+)\)", file.extra_info, re.MULTILINE)
    # A wav that was written into a pipe declares 0 or about 2**32 bytes, and is complete.
    if wav and int(wav[2]) < int(wav[1]) < 0x7FFFFFFF:
        return False
    if "File ended unexpectedly" in file.extra_info:
        return False
    if file.frames < 1 or not file.seekable():
        return True
    try:
        file.seek(file.frames - 1)
        return len(file.read(1)) == 1
    except RuntimeError:  # LibsndfileError: the seek fails
        return False


def _unreadable(path: str, reason: str) -> RecordingError:
    reason = reason.strip().rstrip(".").removeprefix(f"Error opening {path!r}: ")
    if "does not exist" in reason:  # libsndfile says so of any file that it does not recognise
        reason = "its format is not recognised"
    return RecordingError(
        f"{path} cannot be read as audio ({reason}). "
        "wav, flac, ogg and mp3 are read; copy the file again, convert it or leave it out."
    )


def _soundfile() -> ModuleType:
    try:
        import soundfile
    except ImportError:
        raise MissingDependencyError('Reading audio needs soundfile: pip install "s4signal[audio]".') from None
    module: ModuleType = soundfile
    return module
