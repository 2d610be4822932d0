"""Convert what a user gives for one case, or as paths; refuse what is not one."""

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
AUDIO_SFREQ = 4000.0  # Hz: from here on one or two channels of a plain array are audio
_PCM = {"u1": (128, 2**7), "i1": (0, 2**7), "i2": (0, 2**15), "i4": (0, 2**31)}  # silence and full scale
_FAR_TOO_WIDE = 100  # channels per sample in time; probes of 384 channels are cut to some 80 samples
_LARGEST_GRID, _PER_SAMPLE = 1_000_000, 1000  # points in any case, and for each sample
# How far the gaps between times may be from 1 / sfreq. Holes and dropped samples widen them; milliseconds passed for
# seconds do so a thousand times, sample numbers sfreq times.
_LARGEST_RATIO = 200.0
_HIGHEST_RATE = 1e10  # Hz; from a sample in three centuries on


def optional(package: str, purpose: str, extra: str = "") -> Any:
    """Import a package when it is needed; MissingDependencyError says how to install it."""
    try:
        return import_module(package)
    except ImportError:
        install = f"s4signal[{extra}]" if extra else package
        raise MissingDependencyError(f'{purpose} needs {package}: pip install "{install}".') from None


def as_numpy(data: Any) -> Any:
    """Return a tensor, which may be part of a graph, or on a card, as an array; anything else as it is."""
    return data.detach().cpu().numpy() if hasattr(data, "requires_grad") else data


def as_float_array(data: Any, name: str = "X") -> FloatArray:
    """Convert to float32 (if it is) or float64; refuse what is not real numbers."""
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
    """Whether a case is sound: it says so, or it says nothing and has the rate and channels of sound."""
    return modality == "audio" or (modality is None and sfreq is not None and sfreq >= AUDIO_SFREQ and n_channels <= 2)


def scale_pcm(data: Any, sfreq: float | None, modality: str | None = None, *, n_channels: int | None = None) -> Any:
    """Scale integer samples of sound to -1…1, as soundfile reads them; leave everything else alone."""
    data = as_numpy(data)
    kind = getattr(getattr(data, "dtype", None), "str", "")[1:]
    if kind not in _PCM or (n_channels is None and data.ndim not in (1, 2)):
        return data
    if not is_audio(modality, sfreq, len(np.atleast_2d(data)) if n_channels is None else n_channels):
        return data
    silence, full = _PCM[kind]
    return (data.astype(np.float32) - np.float32(silence)) / np.float32(full)


def in_full_scale(X: Any, sfreq: float | None) -> Any:
    """Scale integers of sound in cases that know no rate, by that of a model."""
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
    """Refuse (n_times, n_channels) of sound, as soundfile gives it: each sample would be a channel."""
    n_channels, n_times = shape
    if sfreq is not None and sfreq >= AUDIO_SFREQ and n_channels >= _FAR_TOO_WIDE * n_times:
        raise ShapeError(
            f"it has {n_channels} channels of {n_times} sample{'s' * (n_times != 1)} at {sfreq:g} Hz, so time seems to "
            "come first. A case is (n_channels, n_times): pass its transpose, x.T."
        )


def as_sfreq(sfreq: Any) -> float | None:
    """Convert to a positive finite float, NaN to None."""
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
    """Refuse a duration or a unit of time that is not positive and finite."""
    if not isinstance(seconds, Real) or not 0 < float(seconds) < np.inf:
        raise ValueError(f"{name}={seconds!r} must be a positive number of seconds.")


def case_name(index: int, source: str | None) -> str:
    """Name a case by its place, and by its source if it has one."""
    return f"case {index}" + (f" ({source})" if source else "")


def object_array(items: Sequence[Any]) -> npt.NDArray[np.object_]:
    """Keep any objects, arrays of any lengths among them, in one array of shape (n,)."""
    array = np.empty(len(items), dtype=object)
    for i, item in enumerate(items):
        array[i] = item
    return array


def few(items: Sequence[Any], most: int = 3) -> str:
    """List the first items, and say how many more there are."""
    return ", ".join(map(str, items[:most])) + (f" and {len(items) - most} more" if len(items) > most else "")


def as_times(times: Any, n_times: int) -> FloatArray:
    """Convert to float64 seconds; refuse what goes back, and what is too coarse to tell samples apart."""
    given = np.asarray(times)
    if given.dtype.kind in "mM":
        raise TypeError(
            f"times must be seconds, got dtype {given.dtype}. Pass (times - times[0]) / np.timedelta64(1, 's')."
        )
    array = as_float_array(times, "times").astype(np.float64, copy=False)
    if array.shape != (n_times,):
        raise ShapeError(f"times must have shape ({n_times},), one time per sample, got {array.shape}.")
    unknown = np.flatnonzero(~np.isfinite(array))
    if unknown.size:
        raise ValueError(
            f"times must be finite, but that of sample {unknown[0]} is {array[unknown[0]]:g} ({unknown.size} such). "
            "Leave out the samples whose time is unknown."
        )
    back = np.flatnonzero(np.diff(array) < 0)
    if back.size:
        i = int(back[0])
        raise ValueError(
            f"times must increase or stay equal, but {array[i]:g} s is followed by {array[i + 1]:g} s "
            f"(samples {i} and {i + 1}). Sort the samples by time."
        )
    coarse = float(np.spacing(np.abs(given).max())) if given.dtype.kind == "f" and given.itemsize < 8 else 0.0
    if (array[-1] - array[0]) < 8 * coarse * (n_times - 1):
        raise ValueError(
            f"times as {given.dtype} are {coarse:g} s apart near {array[-1]:g} s, too coarse for {n_times} "
            f"samples in {array[-1] - array[0]:g} s. Subtract the first time before you convert them, or keep float64."
        )
    return array


def check_time_unit(times: FloatArray, sfreq: float) -> None:
    """Refuse times whose gaps are far from what the rate says: they are no seconds."""
    gap = median_gap(times) or 1 / sfreq
    if not 1 / _LARGEST_RATIO < gap * sfreq < _LARGEST_RATIO:
        raise ValueError(
            f"times must be seconds: their median gap is {gap:g}, but sfreq={sfreq:g} Hz means {1 / sfreq:g} s. "
            "Divide milliseconds by 1000 and sample numbers by sfreq; leave sfreq out if the times are right."
        )


def check_clock(times: FloatArray, n_grid: float, what: str) -> None:
    """Refuse to lay a grid of far more points than were observed across times: one of them is of a wrong clock."""
    if n_grid > _LARGEST_GRID + _PER_SAMPLE * len(times):
        after, jump_s = largest_jump(times)
        raise RecordingError(
            f"{what} for {len(times)} observed: times jump by {jump_s:.4g} s after sample {after}. Correct that clock, "
            "or cut the case there."
        )


def largest_jump(times: FloatArray) -> tuple[int, float]:
    """Tell after which sample times jump furthest, and how far [s]."""
    gaps = np.diff(times)
    return int(np.argmax(gaps)), float(gaps.max())


def median_gap(times: FloatArray) -> float:
    """Return the median time [s] between samples that are not of one time; 0 if all are."""
    gaps = np.diff(times)
    return float(np.median(gaps[gaps > 0])) if (gaps > 0).any() else 0.0


def refuse_infinite(data: FloatArray, source: str) -> None:
    """Refuse infinite samples; a missing one is NaN."""
    with np.errstate(all="ignore"):
        if np.isfinite(data.sum()):  # one pass and no copy, for all but what is missing or huge
            return
    infinite = np.isinf(data)
    if infinite.any():
        raise ValueError(
            f"{source and source + ': '}it contains infinity, in {int(infinite.sum())} of {infinite.size} samples. "
            "Write NaN where a sample is missing, or clip the recording."
        )


def as_ch_names(ch_names: Any, n_channels: int) -> tuple[str, ...]:
    """Convert to one string per channel."""
    names = tuple(str(name) for name in ch_names)
    if isinstance(ch_names, str) or len(names) != n_channels:
        raise ShapeError(f"ch_names must hold one name for each of {n_channels} channels, got {ch_names!r}.")
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise ValueError(f"ch_names holds {', '.join(twice)} more than once. Give each channel a name of its own.")
    return names


def pick_rows(names: Sequence[str], picks: Sequence[str] | str | None, source: object) -> list[int]:
    """Find channels by name, in the order wanted; all if `picks` is None; RecordingError says which is not there."""
    if picks is None:
        return list(range(len(names)))
    wanted = [picks] if isinstance(picks, str) else list(picks)
    unknown = [name for name in wanted if name not in names]
    if unknown:
        raise RecordingError(f"{source} has no channel {', '.join(unknown)}. It has: {', '.join(names)}.")
    return [names.index(name) for name in wanted]


def as_paths(paths: PathOrText | Iterable[PathOrText], name: str) -> list[Path]:
    """Make a list of one path or several; TypeError if it is something else, RecordingError if there is none."""
    if not isinstance(paths, str | PathLike | Iterable):
        raise TypeError(f"{name} must be a path or an iterable of paths, got {paths!r}.")
    items = [Path(path) for path in ([paths] if isinstance(paths, str | PathLike) else paths)]
    if not items:
        raise RecordingError(f"{name} names no file; at least one is needed.")
    return items


def check_file(path: PathOrText) -> None:
    """Refuse what is no file, or an empty one; RecordingError."""
    if not Path(path).is_file():
        problem = "is a folder; a file is needed" if Path(path).is_dir() else "does not exist"
        raise RecordingError(f"{path} {problem}. Check the path.")
    if Path(path).stat().st_size == 0:
        raise RecordingError(f"{path} is empty (0 bytes). Copy it again or leave it out.")


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Turn fields in braces, or a regular expression with named groups, into an expression."""
    expression = pattern
    if "(?P<" not in pattern:
        parts = re.split(r"\{(\w+)\}", pattern)
        names = parts[1::2]
        fields = [f"(?P<{name}>[^/]+?)" if name not in names[:i] else f"(?P={name})" for i, name in enumerate(names)]
        expression = "".join(re.escape(part) if i % 2 == 0 else fields[i // 2] for i, part in enumerate(parts))
    try:
        return re.compile(expression)
    except re.error as error:
        raise ValueError(f"pattern={pattern!r} is no regular expression: {error}.") from None
