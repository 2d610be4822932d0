"""Targets of the regressor."""

import numpy as np
import pytest
from small_models import REFERENCE, classifier, regressor, same_weights, waves


def ramps(n=40, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.uniform(1, 3, n)
    return y[:, None, None] * np.sin(np.linspace(0, 30, 60)) + 0.1 * rng.standard_normal((n, 1, 60)), y


def test_predictions_have_the_units_of_the_targets():
    X, y = ramps()
    model = regressor(max_epochs=40, learning_rate=3e-2).fit(X, 1e-6 * y + 5)
    assert model.score(X, 1e-6 * y + 5) > 0.8


def test_predictions_scale_with_the_targets():
    X, y = ramps()
    one, other = regressor(**REFERENCE).fit(X, y), regressor(**REFERENCE).fit(X, 1000 * y)
    np.testing.assert_allclose(other.predict(X), 1000 * one.predict(X), rtol=1e-9)


@pytest.mark.parametrize("n_outputs", [1, 3])
def test_predictions_have_the_shape_of_the_targets(n_outputs):
    X, y = ramps()
    targets = y[:, None] * np.arange(1, n_outputs + 1)
    model = regressor().fit(X, targets)
    assert model.predict(X).shape == targets.shape
    assert model.fit(X, y).predict(X).shape == y.shape


def test_constant_target_is_learned():
    X, _ = ramps()
    model = regressor(max_epochs=10).fit(X, np.full(40, 7.0))
    np.testing.assert_allclose(model.predict(X), 7.0, atol=1.0)
    assert np.isfinite(model.predict(X)).all()


def test_integer_weights_equal_repeated_cases():
    X, y = ramps()
    weights = np.arange(40) % 3
    repeated = np.repeat(np.arange(40), weights)
    weighted = regressor(**REFERENCE).fit(X, y, sample_weight=weights)
    by_hand = regressor(**REFERENCE).fit(X[repeated], y[repeated])
    np.testing.assert_allclose(weighted.predict(X), by_hand.predict(X), atol=1e-9)


def test_validation_cases_do_not_affect_the_standardisation():
    X, y = ramps()
    one = regressor(**REFERENCE).fit(X, y, X_val=X[:4], y_val=y[:4])
    other = regressor(**REFERENCE).fit(X, y, X_val=X[:4] * 50, y_val=y[:4] * 50)
    np.testing.assert_array_equal(one._standardizer.scale, other._standardizer.scale)
    assert [h["loss"] for h in one.history_] == [h["loss"] for h in other.history_]


def test_a_hundred_cases_are_split_for_validation():
    X, y = ramps(100)
    model = regressor().fit(X, y)
    assert model.history_[0]["validation_loss"] is not None
    assert model.history_[0]["validation_score"] <= 1


def test_a_regressor_and_a_classifier_share_every_parameter_but_class_weight():
    assert set(classifier().get_params()) - set(regressor().get_params()) == {"class_weight"}
    ours = regressor().get_params()
    differing = {name for name, value in classifier().get_params().items() if name in ours and ours[name] != value}
    assert differing == {"dropout"}


def test_partial_fit_keeps_the_target_scale_of_the_first_call():
    X, y = ramps()
    model = regressor().partial_fit(X, y)
    first = model._target_scale
    model.partial_fit(X, 100 * y)
    assert model._target_scale == first
    assert not same_weights(model, regressor().partial_fit(X, y))


def test_integer_targets_give_float_predictions():
    X, y = waves()
    assert regressor().fit(X, y).predict(X).dtype == np.float64
