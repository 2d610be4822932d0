"""Sound as other packages hand it over: (array, rate), dicts of array, bytes or path, and decoders."""

from collections.abc import Mapping
from functools import partial
from numbers import Real
from typing import Any

import numpy as np

from s4signal.signals.audio_file import open_audio, open_audio_bytes
from s4signal.signals.case import Signal
from s4signal.signals.lazy import Case
from s4signal.signals.summary import name_errors


def with_audio_items(data: Any) -> Any:
    """Replace what librosa.load, torchaudio.load and audio columns of Hugging Face datasets give by cases.

    What holds no such item is returned as it came; nothing is imported.
    """
    if _is_pair(data):
        data = [data]
    if type(data).__module__.split(".")[0] == "datasets":  # a column is a sequence, but no list
        data = list(data)
    is_array = isinstance(data, np.ndarray) and data.dtype == object and data.ndim == 1
    if not (isinstance(data, list | tuple) or is_array) or not any(map(_is_item, data)):
        return data
    return [name_errors(i, "", partial(_case, item)) if _is_item(item) else item for i, item in enumerate(data)]


def _is_item(item: Any) -> bool:
    return isinstance(item, Mapping) or _is_pair(item) or hasattr(item, "get_all_samples")


def _is_pair(item: Any) -> bool:
    """Whether this is (array, rate)."""
    paired = isinstance(item, tuple) and len(item) == 2 and hasattr(item[0], "__array__") and np.ndim(item[0]) > 0
    return paired and isinstance(item[1], Real) and not isinstance(item[1], bool)


def _case(item: Any) -> Case:
    if isinstance(item, tuple):
        return Signal(np.asarray(item[0]), sfreq=item[1])
    if not isinstance(item, Mapping):  # a decoder of torchcodec
        samples = item.get_all_samples()
        return Signal(np.asarray(samples.data), sfreq=samples.sample_rate, modality="audio")
    path = item.get("path")
    if item.get("array") is not None and item.get("sampling_rate") is not None:
        array = np.asarray(item["array"])
        return Signal(array, sfreq=item["sampling_rate"], source=str(path or ""), modality="audio")
    if item.get("bytes") is not None:
        return open_audio_bytes(bytes(item["bytes"]), name=str(path or "bytes"))
    if path:
        return open_audio(path)
    raise TypeError(
        f"a dict of audio must have array and sampling_rate, bytes, or path; this one has {', '.join(map(str, item))}."
    )
