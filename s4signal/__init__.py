"""Structured state space models for EEG, PPG, ECG and speech, as scikit-learn estimators."""

from s4signal.estimators import S4Classifier, S4Regressor
from s4signal.signals import Signals

__all__ = ["S4Classifier", "S4Regressor", "Signals", "__version__"]

__version__ = "0.1.0"
