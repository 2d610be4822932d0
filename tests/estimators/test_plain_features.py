"""The closed form in plain tensor operations equals the original, for whole signals and step by step."""

from functools import partial

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from s4signal import Signals
from s4signal.estimators.features.drawing import FeatureOptions
from s4signal.estimators.features.plain import PlainRegression, PlainRegressionSteps, eliminate, matrix_log
from s4signal.estimators.features.recordings import Recordings, TrainingCases
from s4signal.estimators.features.regression import FeatureRegression, fit_regression
from s4signal.random_features.covariances import log_euclidean

__all__: list[str] = []


def recordings(X):
    signals = Signals(X, sfreq=100.0)
    return Recordings(signals, signals, timed=False)


@pytest.fixture(params=[1, 3, 14], scope="module")
def regression(request) -> FeatureRegression:
    """Return a regression with coefficients for every feature; one channel, a few, or more channels than components."""
    rng = np.random.default_rng(request.param)
    X = rng.standard_normal((12, request.param, 90)) + np.sin(np.arange(90))
    cases = TrainingCases(recordings(X), rng.standard_normal((12, 2)), np.ones(12))
    options, draws = FeatureOptions(n_oscillators=16), np.random.RandomState(0)
    solved = fit_regression(options, cases, draws, seed=0, targets=lambda merged: merged.targets)
    features, ridge = np.concatenate(list(solved.blocks.values()), axis=1).astype(float), solved.regression.ridge
    p = features.shape[1]
    ridge = ridge._replace(
        scale=1.0 / (features.std(0) + 0.01),
        coef=rng.standard_normal((3, p, 2)) / np.sqrt(p),
        blocks=tuple(solved.blocks),
    )
    return solved.regression._replace(ridge=ridge)


def standardised(regression: FeatureRegression, X):
    return torch.from_numpy(np.stack([regression.feature_map.standardizer(x) for x in X], 1))


def test_plain_regression_equals_the_original_at_any_length(regression):
    plain = PlainRegression(regression, 2.0, longest=2000)
    n_channels = len(regression.feature_map.standardizer.mean)
    for n_times in (2, 65, 1500):  # the last one in segments of four frames
        X = np.random.default_rng(n_times).standard_normal((3, n_channels, n_times))
        outputs = plain(standardised(regression, X)).numpy()
        assert_allclose(outputs, 2.0 * regression.outputs(recordings(X)), rtol=0, atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("regression", [3], indirect=True)
def test_exported_regression_accepts_any_batch_size_and_length(regression):
    plain, n_channels = PlainRegression(regression, 2.0, longest=500), len(regression.feature_map.standardizer.mean)
    batch, n_times = torch.export.Dim("batch", min=1, max=64), torch.export.Dim("n_times", min=9, max=500)
    how = {"strict": False, "prefer_deferred_runtime_asserts_over_guards": True}
    x = torch.zeros(n_channels, 3, 401)
    program = torch.export.export(plain, (x,), dynamic_shapes=({1: batch, 2: n_times},), **how)
    x = torch.randn(n_channels, 5, 90, generator=torch.Generator().manual_seed(0))
    assert_allclose(program.module()(x).detach().numpy(), plain(x).numpy(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("unit", [1, 70])
def test_plain_steps_equal_the_original(regression, unit):
    n_channels = len(regression.feature_map.standardizer.mean)
    steps = PlainRegressionSteps(regression, 2.0, n_channels=n_channels, unit=unit)
    X = np.random.default_rng(unit).standard_normal((2, n_channels, 12 if unit == 1 else 1400))
    x, state = standardised(regression, X), steps.at_rest(2)
    with torch.no_grad():
        for end in range(unit, X.shape[2] + 1, unit):
            outputs, state = steps(x[..., end - unit : end], state)
            if end in (unit, X.shape[2]):
                expected = 2.0 * regression.outputs(recordings(X[..., :end]))
                assert_allclose(outputs.numpy(), expected, rtol=0, atol=2e-5)


def test_matrix_log_equals_the_eigendecomposition():
    A = torch.randn(4, 12, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    A = A @ A.mT * torch.tensor([0.0, 1e-20, 1.0, 1e6], dtype=torch.float64)[:, None, None]  # none has full rank
    for shrinkage in (0.01, 0.05):
        plain = log_euclidean(A, shrinkage, logarithm=partial(matrix_log, shrinkage=shrinkage))
        assert_allclose(plain.numpy(), log_euclidean(A, shrinkage).numpy(), rtol=0, atol=1e-8)


def test_elimination_solves_positive_definite_systems(rng):
    A = torch.from_numpy(rng.standard_normal((4, 5, 5)))
    A, B = A @ A.mT + 0.1 * torch.eye(5), torch.from_numpy(rng.standard_normal((4, 5, 2)))
    torch.testing.assert_close(eliminate(A, B), torch.linalg.solve(A, B))
