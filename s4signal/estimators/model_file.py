"""One safetensors file: tensors, and plain values as JSON in the header."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from s4signal.errors import ModelFileError

__all__ = ["estimator_entries", "new_estimator", "read_model", "restore_learned", "write_model"]

_FORMAT = "s4signal 1"
_KINDS = "OUbiuf"  # of arrays that have a plain form


def write_model(path: Any, header: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    """Write a header and tensors to one file."""
    try:
        text = json.dumps({**header, "versions": _versions()}, default=_number)
    except TypeError as error:
        raise ValueError(f"{error}; set the parameter to a plain value (random_state to a number) to save.") from None
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path.parent} does not exist; make the folder first.")
    save_file(tensors, path, metadata={"format": _FORMAT, "header": text})


def read_model(path: Any, rebuild: Callable[[dict[str, Any], dict[str, torch.Tensor], Path], Any]) -> Any:
    """Read what `write_model` wrote, and build an estimator from it."""
    path = Path(path)
    if not path.is_file():
        raise ModelFileError(f"{path} does not exist or is no file.")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != _FORMAT:
                raise ModelFileError(f"{path} is a safetensors file, but not a model of s4signal.")
            header = json.loads(metadata["header"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        return rebuild(header, tensors, path)
    except ModelFileError:
        raise
    except (SafetensorError, OSError, LookupError, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise ModelFileError(f"{path} is not a model that s4signal saved, or it is damaged: {error}") from error


def estimator_entries(
    estimator: Any, learned: Iterable[str], *, optional: Iterable[str] = (), left_out: Iterable[str] = ()
) -> dict[str, Any]:
    """Say in plain values what class an estimator is of, its parameters and what it learned."""
    parameters = {k: v for k, v in estimator.get_params(deep=False).items() if k not in set(left_out)}
    if isinstance(parameters.get("class_weight"), dict):
        # As pairs: the keys of a JSON object are strings, labels need not be.
        parameters["class_weight"] = list(parameters["class_weight"].items())
    names = (*learned, *(name for name in optional if hasattr(estimator, name)))
    return {
        "estimator": type(estimator).__name__,
        "parameters": parameters,
        "learned": {name: _plain(getattr(estimator, name)) for name in names},
    }


def new_estimator(kind: type, header: dict[str, Any], path: Path, *, tuples: Iterable[str] = ()) -> Any:
    """Make an unfitted estimator of a header that holds `estimator_entries`."""
    name = header["estimator"]
    matching = [c for c in (kind, *kind.__subclasses__()) if c.__name__ == name]
    if not matching:
        raise ModelFileError(f"{path} holds a {name}, not a {kind.__name__}; use {name}.load.")
    parameters = header["parameters"]
    if isinstance(parameters.get("class_weight"), list):
        parameters["class_weight"] = dict(parameters["class_weight"])
    parameters |= {name: tuple(parameters[name]) for name in tuples if isinstance(parameters[name], list)}
    return matching[0](**parameters)


def restore_learned(
    estimator: Any, header: dict[str, Any], path: Path, learned: Iterable[str], *, optional: Iterable[str] = ()
) -> None:
    """Set what an estimator learned."""
    odd = sorted(set(learned) ^ (set(header["learned"]) - set(optional)))
    if odd:
        raise ModelFileError(f"{path} is damaged: {', '.join(odd)} is missing or does not belong there.")
    for name, value in header["learned"].items():
        setattr(estimator, name, _restored(value))


def _plain(value: Any) -> Any:
    """Turn an array into its dtype and values; anything else stays."""
    if not isinstance(value, np.ndarray):
        return value
    plain = value.dtype.kind in _KINDS
    if value.dtype.kind == "O":
        plain = all(isinstance(v, str | bool | int | float) for v in value.tolist())
    if not plain:
        raise ValueError(f"labels of dtype {value.dtype} cannot be saved; fit with strings or numbers as labels.")
    return {"dtype": value.dtype.str, "values": value.tolist()}


def _restored(value: Any) -> Any:
    """Turn the dtype and values of an array back into it; anything else stays."""
    if not isinstance(value, dict):
        return value
    dtype = np.dtype(value["dtype"])
    if dtype.kind not in _KINDS:
        raise ModelFileError(f"an array of dtype {dtype} does not belong into a model file.")
    return np.array(value["values"], dtype=dtype)


def _number(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, torch.device | Path):
        return str(value)
    raise TypeError(f"a value of type {type(value).__name__} has no plain form")


def _versions() -> dict[str, str]:
    from s4signal import __version__

    return {"s4signal": __version__, "torch": torch.__version__, "numpy": np.__version__}
