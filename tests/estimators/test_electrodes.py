"""Electrodes that are flat in training are ignored; a warning names those that become flat later."""

import warnings

import numpy as np
import pytest
from small_models import classifier, waves

from s4signal import S4RidgeClassifier, Signals
from s4signal.estimators import S4RandomFeatures

__all__: list[str] = []

LEVEL = 0.1  # of a flat electrode
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
    """Return the cases with other values in the last channel of the selected ones."""
    changed = X.copy()
    changed[cases, 2] = values
    return changed


def outputs(model, X):
    return (model.predict_proba if hasattr(model, "predict_proba") else model.transform)(X)


@each_kind
def test_electrode_flat_only_in_training_is_ignored(kind):
    varying = with_oz(300 + 40 * np.random.default_rng(0).standard_normal(60))
    with pytest.warns(UserWarning, match=r"channel 2 \(Oz\) is flat in all training cases; it is ignored"):
        model = MAKERS[kind]().fit(named(with_oz(LEVEL)), Y)
    np.testing.assert_allclose(outputs(model, named(varying)), outputs(model, named(with_oz(LEVEL))), atol=1e-6)


@each_kind
def test_warning_names_an_electrode_that_becomes_flat(kind, tmp_path):
    model, off = MAKERS[kind]().fit(named(X), Y), named(with_oz(LEVEL, [3, 7]))
    message = r"channel 2 \(Oz\): flat in case 3 and 1 more, but in no training case\. Check whether the sensor is off"
    with pytest.warns(UserWarning, match=message):
        found = outputs(model, off)
    assert np.isfinite(found).all()
    rest = np.setdiff1d(np.arange(24), [3, 7])
    np.testing.assert_allclose(found[rest], outputs(model, named(X))[rest], rtol=1e-4, atol=1e-5)
    if hasattr(model, "save"):
        model.save(tmp_path / "model.s4")
        with pytest.warns(UserWarning, match=r"channel 2.*: flat in case 0, but in no training case"):
            type(model).load(tmp_path / "model.s4").predict(with_oz(LEVEL)[:1])


@each_kind
def test_no_warning_for_known_flat_or_missing_electrodes(kind):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = MAKERS[kind]().fit(named(with_oz(0.0, 5)), Y)
        outputs(model, named(with_oz(0.0)))
        model.fit(named(X), Y)
        outputs(model, named(with_oz(np.nan, 4)))
        outputs(model, named(X[:, :, :1]))  # a single sample is not called flat
