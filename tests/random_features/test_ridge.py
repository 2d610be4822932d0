"""Ridge regression in closed form equals other formulations."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest
from sklearn.linear_model import Ridge as Reference
from threadpoolctl import threadpool_info, threadpool_limits

from s4signal.random_features import ridge
from s4signal.random_features.left_out import LeftOut, Spectrum, squared_errors
from s4signal.random_features.ridge import RidgeSums, _clearly_less, fit_ridge, solve_ridge, solver_threads

__all__: list[str] = []


def data(n=40, sizes=(6, 8, 5), seed=0):
    rng = np.random.default_rng(seed)
    blocks = {name: rng.standard_normal((n, p)) * 3 + 1 for name, p in zip("abc", sizes, strict=True)}
    y = blocks["b"][:, :2] @ rng.standard_normal((2, 2)) + 0.5 * rng.standard_normal((n, 2))
    return blocks, y


def fit(blocks, y, weights=None, **options):
    weights = np.ones(len(y)) if weights is None else weights
    how = {name: options.pop(name) for name in ("alphas", "groups", "loss") if name in options}
    return fit_ridge(blocks, LeftOut(y, weights / weights.mean(), **how), np.random.RandomState(0), **options)


def predict(model, X, subset=0):
    return model.predict(X, np.full(len(X), subset))


def scaled(model, blocks):
    return (np.concatenate(list(blocks.values()), 1) - model.mean) * model.scale


@pytest.mark.parametrize("sizes", [(6, 8, 5), (30, 40, 50)], ids=["more cases", "more features"])
def test_coefficients_equal_ridge_regression_of_scikit_learn(sizes):
    blocks, y = data(sizes=sizes)
    model = fit(blocks, y)
    reference = Reference(alpha=model.alpha).fit(scaled(model, blocks), y)
    np.testing.assert_allclose(model.coef[0], reference.coef_.T, atol=1e-8)
    np.testing.assert_allclose(
        predict(model, np.concatenate(list(blocks.values()), 1)), reference.predict(scaled(model, blocks)), atol=1e-8
    )


@pytest.mark.parametrize("sizes", [(6, 8, 5), (30, 40, 50)], ids=["more cases", "more features"])
def test_loo_predictions_equal_fits_without_the_case(sizes):
    blocks, y = data(sizes=sizes)
    model = fit(blocks, y)
    X = scaled(model, blocks)
    for i in (0, 7, 39):
        others = np.arange(len(y)) != i
        expected = Reference(alpha=model.alpha).fit(X[others], y[others]).predict(X[i : i + 1])
        np.testing.assert_allclose(model.loo_predictions[i], expected[0], atol=1e-8)


@pytest.mark.parametrize("sizes", [(6, 8, 5), (30, 40, 50)], ids=["more cases", "more features"])
def test_weighted_loo_predictions_equal_fits_without_the_case(sizes):
    blocks, y = data(sizes=sizes)
    weights = np.array([0.5, 2.0, 3.0, 1.0] * 10)
    model = fit(blocks, y, weights)
    X = scaled(model, blocks)
    for i in (0, 1, 6, 39):
        others = np.arange(len(y)) != i
        expected = Reference(alpha=model.alpha).fit(
            X[others], y[others], sample_weight=(weights / weights.mean())[others]
        )
        np.testing.assert_allclose(model.loo_predictions[i], expected.predict(X[i : i + 1])[0], atol=1e-8)


@pytest.mark.parametrize("factor", [1e-300, 1e-6, 1 / 40, 1e6, 1e300])
def test_only_ratios_of_weights_matter(factor):
    blocks, y = data()
    weights = np.array([0.5, 2.0, 3.0, 1.0] * 10)
    model, other = fit(blocks, y, weights), fit(blocks, y, factor * weights)
    assert other.blocks == model.blocks
    assert other.alpha == pytest.approx(model.alpha)
    np.testing.assert_allclose(other.coef, model.coef, atol=1e-9)


@pytest.mark.parametrize("alphas", [[1.0], [1e-3, 1e-1, 10.0, 1e3]])
def test_penalties_are_relative_to_the_mean_squared_norm_of_a_case(alphas):
    blocks, y = data()
    model = fit(blocks, y, alphas=alphas)
    norm = np.mean((scaled(model, blocks) ** 2).sum(1))
    assert norm == pytest.approx(len(model.blocks))
    assert any(model.alpha == pytest.approx(alpha * norm) for alpha in alphas)


def absolute_errors(targets, predictions, weights):
    return np.abs(targets - predictions).mean(1)


@pytest.mark.parametrize("loss", [squared_errors, absolute_errors])
def test_the_chosen_penalty_has_the_smallest_leave_one_out_loss(loss):
    blocks, y = data()
    y[:4] += 20.0  # outliers, which dominate squared errors
    alphas = np.logspace(-3, 3, 7)
    chosen = fit(blocks, y, alphas=alphas, loss=loss)
    used = {name: block for name, block in blocks.items() if name in chosen.blocks}
    losses = [loss(y, fit(used, y, alphas=[alpha]).loo_predictions, None).mean() for alpha in alphas]
    assert loss(y, chosen.loo_predictions, None).mean() == pytest.approx(min(losses))
    assert len({round(x, 6) for x in losses}) == len(alphas)


def test_features_with_a_shared_scale_keep_their_relative_scale():
    blocks, y = data()
    blocks["b"] *= np.arange(1.0, 9.0)
    model = fit(blocks, y, shared_scale={"b"})
    part = model.scale[6:14]
    np.testing.assert_allclose(part, part[0])
    assert np.ptp(fit(blocks, y).scale[6:14]) > 0


def test_a_preferred_block_is_used_unless_others_are_clearly_better():
    blocks, y = data(n=60)
    assert "b" in fit(blocks, y, preferred="a").blocks
    noise = np.random.default_rng(2).standard_normal(y.shape)
    assert all(fit(blocks, noise, preferred=name).blocks == (name,) for name in "ac")


def test_the_informative_block_is_chosen():
    blocks, y = data(n=60, sizes=(200, 8, 200))
    model = fit(blocks, y)
    assert model.blocks == ("b",)


def test_blocks_are_chosen_on_a_subset_of_many_cases(monkeypatch):
    monkeypatch.setattr(ridge, "_MOST_TO_CHOOSE", 30)
    blocks, y = data(n=200)
    model = fit(blocks, y)
    assert len(model.loo_predictions) == 200
    assert np.corrcoef(model.loo_predictions[:, 0], y[:, 0])[0, 1] > 0.8


def test_the_penalty_is_chosen_on_a_subset_of_many_cases(monkeypatch):
    blocks, y = data(n=200)
    weights = np.array([1.0, 2.0] * 100) / 1.5
    exact = fit(blocks, y, weights)
    monkeypatch.setattr(ridge, "_MOST_TO_DECOMPOSE", 60)
    model = fit(blocks, y, weights)
    reference = Reference(alpha=model.alpha).fit(scaled(model, blocks), y, sample_weight=weights)
    np.testing.assert_allclose(model.coef[0], reference.coef_.T, atol=1e-8)
    finite = np.isfinite(model.loo_predictions).all(1)
    assert finite.sum() == 60
    assert np.abs(model.loo_predictions - exact.loo_predictions)[finite].max() < 0.5 * y.std()
    X = scaled(model, blocks)[finite]
    i = 7
    others = np.arange(60) != i
    alone = Reference(alpha=model.alpha).fit(X[others], y[finite][others], sample_weight=weights[finite][others])
    np.testing.assert_allclose(model.loo_predictions[finite][i], alone.predict(X[i : i + 1])[0], atol=1e-8)


def test_constant_features_are_ignored():
    blocks, y = data()
    blocks["a"][:] = 7.0
    model = fit(blocks, y)
    assert np.isfinite(model.coef).all()
    assert (model.scale[:6] == 0).all()


@pytest.mark.parametrize("seed", range(4))
def test_blocks_without_features_are_ignored(seed):
    rng = np.random.default_rng(seed)
    model = fit({"empty": np.empty((40, 0)), "noise": rng.standard_normal((40, 3))}, rng.standard_normal((40, 1)))
    assert model.blocks == ("noise",)


def test_constant_features_alone_predict_the_mean():
    y = np.arange(6.0)[:, None]
    blocks = {name: np.ones((6, 3)) for name in "abc"}
    np.testing.assert_allclose(predict(fit(blocks, y), np.ones((1, 9))), [[2.5]])


def test_a_missing_feature_equals_its_mean():
    blocks, y = data()
    model = fit(blocks, y)
    X = np.concatenate(list(blocks.values()), 1)
    missing, mean = X.copy(), X.copy()
    missing[:, 3], mean[:, 3] = np.nan, model.mean[3]
    np.testing.assert_allclose(predict(model, missing), predict(model, mean))


@pytest.mark.parametrize("sizes", [(6, 8, 5), (30, 40, 50)], ids=["more cases", "more features"])
def test_a_subset_of_the_features_has_its_own_coefficients(sizes):
    blocks, y = data(sizes=sizes)
    chosen = np.arange(sum(sizes)) % 2 == 0
    weights = np.array([1.0, 2.0] * 20)
    model = fit(blocks, y, weights, subsets=[chosen])
    weights = weights / weights.mean()
    reference = Reference(alpha=model.alpha).fit(scaled(model, blocks)[:, chosen], y, sample_weight=weights)
    np.testing.assert_allclose(model.coef[1][chosen], reference.coef_.T, atol=1e-8)
    assert (model.coef[1][~chosen] == 0).all()
    X = np.where(chosen, np.concatenate(list(blocks.values()), 1), np.nan)
    np.testing.assert_allclose(predict(model, X, 1), reference.predict(scaled(model, blocks)[:, chosen]), atol=1e-8)


def test_a_nearly_constant_feature_cannot_dominate_a_prediction():
    blocks, y = data()
    blocks["a"][:, 0] = 1.0 + 1e-5 * y[:, 0]  # informative, but nearly constant
    model = fit(blocks, y)
    X = np.concatenate(list(blocks.values()), 1)
    usual = predict(model, X)
    X[:, 0] = 3.0
    assert np.abs(predict(model, X) - usual).max() < np.ptp(y)


@pytest.mark.parametrize(("n", "n_threads"), [(40, 1), (1001, 2)])
def test_few_cases_are_solved_on_one_blas_thread(monkeypatch, n, n_threads):
    def threads():
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    def spied(*args):
        seen.append(threads())
        return solve_ridge(*args)

    seen = []
    monkeypatch.setattr("s4signal.random_features.ridge.solve_ridge", spied)
    blocks, y = data(n=n)
    subsets = [np.arange(19) < 10]
    with threadpool_limits(2, user_api="blas"):
        model = fit(blocks, y, subsets=subsets)
        RidgeSums(model).added(np.concatenate(list(blocks.values()), 1), y, np.ones(n)).solve(subsets)
        assert threads() == {2}
    assert seen == [{n_threads}, {1}, {1}]  # sums of cases have only one row per feature


def test_leave_one_group_out_predictions_equal_fits_without_the_group(rng):
    X, Y = rng.standard_normal((24, 40)), rng.standard_normal((24, 2))
    weights, groups = rng.uniform(0.5, 2.0, 24), np.repeat(np.arange(6), 4)
    weights /= weights.mean()
    root = np.sqrt(weights)[:, None]
    rows = root * (X - np.average(X, axis=0, weights=weights))
    found = LeftOut(Y, weights, [0.5], groups).choose(Spectrum.of(rows))
    for group in range(6):
        others, held_out = groups != group, groups == group
        model = Reference(found.alpha).fit(X[others], Y[others], sample_weight=weights[others])
        np.testing.assert_allclose(found.loo_predictions[held_out], model.predict(X[held_out]), atol=1e-9)


def test_groups_of_similar_cases_need_a_larger_penalty(rng):
    centres = np.repeat(rng.standard_normal((8, 200)), 6, axis=0)
    X, y = centres + 0.1 * rng.standard_normal((48, 200)), np.repeat(rng.standard_normal((8, 1)), 6, axis=0)
    rows, weights, groups = X - X.mean(0), np.ones(48), np.repeat(np.arange(8), 6)
    alone = LeftOut(y, weights).choose(Spectrum.of(rows))
    together = LeftOut(y, weights, groups=groups).choose(Spectrum.of(rows))
    assert np.abs(y - alone.loo_predictions).mean() < 0.3 < np.abs(y - together.loo_predictions).mean()
    assert together.alpha > alone.alpha
    some = np.arange(6, 36)
    assert LeftOut(y, weights, groups=groups).among(some).groups.tolist() == groups[some].tolist()


@pytest.mark.parametrize(("spread", "clearly"), [(4.9, True), (5.1, False)])
def test_losses_are_clearly_less_by_more_than_two_standard_errors(spread, clearly):
    others = 1.0 + spread * np.tile([1.0, -1.0], 50)  # the mean is 1, its standard error a tenth of the spread
    few = LeftOut(np.zeros((100, 1)), np.ones(100))
    assert _clearly_less(np.zeros(100), others, few, 2.0) == clearly


@pytest.mark.parametrize(("spread", "clearly"), [(1.9, True), (2.1, False)])
def test_the_standard_error_is_that_over_groups_left_out_together(spread, clearly):
    # Five groups, in which the gain is 1 plus or minus a few spreads: the standard error is half the spread.
    groups = np.repeat(np.arange(5) + 3, 20)
    few = LeftOut(np.zeros((100, 1)), np.ones(100), groups=groups)
    others = 1.0 + spread * np.array([-1.0, -1.0, 0.0, 1.0, 1.0])[groups - 3] * np.sqrt(5) / 2
    assert _clearly_less(np.zeros(100), others, few, 1.0) == clearly


@pytest.mark.parametrize(("noise", "used"), [(0.3, True), (2.0, False)])
def test_a_doubtful_block_is_used_only_if_it_is_clearly_better(noise, used):
    rng = np.random.default_rng(1)
    y = rng.standard_normal((60, 1))
    blocks = {"usual": y + rng.standard_normal((60, 1)), "other": y + noise * rng.standard_normal((60, 1))}
    fits = [fit_ridge(blocks, LeftOut(y, np.ones(60)), rng, doubtful=doubtful) for doubtful in (set(), {"other"})]
    assert "other" in fits[0].blocks
    assert ("other" in fits[1].blocks) == used
    alone = fit_ridge({"other": blocks["other"]}, LeftOut(y, np.ones(60)), rng, doubtful={"other"})
    assert alone.blocks == ("other",)


def test_overlapping_fits_restore_the_number_of_blas_threads():
    second_began, first_ended = Event(), Event()

    def counts():
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    def first():
        with solver_threads(4):
            assert second_began.wait(10)
        first_ended.set()

    def second():
        with solver_threads(4):
            second_began.set()
            assert first_ended.wait(10)

    with threadpool_limits(2, user_api="blas"), ThreadPoolExecutor(2) as pool:
        before, jobs = counts(), [pool.submit(first)]
        while not jobs[0].running():
            pass
        jobs.append(pool.submit(second))
        assert [job.result() for job in jobs] == [None, None]
        assert counts() == before
        with solver_threads(4):
            assert set(counts()) == {1}
        assert counts() == before
