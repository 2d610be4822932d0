"""Open audio files as lazy cases, decoded on access."""

import re
import shutil
import subprocess
import warnings
from collections.abc import Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from s4signal.errors import MissingDependencyError, RecordingError, check_choice
from s4signal.signals.checks import FloatArray, PathOrText, check_file, optional
from s4signal.signals.lazy import LazyCase
from s4signal.signals.mp3 import with_length

# Formats that libsndfile cannot read; torchcodec or ffmpeg decodes the whole file.
COMPRESSED = {".3gp", ".aac", ".ac3", ".amr", ".m4a", ".m4b", ".mka", ".mp4", ".webm", ".wma"}
OnError = Literal["raise", "skip"]
_ALWAYS_FINITE = ("PCM", "ULAW", "ALAW")  # subtypes without infinity, or damage that only decoding finds
_AUDIBLE = 1e-8  # mean square relative to full scale 1; below it, channels can differ by rounding
_CANCELLED = 1e-3  # ratio to the channels; when they cancel, coders leave -45 dB, microphones with 40 dB SNR -43 dB
_LONGEST_PAGE = 2**16  # bytes, of an ogg file


class Skipped(NamedTuple):
    """A skipped file or row, and why."""

    path: str
    reason: str


def open_audio(path: PathOrText, *, mono: bool = True) -> LazyCase:
    """Read the header of an audio file; samples are decoded on access."""
    if not _is_compressed(str(path)):
        optional("soundfile", "Reading audio", "audio")  # report a missing package first
    check_file(path)
    return open_content(str(path), str(path), mono=mono)


def open_audio_files(
    paths: Sequence[PathOrText], *, mono: bool, on_error: OnError
) -> tuple[list[LazyCase], list[Skipped]]:
    """Open files; raise for unusable ones, or list them as skipped."""
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
    """Check that on_error is "raise" or "skip"."""
    check_choice("on_error", on_error, ("raise", "skip"))


def skip_or_raise(error: Exception, path: object, on_error: OnError) -> Skipped:
    """Return the skipped file, or raise the error with the advice to skip."""
    if on_error == "skip":
        return Skipped(str(path), str(error))
    if not isinstance(error, ValueError):
        raise error  # a package is missing
    raise RecordingError(f'{error} Reading with on_error="skip" leaves such files out.') from None


def warn_of_skipped(skipped: Sequence[Skipped], n: int, *, stacklevel: int) -> None:
    """Warn about skipped files: how many of `n`, and why the first."""
    if skipped:
        warnings.warn(
            f"{len(skipped)} of {n} files are left out, the first: {skipped[0].reason}", stacklevel=stacklevel + 1
        )


def usable(case: LazyCase, on_error: OnError) -> LazyCase:
    """Decode a file once if it can be skipped; raise if `fit` would: damage, infinity, only NaN."""
    if on_error == "skip" and not _surely_usable(case) and not case.load().observed.any():
        raise RecordingError(f"{case.source} holds only NaN samples. Leave it out.")
    return case


def _surely_usable(case: LazyCase) -> bool:
    if _is_compressed(case.source):
        return False
    with optional("soundfile", "Reading audio", "audio").SoundFile(case.source) as file:
        plain = file.subtype.startswith(_ALWAYS_FINITE) and file.format != "FLAC"
        return bool(plain and file.channels == case.n_channels)


def _is_compressed(source: str | bytes) -> bool:
    return isinstance(source, str) and Path(source).suffix.lower() in COMPRESSED


def open_content(source: str | bytes, name: str, *, mono: bool = True) -> LazyCase:
    """Open an audio file, given its path or its content."""
    if _is_compressed(source):  # the length in the header is only approximate
        data, sfreq = _decode(name)
        (n_channels, n_times), in_one = data.shape, True
    else:
        n_channels, n_times, sfreq, in_one = _header(source, name)
    if n_times < 1 or n_channels < 1:
        raise RecordingError(f"{name} holds no samples. Leave it out.")
    form = {"n_channels": 1 if mono else n_channels, "length": n_times, "sfreq": sfreq, "in_one": in_one}
    return LazyCase(read=partial(_read, source, name, mono), source=name, modality="audio", **form)


def _header(source: str | bytes, name: str) -> tuple[int, int, float, bool]:
    """Return numbers of channels and samples, rate [Hz], and whether a segment costs as much as the whole."""
    soundfile = optional("soundfile", "Reading audio", "audio")
    try:
        with soundfile.SoundFile(_content(source)) as file:
            if file.frames > 0 and not (_is_complete(file) and _ends_a_page(source, file.format)):
                raise _unreadable(name, "it is incomplete: it has fewer samples than its header gives")
            # libsndfile seeks only approximately in an mp3 of variable bit rate.
            in_one = not file.seekable() or file.subtype.startswith("MPEG")
            return file.channels, file.frames, float(file.samplerate), in_one
    except (soundfile.LibsndfileError, OSError) as error:
        raise _unreadable(name, str(error)) from None


def _read(source: str | bytes, name: str, mono: bool, start: int, stop: int) -> FloatArray:
    """Decode a segment, float32 in -1…1; with mono, average the channels."""
    if _is_compressed(source):
        data = _decode(name)[0][:, start:stop]
    else:
        soundfile = optional("soundfile", "Reading audio", "audio")
        try:
            data = soundfile.read(_content(source), start=start, stop=stop, dtype="float32", always_2d=True)[0].T
        except (soundfile.LibsndfileError, OSError) as error:
            raise _unreadable(name, str(error)) from None
    if data.shape[1] != stop - start:
        raise _unreadable(name, f"it ends after {start + data.shape[1]} of {stop} samples")
    return np.ascontiguousarray(average_channels(data, name) if mono else data)


def average_channels(data: FloatArray, source: str) -> FloatArray:
    """Average (n_channels, n_times) to (1, n_times); refuse channels that cancel."""
    mean: FloatArray = data.mean(axis=0, keepdims=True)
    if len(data) == 1:
        return mean
    with np.errstate(all="ignore"):
        power, residual = data.var(axis=1, dtype=np.float64).mean(), mean.var(dtype=np.float64)
    if power > _AUDIBLE and residual < _CANCELLED * power:
        raise RecordingError(
            f"{source} has channels that cancel each other (one is the other, inverted): their average is silence. "
            "Pass mono=False and pick a channel."
        )
    return mean


def _decode(path: str) -> tuple[FloatArray, float]:
    """Return all samples (n_channels, n_times), float32, and their rate [Hz], by torchcodec or ffmpeg."""
    try:
        from torchcodec.decoders import AudioDecoder
    except (ImportError, OSError, RuntimeError):  # not installed, or without its libraries
        return _decode_by_ffmpeg(path)
    try:
        samples = AudioDecoder(path).get_all_samples()
    except (RuntimeError, ValueError) as error:
        raise _unreadable(path, str(error).splitlines()[0]) from None
    return np.asarray(samples.data, dtype=np.float32), float(samples.sample_rate)


def _decode_by_ffmpeg(path: str) -> tuple[FloatArray, float]:
    program = shutil.which("ffmpeg")
    if program is None:
        raise MissingDependencyError(
            f"{path}: reading {Path(path).suffix} needs torchcodec or ffmpeg, and neither is installed: pip install "
            '"torchcodec", install ffmpeg, or convert the file to wav or flac.'
        )
    # "file:" and the protocol whitelist: a file name or playlist must not make ffmpeg read anything else.
    command = [program, "-nostdin", "-v", "error", "-protocol_whitelist", "file,pipe", "-i", f"file:{path}"]
    command += ["-map", "0:a:0", "-c:a", "pcm_f32le", "-f", "wav", "pipe:1"]
    result = subprocess.run(command, capture_output=True, check=False)  # noqa: S603  no shell
    lines = result.stderr.decode(errors="replace").strip().splitlines()
    if result.returncode or lines:  # ffmpeg decodes the rest of a truncated or damaged file, and returns 0
        raise _unreadable(path, lines[0] if lines else "ffmpeg failed")
    soundfile = optional("soundfile", "Reading audio", "audio")
    frames, sfreq = soundfile.read(BytesIO(result.stdout), dtype="float32", always_2d=True)
    return frames.T, float(sfreq)


def _content(source: str | bytes) -> str | BytesIO:
    """Return the path, or, for an mp3 without its length, the content with the length added."""
    if isinstance(source, bytes):
        maybe_mp3 = source[:3] == b"ID3" or source[:1] == b"\xff"
        return BytesIO((with_length(source) if maybe_mp3 else None) or source)
    if not source.lower().endswith(".mp3"):
        return source
    content = with_length(source)
    return source if content is None else BytesIO(content)


def _is_complete(file: Any) -> bool:
    """Return whether the last sample can be read; a truncated file looks different in each format."""
    wav = re.search(r"^data : (\d+) \(should be (\d+)\)", file.extra_info, re.MULTILINE)
    # A wav written to a pipe declares 0 or about 2**32 bytes, but is complete.
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
    """Return whether the last page of an ogg file is complete; its header does not contain the length."""
    if form != "OGG":
        return True
    with BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as file:
        file.seek(max(0, file.seek(0, 2) - 2 * _LONGEST_PAGE))
        tail = file.read()
    page = tail[tail.rfind(b"OggS") :]
    return len(page) > 26 and len(page) >= 27 + page[26] + sum(page[27 : 27 + page[26]])


def _unreadable(path: str, reason: str) -> RecordingError:
    reason = reason.strip().rstrip(".").removeprefix(f"Error opening {path!r}: ")
    if "does not exist" in reason:  # libsndfile reports this for any unknown format
        reason = "its format is not recognised"
    return RecordingError(
        f"{path} cannot be read as audio ({reason}). "
        "Copy the file again, convert it to wav, flac, ogg or mp3, or leave it out."
    )
