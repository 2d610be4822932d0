"""An instant model as plain values and tensors, and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from s4signal.errors import ModelFileError
from s4signal.estimators.closed_form.summaries import ObservationLevels
from s4signal.estimators.closed_form.transformer import S4RandomFeatures
from s4signal.estimators.model_file import estimator_entries, new_estimator, restore_learned
from s4signal.estimators.parameters import check_instant_options
from s4signal.estimators.standardizer import Standardizer
from s4signal.random_features.combinations import Chords
from s4signal.random_features.ridge import Ridge
from s4signal.random_features.statistics import OscillatorStatistics

if TYPE_CHECKING:
    from s4signal.estimators.closed_form.base import InstantEstimator

__all__ = ["pack_instant", "unpack_instant"]

_REVISION = 1  # of what the features say; a file of another is refused, as its coefficients would be of other features
_LEARNED = ("n_features_in_", "n_channels_in_", "ch_names_", "sfreq_", "fit_seconds_", "_timed")
_OPTIONAL = ("feature_names_in_",)
_PREFIX, _BANDS_PREFIX, _CHORDS_PREFIX = "statistics.", "bands.", "chords."
_CALIBRATED = ("thresholds", "scales")
_BANK = ("sfreq", "n_windows", "shrinkage")
_RIDGE = ("mean", "scale", "coef", "intercept", "left_out", "low", "high")


def pack_instant(estimator: InstantEstimator) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Take an instant model apart."""
    features, ridge = estimator.features_, estimator.ridge_
    header = {
        **estimator_entries(estimator, (*_LEARNED, *estimator._learned), optional=_OPTIONAL),
        "revision": _REVISION,
        "features": features.get_params(),
        "sizes": list(features._sizes),
        "statistics": [{name: getattr(bank, name) for name in _BANK} for bank in features._banks],
        "ridge": {"alpha": ridge.alpha, "used": [bool(used) for used in ridge.used]},
    }
    banks = dict(zip((_PREFIX, _BANDS_PREFIX), features._banks, strict=False))
    tensors = {start + k: v.contiguous() for start, bank in banks.items() for k, v in bank.state_dict().items()}
    arrays = {
        "standardizer.mean": features._standardizer.mean,
        "standardizer.scale": features._standardizer.scale,
        "fill": features._fill,
        **{f"ridge.{name}": getattr(ridge, name) for name in _RIDGE},
    }
    if features._levels is not None:
        header["levels"] = features._levels.decay
        arrays |= {f"levels.{name}": getattr(features._levels.standardizer, name) for name in ("mean", "scale")}
    tensors |= {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
    return header, tensors


def unpack_instant(kind: type, header: dict[str, Any], tensors: dict[str, torch.Tensor], path: Path) -> Any:
    """Put an instant model together."""
    estimator = new_estimator(kind, header, path, tuples=("orders",))
    check_instant_options(estimator)
    restore_learned(estimator, header, path, (*_LEARNED, *estimator._learned), optional=_OPTIONAL)
    if header.get("revision") != _REVISION:
        raise ModelFileError(f"{path} is of another version of s4signal, which has other features; fit and save again.")
    estimator.features_ = _features(estimator, header, tensors)
    arrays = {field: tensors[f"ridge.{field}"].numpy() for field in _RIDGE}
    estimator.ridge_ = Ridge(alpha=float(header["ridge"]["alpha"]), used=tuple(header["ridge"]["used"]), **arrays)
    sizes = {len(arrays[name]) for name in ("mean", "scale", "low", "high")}
    sizes |= {arrays["coef"].shape[1], len(estimator.features_._fill), len(estimator.features_.oscillators_)}
    channels = {estimator.n_channels_in_, len(tensors["standardizer.mean"]), tensors[_PREFIX + "mixes"].shape[-1]}
    if len(sizes) > 1 or len(channels) > 1:
        raise ModelFileError(f"{path} is damaged: its entries are of models of different sizes.")
    return estimator


def _features(estimator: Any, header: dict[str, Any], tensors: dict[str, torch.Tensor]) -> S4RandomFeatures:
    features = S4RandomFeatures(**{**header["features"], "orders": estimator.orders})
    check_instant_options(features)
    drawn, *narrow = header["statistics"]
    features.statistics_ = _bank(drawn, tensors, _PREFIX)
    features._bands = _bank(narrow[0], tensors, _BANDS_PREFIX) if narrow else None
    mean, scale = tensors["standardizer.mean"].numpy(), tensors["standardizer.scale"].numpy()
    features._standardizer, features._fill = Standardizer(mean, scale), tensors["fill"].numpy()
    features._levels = None
    if "levels" in header:
        level = Standardizer(tensors["levels.mean"].numpy(), tensors["levels.scale"].numpy())
        features._levels = ObservationLevels(level, float(header["levels"]))
    features._sizes = tuple(header["sizes"])
    features.n_features_in_ = estimator.n_channels_in_  # it heard `Signals`, whatever the form of X
    for name in ("n_channels_in_", "ch_names_", "sfreq_", "_timed"):
        setattr(features, name, getattr(estimator, name))
    return features


def _bank(options: dict[str, Any], tensors: dict[str, torch.Tensor], prefix: str) -> OscillatorStatistics:
    buffers = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    notes = {k.removeprefix(_CHORDS_PREFIX): v for k, v in buffers.items() if k.startswith(_CHORDS_PREFIX)}
    shapes: dict[str, Any] = {k: v for k, v in buffers.items() if k not in _CALIBRATED and k.count(".") == 0}
    chords = Chords(**{k: v for k, v in notes.items() if k not in _CALIBRATED}) if notes else None
    bank = OscillatorStatistics(**shapes, **options, chords=chords)
    bank.load_state_dict(buffers)
    return bank
