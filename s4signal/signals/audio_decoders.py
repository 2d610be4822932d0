"""Sound that libsndfile does not read (m4a, aac, webm, …): decoded whole by torchcodec or ffmpeg, if one is there."""

import shutil
import subprocess
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np

from s4signal.errors import MissingDependencyError, RecordingError
from s4signal.signals.checks import FloatArray, optional
from s4signal.signals.lazy import LazyCase

COMPRESSED = {".3gp", ".aac", ".ac3", ".amr", ".m4a", ".m4b", ".mka", ".mp4", ".webm", ".wma"}
_AUDIBLE = 1e-8  # mean square, of full scale one: below it the last bits of the channels may differ
_CANCELLED = 1e-6  # of that of the channels


def open_compressed(path: str, *, mono: bool) -> LazyCase:
    """Count the samples by decoding once: what the header says of the length is only nearly true."""
    data, sfreq = _decode(path)
    if data.size == 0:
        raise RecordingError(f"{path} holds no samples. Leave it out.")
    return LazyCase(
        read=partial(_read, path, mono),
        n_channels=1 if mono else len(data),
        length=data.shape[1],
        sfreq=sfreq,
        source=path,
        modality="audio",
        in_one=True,
    )


def average_channels(data: FloatArray, source: str) -> FloatArray:
    """Average (n_channels, n_times) to (1, n_times); refuse channels that cancel each other."""
    mean: FloatArray = data.mean(axis=0, keepdims=True)
    if len(data) == 1:
        return mean
    with np.errstate(all="ignore"):
        power, left = data.var(axis=1, dtype=np.float64).mean(), mean.var(dtype=np.float64)
    if power > _AUDIBLE and left < _CANCELLED * power:
        raise RecordingError(
            f"{source} has channels that cancel each other (one is the other, inverted): their average is silence. "
            "Pass mono=False and pick a channel."
        )
    return mean


def _read(path: str, mono: bool, start: int, stop: int) -> FloatArray:
    data, _ = _decode(path)
    if data.shape[1] < stop:
        raise RecordingError(f"{path} cannot be read as audio (it ends after {data.shape[1]} of {stop} samples).")
    part = data[:, start:stop]
    return np.ascontiguousarray(average_channels(part, path) if mono else part)


def _decode(path: str) -> tuple[FloatArray, float]:
    """Return all samples (n_channels, n_times), float32, and their rate [Hz]."""
    try:
        from torchcodec.decoders import AudioDecoder
    except (ImportError, OSError, RuntimeError):  # not there, or without the libraries that it needs
        return _decode_by_ffmpeg(path)
    try:
        samples = AudioDecoder(path).get_all_samples()
    except (RuntimeError, ValueError) as error:
        raise RecordingError(_UNREADABLE.format(path=path, reason=str(error).splitlines()[0])) from None
    return np.asarray(samples.data, dtype=np.float32), float(samples.sample_rate)


def _decode_by_ffmpeg(path: str) -> tuple[FloatArray, float]:
    program = shutil.which("ffmpeg")
    if program is None:
        raise MissingDependencyError(
            f"{path}: reading {Path(path).suffix} needs torchcodec or ffmpeg, and neither is there: pip install "
            '"torchcodec", install ffmpeg, or convert the file to wav or flac.'
        )
    # "file:" and the white list: a name or a playlist must not make it read anything else.
    command = [program, "-nostdin", "-v", "error", "-protocol_whitelist", "file,pipe", "-i", f"file:{path}"]
    command += ["-map", "0:a:0", "-c:a", "pcm_f32le", "-f", "wav", "pipe:1"]
    answer = subprocess.run(command, capture_output=True, check=False)  # noqa: S603  no shell
    if answer.returncode:
        lines = answer.stderr.decode(errors="replace").strip().splitlines()
        raise RecordingError(_UNREADABLE.format(path=path, reason=lines[-1] if lines else "ffmpeg failed"))
    soundfile = optional("soundfile", "Reading audio", "audio")
    frames, sfreq = soundfile.read(BytesIO(answer.stdout), dtype="float32", always_2d=True)
    return frames.T, float(sfreq)


_UNREADABLE = "{path} cannot be read as audio ({reason}). Copy it again, convert it to wav or flac, or leave it out."
