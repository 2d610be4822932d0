"""An interrupted or failed fit keeps the old model or gives the complete new one; a warning reports which."""

import copy
import re
import signal
import sys
import warnings
from collections import Counter

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from small_models import classifier, regressor, waves

from s4signal import S4RidgeClassifier, S4RidgeRegressor
from s4signal.estimators import AlignRecordings, BandPass, RobustScale, S4FilterBank, S4RandomFeatures

__all__: list[str] = []

X, Y = waves()
OLD_X = 3 * X[::-1] + 1
MAKERS = {
    "classifier": classifier,
    "regressor": lambda: regressor(missing="mask"),
    "with a readout": lambda: classifier(max_epochs=1, readout="closed_form"),
    "ridge classifier": lambda: S4RidgeClassifier(n_oscillators=4, random_state=0),
    "ridge regressor": lambda: S4RidgeRegressor(n_oscillators=4, random_state=0),
    "random features": lambda: S4RandomFeatures(n_oscillators=4, random_state=0),
    "filter bank": lambda: S4FilterBank(n_bands=3),
}
STEPS = {
    "align": AlignRecordings,
    "band pass": lambda: BandPass(1, 20, sfreq=50),
    "scale": lambda: RobustScale(sfreq=50),
}
SAVED = ("classifier", "regressor", "with a readout", "ridge classifier", "ridge regressor")


def outputs(model):
    return next(getattr(model, name)(X) for name in ("predict_proba", "transform", "predict") if hasattr(model, name))


def learned(model):
    """Return the attributes of an estimator, without those that scikit-learn sets for callbacks during a fit."""
    return {name: value for name, value in vars(model).items() if "callback" not in name}


def fit(model, interrupt_at=None):
    """Fit, with SIGINT at the n-th call of a Python function; return the number of calls."""
    calls = 0

    def profile(frame, event, _):
        nonlocal calls
        calls += event == "call"
        if calls == interrupt_at and event == "call":
            signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore SIGINT
    sys.setprofile(profile)
    try:
        model.fit(X, Y)
    finally:
        sys.setprofile(None)
        signal.signal(signal.SIGINT, before)
    return calls


def outcome(model, before, expected, interrupt_at):
    """Interrupt a fit; check and return which model remains."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            fit(model, interrupt_at)
        except KeyboardInterrupt:
            interrupted = True
        else:
            interrupted = False
    messages = [str(w.message) for w in caught if "was interrupted" in str(w.message)]
    after = learned(model)
    if after.keys() == before.keys() and all(after[name] is before[name] for name in before):
        assert interrupted
        assert [re.sub(".*; ", "", text) for text in messages] in ([], ["the estimator is as it was before."])
        return "old" if messages else "old, not begun"
    np.testing.assert_array_equal(outputs(model), expected)
    assert all(text.endswith("complete, as this fit was done.") for text in messages)
    return "new" if interrupted else "new, too late"


# An interrupt during the destruction of an object cannot propagate.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("again", [False, True], ids=["first fit", "fit again"])
@pytest.mark.parametrize(
    ("kind", "n"),
    [("classifier", 3), ("ridge classifier", 3), *(pytest.param(k, 30, marks=pytest.mark.stress) for k in MAKERS)],
)
def test_interrupted_fit_keeps_the_old_model_or_gives_the_new_one(kind, again, n, tmp_path):
    make, rng = MAKERS[kind], np.random.default_rng(0)
    make().fit(X, Y)  # fills the caches
    n_calls, new, old = fit(make()), outputs(make().fit(X, Y)), make()
    old_outputs = outputs(old.fit(OLD_X, Y)) if again else None
    # Anywhere, and close to the end, where the fitted attributes are assigned.
    points = [*rng.integers(1, n_calls, n - n // 3), *(n_calls - rng.integers(0, 60, n // 3))]
    found = Counter()
    for point in points:
        model = copy.deepcopy(old)
        result = outcome(model, learned(model), new, int(point))
        found[result] += 1
        if result.startswith("new"):
            if kind in SAVED:
                model.save(tmp_path / "model.s4")
        elif again:
            np.testing.assert_array_equal(outputs(model), old_outputs)
        else:
            with pytest.raises(NotFittedError):
                outputs(model)
        np.testing.assert_array_equal(outputs(model.fit(X, Y)), new)
    print(kind, dict(found))
    assert found["old"] >= len(points) // 3


@pytest.mark.parametrize("kind", MAKERS)
def test_interrupt_gives_a_warning_and_raises_keyboard_interrupt(kind):
    model = MAKERS[kind]().fit(X, Y)
    with (
        pytest.warns(UserWarning, match=r"a fit of S4\w+ was interrupted; the estimator is as it was before\."),
        pytest.raises(KeyboardInterrupt),
    ):
        fit(model, interrupt_at=300)
    with pytest.raises(KeyboardInterrupt):
        fit(model, interrupt_at=300)


@pytest.mark.parametrize("kind", [*MAKERS, *STEPS])
def test_failed_fit_leaves_the_estimator_unchanged(kind):
    estimator = (MAKERS | STEPS)[kind]().fit(X, Y)
    before = dict(vars(estimator))
    with pytest.raises(ValueError, match=r"infinity|NaN|observ"):
        estimator.fit(np.full((24, 1, 60), np.inf), Y)
    assert vars(estimator) == before
