"""partial_fit of the closed form: batches give the same coefficients as all cases together."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge as Reference
from sklearn.metrics import log_loss

from s4signal import Signals
from s4signal.estimators import S4RidgeClassifier, S4RidgeRegressor
from s4signal.estimators.classification import signs, temperature
from s4signal.random_features import ridge
from s4signal.random_features.left_out import LeftOut
from s4signal.random_features.ridge import RidgeSums, fit_ridge

__all__: list[str] = []

SMALL = {"n_oscillators": 8, "precision": "64", "random_state": 0}


def waves(n=60, seed=0, noise=0.8):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    t = np.arange(120) / 60
    X = np.sin(2 * np.pi * (np.array([3, 8])[y][:, None, None] * t + rng.random((n, 2, 1))))
    return X + noise * rng.standard_normal(X.shape), y


def batches(model, X, y, size=20, **options):
    for first in range(0, len(y), size):
        model.partial_fit(X[first : first + size], y[first : first + size], **options)
    return model


def test_a_batch_in_other_units_is_said():
    X, y = waves()
    model = S4RidgeClassifier(**SMALL).partial_fit(X[:30], y[:30])
    with pytest.warns(UserWarning, match="case 0 varies .* as any training case, 29 more as well: other units"):
        model.partial_fit(1e6 * X[30:], y[30:])


def test_classes_may_be_in_any_order():
    X, y = waves()
    model = batches(S4RidgeClassifier(**SMALL), X, y, classes=[1, 0])
    np.testing.assert_array_equal(model.predict(X), batches(S4RidgeClassifier(**SMALL), X, y).predict(X))


@pytest.mark.parametrize("factor", [2.0**-200, 2.0**200])
def test_only_ratios_of_the_weights_of_a_batch_count(factor):
    (X, y), options = waves(30), {**SMALL, "precision": "32"}
    weights = np.linspace(1, 2, 30)
    one, scaled = (S4RidgeClassifier(**options).partial_fit(X, y, w) for w in (weights, factor * weights))
    np.testing.assert_allclose(scaled.predict_proba(X), one.predict_proba(X))


@pytest.mark.parametrize("n_features", [(8, 6, 4), (40, 50, 60)], ids=["compressed", "kept"])
def test_batches_give_the_ridge_solution_of_all_cases(n_features):
    rng = np.random.default_rng(0)
    blocks = {f"block {p}": rng.standard_normal((90, p)) + 2 for p in n_features}
    X, Y, weights = np.concatenate(list(blocks.values()), 1), rng.standard_normal((90, 2)), rng.uniform(0.5, 2, 90)
    first = fit_ridge(
        {name: f[:30] for name, f in blocks.items()},
        LeftOut(Y[:30], weights[:30] / weights[:30].mean()),
        np.random.RandomState(0),
    )
    sums = RidgeSums(first)
    for part in (slice(0, 30), slice(30, 55), slice(55, 90)):
        sums = sums.added(X[part], Y[part], weights[part])
    half = np.arange(X.shape[1]) % 2 == 0
    model = sums.solve([half])
    for which, chosen in enumerate((np.ones(X.shape[1], bool), half)):
        kept = (X * first.scale)[:, chosen]
        reference = Reference(alpha=model.alpha).fit(kept, Y, sample_weight=weights / weights.mean())
        np.testing.assert_allclose(model.coef[which][chosen], reference.coef_.T, atol=1e-8)
        np.testing.assert_allclose(model.predict(X, np.full(90, which)), reference.predict(kept), atol=1e-8)


def test_penalty_is_selected_again_on_all_cases_while_they_are_few(monkeypatch):
    rng = np.random.default_rng(0)
    blocks = {name: rng.standard_normal((60, 30)) for name in "abc"}
    X, Y = np.concatenate(list(blocks.values()), 1), rng.standard_normal((60, 1))
    first = fit_ridge(blocks, LeftOut(Y, np.ones(60)), np.random.RandomState(0))
    sums = RidgeSums(first)
    model = sums.added(X[:15], Y[:15], np.ones(15)).added(X[15:], Y[15:], np.ones(45)).solve([])
    assert model.alpha == pytest.approx(first.alpha)
    np.testing.assert_allclose(model.loo_predictions, first.loo_predictions, atol=1e-8)
    monkeypatch.setattr(ridge, "_MOST_TO_CHOOSE_ANEW", 20)
    assert RidgeSums(first._replace(alpha=7.0)).added(X, Y, np.ones(60)).solve([]).alpha == 7.0


def test_penalty_and_temperature_are_those_of_all_batches_while_the_cases_are_few(monkeypatch):
    (X, y), options = waves(), {**SMALL, "alphas": [7.0]}
    model = batches(S4RidgeClassifier(**options), X, y)
    assert model.ridge_.alpha == pytest.approx(7.0 * len(model.ridge_.blocks), rel=0.1)
    scores, targets = model.ridge_.loo_predictions, signs(y, 2)
    assert model.temperature_ == pytest.approx(temperature(scores, targets, np.ones(60), tags=False))
    first = S4RidgeClassifier(**options).partial_fit(X[:20], y[:20])
    assert first.temperature_ != pytest.approx(model.temperature_, rel=0.01)
    monkeypatch.setattr(ridge, "_MOST_TO_CHOOSE_ANEW", 20)
    many = batches(S4RidgeClassifier(**options), X, y)
    assert (many.ridge_.alpha, many.temperature_) == (first.ridge_.alpha, first.temperature_)


def test_model_of_several_batches_is_saved_and_predicts_at_half_the_rate(tmp_path):
    X, y = waves(noise=0.2)
    batches(S4RidgeClassifier(**SMALL, sfreq=60.0), X, y).save(tmp_path / "waves.s4")
    assert S4RidgeClassifier.load(tmp_path / "waves.s4").score(Signals(X[..., ::2], sfreq=30.0), y) == 1.0


def test_cases_of_weight_zero_leave_a_batch_without_effect():
    X, y = waves()
    weights = np.repeat([1.0, 0.0], [10, 10])
    model, fewer = (S4RidgeClassifier(**SMALL).partial_fit(X[:20], y[:20]) for _ in range(2))
    model.partial_fit(X[20:40], y[20:40], weights).partial_fit(X[40:], y[40:])
    fewer.partial_fit(X[20:30], y[20:30]).partial_fit(X[40:], y[40:])
    np.testing.assert_array_equal(model.predict_proba(X), fewer.predict_proba(X))


def test_one_batch_equals_fit():
    X, y = waves()
    one = S4RidgeClassifier(**SMALL).partial_fit(X, y, classes=[0, 1])
    np.testing.assert_array_equal(one.decision_function(X), S4RidgeClassifier(**SMALL).fit(X, y).decision_function(X))


def test_more_batches_reduce_the_log_loss():
    X, y = waves(200, noise=2.0)
    X_new, y_new = waves(100, seed=1, noise=2.0)
    model = S4RidgeClassifier(**SMALL).partial_fit(X[:10], y[:10], classes=[0, 1])
    before = log_loss(y_new, model.predict_proba(X_new))
    assert log_loss(y_new, batches(model, X[10:], y[10:]).predict_proba(X_new)) < before
    again = batches(S4RidgeClassifier(**SMALL).partial_fit(X[:10], y[:10], classes=[0, 1]), X[10:], y[10:])
    np.testing.assert_array_equal(again.predict_proba(X_new), model.predict_proba(X_new))


def test_the_order_of_later_batches_does_not_matter():
    X, y = waves(60)
    forward = batches(S4RidgeRegressor(**SMALL), X, y * 5.0 + 1)
    order = np.r_[0:20, 40:60, 20:40]
    backward = batches(S4RidgeRegressor(**SMALL), X[order], y[order] * 5.0 + 1)
    np.testing.assert_allclose(forward.predict(X), backward.predict(X), atol=1e-7)


def test_a_class_may_be_missing_from_a_batch():
    X, y = waves()
    model = S4RidgeClassifier(**SMALL).partial_fit(X, y, classes=[0, 1, 2])
    model.partial_fit(X[y == 0], y[y == 0])
    assert model.predict_proba(X).shape == (60, 3)
    with pytest.raises(ValueError, match="the label 7, which is not among the classes"):
        model.partial_fit(X, np.full(60, 7))
    with pytest.raises(ValueError, match=r"classes=\[0, 1\] differ from those of the first call"):
        model.partial_fit(X, y, classes=[0, 1])


def test_partial_fit_after_fit_starts_over():
    X, y = waves()
    restarted = batches(S4RidgeClassifier(**SMALL), X, y).fit(X[:20], y[:20]).partial_fit(X, y)
    np.testing.assert_array_equal(restarted.predict_proba(X), S4RidgeClassifier(**SMALL).fit(X, y).predict_proba(X))


def test_batch_with_another_sampling_rate_is_refused():
    X, y = waves()
    model = S4RidgeClassifier(**SMALL).partial_fit(Signals(X, sfreq=60.0), y)
    with pytest.raises(ValueError, match="X must have 60 Hz, as the first batch"):
        model.partial_fit(Signals(X, sfreq=30.0), y)
