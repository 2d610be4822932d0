"""Convert every supported form of input to a list of cases."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from os import PathLike
from typing import Any

import numpy as np

from s4signal.errors import RecordingError, ShapeError
from s4signal.signals.audio_file import open_audio, open_content
from s4signal.signals.case import Signal
from s4signal.signals.checks import as_float_array, as_numpy
from s4signal.signals.lazy import Case, LazyCase
from s4signal.signals.mne_objects import cases_from_epochs, cases_from_raws, is_epochs, is_raw, refuse_other_mne
from s4signal.signals.summary import name_errors


def cases_from(data: Any, sfreq: Any = None) -> list[Case]:
    """Convert arrays, lists and MNE objects to cases; `sfreq` is one rate, one per case, or None."""
    data = [data] if _is_pair(data) or type(data) is dict else as_numpy(data)
    if type(data).__module__.split(".")[0] == "datasets" or hasattr(data, "to_list"):  # a Hugging Face column
        data = list(data)
    object_dtype = isinstance(data, np.ndarray) and data.dtype == object and data.ndim == 1
    listed = isinstance(data, list | tuple) or (object_dtype and not all(map(np.isscalar, data)))
    items = [_from_audio(i, item) for i, item in enumerate(data)] if listed else [data]
    if not items:
        raise ShapeError("X holds no case; at least one is needed.")
    epochs, raws = [is_epochs(item) for item in items], [is_raw(item) for item in items]
    if all(epochs):
        return cases_from_epochs(items)
    if all(raws):
        return cases_from_raws(items)
    if any(epochs) or any(raws):
        raise TypeError("X mixes mne.Epochs or Raw with other things. Pass only Epochs, only Raw, or only arrays.")
    _refuse_unsupported(data, items[0])
    if not listed or all(map(np.isscalar, items)):  # plain numbers: the error describes the shape needed
        items = _rows(data if isinstance(data, np.ndarray) else as_float_array(data))
    return [
        item if isinstance(item, Signal | LazyCase) else name_errors(i, "", partial(Signal, item, sfreq=rate))
        for i, (item, rate) in enumerate(zip(items, _one_rate_each(sfreq, len(items)), strict=True))
    ]


def describe_cases(cases: Sequence[Case], *, sfreq: Any, times: Any, ch_names: Any) -> list[Case]:
    """Set rates, times (one array (n_times_i,) each) and names of cases; values that they already have must agree."""
    n = len(cases)
    all_times = [None] * n if times is None else _one_each(times, n, "times")
    return [
        name_errors(i, case.source, partial(_describe, case, rate, t, ch_names))
        for i, (case, rate, t) in enumerate(zip(cases, _one_rate_each(sfreq, n), all_times, strict=True))
    ]


def _refuse_unsupported(data: Any, first: Any) -> None:
    if isinstance(data, Signal):
        raise TypeError("X is one Signal, but a list of them is needed. Pass [signal].")
    if isinstance(first, str | PathLike):
        raise TypeError(
            f"X holds {str(first)!r}, but recordings are needed. Open files with Signals.from_files, or with read_eeg, "
            "read_csv or another reader of s4signal.signals."
        )
    refuse_other_mne(first)


def _rows(array: Any) -> list[Any]:
    if array.ndim not in (2, 3):
        hint = (
            "one case of one channel is X.reshape(1, -1), many cases of one sample are X.reshape(-1, 1)."
            if array.ndim == 1
            else "the first axis is the case, the second the channel, the third the time."
        )
        forms = "(n_samples, n_channels, n_times), or (n_samples, n_times) for one channel"
        raise ShapeError(f"X must have shape {forms}; got {array.shape}. Reshape your data: {hint}")
    if 0 in array.shape:
        what = "feature" if len(array) else "sample"
        raise ShapeError(f"Found array with 0 {what}(s) (shape={array.shape}) while a minimum of 1 is required.")
    return list(array)


def _describe(case: Case, sfreq: Any, times: Any, ch_names: Any) -> Case:
    new: dict[str, Any] = {}
    if sfreq is not None and case.sfreq is None:
        new["sfreq"] = sfreq
    elif sfreq is not None and sfreq != case.sfreq:
        raise RecordingError(
            f"it is sampled at {case.sfreq:g} Hz, but sfreq={sfreq} was passed. Leave sfreq out, or call resample."
        )
    if ch_names is not None and case.ch_names is None:
        new["ch_names"] = ch_names
    elif ch_names is not None and tuple(ch_names) != case.ch_names:
        raise RecordingError(f"it already has the channel names {case.ch_names}. Leave ch_names out.")
    if times is not None:
        new["times"] = times
        if case.has_times and not np.array_equal(times, np.asarray(case.load().times)):
            raise RecordingError("it already has other times. Leave times out.")
    return replace(case.load(), **new) if new else case


def _one_rate_each(sfreq: Any, n: int) -> list[Any]:
    return [sfreq] * n if sfreq is None or np.ndim(sfreq) == 0 else _one_each(sfreq, n, "sfreq")


def _one_each(values: Any, n: int, name: str) -> list[Any]:
    wrong_length = hasattr(values, "__len__") and len(values) != n
    if wrong_length or not hasattr(values, "__len__") or any(np.ndim(v) == (name == "sfreq") for v in values):
        needed = "one number, or one" if name == "sfreq" else "one array of shape (n_times_i,)"
        got = f"{len(values)} of them" if wrong_length else repr(values)[:60]
        raise ShapeError(f"{name} must be {needed} for each case ({n} cases), got {got}.")
    return list(values)


def _from_audio(i: int, item: Any) -> Any:
    """Convert the output of librosa.load or torchaudio.load, or an item of a Hugging Face audio column, to a case."""
    is_audio = isinstance(item, Mapping) or _is_pair(item) or hasattr(item, "get_all_samples")
    return name_errors(i, "", partial(_case, item)) if is_audio else item


def _is_pair(item: Any) -> bool:
    """Return whether this is an array and a scalar, its rate, in either order; scipy.io.wavfile has the rate first."""
    paired = isinstance(item, tuple) and len(item) == 2 and any(hasattr(part, "__array__") for part in item)
    return paired and sorted(min(np.ndim(part), 1) for part in item) == [0, 1]


def _case(item: Any) -> Case:
    if isinstance(item, tuple):
        data, sfreq = item if np.ndim(item[0]) else item[::-1]
        return Signal(np.asarray(data), sfreq=sfreq)
    if not isinstance(item, Mapping):  # a torchcodec decoder
        samples = item.get_all_samples()
        return Signal(np.asarray(samples.data), sfreq=samples.sample_rate, modality="audio")
    path = item.get("path")
    if item.get("array") is not None and item.get("sampling_rate") is not None:
        array = np.asarray(item["array"])
        return Signal(array, sfreq=item["sampling_rate"], source=str(path or ""), modality="audio")
    if item.get("bytes") is not None:
        return open_content(bytes(item["bytes"]), str(path or "bytes"))
    if path:
        return open_audio(path)
    raise TypeError(
        f"a dict of audio must have array and sampling_rate, bytes, or path; this one has {', '.join(map(str, item))}."
    )
