"""The estimator checks of scikit-learn."""

import pytest
from sklearn.base import clone
from sklearn.utils.estimator_checks import (
    check_class_weight_classifiers,
    check_sample_weight_equivalence_on_dense_data,
    parametrize_with_checks,
)

from s4signal import S4Classifier, S4Regressor
from s4signal.estimators import S4RandomFeatures, S4RidgeClassifier, S4RidgeRegressor

# As small and with as few epochs as the checks of accuracy allow.
SMALL = {"d_model": 16, "d_state": 8, "n_layers": 1, "dropout": 0.0, "random_state": 0}
CLASSIFIER = {**SMALL, "learning_rate": 3e-2, "max_epochs": 6}
REGRESSOR = {**SMALL, "learning_rate": 8e-2, "pooling": "legs"}
REFERENCE = {"precision": "64", "batch_size": None}
POOLED = {"readout": "pooled"}  # the classifier in reference mode tests the closed-form readout, too
CLOSED_FORM = {"n_oscillators": 8, "precision": "64", "random_state": 0}

_ROUNDING = "float32: outputs differ in the seventh digit with the other cases of a batch, the check needs 1e-7"
FLOAT32 = {
    "check_methods_subset_invariance": _ROUNDING,
    "check_methods_sample_order_invariance": _ROUNDING,
    "check_sample_weight_equivalence_on_dense_data": "float32, and dropout is drawn for each case",
}


# Checks of accuracy and of exact weights take all epochs; two are enough for every other check.
TRAINED = {
    "check_class_weight_classifiers",
    "check_classifiers_classes",
    "check_classifiers_train",
    "check_regressors_train",
    "check_sample_weight_equivalence_on_dense_data",
}


def run(check, estimator):
    short = {} if check.func.__name__ in TRAINED else {"max_epochs": 2}
    check(clone(estimator).set_params(**short))


@parametrize_with_checks(
    [S4Classifier(**CLASSIFIER, **REFERENCE), S4Regressor(**REGRESSOR, **REFERENCE, **POOLED, max_epochs=30)]
)
def test_reference_mode_passes_every_check(estimator, check):
    run(check, estimator)


@parametrize_with_checks(
    [S4Classifier(**CLASSIFIER, **POOLED), S4Regressor(**REGRESSOR, **POOLED, max_epochs=15)],
    expected_failed_checks=lambda _: FLOAT32,
    xfail_strict=False,  # a difference in the seventh digit may or may not occur
)
def test_default_mode_passes_every_check_but_three(estimator, check):
    run(check, estimator)


@parametrize_with_checks(
    [S4RandomFeatures(**CLOSED_FORM), S4RidgeClassifier(**CLOSED_FORM), S4RidgeRegressor(**CLOSED_FORM)]
)
def test_models_in_closed_form_pass_every_check(estimator, check):
    check(estimator)


@pytest.mark.parametrize("model", [S4RidgeClassifier(random_state=0), S4RidgeRegressor(random_state=0)], ids=repr)
def test_sample_weights_equal_repetitions_with_default_settings(model):
    check_sample_weight_equivalence_on_dense_data(type(model).__name__, model)


# One class outweighs the others by 10 million: only it is predicted, although some features vary only in the others.
@pytest.mark.parametrize("n_oscillators", [8, 64])
def test_class_weights_pass_the_check_with_default_settings(n_oscillators):
    check_class_weight_classifiers("S4RidgeClassifier", S4RidgeClassifier(n_oscillators=n_oscillators, random_state=0))
