"""MNE epochs that are not yet loaded: the remaining trials are used, or one line explains what to do."""

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from s4signal.errors import ShapeError
from s4signal.signals import Signals

mne = pytest.importorskip("mne")


@pytest.mark.filterwarnings("ignore:All epochs were dropped")  # raised by mne
def test_epochs_that_are_not_loaded_give_the_trials_after_rejection(rng):
    data = rng.normal(size=(1, 1000)) * 1e-6
    data[0, 200] = 1.0
    raw = mne.io.RawArray(data, mne.create_info(["Oz"], 100.0, "eeg"), verbose="error")
    events = np.c_[np.arange(100, 900, 100), np.zeros(8, int), np.ones(8, int)]
    epochs = mne.Epochs(raw, events, tmin=0, tmax=0.5, baseline=None, reject={"eeg": 0.1}, verbose="error")
    assert len(Signals(epochs)) == 7
    epochs = mne.Epochs(raw, events, tmin=0, tmax=0.5, baseline=None, reject={"eeg": 1e-12}, verbose="error")
    with pytest.raises(ShapeError, match="the Epochs hold no trial"):
        Signals(epochs)


def test_cross_validation_of_epochs_needs_drop_bad(rng):
    raw = mne.io.RawArray(rng.normal(size=(1, 1000)), mne.create_info(["Oz"], 100.0, "eeg"), verbose="error")
    events = np.c_[np.arange(100, 900, 100), np.zeros(8, int), np.ones(8, int)]
    epochs = mne.Epochs(raw, events, tmin=0, tmax=0.5, baseline=None, preload=False, verbose="error")
    model, y = make_pipeline(FunctionTransformer(Signals), DummyClassifier()), np.arange(8) % 2
    with pytest.raises(RuntimeError, match="the length of the Epochs is not known"):
        cross_val_score(model, epochs, y, cv=2)
    assert len(cross_val_score(model, epochs.drop_bad(), y, cv=2)) == 2
