"""From checked cases to named blocks of features, and a ridge regression on them: what both wings stand on."""

from s4signal.estimators.features.feature_map import FeatureMap
from s4signal.estimators.features.regression import FeatureRegression, fit_regression

__all__ = ["FeatureMap", "FeatureRegression", "fit_regression"]
