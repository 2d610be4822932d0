"""The roof: where networks, the loop, signals and the scikit-learn contract meet."""

from s4signal.estimators.classifier import S4Classifier
from s4signal.estimators.filter_bank import S4FilterBank
from s4signal.estimators.regressor import S4Regressor

__all__ = ["S4Classifier", "S4FilterBank", "S4Regressor"]
