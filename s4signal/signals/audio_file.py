"""Audio files as cases that are decoded when they are asked for."""

import re
from functools import partial
from io import BytesIO
from typing import Any

import numpy as np

from s4signal.errors import RecordingError
from s4signal.signals.checks import FloatArray, PathOrText, check_file, optional
from s4signal.signals.lazy import LazyCase
from s4signal.signals.mp3 import with_length


def open_audio(path: PathOrText, *, mono: bool = True) -> LazyCase:
    """Read the header of an audio file; the samples wait until `load`."""
    soundfile = optional("soundfile", "Reading audio", "audio")
    check_file(path)
    try:
        with soundfile.SoundFile(_content(str(path))) as file:
            if file.frames > 0 and not _is_complete(file):
                raise _unreadable(str(path), "it is incomplete: samples that its header promises are missing")
            n_channels, n_times, sfreq = 1 if mono else file.channels, file.frames, float(file.samplerate)
            # Of variable rate, libsndfile finds the samples of an mp3 only roughly.
            in_one = not file.seekable() or file.subtype.startswith("MPEG")
    except (soundfile.LibsndfileError, OSError) as error:
        raise _unreadable(str(path), str(error)) from None
    if n_times < 1:
        raise RecordingError(f"{path} holds no samples. Leave it out.")
    return LazyCase(
        read=partial(_read, str(path), n_channels),
        n_channels=n_channels,
        length=n_times,
        sfreq=sfreq,
        source=str(path),
        modality="audio",
        in_one=in_one,
    )


def _read(path: str, n_channels: int, start: int, stop: int) -> FloatArray:
    """Decode a stretch, float32 in -1…1; one channel is the average of all."""
    soundfile = optional("soundfile", "Reading audio", "audio")
    try:
        frames, _ = soundfile.read(_content(path), start=start, stop=stop, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise _unreadable(path, str(error)) from None
    if len(frames) != stop - start:
        raise _unreadable(path, f"it ends after {start + len(frames)} of {stop} samples")
    return np.ascontiguousarray((frames.mean(axis=1, keepdims=True) if n_channels == 1 else frames).T)


def _content(path: str) -> str | BytesIO:
    """Return the path, or the content of an mp3 that does not tell its length, with it."""
    content = with_length(path) if path.lower().endswith(".mp3") else None
    return path if content is None else BytesIO(content)


def _is_complete(file: Any) -> bool:
    """Look for the last sample: each format hides a cut in its own way."""
    wav = re.search(r"^data : (\d+) \(should be (\d+)\)", file.extra_info, re.MULTILINE)
    # A wav that was written into a pipe declares 0 or about 2**32 bytes, and is complete.
    if (wav and int(wav[2]) < int(wav[1]) < 0x7FFFFFFF) or "File ended unexpectedly" in file.extra_info:
        return False
    if not file.seekable():
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
