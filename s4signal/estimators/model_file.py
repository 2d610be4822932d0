"""Fitted models as plain values and arrays, in one file.

Each part returns its state by `to_state`, and is restored by a `from_state` that checks all values, because a file may
contain anything. Any fault of a file is a `ModelFileError`.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from s4signal.errors import ModelFileError
from s4signal.training.tensor_file import read_tensor_file, write_tensor_file
from s4signal.version import __version__

_PLAIN_DTYPE = re.compile(r"[<>|]?[OUbiuf]\d{0,6}")  # of arrays that can be stored as plain values
_MOST_CHARACTERS = 2**22  # in an array of strings, padding included
# Parameters that act on the disk or run code are not stored.
_NEVER_KEPT = ("callbacks", "checkpoint_dir")

T = TypeVar("T")


class State(NamedTuple):
    """State of a part of a model: `plain` has the form of JSON, `arrays` are numbers; names are local to the part."""

    plain: dict[str, Any]
    arrays: dict[str, NDArray[Any]]

    def nest(self, name: str, part: "State") -> "State":
        """Return this state with another one nested in it."""
        arrays = {f"{name}.{key}": array for key, array in part.arrays.items()}
        return State({**self.plain, name: part.plain}, {**self.arrays, **arrays})

    def part(self, name: str) -> "State":
        """Return the state that was nested under a name."""
        arrays = {k.removeprefix(f"{name}."): v for k, v in self.arrays.items() if k.startswith(f"{name}.")}
        return State(self.value(name, dict), arrays)

    def value(self, name: str, *kinds: type | None, low: float = -math.inf, high: float = math.inf) -> Any:
        """Return a plain value of one of the types (bool, int, float, str, list, dict, None).

        A float may be stored as a whole number and must be finite; numbers must be in [low, high].
        """
        if name not in self.plain:
            raise ModelFileError(f"the entry {name} is missing.")
        return _checked(self.plain[name], name, kinds, low, high)

    def values(self, name: str, *kinds: type | None, length: int | None = None, low: float = -math.inf) -> list[Any]:
        """Return a list with items of one of the types; with `length` items, if this is given."""
        items = self.value(name, list)
        if length is not None and len(items) != length:
            raise ModelFileError(f"the entry {name} must have {length} items, it has {len(items)}.")
        return [_checked(item, name, kinds, low, math.inf) for item in items]

    def array(
        self, name: str, *shape: int | None, kinds: str = "f", positive: bool = False, finite: bool = True
    ) -> NDArray[Any]:
        """Return an array of this shape (None: any length) whose dtype is one of numpy's kinds."""
        if name not in self.arrays:
            raise ModelFileError(f"the array {name} is missing.")
        array = self.arrays[name]
        fits = len(shape) == array.ndim and all(n in (None, m) for n, m in zip(shape, array.shape, strict=True))
        if not fits or array.dtype.kind not in kinds:
            raise ModelFileError(
                f"the array {name} has shape {array.shape} and dtype {array.dtype}, it must have shape {shape}."
            )
        if finite and array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ModelFileError(f"the array {name} has values that are not finite.")
        if positive and not (array > 0).all():
            raise ModelFileError(f"the array {name} has values that are not positive.")
        return array


def write_model(path: Any, state: State) -> None:
    """Write a state to one file; an existing file is kept until the new one is complete."""
    try:
        versions = {"s4signal": __version__, "torch": torch.__version__, "numpy": np.__version__}
        text = json.dumps({**state.plain, "versions": versions}, default=_plain)
    except TypeError as error:
        raise ValueError(f"{error}; set the parameter to a plain value (random_state to a number) to save.") from None
    write_tensor_file(path, state.arrays, text, kind="model")


def read_model(path: Any) -> State:
    """Read the state that `write_model` wrote, if the file is unchanged to the last bit."""
    arrays, text = read_tensor_file(path, kind="model")
    try:
        plain = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path} has a header that cannot be read: {error}") from error
    if not isinstance(plain, dict):
        raise ModelFileError(f"{path} has a header that is not a mapping.")
    return State(plain, arrays)


def load_model(path: Any, from_state: Callable[[State], T]) -> T:
    """Restore a model from a file; any failure is reported as a fault of the file."""
    state = read_model(path)
    try:
        return from_state(state)
    except ModelFileError as error:
        raise ModelFileError(f"{path} cannot be loaded: {error}") from error
    except Exception as error:
        raise ModelFileError(f"{path} is not a model that s4signal saved, or it is damaged: {error}") from error


def estimator_state(estimator: Any, *, left_out: Iterable[str] = ()) -> State:
    """Return the class of an estimator, its parameters and the form of its input."""
    kept = {k: v for k, v in estimator.get_params(deep=False).items() if k not in {*left_out, *_NEVER_KEPT}}
    kept = {name: value.tolist() if hasattr(value, "tolist") else value for name, value in kept.items()}
    if isinstance(kept.get("class_weight"), dict):
        # As pairs: the keys of a JSON object are strings, but labels may be of other types.
        kept["class_weight"] = list(kept["class_weight"].items())
    names = ("n_features_in_", "n_channels_in_", "ch_names_", "sfreq_", "feature_names_in_", "fit_seconds_")
    taken = {name: getattr(estimator, name) for name in names if hasattr(estimator, name)}
    return State({"estimator": type(estimator).__name__, "parameters": kept, "input": taken}, {})


def packed(estimator: Any) -> NDArray[np.uint8]:
    """Return the file of an estimator as an array, for another file."""
    with TemporaryDirectory() as folder:
        estimator.save(Path(folder) / "part")
        return np.frombuffer((Path(folder) / "part").read_bytes(), dtype=np.uint8)


def unpacked(kinds: Mapping[str, Any], kind: str, state: State, name: str, *, what: str, **given: Any) -> Any:
    """Load the estimator of `packed`, of one of these classes; ``what`` begins the error message."""
    if kind not in kinds:
        raise ModelFileError(f"{what} {kind[:40]}, which no file may hold.")
    with TemporaryDirectory() as folder:
        (Path(folder) / "part").write_bytes(state.array(name, None, kinds="u").tobytes())
        return kinds[kind].load(Path(folder) / "part", **given)


def estimator_from_state(kind: type, state: State, *, tuples: Sequence[str] = ()) -> Any:
    """Return an estimator with the parameters and the input of `estimator_state`; `tuples` names tuple parameters.

    The parameters are not checked yet.
    """
    name = state.value("estimator", str)
    matching: list[Any] = [c for c in (kind, *kind.__subclasses__()) if c.__name__ == name]
    if not matching:
        function = "load_pipeline" if name == "Pipeline" else f"{name}.load"
        raise ModelFileError(f"it holds a {name}, not a {kind.__name__}; use {function}.")
    parameters = dict(state.value("parameters", dict))
    unknown = sorted(set(parameters) - ({*matching[0]().get_params(deep=False)} - {*_NEVER_KEPT}))
    if unknown:
        raise ModelFileError(f"it holds the parameters {', '.join(unknown)}, which no file may set.")
    if isinstance(parameters.get("class_weight"), list):
        parameters["class_weight"] = dict(parameters["class_weight"])
    parameters |= {name: tuple(parameters[name]) for name in tuples if isinstance(parameters.get(name), list)}
    estimator = matching[0](**parameters)
    _restore_input(estimator, state.part("input"))
    return estimator


def _restore_input(estimator: Any, state: State) -> None:
    n_channels = estimator.n_channels_in_ = state.value("n_channels_in_", int, low=1)
    estimator.n_features_in_ = state.value("n_features_in_", int, low=1)
    estimator.sfreq_ = state.value("sfreq_", float, None, low=np.nextafter(0, 1))
    named = state.value("ch_names_", list, None) is not None
    estimator.ch_names_ = state.values("ch_names_", str, length=n_channels) if named else None
    if "fit_seconds_" in state.plain:
        estimator.fit_seconds_ = state.value("fit_seconds_", float, low=0)
    if "feature_names_in_" in state.plain:
        names = array_from_plain(state.plain["feature_names_in_"])
        if names.shape != (estimator.n_features_in_,) or not all(isinstance(name, str) for name in names):
            raise ModelFileError("feature_names_in_ must be one string for each feature.")
        estimator.feature_names_in_ = names


def array_from_plain(value: Any) -> NDArray[Any]:
    """Return the one-dimensional array of labels or names that `write_model` stored as its dtype and its values."""
    state = State(value if isinstance(value, dict) else {}, {})
    text, values = state.value("dtype", str), state.values("values", bool, int, float, str)
    if not _PLAIN_DTYPE.fullmatch(text):
        raise ModelFileError(f"an array of dtype {text[:40]} is not allowed in a model file.")
    dtype = np.dtype(text)
    if dtype.kind == "U" and dtype.itemsize * len(values) > 4 * _MOST_CHARACTERS:
        raise ModelFileError(f"an array of {len(values)} strings of dtype {text} is too large for a model file.")
    array = np.array(values, dtype=dtype)
    if array.tolist() != values:
        raise ModelFileError(f"the values of an array are not of its dtype, {text}.")
    return array


def _checked(value: Any, name: str, kinds: tuple[type | None, ...], low: float, high: float) -> Any:
    kind = None if value is None else type(value)
    if kind is int and int not in kinds and float in kinds:
        value, kind = float(value), float
    if kind not in kinds:
        types = " or ".join("null" if kind is None else kind.__name__ for kind in kinds)
        raise ModelFileError(f"the entry {name} must be {types}, got {repr(value)[:60]}.")
    if kind in (int, float) and not (low <= value <= high and math.isfinite(value)):
        raise ModelFileError(f"the entry {name} is out of range: {repr(value)[:60]}.")
    return value


def _plain(value: Any) -> Any:
    """Convert a value of numpy, torch or pathlib to the form of JSON."""
    if isinstance(value, np.ndarray):
        return _plain_array(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, torch.device | Path):
        return str(value)
    raise TypeError(f"a value of type {type(value).__name__} has no plain form")


def _plain_array(array: NDArray[Any]) -> dict[str, Any]:
    plain = _PLAIN_DTYPE.fullmatch(array.dtype.str) is not None and array.itemsize * array.size <= 4 * _MOST_CHARACTERS
    if array.dtype.kind == "O":
        plain = all(isinstance(value, str | bool | int | float) for value in array.tolist())
    if not plain:
        raise ValueError(f"labels of dtype {array.dtype} cannot be saved; fit with strings or numbers as labels.")
    return {"dtype": array.dtype.str, "values": array.tolist()}
