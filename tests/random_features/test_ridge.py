"""Ridge regression in closed form against other formulations."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge as Reference
from threadpoolctl import threadpool_info, threadpool_limits

from s4signal.random_features import ridge
from s4signal.random_features.ridge import fit_ridge, solve_ridge
from s4signal.random_features.ridge_sums import RidgeSums

__all__: list[str] = []


def data(n=40, sizes=(6, 8, 5), seed=0):
    rng = np.random.default_rng(seed)
    families = [rng.standard_normal((n, p)) * 3 + 1 for p in sizes]
    y = families[1][:, :2] @ rng.standard_normal((2, 2)) + 0.5 * rng.standard_normal((n, 2))
    return families, y


def fit(families, y, weights=None):
    weights = np.ones(len(y)) if weights is None else weights
    return fit_ridge(families, y, weights, np.random.RandomState(0))


def predict(model, X, subset=0):
    return model.predict(X, np.full(len(X), subset))


def scaled(model, families):
    return (np.concatenate(families, 1) - model.mean) * model.scale


@pytest.mark.parametrize("sizes", [(6, 8, 5), (30, 40, 50)], ids=["more cases", "more features"])
def test_coefficients_are_those_of_ridge_regression(sizes):
    families, y = data(sizes=sizes)
    model = fit(families, y)
    reference = Reference(alpha=model.alpha).fit(scaled(model, families), y)
    np.testing.assert_allclose(model.coef[0], reference.coef_.T, atol=1e-8)
    np.testing.assert_allclose(
        predict(model, np.concatenate(families, 1)), reference.predict(scaled(model, families)), atol=1e-8
    )


@pytest.mark.parametrize("sizes", [(6, 8, 5), (30, 40, 50)], ids=["more cases", "more features"])
def test_each_case_is_predicted_by_the_others(sizes):
    families, y = data(sizes=sizes)
    model = fit(families, y)
    X = scaled(model, families)
    for i in (0, 7, 39):
        others = np.arange(len(y)) != i
        expected = Reference(alpha=model.alpha).fit(X[others], y[others]).predict(X[i : i + 1])
        np.testing.assert_allclose(model.left_out[i], expected[0], atol=1e-8)


def test_a_case_of_weight_two_is_the_case_twice():
    families, y = data()
    weights = np.array([1, 2, 3, 1] * 10)
    repeats = np.repeat(np.arange(40), weights)
    weighted = fit(families, y, weights.astype(float))
    repeated = fit([f[repeats] for f in families], y[repeats])
    np.testing.assert_allclose(weighted.coef, repeated.coef, atol=1e-9)
    np.testing.assert_allclose(weighted.left_out[repeats], repeated.left_out, atol=1e-9)


def test_the_family_that_knows_the_answer_is_taken():
    families, y = data(n=60, sizes=(200, 8, 200))
    model = fit(families, y)
    assert model.used == (False, True, False)


def test_families_are_chosen_on_some_of_many_cases(monkeypatch):
    monkeypatch.setattr(ridge, "_MOST_TO_CHOOSE", 30)
    families, y = data(n=200)
    model = fit(families, y)
    assert len(model.left_out) == 200
    assert np.corrcoef(model.left_out[:, 0], y[:, 0])[0, 1] > 0.8


def test_the_penalty_is_chosen_on_some_of_many_cases(monkeypatch):
    families, y = data(n=200)
    weights = np.array([1.0, 2.0] * 100)
    exact = fit(families, y, weights)
    monkeypatch.setattr(ridge, "_MOST_TO_DECOMPOSE", 60)
    model = fit(families, y, weights)
    reference = Reference(alpha=model.alpha).fit(scaled(model, families), y, sample_weight=weights)
    np.testing.assert_allclose(model.coef[0], reference.coef_.T, atol=1e-8)
    known = np.isfinite(model.left_out).all(1)
    assert known.sum() == 60
    assert np.abs(model.left_out - exact.left_out)[known].max() < 0.5 * y.std()
    X = scaled(model, families)[known]
    i = 7
    others = np.arange(60) != i
    alone = Reference(alpha=model.alpha).fit(X[others], y[known][others], sample_weight=weights[known][others])
    np.testing.assert_allclose(model.left_out[known][i], alone.predict(X[i : i + 1])[0], atol=1e-8)


def test_constant_features_count_for_nothing():
    families, y = data()
    families[0][:] = 7.0
    model = fit(families, y)
    assert np.isfinite(model.coef).all()
    assert (model.scale[:6] == 0).all()


def test_nothing_but_constants_predicts_the_mean():
    y = np.arange(6.0)[:, None]
    families = [np.ones((6, 3)) for _ in range(3)]
    np.testing.assert_allclose(predict(fit(families, y), np.ones((1, 9))), [[2.5]])


def test_a_missing_feature_counts_as_its_mean():
    families, y = data()
    model = fit(families, y)
    X = np.concatenate(families, 1)
    missing, mean = X.copy(), X.copy()
    missing[:, 3], mean[:, 3] = np.nan, model.mean[3]
    np.testing.assert_allclose(predict(model, missing), predict(model, mean))


@pytest.mark.parametrize("sizes", [(6, 8, 5), (30, 40, 50)], ids=["more cases", "more features"])
def test_a_subset_of_the_features_has_coefficients_of_its_own(sizes):
    families, y = data(sizes=sizes)
    chosen = np.arange(sum(sizes)) % 2 == 0
    weights = np.array([1.0, 2.0] * 20)
    model = fit_ridge(families, y, weights, np.random.RandomState(0), subsets=[chosen])
    reference = Reference(alpha=model.alpha).fit(scaled(model, families)[:, chosen], y, sample_weight=weights)
    np.testing.assert_allclose(model.coef[1][chosen], reference.coef_.T, atol=1e-8)
    assert (model.coef[1][~chosen] == 0).all()
    X = np.where(chosen, np.concatenate(families, 1), np.nan)
    np.testing.assert_allclose(predict(model, X, 1), reference.predict(scaled(model, families)[:, chosen]), atol=1e-8)


def test_a_feature_that_hardly_varied_cannot_carry_a_prediction_away():
    families, y = data()
    families[0][:, 0] = 1.0 + 1e-5 * y[:, 0]  # it tells much, by next to nothing
    model = fit(families, y)
    X = np.concatenate(families, 1)
    usual = predict(model, X)
    X[:, 0] = 3.0
    assert np.abs(predict(model, X) - usual).max() < np.ptp(y)


@pytest.mark.parametrize(("n", "n_threads"), [(40, 1), (1001, 2)])
def test_few_cases_are_solved_on_one_thread_of_blas(monkeypatch, n, n_threads):
    def threads():
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    def spied(*args):
        seen.append(threads())
        return solve_ridge(*args)

    seen = []
    for module in ("ridge", "ridge_sums"):
        monkeypatch.setattr(f"s4signal.random_features.{module}.solve_ridge", spied)
    families, y = data(n=n)
    subsets = [np.arange(19) < 10]
    with threadpool_limits(2, user_api="blas"):
        model = fit_ridge(families, y, np.ones(n), np.random.RandomState(0), subsets=subsets)
        sums = RidgeSums(model)
        sums.add(np.concatenate(families, 1), y, np.ones(n))
        sums.solve(subsets)
        assert threads() == {2}
    assert seen == [{n_threads}, {1}, {1}]  # the sums of many cases are as few rows as there are features
