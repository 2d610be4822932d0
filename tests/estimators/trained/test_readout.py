"""The power readout: when "auto" takes it, what it is fitted to, and that everything else works with it."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, LeaveOneGroupOut, LeaveOneOut
from small_models import classifier, regressor, same_weights

from s4signal import S4Classifier, Signals
from s4signal.estimators.trained.readout import left_out_ridge, logit_scale
from s4signal.signals import drop_samples

__all__: list[str] = []

SFREQ, N = 64.0, 40
TOLERANCE = 1e-5
Y = np.arange(N) % 2


def powers(n_times=128, seed=0, y=Y):
    """Return noise with waves of random phase, stronger in the first channel for class 1: (n, 3, n_times)."""
    rng = np.random.default_rng(seed)
    phase = 2 * np.pi * (10.0 * np.arange(n_times) / SFREQ + rng.uniform(size=(len(y), 1)))
    X = rng.standard_normal((len(y), 3, n_times))
    X[:, 0] += np.where(y == 1, 2.0, 0.3)[:, None] * np.sin(phase)
    return X


def waves(n_times=128):
    """Return noise with a slow wave whose sign is the class."""
    X = np.random.default_rng(0).standard_normal((N, 3, n_times))
    return X + np.where(Y == 1, 1, -1)[:, None, None] * np.sin(np.linspace(0, 6.28, n_times))


POWERS, WAVES = Signals(powers(), sfreq=SFREQ), Signals(waves(), sfreq=SFREQ)


@pytest.fixture(scope="module")
def power_model():
    return classifier(bidirectional=False, readout="auto").fit(POWERS, Y)


def test_auto_takes_power_where_powers_say_more(power_model):
    assert power_model.network_.readout is not None
    text = power_model.describe()
    assert (
        "readout        power, 12 oscillators 2 - 26 Hz, covariances of 3 channels, layers x 0.00 (auto, R2 of ridge"
        in text
    )
    assert power_model.score(Signals(powers(seed=1), sfreq=SFREQ), Y) > 0.9
    assert same_weights(power_model, classifier(bidirectional=False, readout="power").fit(POWERS, Y))
    pooled = classifier(bidirectional=False, readout="pooled").fit(POWERS, Y)
    assert pooled.score(Signals(powers(seed=1), sfreq=SFREQ), Y) < 0.8


def test_auto_leaves_power_out_where_slow_waves_say_more():
    model = classifier(readout="auto").fit(WAVES, Y)
    assert model.network_.readout is None
    assert "readout        pooled (auto, R2 of ridge, cases left out one by one: power " in model.describe()
    assert same_weights(model, classifier(readout="pooled").fit(WAVES, Y))


def test_power_that_is_asked_for_takes_little_away_where_slow_waves_say_more():
    model = S4Classifier(readout="power", random_state=0).fit(WAVES, Y)
    assert float(model.network_.readout.share) == 1.0
    assert model.score(WAVES, Y) > 0.95


def test_layers_that_say_nothing_are_not_trained_for_long():
    model = classifier(max_epochs="auto").fit(POWERS, Y)
    assert float(model.network_.readout.share) == 0.0
    assert model.n_iter_ == 1
    assert "1 epochs (auto)" in model.describe()
    assert same_weights(model, classifier(max_epochs=1).fit(POWERS, Y))


@pytest.mark.parametrize("groups", [None, np.repeat(np.arange(8), 5)], ids=["one by one", "group by group"])
def test_errors_of_cases_left_out_are_those_of_a_fit_without_them(groups):
    rng = np.random.default_rng(0)
    features, weights = rng.standard_normal((N, 60)) * rng.uniform(1, 9, 60), rng.integers(1, 4, N).astype(float)
    targets = features[:, :2] + rng.standard_normal((N, 2))
    found = left_out_ridge(features, targets, weights, groups)
    mean = np.average(features, axis=0, weights=weights)
    V = (features - mean) / np.sqrt(np.average((features - mean) ** 2, axis=0, weights=weights))
    w = weights / weights.mean()
    coef = np.linalg.lstsq(features - mean, features @ found.coef - mean @ found.coef, rcond=None)[0]
    np.testing.assert_allclose((features - mean) @ coef, (features - mean) @ found.coef, atol=1e-8)
    # The penalty that gives these coefficients on all cases.
    level = np.linalg.eigvalsh((np.sqrt(w)[:, None] * V) @ (np.sqrt(w)[:, None] * V).T).sum() / N
    fits = {p: Ridge(alpha=p * level).fit(V, targets, w) for p in 10.0 ** np.arange(-3, 3.1, 0.5)}
    best = min(fits, key=lambda p: np.abs(fits[p].predict(V) - features @ found.coef - found.intercept).max())
    np.testing.assert_allclose(fits[best].predict(V), features @ found.coef + found.intercept, atol=1e-6)
    splits = LeaveOneOut().split(V) if groups is None else LeaveOneGroupOut().split(V, groups=groups)
    for train, test in splits:
        alone = Ridge(alpha=best * level).fit(V[train], targets[train], w[train])
        np.testing.assert_allclose(alone.predict(V[test]), found.predictions[test], atol=1e-6)


def test_a_share_of_the_variance_is_at_most_one_and_none_of_noise():
    rng = np.random.default_rng(0)
    features, targets = rng.standard_normal((N, 5)), rng.standard_normal((N, 1))
    assert left_out_ridge(features, features[:, :1], np.ones(N)).r2 > 0.99
    assert -0.05 < left_out_ridge(features, targets, np.ones(N)).r2 < 0.15


def test_logits_are_as_sure_as_predictions_of_cases_left_out_are_right():
    rng = np.random.default_rng(0)
    sure = np.eye(2)[Y]
    most = np.where(rng.random(N) < 0.8, Y, 1 - Y)
    assert logit_scale(sure, Y, np.ones(N)) > logit_scale(sure, most, np.ones(N)) > 1
    # Of N right answers, N + 1 of N + 2 are expected to be right.
    assert 1 / (1 + np.exp(-logit_scale(sure, Y, np.ones(N)))) == pytest.approx((N + 1) / (N + 2), abs=0.01)


def test_what_belongs_to_a_group_alone_is_not_taken_for_the_class():
    groups = np.arange(N) // 10
    y = groups % 2
    X = powers(y=np.zeros(N))
    X[:, 1] *= (1.0 + groups)[:, None]  # each group has a power of its own
    signals = Signals(X, sfreq=SFREQ)
    assert classifier().fit(signals, y).network_.readout is not None
    model = classifier().fit(signals, y, groups=groups)
    assert model.network_.readout is None
    assert "cases left out group by group" in model.describe()


@pytest.mark.parametrize("frontend", ["linear", "hop_means"])
@pytest.mark.parametrize("sfreq", [None, 32.0, 100.0])
def test_a_stream_says_what_the_prediction_says(frontend, sfreq):
    model = classifier(bidirectional=False, readout="power", frontend=frontend, pooling="legs").fit(POWERS, Y)
    signal = np.random.default_rng(0).standard_normal((3, 150))
    stream, heard = model.stream(sfreq=sfreq), 0
    for n in (1, 20, 0, 64, 65):
        scores = stream.push(signal[:, heard : heard + n])
        heard += n
        expected = model.predict_proba(Signals([signal[:, :heard]], sfreq=sfreq or SFREQ))[0]
        np.testing.assert_allclose(scores, expected, atol=10 * TOLERANCE)


def test_a_saved_model_is_the_model(power_model, tmp_path):
    power_model.save(tmp_path / "model.s4")
    loaded = S4Classifier.load(tmp_path / "model.s4")
    np.testing.assert_array_equal(loaded.predict_proba(POWERS), power_model.predict_proba(POWERS))
    assert loaded.describe() == power_model.describe()


def test_a_regressor_reads_powers_too():
    y = np.random.default_rng(3).uniform(0.3, 2.0, N)
    X = np.random.default_rng(0).standard_normal((N, 3, 128))
    phase = 2 * np.pi * (10.0 * np.arange(128) / SFREQ + np.random.default_rng(1).uniform(size=(N, 1)))
    X[:, 0] += 2 * y[:, None] * np.sin(phase)
    model = regressor(readout="auto").fit(Signals(X[:30], sfreq=SFREQ), 100 + 10 * y[:30])
    assert model.score(Signals(X[30:], sfreq=SFREQ), 100 + 10 * y[30:]) > 0.7


def test_a_case_at_another_rate_has_the_powers_that_it_has(power_model):
    time = np.arange(256) / (2 * SFREQ)
    rng = np.random.default_rng(5)
    phase = 2 * np.pi * (10.0 * time + rng.uniform(size=(N, 1)))
    X = rng.standard_normal((N, 3, 256)) * np.sqrt(2)  # as much noise a hertz
    X[:, 0] += np.where(Y == 1, 2.0, 0.3)[:, None] * np.sin(phase)
    assert power_model.score(Signals(X, sfreq=2 * SFREQ), Y) > 0.85


def test_missing_samples_at_prediction_leave_the_answer_nearly_what_it_is(power_model):
    new = Signals(powers(seed=1), sfreq=SFREQ)
    for as_nan in (True, False):
        holes = drop_samples(new, 0.05, random_state=0, as_nan=as_nan)
        assert power_model.score(holes, Y) > 0.85


def test_irregular_and_missing_samples_in_training_leave_the_pooled_readout():
    for as_nan in (True, False):
        model = classifier().fit(drop_samples(POWERS, 0.3, random_state=0, as_nan=as_nan), Y)
        assert model.network_.readout is None
    asked = classifier(readout="power").fit(drop_samples(POWERS, 0.1, random_state=0), Y)
    assert asked.score(drop_samples(Signals(powers(seed=1), sfreq=SFREQ), 0.1, random_state=1), Y) > 0.7


def test_one_channel_is_read_by_its_powers_where_that_is_asked_for():
    one = Signals(powers()[:, :1], sfreq=SFREQ)
    assert classifier().fit(one, Y).network_.readout is None
    assert classifier(readout="power").fit(one, Y).score(Signals(powers(seed=1)[:, :1], sfreq=SFREQ), Y) > 0.9


@pytest.mark.parametrize("sfreq", [None, 7.0])
def test_power_needs_a_rate_that_holds_it(sfreq):
    with pytest.raises(ValueError, match=r"readout='power' needs a sampling rate of at least 8 Hz \(got "):
        classifier(readout="power", sfreq=sfreq).fit(powers(), Y)
    assert classifier(sfreq=sfreq).fit(powers(), Y).network_.readout is None


@pytest.mark.parametrize("readout", ["powers", None, 1])
def test_another_readout_is_refused(readout):
    with pytest.raises(ValueError, match=r"readout=.* is unknown or out of range; choose one of 'auto', 'po"):
        classifier(readout=readout).fit(POWERS, Y)


def test_a_search_chooses_the_readout():
    search = GridSearchCV(classifier(sfreq=SFREQ), {"readout": ["pooled", "power"]}, cv=2).fit(powers(), Y)
    assert search.best_params_ == {"readout": "power"}
    assert clone(search.best_estimator_).readout == "power"


def test_fits_by_parts_ask_no_cases():
    X = powers()
    assert classifier(sfreq=SFREQ).partial_fit(X, Y).network_.readout is None
    model = classifier(sfreq=SFREQ, readout="power").partial_fit(X[:30], Y[:30])
    before = model.network_.readout.weight.clone()
    model.partial_fit(X[30:], Y[30:])
    assert (model.network_.readout.weight == before).all()
    assert model.score(powers(seed=1), Y) > 0.8


def test_a_warm_start_fits_the_readout_to_its_cases():
    model = classifier(sfreq=SFREQ, warm_start=True).fit(powers()[:30], Y[:30])
    before = model.network_.readout.weight.clone()
    model.fit(powers(seed=2), Y)
    assert (model.network_.readout.weight != before).any()
    assert model.score(powers(seed=1), Y) > 0.9


def test_validation_cases_are_scored_as_predictions_are():
    X, new = powers(), powers(seed=1)
    model = classifier(sfreq=SFREQ, max_epochs=1).fit(X, Y, X_val=new, y_val=Y)
    assert model.history_[0]["validation_score"] == model.score(new, Y)


def test_samples_removed_in_training_do_not_stop_it():
    model = classifier(augmentation=("sample_dropout",), frontend="hop_means", readout="power", max_epochs=3)
    assert model.fit(POWERS, Y).score(Signals(powers(seed=1), sfreq=SFREQ), Y) > 0.9
