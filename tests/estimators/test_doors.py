"""Input checks shared by all estimators: axes, masks, weights, data frames, finite outputs."""

import numpy as np
import pandas as pd
import pytest
from small_models import classifier, regressor, waves

from s4signal import S4RidgeClassifier, S4RidgeRegressor, Signals
from s4signal.errors import ShapeError
from s4signal.estimators import S4FilterBank, S4RandomFeatures
from s4signal.estimators.validation import check_signals
from s4signal.signals import Signal

__all__: list[str] = []

RNG = np.random.default_rng(0)
TIME_SECOND = RNG.standard_normal((12, 1000, 2))
X, Y = waves()
MAKERS = {
    "classifier": classifier,
    "regressor": regressor,
    "ridge classifier": lambda: S4RidgeClassifier(n_oscillators=8, random_state=0),
    "ridge regressor": lambda: S4RidgeRegressor(n_oscillators=8, random_state=0),
    "random features": lambda: S4RandomFeatures(n_oscillators=8, random_state=0),
    "filter bank": lambda: S4FilterBank(n_bands=3),
}
each_estimator = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
each_model = pytest.mark.parametrize("make", list(MAKERS.values())[:4], ids=list(MAKERS)[:4])


def objects(cases):
    array = np.empty(len(cases), dtype=object)
    array[:] = list(cases)
    return array


FORMS = {
    "array": lambda A: A,
    "list": list,
    "tuple": tuple,
    "frames": lambda A: [pd.DataFrame(case, columns=["red", "infrared"]) for case in A],
    "objects": objects,
    "nested lists": lambda A: A[:, :500].tolist(),
    "other lengths": lambda A: [case[: 900 + 5 * i] for i, case in enumerate(A)],
}


@each_estimator
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_swapped_time_and_channels_are_refused_in_fit(make, form):
    with pytest.raises(ShapeError, match=r"If time comes second, pass|the cases differ"):
        make().fit(form(TIME_SECOND), np.arange(12) % 2)


@each_model
def test_swapped_time_and_channels_are_refused_in_predict(make):
    model = make().fit(X, Y)
    for form in (X.transpose(0, 2, 1), list(X.transpose(0, 2, 1))):
        with pytest.raises(ShapeError, match=r"fitted with 2|If time comes second"):
            model.predict(form)


def test_unequal_cases_with_another_number_of_channels_are_refused():
    model = S4RidgeClassifier(n_oscillators=2, random_state=0).fit(
        np.random.default_rng(0).standard_normal((6, 3, 40)), [0, 1] * 3
    )
    with pytest.raises(ShapeError, match="X has 2 channels, but S4RidgeClassifier was fitted with 3"):
        model.predict([np.ones((2, 20)), np.ones((2, 30))])


def test_signals_may_have_more_channels_than_samples():
    swapped = RNG.standard_normal((12, 500, 8))
    y = np.arange(12) % 2
    for form in (Signals(swapped), [Signal(case) for case in swapped]):
        assert S4RidgeClassifier(n_oscillators=2, random_state=0).fit(form, y).n_channels_in_ == 500


@pytest.mark.parametrize(
    ("shape", "refused"),
    [((100, 4), True), ((100, 5), False), ((30, 1), False), ((401, 400), True), ((401, 401), False)],
)
def test_time_seems_second_with_far_more_channels_than_samples(shape, refused):
    model, X = S4RidgeClassifier(sfreq=60.0), np.zeros((2, *shape))
    if refused:
        with pytest.raises(ShapeError, match=rf"got \(2, {shape[0]}, {shape[1]}\)\. If time comes second, pass X\."):
            check_signals(model, X, sfreq=60.0, reset=True)
    else:
        check_signals(model, X, sfreq=60.0, reset=True)
        assert check_signals(model, np.zeros((2, shape[0], shape[0]))).n_channels == shape[0], "square"


@each_model
def test_masked_samples_are_missing_samples(make):
    hidden = np.zeros(X.shape, dtype=bool)
    hidden[:, :, 20:25] = True
    masked, missing = np.ma.array(np.where(hidden, -9999.0, X), mask=hidden), np.where(hidden, np.nan, X)
    expected = make().fit(missing, Y).predict(missing)
    for form in (masked, list(masked), Signals(masked)):
        np.testing.assert_array_equal(make().fit(form, Y).predict(form), expected)
    expected = make().fit(missing[:, 0], Y).predict(missing[:, 0])
    np.testing.assert_array_equal(make().fit(masked[:, 0], Y).predict(masked[:, 0]), expected)


@each_model
def test_masked_targets_and_weights_are_refused(make):
    with pytest.raises(ValueError, match="some values of y are masked, so unknown; leave these cases out"):
        make().fit(X, np.ma.array(Y, mask=Y == 1))
    with pytest.raises(ValueError, match="some of sample_weight are masked"):
        make().fit(X, Y, sample_weight=np.ma.array(np.ones(24), mask=Y == 1))
    make().fit(X, np.ma.array(Y), sample_weight=np.ma.array(np.ones(24)))  # nothing is masked


@each_model
def test_non_finite_outputs_raise_an_error(make, monkeypatch):
    model = make().fit(X, Y)
    outputs = np.zeros((24, 2))
    outputs[[3, 5]] = np.nan, np.inf
    monkeypatch.setattr(type(model), "_outputs", lambda *args, **kwargs: outputs)
    for name in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        if hasattr(model, name):
            with pytest.raises(ValueError, match="case 3 of X, and 1 more of 24, have no finite output"):
                getattr(model, name)(X)


def test_pandas_frames_and_series_are_accepted():
    frame = pd.DataFrame(X[:, 0])
    for y in (pd.Series(Y), pd.Series(Y).map({0: "a", 1: "b"}), pd.Series(Y).map({0: "a", 1: "b"}).astype("category")):
        model = S4RidgeClassifier(n_oscillators=8, random_state=0).fit(frame, y)
        assert set(model.predict(frame)) <= set(y)


def test_polars_frames_and_series_are_accepted():
    polars = pytest.importorskip("polars")
    try:
        polars.Series([1])
    except NameError:
        pytest.skip("polars is installed without its binary")
    frame, names = polars.DataFrame(X[:, 0]), ["a", "b"] * 12
    expected = S4RidgeClassifier(n_oscillators=8, random_state=0).fit(X[:, 0], names).predict_proba(X[:, 0])
    for y in (polars.Series(names), polars.Series(names).cast(polars.Categorical)):
        model = S4RidgeClassifier(n_oscillators=8, random_state=0).fit(frame, y)
        np.testing.assert_array_equal(model.predict_proba(frame), expected)


NO_CHUNKS = {
    "Signals": (Signals(X[:1]), r"a stream takes arrays \(n_channels, n_times\), not Signals; pass signal\.data"),
    "complex": (X[0] + 1j, "Complex data not supported"),
    "dates": (X[0].astype("M8[s]"), "the chunk"),
    "texts": ([["a"] * 5] * 2, "could not convert string|the chunk"),
}


@each_model
def test_stream_refuses_chunks_that_are_not_numeric_arrays(make):
    model = make()
    if "bidirectional" in model.get_params():
        model.set_params(bidirectional=False)
    stream = model.fit(X, Y).stream()
    expected = model.stream().push(X[0])
    for chunk, text in NO_CHUNKS.values():
        with pytest.raises((TypeError, ValueError), match=text):
            stream.push(chunk)
    np.testing.assert_array_equal(stream.push(X[0]), expected)  # the refused chunks did not change the state


@each_estimator
def test_fit_and_predict_warn_about_a_wrong_clock(make):
    X, y = waves(8, n_channels=1, n_times=30)
    days = [1.7e9 + 86400.0 * np.arange(30) for _ in X]
    model = make().fit(Signals(X, times=days), y)
    days[3], days[5] = np.r_[0.0, days[3][1:]], np.r_[days[5][:-1], 2.0**32]
    wrong, message = Signals(X, times=days), r"case 3: times jump by 54\.0 years after sample 0, 1 more as well\. If a"
    predict = model.predict if hasattr(model, "predict") else model.transform
    for call in (lambda: make().fit(wrong, y), lambda: predict(wrong)):
        with pytest.warns(UserWarning, match=message):
            call()
