"""The roof: where networks, the loop, signals and the scikit-learn contract meet."""

from s4signal.estimators.classifier import S4Classifier
from s4signal.estimators.ensemble import S4Ensemble
from s4signal.estimators.filter_bank import S4FilterBank
from s4signal.estimators.instant import S4RidgeClassifier, S4RidgeRegressor
from s4signal.estimators.random_features import S4RandomFeatures
from s4signal.estimators.regressor import S4Regressor

__all__ = [
    "S4Classifier",
    "S4Ensemble",
    "S4FilterBank",
    "S4RandomFeatures",
    "S4Regressor",
    "S4RidgeClassifier",
    "S4RidgeRegressor",
]
