"""The estimators in closed form."""

from s4signal.estimators.closed_form.classifier import S4RidgeClassifier
from s4signal.estimators.closed_form.regressor import S4RidgeRegressor
from s4signal.estimators.closed_form.transformer import S4RandomFeatures

__all__ = ["S4RandomFeatures", "S4RidgeClassifier", "S4RidgeRegressor"]
