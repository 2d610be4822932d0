"""A fitted estimator in one safetensors file: tensors, and plain values as JSON in the header."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from s4signal.errors import ModelFileError
from s4signal.estimators.options import check_options
from s4signal.estimators.preparation import NetworkPlan, build_network
from s4signal.estimators.sampling import Sampling
from s4signal.estimators.standardizer import Standardizer
from s4signal.training import PRECISIONS, resolve_device

if TYPE_CHECKING:
    from s4signal.estimators.base import S4Estimator

__all__ = ["load_estimator", "plain_value", "read_model", "restored_value", "save_estimator", "write_model"]

_FORMAT = "s4signal 1"
# And each class's own.
_LEARNED = ("n_features_in_", "n_channels_in_", "ch_names_", "sfreq_", "n_iter_", "best_epoch_", "history_")
_OPTIONAL = ("feature_names_in_", "fit_seconds_")
_KINDS = "OUbiuf"  # of arrays that have a plain form
_PREFIX = "network."


def save_estimator(estimator: S4Estimator, path: Any) -> None:
    """Write an estimator.

    Parameters
    ----------
    estimator : S4Estimator
        Fitted.
    path : path
        The file.

    Raises
    ------
    ValueError
        If a parameter or label has no plain form.
    FileNotFoundError
        If there is no such folder.
    """
    parameters = {k: v for k, v in estimator.get_params(deep=False).items() if k != "callbacks"}
    if isinstance(parameters.get("class_weight"), dict):
        # As pairs: the keys of a JSON object are strings, labels need not be.
        parameters["class_weight"] = list(parameters["class_weight"].items())
    present = [name for name in _OPTIONAL if hasattr(estimator, name)]
    header = {
        "estimator": type(estimator).__name__,
        "parameters": parameters,
        "plan": {**estimator._plan._asdict(), "sampling": estimator._plan.sampling._asdict()},
        "learned": {n: plain_value(getattr(estimator, n)) for n in (*_LEARNED, *estimator._learned, *present)},
    }
    tensors = {_PREFIX + k: v.detach().cpu().contiguous() for k, v in estimator.network_.state_dict().items()}
    tensors["mean"] = torch.from_numpy(estimator._standardizer.mean)
    tensors["scale"] = torch.from_numpy(estimator._standardizer.scale)
    write_model(path, header, tensors)


def write_model(path: Any, header: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    """Write a header and tensors to one file.

    Parameters
    ----------
    path : path
        The file.
    header : dict
        Values that have a plain form; the versions are added.
    tensors : dict of Tensor
        What does not fit into the header.

    Raises
    ------
    ValueError
        If a value of the header has no plain form.
    FileNotFoundError
        If there is no such folder.
    """
    try:
        text = json.dumps({**header, "versions": _versions()}, default=_number)
    except TypeError as error:
        raise ValueError(f"{error}; set the parameter to a plain value (random_state to a number) to save.") from None
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path.parent} does not exist; make the folder first.")
    save_file(tensors, path, metadata={"format": _FORMAT, "header": text})


def load_estimator(kind: type, path: Any) -> Any:
    """Read an estimator.

    Parameters
    ----------
    kind : type
        The class that is asked for; a base class takes any of its children.
    path : path
        The file.

    Returns
    -------
    estimator
        Of the class in the file, on the CPU.

    Raises
    ------
    ModelFileError
        If the file is not such a file, is damaged, or holds another estimator.
    """
    return read_model(path, lambda header, tensors: _rebuild(kind, header, tensors, Path(path)))


def read_model(path: Any, rebuild: Callable[[dict[str, Any], dict[str, torch.Tensor]], Any]) -> Any:
    """Read what `write_model` wrote, and build an estimator from it.

    Parameters
    ----------
    path : path
        The file.
    rebuild : callable
        Makes the estimator of header and tensors; whatever it raises on odd entries means that the file is damaged.

    Returns
    -------
    estimator
        What ``rebuild`` returned.

    Raises
    ------
    ModelFileError
        If the file is not such a file, or is damaged.
    """
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
        return rebuild(header, tensors)
    except ModelFileError:
        raise
    except (SafetensorError, OSError, LookupError, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise ModelFileError(f"{path} is not a model that s4signal saved, or it is damaged: {error}") from error


def _rebuild(kind: type, header: dict[str, Any], tensors: dict[str, torch.Tensor], path: Path) -> Any:
    name = header["estimator"]
    matching = [c for c in (kind, *kind.__subclasses__()) if c.__name__ == name]
    if not matching:
        raise ModelFileError(f"{path} holds a {name}, not a {kind.__name__}; use {name}.load.")
    parameters = header["parameters"]
    if isinstance(parameters.get("timescale"), list):
        parameters["timescale"] = tuple(parameters["timescale"])
    if isinstance(parameters.get("class_weight"), list):
        parameters["class_weight"] = dict(parameters["class_weight"])
    estimator = matching[0](**parameters)
    check_options(estimator)
    try:
        resolve_device(estimator.device)
    except ValueError:
        estimator.device = "auto"  # fitted on a device that this machine does not have
    plan = _plan(header["plan"])
    with torch.random.fork_rng(devices=[]):
        network = build_network(plan).to(PRECISIONS[estimator.precision])
    weights = {k.removeprefix(_PREFIX): v for k, v in tensors.items() if k.startswith(_PREFIX)}
    network.load_state_dict(weights)
    estimator.network_, estimator._plan = network.eval(), plan
    estimator._standardizer = Standardizer(tensors["mean"].numpy(), tensors["scale"].numpy())
    estimator._optimizer_state = {}
    learned = header["learned"]
    needed = (*_LEARNED, *estimator._learned)
    odd = sorted(set(needed) ^ (set(learned) - set(_OPTIONAL)))
    if odd:
        raise ModelFileError(f"{path} is damaged: {', '.join(odd)} is missing or does not belong there.")
    for attribute, value in learned.items():
        setattr(estimator, attribute, restored_value(value))
    if not plan.n_channels == estimator.n_channels_in_ == len(tensors["mean"]) == len(tensors["scale"]):
        raise ModelFileError(f"{path} is damaged: its entries are of models with different numbers of channels.")
    return estimator


def _plan(entries: dict[str, Any]) -> NetworkPlan:
    sampling = Sampling(**{**entries["sampling"], "masked": tuple(entries["sampling"]["masked"])})
    return NetworkPlan(**{**entries, "dt_range": tuple(entries["dt_range"]), "sampling": sampling})


def plain_value(value: Any) -> Any:
    """Turn an array into its dtype and values; anything else stays."""
    if not isinstance(value, np.ndarray):
        return value
    plain = value.dtype.kind in _KINDS
    if value.dtype.kind == "O":
        plain = all(isinstance(v, str | bool | int | float) for v in value.tolist())
    if not plain:
        raise ValueError(f"labels of dtype {value.dtype} cannot be saved; fit with strings or numbers as labels.")
    return {"dtype": value.dtype.str, "values": value.tolist()}


def restored_value(value: Any) -> Any:
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
