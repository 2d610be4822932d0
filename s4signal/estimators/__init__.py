"""The roof: where networks, the loop, signals and the scikit-learn contract meet."""

from s4signal.estimators.alignment import AlignRecordings
from s4signal.estimators.closed_form.classifier import S4RidgeClassifier
from s4signal.estimators.closed_form.regressor import S4RidgeRegressor
from s4signal.estimators.closed_form.transformer import S4RandomFeatures
from s4signal.estimators.filter_bank import S4FilterBank
from s4signal.estimators.trained.classifier import S4Classifier
from s4signal.estimators.trained.regressor import S4Regressor

__all__ = [
    "AlignRecordings",
    "S4Classifier",
    "S4FilterBank",
    "S4RandomFeatures",
    "S4Regressor",
    "S4RidgeClassifier",
    "S4RidgeRegressor",
]
