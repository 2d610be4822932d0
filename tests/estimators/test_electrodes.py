"""An electrode that is flat in training decides nothing later; one that goes flat later is named."""

import warnings

import numpy as np
import pytest
from small_models import classifier, waves

from s4signal import S4RidgeClassifier, Signals
from s4signal.estimators import S4RandomFeatures

__all__: list[str] = []

LEVEL = 0.1  # at which an electrode is flat
NAMES = ["Fz", "Cz", "Oz"]
MAKERS = {
    "network": lambda: classifier(max_epochs=1, readout="closed_form", early_stopping=True),
    "layers alone": lambda: classifier(max_epochs=1),
    "ridge": lambda: S4RidgeClassifier(n_oscillators=4, random_state=0),
    "features": lambda: S4RandomFeatures(n_oscillators=4, random_state=0),
}
each_kind = pytest.mark.parametrize("kind", MAKERS)
X, Y = waves(n_channels=3)


def named(X):
    return Signals(X, sfreq=60.0, ch_names=NAMES)


def with_oz(values, cases=slice(None)):
    """Return cases of which some have other values in the last channel."""
    changed = X.copy()
    changed[cases, 2] = values
    return changed


def answers(model, X):
    return (model.predict_proba if hasattr(model, "predict_proba") else model.transform)(X)


@each_kind
def test_an_electrode_that_comes_alive_decides_nothing(kind):
    alive = with_oz(300 + 40 * np.random.default_rng(0).standard_normal(60))
    with pytest.warns(UserWarning, match=r"channel 2 \(Oz\) is flat in all training cases; it is ignored"):
        model = MAKERS[kind]().fit(named(with_oz(LEVEL)), Y)
    np.testing.assert_allclose(answers(model, named(alive)), answers(model, named(with_oz(LEVEL))), atol=1e-6)


@each_kind
def test_an_electrode_that_goes_flat_is_named(kind, tmp_path):
    model, off = MAKERS[kind]().fit(named(X), Y), named(with_oz(LEVEL, [3, 7]))
    said = r"channel 2 \(Oz\): flat in case 3 and 1 more, but in no training case\. Check whether the sensor is off"
    with pytest.warns(UserWarning, match=said):
        found = answers(model, off)
    assert np.isfinite(found).all()
    rest = np.setdiff1d(np.arange(24), [3, 7])
    np.testing.assert_allclose(found[rest], answers(model, named(X))[rest], rtol=1e-4, atol=1e-5)
    if hasattr(model, "save"):
        model.save(tmp_path / "model.s4")
        with pytest.warns(UserWarning, match=r"channel 2.*: flat in case 0, but in no training case"):
            type(model).load(tmp_path / "model.s4").predict(with_oz(LEVEL)[:1])


@each_kind
def test_what_was_flat_in_a_training_case_or_is_missing_is_not_said(kind):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = MAKERS[kind]().fit(named(with_oz(0.0, 5)), Y)
        answers(model, named(with_oz(0.0)))
        model.fit(named(X), Y)
        answers(model, named(with_oz(np.nan, 4)))
        answers(model, named(X[:, :, :1]))  # of one sample none can be flat
