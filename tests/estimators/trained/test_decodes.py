"""Number of reads of a case from disk: one for the survey, one for the computations before the first step."""

import numpy as np
import pytest
from small_models import classifier, regressor, waves

from s4signal import Signals
from s4signal.signals import Signal

X, Y = waves(12, n_times=200)
EPOCHS = 3


class Lazy:
    """A case that counts how often it is read."""

    def __init__(self, signal):
        self.signal, self.n_reads = signal, 0

    def __getattr__(self, name):
        return getattr(self.signal, name)

    def load(self):
        self.n_reads += 1
        return self.signal


def lazy(X, **metadata):
    return Signals.from_cases(Lazy(signal) for signal in Signals(X, **metadata))


def reads(signals):
    return {case.n_reads for case in signals.cases}


HOLES = np.where(np.random.default_rng(0).random(X.shape) < 0.1, np.nan, X)
TIMES = [np.cumsum(np.random.default_rng(i).uniform(0.01, 0.03, 200)) for i in range(12)]
ROW = {
    "linear": (X, {"sfreq": 100.0}, {"frontend": "linear", "readout": "pooled"}, 1 + EPOCHS, 1 + EPOCHS),
    "linear, closed form": (X, {"sfreq": 100.0}, {"frontend": "linear", "readout": "closed_form"}, 2, 2),
    "hop means": (X, {"sfreq": 100.0}, {}, 2, 2),
    "hop means, closed form": (X, {"sfreq": 100.0}, {"readout": "closed_form"}, 2, 2),
    "missing samples": (HOLES, {"sfreq": 100.0}, {"frontend": "linear"}, 1 + EPOCHS, 1 + EPOCHS),
    "hop means, missing samples": (HOLES, {"sfreq": 100.0}, {}, 2, 2),
    "with times": (X, {"times": TIMES}, {}, 1 + EPOCHS, 1 + EPOCHS),
    "filter bank": (X, {"sfreq": 8000.0}, {}, 2, 2),
    "filter bank with times": (X, {"times": [t / 100 for t in TIMES], "sfreq": 8000.0}, {}, 2, 2),
    "samples dropped": (X, {"sfreq": 8000.0}, {"augmentation": ("sample_dropout",)}, 2, 2),
    "checkpoints": (X, {"sfreq": 8000.0}, {"checkpoint_dir": ""}, 2, 2),
}


@pytest.mark.parametrize("make", [classifier, regressor])
@pytest.mark.parametrize(("data", "metadata", "options", "n_train", "n_val"), ROW.values(), ids=ROW)
def test_a_case_is_read_at_most_twice_before_the_first_step(make, data, metadata, options, n_train, n_val, tmp_path):
    if "checkpoint_dir" in options:
        options = {"checkpoint_dir": tmp_path}
    train, validation = lazy(data, **metadata), lazy(data, **metadata)
    model = make(max_epochs=EPOCHS, **options).fit(train, Y, X_val=validation, y_val=Y)
    assert reads(train) == {n_train}
    assert reads(validation) == {n_val}
    new = lazy(data, **metadata)
    model.predict(new)
    assert max(reads(new)) <= 2 + ("times" in metadata and "sfreq" not in metadata)


def test_internal_validation_cases_are_read_equally_often(tmp_path):
    train = lazy(X, sfreq=100.0)
    model = classifier(frontend="linear", readout="pooled", max_epochs=EPOCHS, early_stopping=True)
    model.set_params(validation_fraction=0.25).fit(train, Y)
    assert reads(train) == {1 + EPOCHS}


def test_fitted_model_keeps_no_samples():
    signal = Signal(X[0], sfreq=100.0)
    assert all(value is not signal.data for value in vars(classifier().fit(lazy(X), Y)).values())
