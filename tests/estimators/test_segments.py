"""predict_segments: labelled segments of long recordings."""

from pathlib import Path

import numpy as np
import pytest
from scripts import PEAK_GIB, run_code
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from s4signal import S4Classifier, S4RidgeClassifier, Signals
from s4signal.errors import RecordingError, ShapeError
from s4signal.estimators.segments import SegmentsMixin, read_windows, window_starts
from s4signal.signals import Signal

RATE = 4000
NAMES = np.array(["high", "low", "noise"])


def sound(name, seconds, rng):
    """Return noise, with a tone for the names "low" and "high"."""
    t = np.arange(round(seconds * RATE)) / RATE
    hertz = {"low": 300.0, "high": 1200.0}.get(name, 0.0)
    return (np.sin(2 * np.pi * hertz * t + rng.uniform(0, 6)) + 0.2 * rng.standard_normal(len(t))).astype(np.float32)


def clips(n=8, seed=0):
    rng = np.random.default_rng(seed)
    y = np.repeat(NAMES, n)
    return Signals([sound(name, 0.5, rng) for name in y], sfreq=RATE), y


def day(*parts, seed=1):
    rng = np.random.default_rng(seed)
    return np.concatenate([sound(name, seconds, rng) for name, seconds in parts])


DAY = day(("noise", 2), ("low", 1.5), ("noise", 2.5), ("high", 1), ("noise", 3))


class Meter(SegmentsMixin, BaseEstimator):
    """Predicts "loud" with the mean of the window as probability, so the expected segments are known."""

    sfreq_, classes_, multilabel_ = 100.0, np.array(["quiet", "loud"]), False

    def fit(self):
        """Do nothing; scikit-learn requires the method."""

    def __sklearn_is_fitted__(self):
        return True

    def predict_proba(self, X):
        loud = np.array([np.nanmean(case.data) for case in X])
        return np.stack([1 - loud, loud], axis=1)


class Meters(Meter):
    """The same for two tags, whose probabilities are the complement of the mean and the mean."""

    classes_, multilabel_ = np.array([0, 1]), True


def levels(*parts):
    """Return a recording at 100 Hz of constant parts, each given as (level, seconds)."""
    return np.concatenate([np.full(round(seconds * 100), level) for level, seconds in parts])


@pytest.fixture(scope="module")
def model():
    return S4RidgeClassifier(n_oscillators=32, random_state=0).fit(*clips(16))


def test_segment_boundaries_lie_where_half_of_a_window_is_inside():
    quiet, loud, after = Meter().predict_segments([levels((0.1, 2), (0.9, 1), (0.1, 2))], window_s=0.4, hop_s=0.02)
    assert [quiet.label, loud.label, after.label] == ["quiet", "loud", "quiet"]
    assert (quiet.onset_s, after.offset_s) == (0, 5)
    assert quiet.offset_s == loud.onset_s == pytest.approx(2, abs=0.02)
    assert loud.offset_s == after.onset_s == pytest.approx(3, abs=0.02)
    assert (quiet.score, loud.score) == (pytest.approx(0.9), pytest.approx(0.9))


def test_segments_below_the_threshold_are_omitted():
    segments = Meter().predict_segments([levels((0.1, 2), (0.6, 1), (0.1, 2))], window_s=0.2, hop_s=0.02, threshold=0.7)
    assert [segment.label for segment in segments] == ["quiet", "quiet"]
    assert segments[0].offset_s < 2 < 3 < segments[1].onset_s
    assert Meter().predict_segments([levels((0.4, 2))], window_s=0.2, threshold=1) == []


def test_smoothing_removes_short_segments_and_keeps_long_ones():
    recording = [levels((0.1, 3), (0.9, 0.3), (0.1, 3), (0.9, 3), (0.1, 3))]
    options = {"window_s": 0.1, "hop_s": 0.05}
    labels = [s.label for s in Meter().predict_segments(recording, **options)]
    assert labels == ["quiet", "loud", "quiet", "loud", "quiet"]
    smooth = Meter().predict_segments(recording, **options, smoothing=1.0)
    assert [s.label for s in smooth] == ["quiet", "loud", "quiet"]
    assert smooth[1].onset_s == pytest.approx(6.3, abs=0.06)


@pytest.mark.parametrize("smoothing", [0.1, 0.15, 0.2, 0.25])
def test_smoothing_does_not_move_onset_and_offset(smoothing):
    recording = [levels((0.1, 3), (0.9, 3), (0.1, 3))]
    plain, smooth = (
        Meter().predict_segments(recording, window_s=0.05, hop_s=0.05, smoothing=s)[1] for s in (0.0, smoothing)
    )
    assert smooth[1:3] == plain[1:3] == (3, 6)


def test_segments_of_each_tag_are_independent():
    segments = Meters().predict_segments([levels((0.2, 2), (0.5, 2), (0.8, 2))], window_s=0.02, threshold=0.5)
    assert [segment.label for segment in segments] == [0, 1]
    assert [segment.onset_s for segment in segments] == [0, pytest.approx(2, abs=0.02)]
    assert [segment.offset_s for segment in segments] == [pytest.approx(4, abs=0.02), 6]


def test_recording_shorter_than_a_window_is_one_segment():
    (segment,) = Meter().predict_segments([levels((1.0, 0.1), (0.5, 0.15))], window_s=0.3)
    assert segment == (0, 0, 0.25, "loud", pytest.approx(0.7))


def test_a_window_has_at_least_one_sample():
    assert len(Meter().predict_segments([levels((0.1, 1), (0.9, 1))], window_s=1e-3)) == 2


def test_missing_samples_belong_to_no_segment():
    recording = levels((0.1, 2), (np.nan, 2), (0.9, 2))
    for smoothing in (0.0, 1.5):
        quiet, loud = Meter().predict_segments([recording], window_s=0.5, hop_s=0.5, smoothing=smoothing)
        assert (quiet.offset_s, loud.onset_s) == (2, 4)
    assert Meter().predict_segments([recording[200:400]], window_s=0.5) == []


@pytest.mark.parametrize("kind", ["closed form", "trained"])
def test_most_of_a_recording_is_labelled_correctly(kind, model):
    if kind == "trained":
        size = {"d_model": 16, "d_state": 8, "n_layers": 1, "max_epochs": 20}
        model = S4Classifier(**size, augmentation=None, random_state=0).fit(*clips())
    segments = model.predict_segments(Signals([DAY], sfreq=RATE), window_s=0.5, hop_s=0.1, threshold=0)
    assert (segments[0].onset_s, segments[-1].offset_s) == (0, 10)
    middles = np.arange(0.05, 10, 0.1)
    predicted = np.array([next(s.label for s in segments if s.onset_s <= t <= s.offset_s) for t in middles])
    true = np.select([(middles > 2) & (middles < 3.5), (middles > 6) & (middles < 7)], ["low", "high"], "noise")
    assert np.mean(predicted == true) > 0.85


def test_scores_are_the_highest_probabilities_of_the_windows(model):
    segments = model.predict_segments(Signals([DAY], sfreq=RATE), window_s=0.5, hop_s=0.25, threshold=0)
    starts = window_starts(len(DAY), 2000, 1000)
    windows = Signals([DAY[start : start + 2000] for start in starts], sfreq=RATE)
    probabilities = model.predict_proba(windows)
    assert max(segment.score for segment in segments) == pytest.approx(probabilities.max(), abs=1e-6)
    assert {segment.label for segment in segments} == set(NAMES[probabilities.argmax(1)])


def test_files_lists_of_files_and_arrays_give_the_same_segments(model, tmp_path):
    soundfile = pytest.importorskip("soundfile")
    soundfile.write(tmp_path / "day.wav", DAY / 4, RATE, subtype="FLOAT")
    options = {"window_s": 0.5, "hop_s": 0.1, "threshold": 0}
    expected = model.predict_segments(Signals([DAY / 4], sfreq=RATE), **options)
    assert model.predict_segments(tmp_path / "day.wav", **options) == expected
    twice = model.predict_segments([str(tmp_path / "day.wav")] * 2, **options)
    assert [segment._replace(recording=0) for segment in twice] == expected * 2
    assert [segment.recording for segment in twice] == [0] * len(expected) + [1] * len(expected)
    assert model.predict_segments([DAY / 4], **options) == expected  # at the rate of the training


def test_segments_convert_to_a_data_frame(model):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(model.predict_segments([DAY], window_s=0.5))
    assert frame.columns.tolist() == ["recording", "onset_s", "offset_s", "label", "score"]


@pytest.mark.parametrize("length", [1, 2000, 2001, 3_000_000])
@pytest.mark.parametrize(("window", "hop"), [(2000, 500), (2000, 2000), (2_500_000, 500_000)])
def test_windows_cover_the_whole_recording(length, window, hop):
    case = Signal(np.arange(length, dtype=np.float32)[None], sfreq=RATE)
    starts = window_starts(length, window, hop)
    stops = np.minimum(starts + window, length)
    read = [window for group in read_windows(case, starts, stops) for window in group]
    assert [int(part.data[0, 0]) for part in read] == starts.tolist()
    assert {part.length for part in read} == {min(window, length)}
    assert read[-1].data[0, -1] == length - 1
    assert (np.diff(starts) <= hop).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window_s": 0}, "window_s=0 must be a positive number of seconds"),
        ({"window_s": 1, "hop_s": -1}, "hop_s=-1 must be a positive"),
        ({"window_s": 1, "hop_s": 2}, "hop_s=2 must be at most window_s=1"),
        ({"window_s": 1, "threshold": 2}, "threshold=2 must be a probability, from 0 to 1"),
        ({"window_s": 1, "smoothing": -1}, "smoothing=-1 must be at least 0 s"),
        ({"window_s": None}, "window_s=None must be a positive number of seconds"),
        ({"window_s": "1"}, "window_s='1' must be a positive number of seconds"),
        ({"window_s": 1, "threshold": "half"}, "threshold='half' must be a probability"),
        ({"window_s": 1, "smoothing": None}, "smoothing=None must be at least 0 s"),
    ],
)
def test_invalid_options_raise_an_error(model, options, message):
    with pytest.raises(ValueError, match=message):
        model.predict_segments([DAY], **options)


def test_recordings_without_a_rate_or_with_times_are_refused(model):
    without_rate = S4RidgeClassifier(n_oscillators=4).fit(np.random.default_rng(0).standard_normal((8, 50)), [0, 1] * 4)
    with pytest.raises(RecordingError, match="case 0 has no known rate, but windows need a rate"):
        without_rate.predict_segments([DAY], window_s=1)
    grid = np.arange(len(DAY)) / RATE
    regular = Signals([DAY], times=[1.7e9 + grid])
    assert model.predict_segments(regular, window_s=1) == model.predict_segments([DAY], window_s=1)
    timed = Signals([DAY], times=[grid**1.01], sfreq=RATE)
    with pytest.raises(RecordingError, match="case 0 has irregular times; put it on a grid"):
        model.predict_segments(timed, window_s=1)
    with pytest.raises(ShapeError, match="X holds no case"):
        model.predict_segments([], window_s=1)
    with pytest.raises(NotFittedError):
        S4RidgeClassifier().predict_segments([DAY], window_s=1)


MEASURE = f"""{PEAK_GIB}
import sys, numpy as np
from s4signal import S4RidgeClassifier
class Quick(S4RidgeClassifier):
    def predict_proba(self, X):
        loud = np.array([case.data.std() for case in X])
        return np.stack([1 - loud, loud], axis=1)
X = np.random.default_rng(0).standard_normal((8, 800))
model = Quick(n_oscillators=4, sfreq=16000, random_state=0).fit(X, [0, 1] * 4)
model.predict_segments(sys.argv[1], window_s=1, hop_s=0.5)
before = peak_gib()
model.predict_segments(sys.argv[2], window_s=1, hop_s=0.5)
print(1024 * (peak_gib() - before))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc of Linux")
def test_an_hour_takes_no_more_memory_than_five_minutes(tmp_path):
    soundfile = pytest.importorskip("soundfile")
    rng = np.random.default_rng(0)
    for name, minutes in (("short", 5), ("long", 60)):
        with soundfile.SoundFile(tmp_path / f"{name}.wav", "w", 16000, 1) as file:
            for _ in range(minutes):
                file.write(0.1 * rng.standard_normal(60 * 16000))
    mebibytes = float(run_code(MEASURE, tmp_path / "short.wav", tmp_path / "long.wav"))
    assert mebibytes < 20  # an hour in float32 takes 220
