"""The estimators that train a network."""

from s4signal.estimators.trained.classifier import S4Classifier
from s4signal.estimators.trained.regressor import S4Regressor

__all__ = ["S4Classifier", "S4Regressor"]
