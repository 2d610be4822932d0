"""Times of samples: in Signals or as an argument, regular and irregular, other rates, invariance, errors."""

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.model_selection import cross_val_predict, cross_val_score, cross_validate
from small_models import REFERENCE, classifier, regressor, same_weights, waves

from s4signal import S4Classifier, Signals
from s4signal.signals import decimate, drop_samples

X, Y = waves()
BOTH = pytest.mark.parametrize("make", [classifier, regressor])


def irregular(n=24, n_times=60, seed=0):
    rng = np.random.default_rng(seed)
    return [np.cumsum(rng.uniform(0.002, 0.03, n_times)) for _ in range(n)]


TIMES = irregular()


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@BOTH
@pytest.mark.parametrize("kernel", ["s4d", "s5"])
def test_times_in_signals_and_as_an_argument_give_the_same_model(make, kernel):
    carried = make(kernel=kernel).fit(Signals(X, times=TIMES), Y)
    passed = make(kernel=kernel).fit(X, Y, times=TIMES)
    assert same_weights(carried, passed)
    predicted = carried.predict(Signals(X, times=TIMES))
    assert np.array_equal(passed.predict(X, times=TIMES), predicted)
    assert passed.score(X, Y, times=TIMES) == carried.score(Signals(X, times=TIMES), Y)


def test_2d_array_accepts_times():
    model = classifier().fit(X[:, 0], Y, times=TIMES)
    shorter = [times[:50] for times in TIMES]
    assert model.predict_proba(X[:, 0, :50], times=shorter).shape == (24, 2)


@pytest.mark.parametrize(("start_s", "sfreq"), [(5.0, None), (1.7e9, 100.0)])  # and seconds since 1970
def test_regular_times_equal_a_sampling_rate(start_s, sfreq):
    times = [start_s + np.arange(60) / 100.0] * 24
    timed = classifier(**REFERENCE).fit(Signals(X, times=times, sfreq=sfreq), Y)
    plain = classifier(**REFERENCE).fit(Signals(X, sfreq=100.0), Y)
    assert timed.sfreq_ == pytest.approx(100.0)
    np.testing.assert_allclose(
        timed.predict_proba(Signals(X, times=times, sfreq=sfreq)),
        plain.predict_proba(Signals(X, sfreq=100.0)),
        atol=1e-9,
    )


def test_the_unit_of_time_is_the_median_gap_of_the_training_cases():
    model = classifier().fit(Signals(X, times=TIMES), Y)
    assert model.sfreq_ == pytest.approx(1.0 / np.median(np.concatenate([np.diff(times) for times in TIMES])))
    named = classifier(sfreq=80.0).fit(Signals(X, times=TIMES), Y)
    assert named.sfreq_ == 80.0


def test_seconds_and_minutes_give_the_same_model():
    seconds = classifier(**REFERENCE).fit(Signals(X, times=TIMES), Y)
    minutes = classifier(**REFERENCE).fit(Signals(X, times=[60 * times for times in TIMES]), Y)
    np.testing.assert_allclose(
        minutes.predict_proba(Signals(X, times=[60 * times for times in TIMES])),
        seconds.predict_proba(Signals(X, times=TIMES)),
        atol=1e-9,
    )


@BOTH
@pytest.mark.parametrize("pooling", ["mean", "legs", "attention", "last"])
def test_prediction_of_a_case_does_not_depend_on_the_other_cases(make, pooling, rng):
    lengths = rng.integers(5, 60, 24)
    # A mix of regular, irregular and incomplete cases.
    signals = Signals([case[:, :n] for case, n in zip(X, lengths, strict=True)], sfreq=100.0)
    timed = Signals([c.data for c in signals], times=[t[:n] for t, n in zip(TIMES, lengths, strict=True)], sfreq=100.0)
    mixed = Signals([*signals[:8], *timed[8:16], *drop_samples(signals[16:], 0.4, random_state=0, as_nan=True)])
    model = make(pooling=pooling).fit(mixed, Y)
    together = model._outputs(mixed)
    np.testing.assert_allclose(together, np.concatenate([model._outputs(mixed[[i]]) for i in range(24)]), atol=1e-6)
    order = rng.permutation(24)
    np.testing.assert_allclose(model._outputs(mixed[order]), together[order], atol=1e-6)


@BOTH
def test_wrong_clock_gives_a_warning_and_needs_no_memory(make):
    wrong = [1.7e9 + times for times in TIMES]
    wrong[3] = np.concatenate([[0.0], wrong[3][1:]])  # on a grid, 10^11 samples
    with pytest.warns(UserWarning, match=r"case 3: times jump by 54.0 years after sample 0\. If a clock was wrong"):
        model = make().fit(Signals(X, times=wrong), Y)
    with pytest.warns(UserWarning, match=r"case 3: times jump by 54.0 years after sample 0\. If a clock was wrong"):
        assert np.isfinite(model._outputs(Signals(X, times=wrong))).all()
    sessions = [np.r_[t[:30], 7 * 86400 + t[30:]] for t in TIMES]
    assert np.isfinite(model._outputs(Signals(X, times=sessions))).all()  # a week is a gap; warnings are errors


@BOTH
@pytest.mark.parametrize(("n", "k"), [(256, 3), (256, 20), (160, 20)])
def test_predictions_with_missing_samples_do_not_depend_on_padding(make, n, k, rng):
    holes = rng.standard_normal((6, 2, n))
    model = make(precision="64", max_epochs=1, sfreq=100.0).fit(holes, np.arange(6) % 2)
    for case in holes:
        case[:, rng.choice(np.arange(1, n - 1), k, replace=False)] = np.nan
    longer = np.pad(holes[0], ((0, 0), (0, 1)), mode="edge")
    together = model._outputs([*holes, longer, np.concatenate([holes[1], holes[2]], axis=1)])[:6]
    np.testing.assert_allclose(model._outputs(list(holes)), together, atol=1e-9)


def test_model_fitted_with_times_accepts_regular_recordings_with_a_rate():
    model = classifier(**REFERENCE).fit(Signals(X, times=TIMES, sfreq=100.0), Y)
    regular = Signals(X, sfreq=100.0)
    timed = Signals(X, times=[np.arange(60) / 100.0] * 24, sfreq=100.0)
    np.testing.assert_allclose(model.predict_proba(regular), model.predict_proba(timed), atol=1e-9)


def test_regular_times_equal_a_lower_rate_at_prediction():
    model = classifier(**REFERENCE, sfreq=100.0).fit(X, Y)
    half = decimate(Signals(X, sfreq=100.0), 2)
    timed = Signals([case.data for case in half], times=[np.arange(30) / 50.0] * 24, sfreq=50.0)
    np.testing.assert_allclose(model.predict_proba(timed), model.predict_proba(half), atol=1e-9)


def test_recordings_of_mixed_rates_train_together():
    fine, coarse = Signals(X[:12], sfreq=100.0), decimate(Signals(X[12:], sfreq=100.0), 2)
    model = classifier().fit(Signals.concatenate([fine, coarse]), Y)
    assert model.sfreq_ == 100.0
    assert model.predict(Signals.concatenate([coarse, fine])).shape == (24,)
    same_order = model.predict_proba(Signals.concatenate([fine, coarse]))
    np.testing.assert_allclose(model.predict_proba(coarse), same_order[12:], atol=1e-6)


def test_training_with_irregular_times_reduces_the_loss():
    waves = [np.sin((10.0 + 40.0 * label) * times) for label, times in zip(Y, TIMES, strict=True)]
    model = classifier(max_epochs=40, learning_rate=3e-2).fit(Signals(waves, times=TIMES), Y)
    assert model.history_[-1]["loss"] < 0.5 * model.history_[0]["loss"]


def test_loaded_model_fitted_with_times_gives_the_same_predictions(tmp_path):
    holes = drop_samples(Signals(X, times=TIMES), 0.2, random_state=0)
    model = classifier().fit(holes, Y)
    model.save(tmp_path / "model.s4")
    loaded = S4Classifier.load(tmp_path / "model.s4")
    assert np.array_equal(loaded.predict_proba(holes), model.predict_proba(holes))
    with pytest.raises(ValueError, match="was fitted with times"):
        loaded.predict(X)


def test_describe_reports_irregular_times():
    text = classifier().fit(Signals(X, times=TIMES), Y).describe()
    assert "at their own times" in text
    assert " Hz" in text


@BOTH
def test_model_fitted_with_times_needs_times(make):
    model = make().fit(Signals(X, times=TIMES), Y)
    text = r"case 0 has neither times nor a rate, but the model was fitted with times; pass Signals\(X, times=\.\.\.\)"
    with pytest.raises(ValueError, match=text):
        model.predict(X)
    with pytest.raises(ValueError, match=text):
        make().fit(Signals(X, times=TIMES), Y, X_val=X, y_val=Y)
    with pytest.raises(ValueError, match=r"a stream is regular: pass its rate, stream\(sfreq=\.\.\.\)"):
        make(bidirectional=False).fit(Signals(X, times=TIMES), Y).stream()


@BOTH
def test_times_in_milliseconds_are_refused(make):
    milliseconds = [1000 * times for times in TIMES]
    text = r"case 0: times must be seconds: their median gap is .* Divide milliseconds by 1000"
    with pytest.raises(ValueError, match=text):
        make(sfreq=62.5).fit(X, Y, times=milliseconds)
    with pytest.raises(ValueError, match=text):
        make().fit(X, Y, times=TIMES).predict(X, times=milliseconds)


def test_some_cases_may_be_sampled_much_more_densely():
    hourly = [3600 * times for times in TIMES]
    model = classifier().fit(X, Y, times=[*hourly[:20], *TIMES[20:]])
    assert model.predict(X[:8], times=[*hourly[:6], *TIMES[:2]]).shape == (8,)


@pytest.mark.parametrize("kernel", ["s4", "lssl"])
def test_a_dense_kernel_refuses_times(kernel):
    with pytest.raises(ValueError, match=f"X has times, but kernel='{kernel}' has dense state matrices"):
        classifier(kernel=kernel).fit(X, Y, times=TIMES)
    model = classifier(kernel=kernel, sfreq=62.5).fit(X, Y)
    with pytest.raises(ValueError, match="case 0 has samples at irregular times, but the kernel has dense"):
        model.predict(X, times=TIMES)


def test_cross_validation_slices_the_times_of_signals():
    signals = Signals(X, times=TIMES)
    assert cross_val_score(classifier(), signals, Y, cv=3).shape == (3,)
    assert cross_val_predict(classifier(), signals, Y, cv=3, method="predict_proba").shape == (24, 2)


@pytest.mark.usefixtures("routing")
def test_routed_times_equal_times_in_signals():
    model = classifier().set_fit_request(times=True).set_score_request(times=True)
    routed = cross_validate(model, X, Y, cv=3, params={"times": TIMES}, return_estimator=True)
    carried = cross_validate(classifier(), Signals(X, times=TIMES), Y, cv=3, return_estimator=True)
    assert routed["test_score"].tolist() == carried["test_score"].tolist()
    assert all(same_weights(a, b) for a, b in zip(routed["estimator"], carried["estimator"], strict=True))


@pytest.mark.usefixtures("routing")
def test_times_are_sliced_by_case_if_there_are_as_many_cases_as_samples():
    X, y = waves(n=30, n_times=30)
    times = irregular(30, 30)
    for form in (times, np.array(times)):
        model = classifier().set_fit_request(times=True).set_score_request(times=True)
        routed = cross_validate(model, X, y, cv=3, params={"times": form}, return_estimator=True)
        carried = cross_validate(classifier(), Signals(X, times=times), y, cv=3, return_estimator=True)
        assert all(same_weights(a, b) for a, b in zip(routed["estimator"], carried["estimator"], strict=True))
    with pytest.raises(ValueError, match="times must be one array of shape"):
        classifier().fit(X, y, times=times[0])


@pytest.mark.usefixtures("routing")
def test_incomplete_routing_of_times_is_refused():
    with pytest.raises(UnsetMetadataPassedError, match="times"):
        cross_validate(classifier(), X, Y, cv=3, params={"times": TIMES})
    half = classifier().set_fit_request(times=True)
    with pytest.raises(UnsetMetadataPassedError, match="times"):
        cross_validate(half, X, Y, cv=3, params={"times": TIMES})
    silent = clone(half).set_score_request(times=False)
    with pytest.raises(ValueError, match="was fitted with times"):
        cross_validate(silent, X, Y, cv=3, params={"times": TIMES}, error_score="raise")
