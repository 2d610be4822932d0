"""No silent failures: weights, units, flat channels, wrong clocks, failed fits, streams, threads, decoding."""

import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from s4signal import Signals
from s4signal.estimators import S4RandomFeatures, S4RidgeClassifier, S4RidgeRegressor
from s4signal.estimators.features import regression
from s4signal.signals import Signal

__all__: list[str] = []

SMALL = {"n_oscillators": 8, "random_state": 0}
KINDS = [S4RandomFeatures, S4RidgeClassifier, S4RidgeRegressor]
MODELS = KINDS[1:]
each_kind = pytest.mark.parametrize("kind", KINDS)
each_model = pytest.mark.parametrize("kind", MODELS)


def waves(n=40, n_channels=3, n_times=120, seed=0):
    """Return noisy sine waves that alternate between two frequencies, and their classes."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    t = np.arange(n_times) / 60
    X = np.sin(2 * np.pi * (np.array([3, 8])[y][:, None, None] * t + rng.random((n, n_channels, 1))))
    return X + 0.3 * rng.standard_normal(X.shape), y


def outputs(model, X):
    """Return the numeric output of an estimator for X."""
    for name in ("decision_function", "transform"):
        if hasattr(model, name):
            return getattr(model, name)(X)
    return model.predict(X)


@each_model
@pytest.mark.parametrize("factor", [1e-300, 1e-6, 1 / 40, 1e6, 1e300])
def test_only_ratios_of_sample_weights_matter(kind, factor):
    X, y = waves()
    weights = np.where(y == 1, 2.0, 1.0)
    expected = outputs(kind(**SMALL).fit(X, y, sample_weight=weights), X)
    found = outputs(kind(**SMALL).fit(X, y, sample_weight=factor * weights), X)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("target", ["labels", "tags", "numbers"])
@pytest.mark.parametrize("n", [40, 100])
def test_integer_weights_equal_repeated_cases(n, target):
    X, y = waves(n)
    kind = S4RidgeRegressor if target == "numbers" else S4RidgeClassifier
    y = {"labels": y, "tags": np.stack([y, X[:, 0, 0] > 0], 1).astype(int), "numbers": y + X[:, 0, 0]}[target]
    weights = np.random.default_rng(0).integers(0, 4, n)
    order = np.repeat(np.arange(n), weights)
    if n <= 64:  # with more cases, 64 are drawn by position to compute the thresholds
        order = np.random.default_rng(1).permutation(order)
    weighted = kind(**SMALL, precision="64").fit(X, y, sample_weight=weights)
    repeated = kind(**SMALL, precision="64").fit(X[order], y[order])
    assert repeated.ridge_.blocks == weighted.ridge_.blocks
    np.testing.assert_allclose(outputs(repeated, X), outputs(weighted, X), rtol=1e-7, atol=1e-9)


def test_leave_one_out_also_leaves_out_copies_of_a_case():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((40, 2, 60)), rng.integers(0, 2, 40)  # noise
    model = S4RidgeClassifier(**SMALL).fit(np.tile(X, (3, 1, 1)), np.tile(y, 3))
    right = (model.ridge_.loo_predictions.argmax(1) == y).mean()
    assert right < 0.75
    assert len(model.ridge_.loo_predictions) == 40


def test_identical_cases_with_different_labels_all_count():
    X, y = waves()
    model = S4RidgeClassifier(**SMALL).fit(np.concatenate([X, X[:5], X[:2]]), np.concatenate([y, 1 - y[:5], y[:2]]))
    assert len(model.ridge_.loo_predictions) == 45  # the last two are copies with the same label


def test_class_of_small_weight_is_rarely_predicted():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((60, 1, 50)), np.arange(60) % 2
    model = S4RidgeClassifier(**SMALL, class_weight={0: 1000.0, 1: 1e-4}).fit(X, y)
    assert (model.predict(X) == 0).mean() > 0.95


@each_kind
@pytest.mark.parametrize("level", [0.0, 0.1])
def test_channel_flat_in_training_is_ignored_in_prediction(kind, level):
    X, y = waves()
    X[:, 2] = level
    with pytest.warns(UserWarning, match="channel 2 is flat in all training cases; it is ignored"):
        model = kind(**SMALL).fit(X, y)
    varying = X.copy()
    varying[:, 2] = 300 + 40 * np.random.default_rng(0).standard_normal(X[:, 2].shape)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(outputs(model, varying), outputs(model, X), atol=1e-6)


@each_kind
@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_different_units_give_a_warning(kind, factor):
    X, y = waves()
    model = kind(**SMALL).fit(X, y)
    with pytest.warns(
        UserWarning, match=r"case 0 varies .* times as much as .* training case, 39 more as well: other un"
    ):
        outputs(model, factor * X)


@each_kind
@pytest.mark.parametrize("value", [1e30, -1e200])
def test_error_names_the_case_with_overflowing_values(kind, value):
    X, y = waves()
    model = kind(**SMALL).fit(X, y)
    X[7, 1, 5] = value
    with pytest.raises(ValueError, match=r"case 7 has values up to .* nothing can be computed from them"):
        outputs(model, X)
    with (
        pytest.warns(UserWarning, match=r"the chunk varies .* other units"),
        pytest.raises(ValueError, match="the chunk has values up to"),
    ):
        model.stream().push(X[7])


@each_kind
@pytest.mark.parametrize("scale", [1e-140, 1e-30, 1e30, 1e140])
def test_outputs_are_finite_at_any_scale(kind, scale):
    X, y = waves()
    assert np.isfinite(outputs(kind(**SMALL).fit(scale * X, y), scale * X)).all()


@each_kind
def test_times_in_milliseconds_are_refused(kind):
    X, y = waves()
    times = [np.arange(120) / 60] * 40
    model = kind(**SMALL).fit(Signals(X, times=times), y)
    with pytest.raises(ValueError, match=r"case 0: times must be seconds: their median gap is 16\.\d+, but it was"):
        outputs(model, Signals(X, times=[1000 * t for t in times]))


@each_kind
def test_error_names_the_case_with_a_wrong_clock(kind):
    X, y = waves()
    times = [1.7e9 + np.arange(120) / 60 for _ in X]
    model = kind(**SMALL).fit(Signals(X, times=times), y)
    times[3][0] = 0.0
    wrong = Signals(X, times=times)
    for call in (lambda: kind(**SMALL).fit(wrong, y), lambda: outputs(model, wrong)):
        with pytest.raises(
            ValueError, match=r"case 3 has 120 .* grid of 60 Hz: times jump by 1\.7e\+09 s after sample 0"
        ):
            call()


@each_kind
def test_unix_times_give_the_same_outputs_as_times_from_zero(kind):
    X, y = waves()
    times = [np.sort(np.random.default_rng(i).uniform(0, 2, 120)) for i in range(40)]
    regular = Signals(X, times=times)
    unix = Signals(X, times=[t + 1.7e9 for t in times])
    expected = outputs(kind(**SMALL).fit(regular, y), regular)
    np.testing.assert_allclose(outputs(kind(**SMALL).fit(unix, y), unix), expected, rtol=1e-2, atol=1e-2)
    one_time = Signals(X, times=[np.full(120, 1.7e9)] * 40)
    with pytest.raises(ValueError, match="case 0 has all its samples at one time"):
        kind(**SMALL).fit(one_time, y)


@each_kind
@pytest.mark.parametrize("how", ["channels", "weights", "labels", "infinity", "interrupt"])
def test_failed_fit_leaves_the_model_unchanged(kind, how, monkeypatch):
    X, y = waves()
    model = kind(**SMALL).fit(Signals(X, sfreq=60.0, ch_names=["a", "b", "c"]), y)
    stream, expected, before = model.stream(), outputs(model, X), dict(vars(model))
    other, labels, options = Signals(X[:, :2] + 1.0, sfreq=30.0), y + 5, {}
    if how == "weights":
        options = {"sample_weight": -np.ones(40)}
    elif how == "labels":
        labels = np.where(y == 1, np.nan, 0.0) if kind is not S4RandomFeatures else labels
    elif how == "infinity":
        other = [np.where(np.arange(120) == 3, np.inf, case) for case in X]
    elif how == "interrupt":
        monkeypatch.setattr("s4signal.random_features.statistics.PooledStatistics.pool", _interrupt)
    elif how == "channels":
        other = [case[: 2 + i % 2] for i, case in enumerate(X)]
    if how != "labels" or kind is not S4RandomFeatures:
        with pytest.raises((ValueError, KeyboardInterrupt)):
            model.fit(other, labels, **options)
    monkeypatch.undo()
    assert vars(model) == before
    np.testing.assert_array_equal(outputs(model, X), expected)
    np.testing.assert_allclose(stream.push(X[0]), model.stream().push(X[0]))


def _interrupt(*args, **kwargs):
    raise KeyboardInterrupt


@each_model
def test_failed_partial_fit_leaves_the_model_unchanged(kind):
    X, y = waves()
    model = kind(**SMALL).partial_fit(X[:20], y[:20])
    again = kind(**SMALL).partial_fit(X[:20], y[:20])
    with pytest.raises(ValueError, match="infinity"):
        model.partial_fit(np.where(np.arange(20)[:, None, None] == 3, np.inf, X[20:]), y[20:])
    expected = outputs(again.partial_fit(X[20:], y[20:]), X)
    np.testing.assert_array_equal(outputs(model.partial_fit(X[20:], y[20:]), X), expected)


@each_kind
def test_stream_keeps_the_model_that_created_it(kind):
    X, y = waves()
    model = kind(**SMALL).fit(X, y)
    stream, expected = model.stream(), model.stream().push(X[0])
    model.fit(10 * X[:, :2, :100], 1 - y)
    np.testing.assert_array_equal(stream.push(X[0]), expected)


@each_kind
@pytest.mark.parametrize("chunk", [np.zeros((3, 5), complex), np.zeros((3, 5), "M8[s]"), [["a"] * 5] * 3])
def test_stream_refuses_invalid_chunks(kind, chunk):
    X, y = waves()
    stream = kind(**SMALL).fit(X, y).stream()
    with pytest.raises((TypeError, ValueError)):
        stream.push(chunk)
    with pytest.raises(ValueError, match="NaN"):
        stream.push(np.ma.array(np.full((3, 5), -9999.0), mask=np.eye(3, 5)))


@pytest.mark.parametrize("n_channels", [1, 3])
@pytest.mark.parametrize("n_times", [2, 30])
def test_feature_names_are_unique(n_channels, n_times):
    X, _ = waves(n_channels=n_channels, n_times=n_times)
    features = S4RandomFeatures(n_oscillators=40, random_state=0).fit(X)
    names = features.get_feature_names_out()
    assert len(set(names)) == len(names) == features.transform(X).shape[1]


@pytest.mark.parametrize("form", [lambda X: X, lambda X: X[:, 0], lambda X: pd.DataFrame(X[:, 0]), Signals])
def test_set_output_pandas_returns_a_data_frame(form):
    X = form(waves()[0])
    features = S4RandomFeatures(**SMALL).set_output(transform="pandas")
    frame = features.fit_transform(X)
    assert isinstance(frame, pd.DataFrame)
    assert not frame.columns.duplicated().any()
    assert np.isfinite(make_pipeline(features, StandardScaler()).fit_transform(X)).all()


@each_model
def test_threads_give_the_same_results_as_sequential_calls(kind):
    X, y = waves()
    expected = outputs(kind(**SMALL).fit(X, y), X)
    torch.manual_seed(5)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    model = kind(**SMALL).fit(X, y)
    with ThreadPoolExecutor(4) as pool:
        fitted = list(pool.map(lambda _: outputs(kind(**SMALL).fit(X, y), X), range(6)))
        parts = list(pool.map(lambda i: outputs(model, X[i : i + 9]), range(12)))
    for found in fitted:  # in single precision the last digits depend on the number of threads of a product
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    for i, found in enumerate(parts):
        np.testing.assert_allclose(found, expected[i : i + 9], rtol=1e-4, atol=1e-4)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.get_num_threads() == threads


@each_model
def test_outputs_are_finite_for_any_penalty(kind):
    X, y = waves()
    for alpha in (1e-30, 1e-12, 1e12, 1e30):
        assert np.isfinite(outputs(kind(**SMALL, alphas=[alpha]).fit(X, y), X)).all()


@each_model
def test_auto_penalties_equal_the_documented_ones(kind, tmp_path):
    X, y = waves()
    auto, named = kind(**SMALL).fit(X, y), kind(**SMALL, alphas=np.logspace(-3, 5, 17)).fit(X, y)
    np.testing.assert_array_equal(outputs(named, X), outputs(auto, X))
    named.save(tmp_path / "named.s4")
    np.testing.assert_array_equal(outputs(kind.load(tmp_path / "named.s4"), X), outputs(auto, X))


@dataclass
class Counted:
    """A case that counts how often it is decoded."""

    signal: Signal
    loads: list[str] = field(default_factory=list)

    def __getattr__(self, name):
        return getattr(self.signal, name)

    def load(self):
        self.loads.append("solved" if Counted.solved else "before")
        return self.signal


Counted.solved = False


@each_kind
@pytest.mark.parametrize("holes", [0.0, 0.1, 0.7])
def test_fit_decodes_each_case_at_most_twice(kind, holes, monkeypatch):
    X, y = waves(n=80, n_channels=4)
    X[np.random.default_rng(0).random(X.shape) < holes] = np.nan
    cases = [Counted(Signal(case, sfreq=60.0)) for case in X]

    def solve(*args, **kwargs):
        Counted.solved = True
        return ridge_of(*args, **kwargs)

    ridge_of = regression.fit_ridge
    monkeypatch.setattr(regression, "fit_ridge", solve)
    monkeypatch.setattr(Counted, "solved", False)
    kind(**SMALL).fit(Signals.from_cases(cases), y)
    counts = {len(case.loads) for case in cases}
    assert counts == ({1} if kind is S4RandomFeatures else {2})


def test_lazy_cases_give_the_same_model_as_cases_in_memory():
    X, y = waves(n=80)
    X[np.random.default_rng(0).random(X.shape) < 0.1] = np.nan
    lazy = Signals.from_cases(Counted(Signal(case, sfreq=60.0)) for case in X)
    expected = S4RidgeClassifier(**SMALL).fit(Signals(X, sfreq=60.0), y)
    np.testing.assert_array_equal(outputs(S4RidgeClassifier(**SMALL).fit(lazy, y), X), outputs(expected, X))


def test_model_is_accurate_with_few_calibration_cases(monkeypatch):
    monkeypatch.setattr("s4signal.estimators.features.drawing._MOST_NUMBERS", 5 * 3 * 120)
    X, y = waves()
    assert S4RidgeClassifier(**SMALL).fit(X, y).score(*waves(seed=1)) > 0.9
