"""Convert and validate user input: samples, times, rates, names and paths."""

import re
from collections.abc import Iterable, Sequence
from importlib import import_module
from numbers import Real
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.sparse import issparse

from s4signal.errors import MissingDependencyError, RecordingError, ShapeError

FloatArray: TypeAlias = npt.NDArray[np.floating[Any]]
PathOrText: TypeAlias = str | PathLike[str]
AUDIO_SFREQ = 4000.0  # Hz: one or two channels of a plain array at this rate or above are audio
_PCM = {"u1": (128, 2**7), "i1": (0, 2**7), "i2": (0, 2**15), "i4": (0, 2**31)}  # zero level and full scale
MISSING = ("None", "nan", "NaT", "<NA>")  # missing values of data frames and arrays, as text
_FAR_TOO_WIDE = 100  # channels per sample in time; probes of 384 channels are cut to some 80 samples
_LARGEST_GRID, _PER_SAMPLE = 1_000_000, 1000  # points always allowed, and more per sample
# Largest ratio between the median gap of times and 1 / sfreq. Gaps and dropped samples widen it; milliseconds passed
# as seconds give a factor of 1000, sample numbers a factor of sfreq.
_LARGEST_RATIO = 200.0
_HIGHEST_RATE = 1e10  # Hz; the lowest is 1e-10 Hz, a sample in three centuries


def optional(package: str, purpose: str, extra: str = "") -> Any:
    """Import an optional package; MissingDependencyError explains how to install it."""
    try:
        return import_module(package)
    except ImportError:
        install = f"s4signal[{extra}]" if extra else package
        raise MissingDependencyError(f'{purpose} needs {package}: pip install "{install}".') from None


def as_numpy(data: Any) -> Any:
    """Convert a tensor on any device, with or without gradient, to an array; return anything else unchanged."""
    return data.detach().cpu().numpy() if hasattr(data, "requires_grad") else data


def is_unknown(label: Any) -> bool:
    """Whether a label is None, NaN, or pandas' NaT or NA; a comparison with NA is neither true nor false."""
    return not isinstance(label, str) and str(label) in MISSING


def as_float_array(data: Any, name: str = "X") -> FloatArray:
    """Convert to float64, or keep float32; raise if the values are not real numbers."""
    if issparse(data):
        raise TypeError("Sparse data was passed, but dense data is required. Use .toarray() to convert it.")
    if np.ma.isMaskedArray(data):
        data = np.ma.filled(data.astype(np.float64), np.nan)
    try:
        array = np.asarray(as_numpy(data))
    except ValueError:
        raise ShapeError("X has rows of unequal length inside one case; a case is (n_channels, n_times).") from None
    if array.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: got {array.dtype}. Pass .real, .imag or abs() of it.")
    if array.dtype.kind not in "biufO":
        raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}. Convert it with .astype(float).")
    if array.dtype == np.float32 and array.dtype.isnative:
        return array
    try:
        return array.astype(np.float64, copy=False)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must hold real numbers: {error}.") from None


def is_audio(modality: str | None, sfreq: float | None, n_channels: int) -> bool:
    """Return whether a case is audio, by its modality or, if that is None, by its rate and number of channels."""
    return modality == "audio" or (modality is None and sfreq is not None and sfreq >= AUDIO_SFREQ and n_channels <= 2)


def scale_pcm(data: Any, sfreq: float | None, modality: str | None = None, *, n_channels: int | None = None) -> Any:
    """Scale integer audio samples to -1…1, as soundfile does; return everything else unchanged."""
    data = as_numpy(data)
    kind = getattr(getattr(data, "dtype", None), "str", "")[1:]
    if kind not in _PCM or not is_audio(modality, sfreq, n_channels or len(np.atleast_2d(data))):
        return data
    zero, full_scale = _PCM[kind]
    return (data.astype(np.float32) - np.float32(zero)) / np.float32(full_scale)


def in_full_scale(X: Any, sfreq: float | None) -> Any:
    """Scale integer audio in cases without a rate, with the rate of a model."""
    X = as_numpy(X)
    if isinstance(X, np.ndarray) and (X.dtype != object or X.ndim != 1):
        return scale_pcm(X, sfreq, n_channels=X.shape[1] if X.ndim == 3 else 1)
    if not isinstance(X, list | tuple | np.ndarray) or any(isinstance(case, Real) for case in X):  # (array, rate)
        return X
    cases = [scale_pcm(case, sfreq) for case in X]
    return object_array(cases) if isinstance(X, np.ndarray) else cases


def as_case_array(data: Any) -> FloatArray:
    """Convert to (n_channels, n_times)."""
    array = as_float_array(data)
    if array.ndim == 1:
        array = array[np.newaxis]
    if array.ndim != 2:
        raise ShapeError(f"it must have shape (n_channels, n_times) or (n_times,), got {array.shape}.")
    if 0 in array.shape:
        raise ShapeError(f"it is empty, with shape {array.shape}. Leave it out.")
    return array


def refuse_time_first(shape: tuple[int, ...], sfreq: float | None) -> None:
    """Refuse audio of shape (n_times, n_channels), as soundfile returns it: each sample would be a channel."""
    n_channels, n_times = shape
    if sfreq is not None and sfreq >= AUDIO_SFREQ and n_channels >= _FAR_TOO_WIDE * n_times:
        raise ShapeError(
            f"it has {n_channels} channels of {n_times} sample{'s' * (n_times != 1)} at {sfreq:g} Hz, so time seems to "
            "come first. A case is (n_channels, n_times): pass its transpose, x.T."
        )


def as_sfreq(sfreq: Any) -> float | None:
    """Convert to a positive finite float, and NaN to None."""
    unknown = sfreq is None or (isinstance(sfreq, Real) and np.isnan(float(sfreq)))
    return None if unknown else as_rate(sfreq)


def as_rate(sfreq: Any) -> float:
    """Convert to a positive finite float."""
    if not isinstance(sfreq, Real) or isinstance(sfreq, bool):
        raise TypeError(f"sfreq={sfreq!r} must be a number of samples per second.")
    rate = float(sfreq)
    if not 1 / _HIGHEST_RATE < rate < _HIGHEST_RATE:
        raise ValueError(f"sfreq={rate:g} must be a positive number of samples per second, of at most 1e10.")
    return rate


def check_positive(name: str, seconds: Any) -> None:
    """Check that a duration or unit of time is positive and finite."""
    if not isinstance(seconds, Real) or not 0 < float(seconds) < np.inf:
        raise ValueError(f"{name}={seconds!r} must be a positive number of seconds.")


def case_name(index: int, source: str | None) -> str:
    """Return the name of a case in messages: its index, and its source if it has one."""
    return f"case {index}" + (f" ({source})" if source else "")


def object_array(items: Sequence[Any]) -> npt.NDArray[np.object_]:
    """Put any objects, also arrays of different lengths, into one object array of shape (n,)."""
    array = np.empty(len(items), dtype=object)
    for i, item in enumerate(items):
        array[i] = item
    return array


def few(items: Sequence[Any], most: int = 3) -> str:
    """List the first items, and the number of the others."""
    return ", ".join(map(str, items[:most])) + (f" and {len(items) - most} more" if len(items) > most else "")


def as_times(times: Any, n_times: int) -> FloatArray:
    """Convert to float64 seconds; refuse times that decrease or whose resolution is too coarse."""
    raw = np.asarray(times)
    if raw.dtype.kind in "mM":
        raise TypeError(
            f"times must be seconds, got dtype {raw.dtype}. Pass (times - times[0]) / np.timedelta64(1, 's')."
        )
    array = as_float_array(times, "times").astype(np.float64, copy=False)
    if array.shape != (n_times,):
        raise ShapeError(f"times must have shape ({n_times},), one time per sample, got {array.shape}.")
    invalid = np.flatnonzero(~np.isfinite(array))
    if invalid.size:
        raise ValueError(
            f"times must be finite, but sample {invalid[0]} has time {array[invalid[0]]:g} ({invalid.size} in all). "
            "Leave out the samples whose time is unknown."
        )
    decreasing = np.flatnonzero(np.diff(array) < 0)
    if decreasing.size:
        i = int(decreasing[0])
        raise ValueError(
            f"times must increase or stay equal, but {array[i]:g} s is followed by {array[i + 1]:g} s "
            f"(samples {i} and {i + 1}). Sort the samples by time."
        )
    resolution = float(np.spacing(np.abs(raw).max())) if raw.dtype.kind == "f" and raw.itemsize < 8 else 0.0
    if (array[-1] - array[0]) < 8 * resolution * (n_times - 1):
        raise ValueError(
            f"times as {raw.dtype} have a resolution of {resolution:g} s near {array[-1]:g} s, too coarse for "
            f"{n_times} samples in {array[-1] - array[0]:g} s. Keep float64, or subtract the first time."
        )
    return array


def check_time_unit(times: FloatArray, sfreq: float) -> None:
    """Refuse times whose median gap is far from 1 / sfreq: they are not in seconds."""
    gap = median_gap(times) or 1 / sfreq
    if not 1 / _LARGEST_RATIO < gap * sfreq < _LARGEST_RATIO:
        raise ValueError(
            f"times must be seconds: their median gap is {gap:g}, but sfreq={sfreq:g} Hz means {1 / sfreq:g} s. "
            "Divide milliseconds by 1000 and sample numbers by sfreq; leave sfreq out if the times are right."
        )


def check_clock(times: FloatArray, n_grid: float, what: str) -> None:
    """Refuse a grid with far more points than observed samples: some times come from a wrong clock."""
    if n_grid > _LARGEST_GRID + _PER_SAMPLE * len(times):
        after, jump_s = largest_jump(times)
        raise RecordingError(
            f"{what} for {len(times)} observed: times jump by {jump_s:.4g} s after sample {after}. Correct the times, "
            "or cut the case there."
        )


def time_rounding(times: FloatArray) -> float:
    """Return the rounding error of differences of times in seconds: half a microsecond for seconds since 1970."""
    return 2 * float(np.spacing(np.abs(times).max()))


def largest_jump(times: FloatArray) -> tuple[int, float]:
    """Return the sample before the largest gap between times, and the gap [s]."""
    gaps = np.diff(times)
    return int(np.argmax(gaps)), float(gaps.max())


def median_gap(times: FloatArray) -> float:
    """Return the median of the positive gaps between times [s]; 0 if all times are equal."""
    gaps = np.diff(times)
    return float(np.median(gaps[gaps > 0])) if (gaps > 0).any() else 0.0


def refuse_infinite(data: FloatArray, source: str) -> None:
    """Refuse infinite samples; missing samples are NaN."""
    with np.errstate(all="ignore"):
        if np.isfinite(data.sum()):  # one pass without a copy, unless samples are NaN or huge
            return
    infinite = np.isinf(data)
    if infinite.any():
        raise ValueError(
            f"{source and source + ': '}it contains infinity, in {int(infinite.sum())} of {infinite.size} samples. "
            "Write NaN where a sample is missing, or clip the recording."
        )


def as_ch_names(ch_names: Any, n_channels: int) -> tuple[str, ...]:
    """Convert to a tuple of one string per channel."""
    names = tuple(str(name) for name in ch_names)
    if isinstance(ch_names, str) or len(names) != n_channels:
        raise ShapeError(f"ch_names must hold one name for each of {n_channels} channels, got {ch_names!r}.")
    if duplicates := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise ValueError(f"ch_names holds {', '.join(duplicates)} more than once. Give each channel its own name.")
    return names


def pick_rows(names: Sequence[str], picks: Sequence[str] | str | None, source: object) -> list[int]:
    """Return the indices of the picked channels, in that order, or of all; RecordingError names missing channels."""
    if picks is None:
        return list(range(len(names)))
    picked = [picks] if isinstance(picks, str) else list(picks)
    if unknown := [name for name in picked if name not in names]:
        raise RecordingError(f"{source} has no channel {', '.join(unknown)}. It has: {', '.join(names)}.")
    return [names.index(name) for name in picked]


def as_paths(paths: PathOrText | Iterable[PathOrText], name: str) -> list[Path]:
    """Convert one path or several to a list; TypeError if they are not paths, RecordingError if there are none."""
    if not isinstance(paths, str | PathLike | Iterable) or hasattr(paths, "columns"):
        raise TypeError(f"{name} must be a path or an iterable of paths, got {type(paths).__name__}.")
    items = [Path(path) for path in ([paths] if isinstance(paths, str | PathLike) else paths)]
    if not items:
        raise RecordingError(f"{name} names no file; at least one is needed.")
    return items


def check_file(path: PathOrText) -> None:
    """Raise RecordingError if the path is not a file or the file is empty."""
    if not Path(path).is_file():
        problem = "is a folder; a file is needed" if Path(path).is_dir() else "does not exist"
        raise RecordingError(f"{path} {problem}. Check the path.")
    if Path(path).stat().st_size == 0:
        raise RecordingError(f"{path} is empty (0 bytes). Copy it again or leave it out.")


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Compile a pattern: text with fields in braces, or a regular expression with named groups."""
    expression = pattern
    if "(?P<" not in pattern:
        parts = re.split(r"\{(\w+)\}", pattern)
        names = parts[1::2]
        fields = [f"(?P<{name}>[^/]+?)" if name not in names[:i] else f"(?P={name})" for i, name in enumerate(names)]
        expression = "".join(re.escape(part) if i % 2 == 0 else fields[i // 2] for i, part in enumerate(parts))
    try:
        return re.compile(expression)
    except re.error as error:
        raise ValueError(f"pattern={pattern!r} is not a regular expression: {error}.") from None
