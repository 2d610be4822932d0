"""S4Segmenter: labels for the epochs of long recordings."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scripts import PEAK_GIB
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from small_models import classifier

from s4signal import S4RidgeClassifier, Signals
from s4signal.errors import ModelFileError, RecordingError, ShapeError
from s4signal.estimators import Clip, Resample, S4Segmenter, load_pipeline, save_pipeline, stream_pipeline
from s4signal.estimators.segments import _MOST_VALUES
from s4signal.signals import Signal
from s4signal.signals.lazy import LazyCase

RATE = 50.0


class Meter(ClassifierMixin, BaseEstimator):
    """Keeps the training windows, and predicts "high" with the mean of a window as probability."""

    def fit(self, X, y):
        """Keep the windows."""
        self.windows_, self.y_, self.groups_ = [case.data for case in X], y, X.groups
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        """Return the means."""
        high = np.array([np.nanmean(case.data) for case in X])
        return np.stack([high, 1 - high], axis=1)


def ridge():
    return S4RidgeClassifier(n_oscillators=4, random_state=0)


def nights(n=4, seed=0, n_channels=2):
    """Return recordings of unequal length with slow and fast segments, and a label for every 2 s, one of them None."""
    rng = np.random.default_rng(seed)
    X, y = [], []
    for i in range(n):
        labels = np.repeat(rng.permutation(["slow", "fast"] * 3), rng.integers(3, 6))[: 12 + i].astype(object)
        hertz = np.repeat(np.where(labels == "slow", 2.0, 8.0), 100)
        wave = np.sin(np.cumsum(2 * np.pi * hertz / RATE))
        X.append(wave + 0.3 * rng.standard_normal((n_channels, len(wave))))
        labels[rng.integers(len(labels))] = None
        y.append(labels)
    return X, y


def model(estimator=None, **changed):
    return S4Segmenter(estimator or ridge(), **{"epoch_s": 2, "context_s": (2, 2), "sfreq": RATE} | changed)


def test_windows_contain_an_epoch_with_context_and_have_its_label():
    recording = np.arange(47.0)
    y = ["a", None, "b", "a"]
    meter = S4Segmenter(Meter(), epoch_s=1, context_s=(0.5, 1.2), sfreq=10).fit([recording], [y]).estimator_
    mirrored = np.pad(recording, (5, 12), mode="symmetric")
    expected = [
        mirrored[10 * k : 10 * k + 27] for k in (0, 2, 3)
    ]  # 40 is the end of the last epoch, 47 of the recording
    assert meter.y_.tolist() == ["a", "b", "a"]
    assert [window[0].tolist() for window in meter.windows_[:2]] == [part.tolist() for part in expected[:2]]
    assert meter.windows_[2][0].tolist() == [*recording[25:], *recording[:-6:-1]]


def test_predictions_equal_the_classifier_on_windows_cut_by_hand():
    X, y = nights()
    fitted = model().fit(X, y)
    windows = [
        np.pad(x, ((0, 0), (100, 100)), mode="symmetric")[:, k : k + 300] for x in X for k in range(0, x.shape[1], 100)
    ]
    outputs = fitted.predict_proba(X)
    assert np.allclose(
        np.concatenate(outputs), fitted.estimator_.predict_proba(Signals(windows, sfreq=RATE)), atol=1e-5
    )
    assert [len(each) for each in outputs] == [len(labels) for labels in y]
    labels = fitted.predict(X)
    assert labels.shape == (4,)
    assert labels[0].dtype.kind == "U"
    assert labels[1].tolist() == fitted.classes_[outputs[1].argmax(1)].tolist()


def test_the_score_is_the_balanced_accuracy_of_all_labelled_epochs():
    X = [np.repeat([0.9, 0.9, 0.1, 0.9, 0.9], 10), np.repeat([0.1, 0.9], 10)]
    y = [["high", "low", "low", None, "high"], [None, "high"]]
    fitted = S4Segmenter(Meter(), epoch_s=1, sfreq=10).fit(X, y)
    assert fitted.score(X, y) == pytest.approx((3 / 3 + 1 / 2) / 2)
    assert fitted.score(X[1:], [["low", np.nan]]) == fitted.score(X[1:], [["low", pd.NA]]) == 1


def test_recordings_are_the_samples_in_cross_validation():
    X, y = nights()
    signals = Signals(X, sfreq=RATE)
    for recordings, labels in ((X, y), (signals, np.array(y, dtype=object))):
        scores = cross_val_score(model(), recordings, labels, cv=KFold(2))
        assert scores.min() > 0.7
    groups = ["s1", "s1", "s2", "s2"]
    assert len(cross_val_score(model(), signals, y, cv=GroupKFold(2), groups=groups)) == 2
    out_of_fold = cross_val_predict(model(), X, y, cv=2)
    expected = model().fit(X[2:], y[2:]).predict(X[:2])
    assert [labels.tolist() for labels in out_of_fold[:2]] == [labels.tolist() for labels in expected]
    grid = {"context_s": [(0, 0), (2, 0)], "estimator__n_windows": [2]}
    search = GridSearchCV(model(), grid, cv=2, error_score="raise").fit(signals, y)
    assert search.predict(signals)[0].shape == (12,)


@pytest.fixture(scope="module")
def causal():
    X, y = nights()
    return model(context_s=(3.3, 0)).fit(X[:3], y[:3])


@pytest.mark.parametrize("sizes", [(1,), (7,), (99, 1, 250), (2000,)])
def test_stream_equals_prediction(sizes, causal):
    X, fitted = nights()[0], causal
    X[3][:, 500:530] = np.nan
    stream, outputs, at = fitted.stream(), [], 0
    for size in sizes * 2000:
        outputs.append(stream.push(X[3][:, at : at + size]))
        at += size
        if at >= X[3].shape[1]:
            break
    assert np.allclose(np.concatenate(outputs), fitted.predict_proba(X[3:])[0], atol=1e-5)
    stream.reset()
    assert stream.push(X[3][:, :99]).shape == (0, 2)
    assert stream.push(X[3][:, 99:450].astype(np.float32)).shape == (4, 2)
    size = len(pickle.dumps(stream))
    stream.push(X[3][:, 450:])
    assert len(pickle.dumps(stream)) < size + 3000, "samples before the context are discarded"
    if sizes == (7,):
        assert np.allclose(fitted.stream(time_first=True).push(X[3].T), np.concatenate(outputs), atol=1e-5)


def test_stream_returns_an_epoch_after_its_future_context():
    X, y = nights()
    stream = (fitted := model(context_s=(1, 1.3)).fit(X, y)).stream()
    outputs = [stream.push(X[3][:, at : at + 10]) for at in range(0, 280, 10)]
    assert [at for at, output in enumerate(outputs) if len(output)] == [16, 26]  # 1.3 s after 2 s and after 4 s
    outputs = np.concatenate([*outputs, stream.push(X[3][:, 280:])])
    expected = fitted.predict_proba(X[3:])[0]
    assert np.allclose(outputs, expected[:-1], atol=1e-5)  # offline, the context after the last epoch is mirrored


def test_only_parts_of_training_recordings_give_a_warning():
    X, y = nights()
    recordings = Signals([Signal(x, sfreq=RATE, source=f"night {i}") for i, x in enumerate(X)])
    fitted = model().fit(recordings, y)
    fitted.predict(recordings)  # warnings are errors here
    with pytest.warns(
        UserWarning, match="overlap in time with cases that the model was trained on, such as in night 0"
    ):
        fitted.predict(Signals([recordings[0].crop(110, 810)]))


def test_missing_samples_are_accepted_and_empty_epochs_get_no_label():
    X, y = nights()
    X[0][:, 300:900] = np.nan
    X[1][0, 100:200] = np.nan
    fitted = model().fit(X, y)
    labelled = np.array([0, 1, 2, 3, 8, 9, 10, 11])  # the others miss their context, too
    labels, scores = fitted.predict(X)[0], fitted.predict_proba(X)[0]
    assert [label is None for label in labels] == [k not in labelled for k in range(12)]
    assert np.isfinite(scores[labelled]).all()
    assert np.isnan(scores[4:8]).all()
    assert fitted.score(X, y) < 1  # epochs without a prediction count as errors
    kept = S4Segmenter(Meter(), epoch_s=2, sfreq=RATE).fit(X, y).estimator_
    assert len(kept.windows_) == sum(sum(label is not None for label in each) for each in y) - sum(
        label is not None for label in y[0][3:9]
    )
    times = np.r_[0:300, 900 : X[0].shape[1]]
    timed = Signals([X[0][:, times]], times=[times / RATE])  # the same epochs have no sample
    alike = S4Segmenter(Meter(), epoch_s=2).fit(timed, y[:1]).estimator_
    assert len(alike.windows_) == sum(label is not None for label in [*y[0][:3], *y[0][9:]])


def test_other_rates_and_irregular_times_are_accepted():
    X, y = nights(6)
    fitted = model().fit(X, y)
    half = Signals(X, sfreq=RATE).resample(RATE / 2)
    assert np.mean(np.concatenate(fitted.predict(half)) == np.concatenate(fitted.predict(X))) > 0.9
    assert fitted.predict([x[:, ::2] for x in X], sfreq=RATE / 2)[2].shape == y[2].shape
    keep = [np.flatnonzero(np.random.default_rng(i).random(x.shape[1] - 1) < 0.8) for i, x in enumerate(X)]
    keep = [np.unique([0, *k, x.shape[1] - 1]) for k, x in zip(keep, X, strict=True)]
    times = Signals([x[:, k] for x, k in zip(X, keep, strict=True)], times=[k / RATE for k in keep])
    at_times = S4Segmenter(ridge(), epoch_s=2, context_s=(2, 2)).fit(times, y)
    assert at_times.score(times, y) > 0.9
    with pytest.raises(ValueError, match="the model was fitted with times; a stream is regular: pass its rate"):
        S4Segmenter(ridge(), epoch_s=2).fit(times, y).stream()


def test_recordings_of_several_rates_are_fitted_after_resampling():
    X, y = nights(6)
    mixed = Signals.concatenate([Signals(X[:3], sfreq=RATE), Signals(X[3:], sfreq=RATE).resample(RATE / 2)])
    with pytest.raises(RecordingError, match=r"case 0 has 50 and case \d+ has 25 Hz. Call resample"):
        model(sfreq=None).fit(mixed, y)
    assert model(make_pipeline(Resample(RATE / 2), ridge()), sfreq=None).fit(mixed, y).score(mixed, y) > 0.9


def test_square_chunk_gives_a_warning(causal):
    fitted, recording = causal, nights()[0][0]
    n = len(recording)
    with pytest.warns(
        UserWarning, match=rf"the chunk is square, \({n}, {n}\), and is taken as \(n_channels, n_times\)"
    ):
        fitted.stream().push(recording[:, :n])
    fitted.stream(time_first=True).push(recording[:, :n].T)


def test_trained_classifier_validates_on_whole_groups():
    X, y = nights(8)
    groups = np.repeat([0, 1, 2, 3], 2)
    network = classifier(max_epochs=1, early_stopping=True, validation_fraction=0.25)
    fitted = model(network, context_s=(2, 0)).fit(X, y, groups=groups)
    assert "of 1 of 4 groups are held out" in fitted.estimator_.describe()
    assert "of 2 of 8 groups are held out" in model(network).fit(X, y).estimator_.describe()
    assert np.allclose(fitted.stream().push(X[0]), fitted.predict_proba(X[:1])[0], atol=1e-5)
    assert S4Segmenter(Meter(), epoch_s=2, sfreq=RATE).fit(X, y, groups=groups).estimator_.groups_[0] == "0"


def test_pipeline_of_scikit_learn_accepts_the_windows():
    X, y = nights()
    power = FunctionTransformer(lambda S: np.stack([np.log(np.abs(np.fft.rfft(w.data)).mean(0)[:30]) for w in S]))
    assert model(make_pipeline(power, LogisticRegression())).fit(X, y).score(X, y) > 0.9
    by_default = S4Segmenter(epoch_s=2, context_s=(2, 2), sfreq=RATE).fit(X[:1], y[:1])
    assert by_default.estimator_.n_windows == 6  # two parts for each of three epochs


@pytest.mark.parametrize("kind", ["closed form", "trained"])
def test_loaded_segmenter_gives_the_same_probabilities(kind, tmp_path):
    X, y = nights()
    fitted = model(None if kind == "closed form" else classifier(max_epochs=1), context_s=(2, 0)).fit(X, y)
    fitted.save(tmp_path / "model.s4")
    again = S4Segmenter.load(tmp_path / "model.s4")
    assert np.array_equal(np.concatenate(again.predict_proba(X)), np.concatenate(fitted.predict_proba(X)))
    assert again.get_params(deep=False).keys() == fitted.get_params(deep=False).keys()
    assert (again.context_s, again.sfreq_, again.classes_.tolist()) == ((2, 0), RATE, ["fast", "slow"])
    with pytest.raises(ModelFileError, match="it holds a S4Segmenter, not a S4RidgeClassifier"):
        S4RidgeClassifier.load(tmp_path / "model.s4")


def test_a_loaded_segmenter_of_a_pipeline_gives_the_same_probabilities(tmp_path):
    X, y = nights()
    for last in (ridge(), classifier(max_epochs=1)):
        fitted = model(make_pipeline(Resample(25), "passthrough", Clip(3), last)).fit(X, y)
        fitted.save(tmp_path / "model.s4")
        again = S4Segmenter.load(tmp_path / "model.s4")
        assert np.array_equal(np.concatenate(again.predict_proba(X)), np.concatenate(fitted.predict_proba(X)))
        assert [name for name, _ in again.fit(X, y).estimator_.steps] == [
            "resample",
            "clip",
            type(last).__name__.lower(),
        ]
    nested = make_pipeline(Clip(3), fitted).fit(Signals(X, sfreq=RATE), y)
    save_pipeline(nested, tmp_path / "pipeline.s4")
    assert np.array_equal(load_pipeline(tmp_path / "pipeline.s4").predict_proba(X)[0], nested.predict_proba(X)[0])
    means = FunctionTransformer(lambda S: np.stack([window.data.std(1) for window in S]))
    with pytest.raises(TypeError, match="step 'functiontransformer' is a FunctionTransformer, which cannot be saved"):
        model(make_pipeline(means, LogisticRegression())).fit(X, y).save(tmp_path / "model.s4")


def test_a_pipeline_that_ends_in_a_segmenter_is_saved_and_streamed(tmp_path):
    X, y = nights()
    recordings = Signals(X, sfreq=RATE)
    fitted = make_pipeline(Clip(3), model(context_s=(2, 0))).fit(recordings, y)
    save_pipeline(fitted, tmp_path / "pipeline.s4")
    again = load_pipeline(tmp_path / "pipeline.s4")
    assert np.array_equal(again.predict_proba(recordings)[0], fitted.predict_proba(recordings)[0])
    outputs = stream_pipeline(again).push(X[0])
    assert np.allclose(outputs, fitted.predict_proba(recordings)[0], atol=1e-5)


def test_long_recordings_are_read_piece_by_piece():
    n_read = []

    def read(start, stop):
        n_read.append(stop - start)
        return np.full((4, stop - start), 0.25)

    n = 2**21  # four channels: 64 MB
    night = Signals.from_cases([LazyCase(read=read, n_channels=4, length=n, sfreq=100.0, source="night")])
    y = np.tile(["high", "low", None], n)[: n // 3000]
    fitted = S4Segmenter(Meter(), context_s=(30, 30)).fit(night, [y])
    assert max(n_read) <= _MOST_VALUES / 4
    n_read.clear()
    assert (fitted.predict_proba(night)[0] == [0.25, 0.75]).all()
    assert max(n_read) <= _MOST_VALUES / 4
    assert sum(n_read) < 1.1 * n  # each sample about once


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"epoch_s": 0}, "epoch_s=0 must be a positive number of seconds"),
        ({"epoch_s": 100}, "recording 0 lasts 24.00 s, less than an epoch of epoch_s=100. Lower epoch_s"),
        ({"context_s": 3}, r"context_s=3 must be \(before, after\), each at least 0 s"),
        ({"context_s": (1e9, 0)}, r"lasts .* s, too short for epochs of 2 s with 1e\+09 s before"),
        ({"epoch_s": 1e308}, r"lasts .* s, too short for epochs of 1e\+308 s"),
        ({"context_s": (1, -1)}, r"context_s=\(1, -1\) must be"),
        ({"sfreq": -1}, "sfreq=-1 must be a positive number of Hz, or None"),
        ({"sfreq": None}, "recording 0 has no known rate, so seconds cannot be counted. Pass sfreq="),
        ({"estimator": FunctionTransformer()}, "must be a classifier with predict_proba, or None"),
    ],
)
def test_invalid_options_raise_an_error(changed, message):
    with pytest.raises((ValueError, RecordingError), match=message):
        S4Segmenter(**{"estimator": ridge(), "epoch_s": 2, "sfreq": RATE} | changed).fit(*nights())


@pytest.mark.parametrize(
    ("modify", "message"),
    [
        (lambda y: y[:3], "y must hold one array of labels for each of 4 recordings, got 3 of them"),
        (lambda y: None, "requires y to be passed, but the target y is None"),
        (lambda y: "slow", "for each of 4 recordings, got 'slow'"),
        (lambda y: [*y[:3], y[3][:-1]], "recording 3 has 15 epochs of epoch_s=2, but y holds 14 labels for it"),
        (lambda y: [*y[:3], np.array([y[3]] * 2)], r"y must hold labels of shape \(n_epochs,\) for recording 3"),
        (lambda y: [[None] * len(labels) for labels in y], "y has no label: all epochs of all recordings are None"),
        (lambda y: [["slow"] * len(labels) for labels in y], "y has 1 class .'slow'. in all recordings; at least 2"),
        (lambda y: [*y[:3], [1] * 15], r"y mixes labels that cannot be sorted \(int, str\)"),
    ],
)
def test_invalid_labels_raise_an_error(modify, message):
    X, y = nights()
    with pytest.raises((ValueError, ShapeError), match=message):
        model().fit(X, modify(y))


def test_invalid_input_raises_an_error(tmp_path):
    X, y = nights()
    with pytest.raises(NotFittedError):
        model().predict(X)
    for groups, message in (
        ([0, 1], r"must have shape \(4,\)"),
        ([0, 1, 2, np.nan], "holds no group of recording 3, but"),
    ):
        with pytest.raises(ValueError, match=f"groups {message}"):
            model().fit(X, y, groups=groups)
    fitted = model().fit(X, y)
    with pytest.raises(ShapeError, match="has 1 channels, but S4RidgeClassifier was fitted with 2"):
        fitted.predict([x[:1] for x in X])
    with pytest.raises(RecordingError, match=r"recording 0 lasts 1\.00 s, less than an epoch"):
        fitted.predict([X[0][:, :50]])
    with pytest.raises(ShapeError, match="recording 0 has 12 epochs of epoch_s=2, but y holds 11"):
        fitted.score(X, [y[0][1:], *y[1:]])
    with pytest.raises(TypeError, match="estimator is a Meter, which cannot be saved without pickle"):
        S4Segmenter(Meter(), epoch_s=2, sfreq=RATE).fit(X, y).save(tmp_path / "model.s4")
    causal = model(context_s=(0, 0)).fit(X, y)
    with pytest.raises(ShapeError, match=r"chunk must have shape \(2, n_times\)"):
        causal.stream().push(X[0].T)
    with pytest.raises(RecordingError, match=r"the stream has one sample per 10 s, longer than epoch_s=2"):
        causal.stream(sfreq=0.1)


MEASURE = f"""{PEAK_GIB}
import sys
import numpy as np
from s4signal import Signals
from s4signal.estimators import S4RidgeClassifier, S4Segmenter
from s4signal.signals import Signal
from s4signal.signals.lazy import LazyCase
def read(start, stop):
    return np.random.default_rng(start).standard_normal((8, stop - start))
night = LazyCase(read=read, n_channels=8, length=int(sys.argv[1]) * 360000, sfreq=100.0, source="night")
part = Signals.from_cases([night.crop(0, 120000)])
model = S4Segmenter(S4RidgeClassifier(n_oscillators=32, random_state=0), context_s=(30, 30))
model.fit(part, [["W", "N2"] * 20])
print(len(model.predict(Signals.from_cases([night]))[0]), peak_gib())
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc of Linux")
@pytest.mark.parametrize("hours", [1, pytest.param(8, marks=pytest.mark.stress)])
def test_long_recordings_take_little_memory(hours):
    command = [sys.executable, "-c", MEASURE, str(hours)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    n_epochs, gibibytes = process.stdout.split()
    assert int(n_epochs) == 120 * hours
    assert float(gibibytes) < 1.4
