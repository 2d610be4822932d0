"""Structured state space models for EEG, PPG, ECG and speech, as scikit-learn estimators."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from s4signal.version import __version__

if TYPE_CHECKING:
    from s4signal.estimators import S4Classifier, S4Regressor, S4RidgeClassifier, S4RidgeRegressor
    from s4signal.signals import Signals, read_audio, read_eeg

__all__ = [
    "S4Classifier",
    "S4Regressor",
    "S4RidgeClassifier",
    "S4RidgeRegressor",
    "Signals",
    "__version__",
    "read_audio",
    "read_eeg",
]


def __getattr__(name: str) -> Any:
    """Import a name on first access, so that reading recordings does not import torch."""
    if name not in __all__:
        raise AttributeError(f"module 's4signal' has no attribute {name!r}")
    room = "estimators" if name.startswith("S4") else "signals"
    return getattr(import_module(f"s4signal.{room}"), name)


def __dir__() -> list[str]:
    """Return the names of the module, including those not imported yet."""
    return sorted({*globals(), *__all__})
