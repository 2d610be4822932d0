"""Signals: every input form, and slicing by scikit-learn."""

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
import recording_files as files
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from s4signal.errors import RecordingError, ShapeError
from s4signal.signals import Signal, Signals, decimate, drop_samples, read_audio, read_eeg, windows

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 3, 20))
UNEQUAL = [RNG.normal(size=(2, n)) for n in (5, 3, 8)]


def object_array(cases):
    array = np.empty(len(cases), dtype=object)
    array[:] = cases
    return array


@pytest.mark.parametrize(
    ("data", "n_channels", "lengths"),
    [
        (X, 3, [20] * 12),
        (X[:, 0], 1, [20] * 12),
        (X[:, 0].astype(object), 1, [20] * 12),
        (X[:2, 0].tolist(), 1, [20, 20]),
        (UNEQUAL, 2, [5, 3, 8]),
        (object_array(UNEQUAL), 2, [5, 3, 8]),
        ([case[0] for case in UNEQUAL], 1, [5, 3, 8]),
        (tuple(UNEQUAL), 2, [5, 3, 8]),
        ([Signal(case) for case in UNEQUAL], 2, [5, 3, 8]),
        (Signals(UNEQUAL), 2, [5, 3, 8]),
    ],
)
def test_every_form_gives_its_cases(data, n_channels, lengths):
    signals = Signals(data)
    assert (len(signals), signals.shape, signals.n_channels) == (len(lengths), (len(lengths),), n_channels)
    assert signals.lengths.tolist() == lengths
    np.testing.assert_array_equal(signals[1].data, np.atleast_2d(np.asarray(Signals(data)[1].data, dtype=float)))


def test_a_three_dimensional_array_is_not_copied():
    assert np.shares_memory(Signals(X)[3].data, X)
    assert np.shares_memory(Signals(X)[[5, 2]][1].data, X)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (np.zeros(5), ShapeError, r"\(n_samples, n_channels, n_times\).*got \(5,\). Reshape your data"),
        ([1.0, 2.0], ShapeError, "Reshape your data"),
        (np.zeros((1, 2, 3, 4)), ShapeError, r"got \(1, 2, 3, 4\)"),
        (np.zeros((3, 0)), ShapeError, r"0 feature\(s\) \(shape=\(3, 0\)\) while a minimum of 1 is required."),
        (np.zeros((0, 3)), ShapeError, r"0 sample\(s\) \(shape=\(0, 3\)\) while a minimum of 1 is required."),
        ([], ShapeError, "holds no case"),
        ([np.zeros(3), np.zeros(0)], ShapeError, "case 1: it is empty"),
        ([np.zeros(3), np.zeros((1, 2, 3))], ShapeError, r"case 1: .*got \(1, 2, 3\)"),
        (X + 1j, ValueError, "Complex data not supported"),
        (csr_array(np.eye(3)), TypeError, "[Ss]parse"),
        ([csr_array(np.eye(3))], TypeError, "case 0: Sparse data was passed"),
        ([["a", "b"]], TypeError, "case 0: X must hold real numbers"),
        (Signal([1.0]), TypeError, r"Pass \[signal\]"),
        (None, ShapeError, r"got \(\)"),
        (["word.wav"], TypeError, r"X holds 'word\.wav', but recordings.*Open files with Signals\.from_files"),
        (Path("a.edf"), TypeError, r"X holds 'a\.edf', but recordings are needed.*read_eeg"),
    ],
)
def test_invalid_collections_are_refused(data, error, message):
    with pytest.raises(error, match=message):
        Signals(data)


def test_each_case_keeps_its_rate():
    signals = Signals(UNEQUAL, sfreq=[10, np.nan, 20])
    np.testing.assert_array_equal(signals.sfreqs, [10, np.nan, 20])
    assert [signal.sfreq for signal in signals] == [10, None, 20]
    np.testing.assert_array_equal(signals.durations_s, [0.5, np.nan, 0.4])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"sfreq": [1, 2]}, ShapeError, r"sfreq must be one number, or one for each case \(3 cases\), got 2"),
        ({"times": [0, 1, 2]}, ShapeError, "times must be one array"),
        ({"times": [np.arange(5), np.arange(3), np.arange(7)]}, ShapeError, r"case 2: times must have shape \(8,\)"),
        ({"times": [np.arange(5), [0, 2, 1], np.arange(8)]}, ValueError, "case 1: times must increase"),
        ({"ch_names": ["a"]}, ShapeError, "each of 2 channels"),
        ({"sfreq": -1}, ValueError, "sfreq=-1 must be a positive number"),
    ],
)
def test_invalid_options_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        Signals(UNEQUAL, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sfreq": 20}, "case 0: it is sampled at 10 Hz, but sfreq=20 was passed"),
        ({"sfreq": "20"}, "case 0: it is sampled at 10 Hz, but sfreq=20 was passed"),
        ({"ch_names": ["c", "d"]}, "channel names"),
        ({"times": [np.arange(n) + 1.0 for n in (5, 3, 8)]}, "other times"),
    ],
)
def test_options_that_contradict_the_cases_are_refused(options, message):
    described = Signals(UNEQUAL, sfreq=10, ch_names=["a", "b"], times=[np.arange(n) for n in (5, 3, 8)])
    assert Signals(described, sfreq=10, ch_names=["a", "b"]) == described
    with pytest.raises(RecordingError, match=message):
        Signals(described, **options)


@pytest.mark.parametrize("form", [np.array, list, object_array])
def test_an_infinite_sample_is_refused(form):
    cases = [np.zeros((2, 4)) for _ in range(3)]
    cases[1][0, 2] = -np.inf
    with pytest.raises(ValueError, match="case 1: it contains infinity, in 1 of 8 samples"):
        Signals(form(cases))


def test_huge_samples_are_not_infinite():
    assert len(Signals(np.full((1, 10), 3e38, dtype=np.float32))) == 1


def test_channels_may_miss_samples_at_different_times():
    signals = Signals([[[1, np.nan, 3], [np.nan, np.nan, 6]], [[np.nan] * 3] * 2], times=[[0, 1, 5]] * 2)
    assert signals[0].observed.tolist() == [[True, False, True], [False, False, True]]
    assert signals.n_observed.tolist() == [3, 0]
    assert len(signals[signals.n_observed > 0]) == 1
    assert pickle.loads(pickle.dumps(signals)) == signals


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([[0, 0.01, 0.02], [0, np.nan, 2]], "case 1: times must be finite, but sample 1 has time nan"),
        ([[0, 4, 8], [0, 4, 8]], "case 0: times must be seconds: their median gap is 4, but sfreq=250"),
        ([[0, 0.004, 0.008], [0.008, 0.004, 0]], "case 1: times must increase or stay equal, but 0.008 s is followed"),
    ],
)
def test_errors_about_times_name_the_case(times, message):
    with pytest.raises(ValueError, match=message):
        Signals(np.zeros((2, 1, 3)), times=times, sfreq=250)


@pytest.mark.parametrize("times", [np.arange(3), [0, 1, 2]])
def test_one_array_of_times_is_refused_when_its_meaning_is_ambiguous(times):
    with pytest.raises(ShapeError, match="times must be one array of shape"):
        Signals(np.zeros((3, 1, 3)), times=times)


@pytest.mark.parametrize(
    "key",
    [
        [2, 0],
        np.array([2, 0]),
        slice(None, None, -2),
        np.array([True, False, True]),
        (np.array([0, 2]), ...),
        [True, False, True],
        range(2),
    ],
)
def test_slices_are_signals(key):
    signals = Signals(UNEQUAL, sfreq=[1, 2, 3])
    rows = np.arange(3)[key[0] if isinstance(key, tuple) else key]
    assert signals[key].sfreqs.tolist() == [[1, 2, 3][row] for row in rows]
    assert signals[key] == Signals([signals[int(row)] for row in rows])


def test_an_integer_index_returns_one_case_and_an_index_of_several_axes_is_refused():
    signals = Signals(UNEQUAL)
    assert isinstance(signals[np.int64(-1)], Signal)
    np.testing.assert_array_equal(signals[-1].data, UNEQUAL[-1])
    several = [(key, "one axis") for key in ((0, 1), None, [[0, 1]], np.ones((3, 1), bool))]
    for key, text in [(3, "out of bounds"), *several]:
        with pytest.raises(IndexError, match=text):
            signals[key]


def test_slices_may_be_empty():
    assert len(Signals(UNEQUAL)[[]]) == 0
    assert repr(Signals(UNEQUAL)[:0]) == "Signals: 0 cases"


@pytest.mark.parametrize(
    ("name", "signals", "error", "message"),
    [
        ("n_channels", Signals([np.zeros(3), np.zeros((2, 3))]), ShapeError, "case 0 has 1 and case 1 has 2 channels"),
        ("sfreq", Signals(UNEQUAL, sfreq=[256, 256, 128]), RecordingError, "case 0 has 256 and case 2 has 128 Hz"),
        ("sfreq", Signals(UNEQUAL, sfreq=[256, np.nan, 256]), RecordingError, "case 1 has unknown Hz"),
        ("ch_names", Signals([Signal([1.0], ch_names=("a",)), Signal([1.0])]), RecordingError, "case 1 has unknown"),
        ("has_times", Signals([Signal([1.0], times=[0]), Signal([1.0])]), RecordingError, "to all cases or to none"),
    ],
)
def test_errors_name_the_cases_that_differ(name, signals, error, message):
    with pytest.raises(error, match=message):
        getattr(signals, name)


def test_to_numpy_returns_the_array():
    np.testing.assert_array_equal(Signals(X).to_numpy(), X)
    np.testing.assert_array_equal(np.asarray(Signals(X)), X)
    with pytest.raises(ShapeError, match=r"case 0 has 5 and case 1 has 3 samples. They cannot form one array: cut"):
        Signals(UNEQUAL).to_numpy()


def test_copies_and_pickles_are_equal():
    signals = Signals(UNEQUAL, sfreq=10, times=[np.arange(n) ** 2 for n in (5, 3, 8)], ch_names=["a", "b"])
    assert pickle.loads(pickle.dumps(signals)) == signals
    assert copy.deepcopy(signals) == signals
    assert signals != signals[::-1]
    assert signals != signals[:2]
    assert signals != 3


def test_concatenate_keeps_the_order():
    signals = Signals(UNEQUAL, sfreq=[1, 2, 3])
    assert Signals.concatenate([signals[:1], signals[1:]]) == signals


@pytest.mark.parametrize(
    ("signals", "text"),
    [
        (Signals(np.zeros((268, 6, 896)), sfreq=256), "268 cases × 6 channels, 896 samples, 256 Hz (3.5 s)"),
        (
            Signals([np.zeros(4000), np.zeros(8000)], sfreq=8000),
            "2 cases × 1 channel, 4000–8000 samples, 8000 Hz (0.5–1 s)",
        ),
        (Signals([np.zeros(3)]), "1 case × 1 channel, 3 samples, rate unknown"),
        (Signals([np.zeros(3)], times=[[0, 1, 4]]), "1 case × 1 channel, 3 samples, irregular times (4 s)"),
        (Signals([np.zeros(2)], times=[[0, 9000]]), "1 case × 1 channel, 2 samples, irregular times (2.5 h)"),
    ],
)
def test_the_repr_describes_the_collection(signals, text):
    assert repr(signals) == f"Signals: {text}"


class Sign(ClassifierMixin, BaseEstimator):
    """Reads X as estimators of this library do: case by case, with its rate."""

    def __init__(self, flip=False):
        self.flip = flip

    def fit(self, X, y):
        assert isinstance(X, Signals)
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        assert X.sfreq == 50
        return np.array([(signal.data.mean() > 0) != self.flip for signal in X]).astype(int)


@pytest.fixture
def labelled():
    cases = [RNG.normal(size=(1, 5 + i % 4)) for i in range(30)]
    return Signals(cases, sfreq=50), np.array([int(case.mean() > 0) for case in cases])


def test_train_test_split_keeps_cases_and_labels_together(labelled):
    signals, y = labelled
    train, test, y_train, y_test = train_test_split(signals, y, random_state=0)
    assert (len(train), len(test)) == (22, 8)
    assert [int(signal.data.mean() > 0) for signal in test] == y_test.tolist()
    assert len(y_train) == 22


def test_cross_validation_accepts_signals(labelled):
    signals, y = labelled
    assert cross_val_score(Sign(), signals, y, cv=3).tolist() == [1, 1, 1]


def test_signals_can_be_sent_to_other_processes(labelled):
    signals, y = labelled
    assert len(cross_val_score(DummyClassifier(), signals, y, cv=2, n_jobs=2)) == 2


def test_pipeline_grid_search_and_prediction_accept_signals(labelled):
    signals, y = labelled
    np.testing.assert_array_equal(cross_val_predict(make_pipeline(FunctionTransformer(), Sign()), signals, y), y)
    search = GridSearchCV(Sign(), {"flip": [True, False]}, cv=2).fit(signals, y)
    assert search.best_params_ == {"flip": False}


@pytest.fixture
def epochs():
    mne = pytest.importorskip("mne")
    info = mne.create_info(["Oz", "O1", "VEOG", "STI"], 128.0, ["eeg", "eeg", "eog", "stim"])
    return mne.EpochsArray(RNG.normal(size=(6, 4, 64)) * 1e-6, info, verbose="error")


def test_epochs_give_volts_rate_and_names_of_data_channels(epochs):
    signals = Signals(epochs)
    np.testing.assert_array_equal(signals.to_numpy(), epochs.get_data(picks="data"))
    assert (signals.sfreq, signals.ch_names, len(signals)) == (128, ("Oz", "O1"), 6)


def test_all_operations_keep_the_modality(epochs, tmp_path):
    sound = Signals([Signal(RNG.normal(size=(1, 800)), sfreq=8000, modality="audio")])
    for signals, modality in ((Signals(epochs), "eeg"), (sound, "audio")):
        changed = [
            signals[:1], signals.resample(60), signals.to_grid(60), windows(signals, duration_s=0.1)[0],
            decimate(signals, 2), drop_samples(signals, 0.2), Signals(list(signals), sfreq=signals.sfreq),
            Signals.concatenate([signals, signals]),
        ]  # fmt: skip
        assert {signal.modality for part in changed for signal in part} == {modality}
    assert Signals(X, sfreq=100)[0].modality is None


def test_the_modality_of_files_is_known_before_reading(tmp_path):
    pytest.importorskip("soundfile")
    path = files.write_audio(tmp_path / "a.wav")
    for signals in (Signals.from_files(path), Signals.from_files(path, sfreq=8000, cache=tmp_path / "cache")):
        assert signals.cases[0].modality == signals[0].modality == "audio"
    pytest.importorskip("mne")
    assert read_eeg(files.write_fif(tmp_path / "a_raw.fif")).cases[0].modality == "eeg"
    assert read_eeg(tmp_path / "a_raw.fif", picks="all")[0].modality == "mixed"


def test_integers_without_a_rate_are_never_scaled_later():
    counts = Signals(np.full((2, 50), 100, dtype="i2"))
    np.testing.assert_array_equal(Signals(counts, sfreq=8000).to_numpy(), 100)


def tensors(words):
    torch = pytest.importorskip("torch")
    return [torch.from_numpy(np.array(word)) for word in words]


def tensor(words):
    return pytest.importorskip("torch").from_numpy(np.array(words))


@pytest.mark.parametrize("form", [list, object_array, np.array, tuple, tensors, tensor])
def test_integers_of_sound_are_scaled_in_every_form(form):
    words = RNG.integers(-(2**15), 2**15, size=(3, 50)).astype("i2")
    for signals in (Signals(form(list(words)), sfreq=8000), Signals(form(list(words)), sfreq=[8000] * 3)):
        np.testing.assert_array_equal(signals.to_numpy()[:, 0], words / np.float32(2**15))
        assert signals[0].data.dtype == np.float32
    np.testing.assert_array_equal(Signals(form(list(words)), sfreq=250).to_numpy()[:, 0], words)
    np.testing.assert_array_equal(Signals(form(list(words))).to_numpy()[:, 0], words)


def test_integers_equal_their_file(tmp_path):
    soundfile = pytest.importorskip("soundfile")
    wavfile = pytest.importorskip("scipy.io.wavfile")
    for subtype in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32"):
        path = tmp_path / f"{subtype}.wav"
        soundfile.write(path, RNG.uniform(-1, 1, 400), 8000, subtype=subtype)
        np.testing.assert_array_equal(Signals([wavfile.read(path)[1]], sfreq=8000)[0].data, read_audio(path)[0].data)


@pytest.mark.parametrize("form", [np.ma.array, list, lambda masked: masked[:, 0], lambda m: object_array(list(m))])
def test_masked_samples_are_missing_in_every_form(form):
    masked_out = RNG.uniform(size=X.shape) < 0.2
    signals = Signals(form(np.ma.masked_array(np.where(masked_out, -9999.0, X), mask=masked_out)))
    expected = np.where(masked_out, np.nan, X)[:, : signals.n_channels]
    np.testing.assert_array_equal(signals.to_numpy(), expected)


def test_a_list_of_epochs_gives_their_trials(epochs):
    assert Signals([epochs[i] for i in range(6)]) == Signals(epochs)
    assert Signals([epochs[:4], epochs[4:]]) == Signals(epochs)


def test_channels_marked_as_bad_are_left_out(epochs):
    epochs.info["bads"] = ["Oz"]
    assert Signals(epochs).ch_names == ("O1",)


def test_epochs_without_data_channels_give_all_channels(epochs):
    assert Signals(epochs.pick(["VEOG", "STI"])).ch_names == ("VEOG", "STI")


def test_epochs_are_not_mixed_with_arrays_or_recordings(epochs):
    mne = pytest.importorskip("mne")
    with pytest.raises(TypeError, match="mixes"):
        Signals([epochs, np.zeros(3)])
    average = mne.EvokedArray(np.zeros((4, 10)), epochs.info)
    for recording in (average, [average]):
        with pytest.raises(TypeError, match=r"X holds EvokedArray; recordings or trials are needed. Pass the Raw, or"):
            Signals(recording)


def test_cross_validation_accepts_epochs(epochs):
    model = make_pipeline(
        FunctionTransformer(Signals), FunctionTransformer(Signals.resample, kw_args={"sfreq": 50}), Sign()
    )
    assert len(cross_val_score(model, epochs, np.arange(6) % 2, cv=3)) == 3
