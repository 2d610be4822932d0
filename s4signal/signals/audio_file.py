"""Audio files as cases that are decoded when they are asked for."""

import re
import warnings
from collections.abc import Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from s4signal.errors import MissingDependencyError, RecordingError, check_choice
from s4signal.signals.audio_decoders import COMPRESSED, average_channels, open_compressed
from s4signal.signals.checks import FloatArray, PathOrText, check_file, optional
from s4signal.signals.lazy import LazyCase
from s4signal.signals.mp3 import with_length

OnError = Literal["raise", "skip"]
_ALWAYS_FINITE = ("PCM", "ULAW", "ALAW")  # subtypes that hold neither infinity nor damage that decoding would find
_LONGEST_PAGE = 2**16  # bytes, of an ogg file


class Skipped(NamedTuple):
    """A file or row that was left out, and why."""

    path: str
    reason: str


def open_audio(path: PathOrText, *, mono: bool = True) -> LazyCase:
    """Read the header of an audio file; the samples wait until `load`."""
    if Path(path).suffix.lower() not in COMPRESSED:
        optional("soundfile", "Reading audio", "audio")  # what is missing most is said first
    check_file(path)
    if Path(path).suffix.lower() in COMPRESSED:
        return open_compressed(str(path), mono=mono)
    return _opened(str(path), str(path), mono)


def open_audio_bytes(content: bytes, *, name: str = "bytes", mono: bool = True) -> LazyCase:
    """Open the content of an audio file."""
    return _opened(content, name, mono)


def open_audio_files(
    paths: Sequence[PathOrText], *, mono: bool, on_error: OnError
) -> tuple[list[LazyCase], list[Skipped]]:
    """Open files; those that cannot be used are refused, or listed."""
    check_on_error(on_error)
    cases, skipped = [], []
    for path in paths:
        try:
            cases.append(usable(open_audio(path, mono=mono), on_error))
        except (ValueError, MissingDependencyError) as error:
            skipped.append(skip_or_raise(error, path, on_error))
    if not cases:
        raise RecordingError(f"none of {len(skipped)} files can be used; the first: {skipped[0].reason}")
    return cases, skipped


def check_on_error(on_error: str) -> None:
    """Refuse another word than the two."""
    check_choice("on_error", on_error, ("raise", "skip"))


def skip_or_raise(error: Exception, path: object, on_error: OnError) -> Skipped:
    """Say what was left out, or raise the error with the advice to leave it out."""
    if on_error == "skip":
        return Skipped(str(path), str(error))
    if not isinstance(error, ValueError):
        raise error  # a package is missing
    kind = type(error) if isinstance(error, RecordingError) else ValueError
    raise kind(f'{error} on_error="skip" leaves such files out.') from None


def warn_of_skipped(skipped: Sequence[Skipped], n: int, *, stacklevel: int) -> None:
    """Say how many of `n` were left out, and why the first was."""
    if skipped:
        warnings.warn(
            f"{len(skipped)} of {n} files are left out, the first: {skipped[0].reason}", stacklevel=stacklevel + 1
        )


def usable(case: LazyCase, on_error: OnError) -> LazyCase:
    """Decode a file once, where files may be skipped; refuse what a fit would refuse: damage, infinity, no sample."""
    if on_error == "skip" and not _surely_usable(case) and not case.load().observed.any():
        raise RecordingError(f"{case.source} holds no sample that is a number, all are NaN. Leave it out.")
    return case


def _surely_usable(case: LazyCase) -> bool:
    if Path(case.source).suffix.lower() in COMPRESSED:
        return False
    with optional("soundfile", "Reading audio", "audio").SoundFile(case.source) as file:
        plain = file.subtype.startswith(_ALWAYS_FINITE) and file.format != "FLAC"
        return bool(plain and file.channels == case.n_channels)


def _opened(source: str | bytes, name: str, mono: bool) -> LazyCase:
    soundfile = optional("soundfile", "Reading audio", "audio")
    try:
        with soundfile.SoundFile(_content(source)) as file:
            if file.frames > 0 and not (_is_complete(file) and _ends_a_page(source, file.format)):
                raise _unreadable(name, "it is incomplete: samples that its header promises are missing")
            n_channels, n_times, sfreq = 1 if mono else file.channels, file.frames, float(file.samplerate)
            # Of variable rate, libsndfile finds the samples of an mp3 only roughly.
            in_one = not file.seekable() or file.subtype.startswith("MPEG")
    except (soundfile.LibsndfileError, OSError) as error:
        raise _unreadable(name, str(error)) from None
    if n_times < 1:
        raise RecordingError(f"{name} holds no samples. Leave it out.")
    return LazyCase(
        read=partial(_read, source, name, mono),
        n_channels=n_channels,
        length=n_times,
        sfreq=sfreq,
        source=name,
        modality="audio",
        in_one=in_one,
    )


def _read(source: str | bytes, name: str, mono: bool, start: int, stop: int) -> FloatArray:
    """Decode a stretch, float32 in -1…1; one channel is the average of all."""
    soundfile = optional("soundfile", "Reading audio", "audio")
    try:
        frames, _ = soundfile.read(_content(source), start=start, stop=stop, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise _unreadable(name, str(error)) from None
    if len(frames) != stop - start:
        raise _unreadable(name, f"it ends after {start + len(frames)} of {stop} samples")
    return np.ascontiguousarray(average_channels(frames.T, name) if mono else frames.T)


def _content(source: str | bytes) -> str | BytesIO:
    """Return the path, or the content of an mp3 that does not tell its length, with it."""
    if isinstance(source, bytes):
        maybe_mp3 = source[:3] == b"ID3" or source[:1] == b"\xff"
        return BytesIO((with_length(source) if maybe_mp3 else None) or source)
    if not source.lower().endswith(".mp3"):
        return source
    content = with_length(source)
    return source if content is None else BytesIO(content)


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


def _ends_a_page(source: str | bytes, form: str) -> bool:
    """Tell whether the last page of an ogg file is whole; no header of it says how long the file is."""
    if form != "OGG":
        return True
    with BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as file:
        file.seek(max(0, file.seek(0, 2) - 2 * _LONGEST_PAGE))
        tail = file.read()
    page = tail[tail.rfind(b"OggS") :]
    return len(page) > 26 and len(page) >= 27 + page[26] + sum(page[27 : 27 + page[26]])


def _unreadable(path: str, reason: str) -> RecordingError:
    reason = reason.strip().rstrip(".").removeprefix(f"Error opening {path!r}: ")
    if "does not exist" in reason:  # libsndfile says so of any file that it does not recognise
        reason = "its format is not recognised"
    return RecordingError(
        f"{path} cannot be read as audio ({reason}). "
        "wav, flac, ogg and mp3 are read; copy the file again, convert it or leave it out."
    )
