"""An ensemble as plain values and tensors, and back: every member as it is packed alone, under its number."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from sklearn.base import clone
from torch import nn

from s4signal.errors import ModelFileError
from s4signal.estimators.classifier import S4Classifier
from s4signal.estimators.instant import S4RidgeClassifier
from s4signal.estimators.instant_persistence import pack_instant, unpack_instant
from s4signal.estimators.model_file import estimator_entries, new_estimator, restore_learned
from s4signal.estimators.persistence import pack_estimator, unpack_estimator

if TYPE_CHECKING:
    from s4signal.estimators.ensemble import S4Ensemble

__all__ = ["pack_ensemble", "unpack_ensemble"]

Packed = tuple[dict[str, Any], dict[str, torch.Tensor]]

_LEARNED = ("classes_", "n_features_in_")
_OPTIONAL = ("feature_names_in_",)
_MEMBERS: dict[type, tuple[Callable[[Any], Packed], Callable[..., Any]]] = {
    S4Classifier: (pack_estimator, unpack_estimator),
    S4RidgeClassifier: (pack_instant, unpack_instant),
}


def pack_ensemble(ensemble: S4Ensemble) -> Packed:
    """Take an ensemble apart.

    Parameters
    ----------
    ensemble : S4Ensemble
        Fitted.

    Returns
    -------
    header : dict
        Values for `write_model`.
    tensors : dict of Tensor
        What does not fit into the header.

    Raises
    ------
    ValueError
        If a member is of a class that has no file or has a module as front end, or a label has no plain form.
    """
    parts = []
    for member in ensemble.estimators_:
        if type(member) not in _MEMBERS:
            raise ValueError(
                f"a {type(member).__name__} cannot be saved in an ensemble; its members must be of "
                f"{' or '.join(kind.__name__ for kind in _MEMBERS)}. Use joblib for others."
            )
        if isinstance(getattr(member, "frontend", None), nn.Module):
            raise ValueError(
                "a member has a torch module as frontend, which a file of an ensemble does not hold; save the members "
                "one by one."
            )
        parts.append(_MEMBERS[type(member)][0](member))
    header = {
        **estimator_entries(ensemble, _LEARNED, optional=_OPTIONAL, left_out=("estimators", "weights")),
        "weights": None if ensemble.weights is None else [float(weight) for weight in ensemble.weights],
        "default": ensemble.estimators is None,
        "members": [member for member, _ in parts],
    }
    return header, {f"{i}.{name}": tensor for i, (_, tensors) in enumerate(parts) for name, tensor in tensors.items()}


def unpack_ensemble(kind: type, header: dict[str, Any], tensors: dict[str, torch.Tensor], path: Path) -> Any:
    """Put an ensemble together.

    Parameters
    ----------
    kind : type
        The class that is asked for.
    header, tensors : dict
        As `pack_ensemble` gave them.
    path : Path
        The file that they were in.

    Returns
    -------
    ensemble
        With fitted members, and the same ones without what they learned as its parameter.

    Raises
    ------
    ModelFileError
        If the entries do not belong together, or are of another estimator.
    """
    ensemble = new_estimator(kind, header, path)
    kinds = {member.__name__: member for member in _MEMBERS}
    ensemble.estimators_ = []
    for index, entries in enumerate(header["members"]):
        member = kinds[entries["estimator"]]
        own = {k.removeprefix(f"{index}."): v for k, v in tensors.items() if k.startswith(f"{index}.")}
        ensemble.estimators_.append(_MEMBERS[member][1](member, entries, own, path))
    ensemble.estimators = None if header["default"] else [clone(member) for member in ensemble.estimators_]
    ensemble.weights = header["weights"]
    ensemble._check_weights(len(ensemble.estimators_))
    restore_learned(ensemble, header, path, _LEARNED, optional=_OPTIONAL)
    if any(member.classes_.tolist() != ensemble.classes_.tolist() for member in ensemble.estimators_):
        raise ModelFileError(f"{path} is damaged: its members know other classes.")
    return ensemble
