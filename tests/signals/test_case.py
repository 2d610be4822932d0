"""One case: accepted input and cropping."""

import numpy as np
import pytest
import torch

from s4signal.errors import ShapeError
from s4signal.signals import Annotation, Signal, Signals


def test_one_dimension_is_one_channel():
    assert Signal(np.zeros(5)).data.shape == (1, 5)


@pytest.mark.parametrize(
    ("given", "expected"), [("f4", "f4"), (">f4", "f8"), ("f2", "f8"), ("i2", "f8"), ("?", "f8"), ("O", "f8")]
)
def test_float32_is_kept_and_other_real_types_become_float64(given, expected):
    assert Signal(np.ones((2, 3), dtype=given)).data.dtype == np.dtype(expected)


def test_data_is_not_copied():
    data = np.zeros((2, 5))
    assert np.shares_memory(Signal(data).data, data)


def test_nan_is_a_missing_sample_of_its_channel():
    signal = Signal([[np.nan, 2.0], [1.0, np.nan]])
    assert signal.observed.tolist() == [[False, True], [True, False]]


def test_samples_may_have_the_same_time():
    assert Signal(np.zeros(3), times=[0, 1, 1]).times.tolist() == [0.0, 1.0, 1.0]


@pytest.mark.parametrize("scale", [1.0, 7.0, 30.0])
def test_wide_gaps_are_not_taken_for_another_unit(scale):
    assert Signal(np.zeros(9), times=np.arange(9) * 0.004 * scale, sfreq=250).has_times


def test_a_crop_around_a_gap_is_not_taken_for_another_unit():
    times = np.r_[np.arange(5) * 0.004, 100 + np.arange(5) * 0.004]
    assert Signal(np.zeros(10), times=times, sfreq=250).crop(4, 6).times.tolist() == [0.016, 100.0]


@pytest.mark.parametrize(("start", "stop"), [(2, 2), (3, 2), (-1, 2), (0, 6)])
def test_a_crop_must_be_nonempty_and_within_the_case(start, stop):
    with pytest.raises(ShapeError, match=f"samples {start} to {stop} were requested, but the case has samples 0 to 5"):
        Signal(np.zeros(5)).crop(start, stop)


@pytest.mark.parametrize("times", [np.float32([0, 0.01, 0.02]), np.float32([3600, 3600.01, 3600.02]), [1.7e9] * 3])
def test_times_that_their_dtype_resolves_are_accepted(times):
    assert Signal(np.zeros(3), times=times).has_times


PCM = [("u1", 128, 128), ("i1", 0, 128), ("i2", 0, 2**15), ("i4", 0, 2**31)]


@pytest.mark.parametrize(("kind", "silence", "full"), PCM)
@pytest.mark.parametrize(
    ("options", "is_sound"),
    [
        ({"sfreq": 8000}, True),
        ({"sfreq": 100, "modality": "audio"}, True),
        ({"sfreq": 250}, False),
        ({}, False),
        ({"sfreq": 8000, "modality": "ecog"}, False),
    ],
)
def test_integer_samples_are_scaled_only_for_sound(kind, silence, full, options, is_sound):
    counts = np.array([[0, silence // 2, 100]], dtype=kind)
    signal = Signal(counts, **options)
    np.testing.assert_array_equal(signal.data, (counts.astype(float) - silence) / full if is_sound else counts)
    assert signal.data.dtype == (np.float32 if is_sound else np.float64)


def test_many_channels_floats_and_int64_are_not_pcm():
    for data in (np.ones((3, 4), dtype="i2"), np.ones(4), np.ones(4, dtype="i8"), [1, 1, 1, 1]):
        assert (Signal(data, sfreq=44100).data == 1).all()


def test_masked_samples_of_sound_become_nan():
    masked = np.ma.masked_array(np.array([16384, -1], dtype="i2"), mask=[False, True])
    np.testing.assert_array_equal(Signal(masked, sfreq=8000).data, [[0.5, np.nan]])


def test_masked_samples_become_nan():
    masked = np.ma.masked_array([1.0, 2.0, 3.0], mask=[False, True, False])
    np.testing.assert_array_equal(Signal(masked).data, [[1.0, np.nan, 3.0]])


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"data": np.zeros((1, 2, 3))}, ShapeError, r"got \(1, 2, 3\)"),
        ({"data": np.zeros((0, 3))}, ShapeError, "empty"),
        ({"data": [[1, 2], [3]]}, ShapeError, "unequal length"),
        ({"data": np.zeros(3) + 1j}, ValueError, "Complex data not supported"),
        ({"data": ["a", "b", "c"]}, TypeError, "real numbers"),
        ({"data": np.array([1, 2, {}], dtype=object)}, TypeError, "argument must be a string or a real number"),
        ({"data": np.array(["2020-01-01"] * 3, dtype="M8[D]")}, TypeError, "datetime64"),
        ({"sfreq": 0}, ValueError, "sfreq=0 must be a positive number"),
        ({"sfreq": np.inf}, ValueError, "sfreq=inf must be a positive number"),
        ({"sfreq": "fast"}, TypeError, "'fast' must be a number"),
        ({"sfreq": True}, TypeError, "sfreq=True must be a number"),
        ({"times": [0, 1]}, ShapeError, r"shape \(3,\)"),
        ({"times": [0, 2, 1]}, ValueError, r"2 s is followed by 1 s \(samples 1 and 2\)"),
        ({"times": np.array([0, 1, 2], dtype="M8[s]")}, TypeError, r"times must be seconds, got dtype datetime64\[s\]"),
        ({"times": ["a", "b", "c"]}, TypeError, "times must hold real numbers, got dtype <U1"),
        ({"times": [0, np.nan, 1]}, ValueError, r"times must be finite, but sample 1 has time nan \(1 in all\)"),
        ({"times": [0, 4, 8], "sfreq": 250}, ValueError, "median gap is 4, but sfreq=250 Hz means 0.004 s. Divide"),
        ({"times": [0, 1, 2], "sfreq": 256}, ValueError, "times must be seconds"),
        ({"times": [0, 1e-5, 2e-5], "sfreq": 100}, ValueError, "times must be seconds"),
        ({"data": [1.0, np.inf, np.nan]}, ValueError, "^it contains infinity, in 1 of 3 samples. Write NaN"),
        ({"data": [1.0, -np.inf, np.inf], "source": "a.wav"}, ValueError, "a.wav: it contains infinity, in 2 of 3"),
        ({"ch_names": ("a", "b")}, ShapeError, "each of 1 channels"),
        ({"ch_names": "a"}, ShapeError, "each of 1 channels"),
        ({"data": np.zeros((3, 2)), "ch_names": ("a", "b", "a")}, ValueError, "ch_names holds a more than once"),
        ({"times": np.float32([1.7e9] * 3)}, ValueError, "resolution of 128 s near 1.7e.09 s, too coarse"),
        ({"times": np.float32([8e4, 80000.01, 80000.02])}, ValueError, "as float32 have a resolution of 0.0078125 s"),
        ({"times": np.float16([100, 100.1, 100.2])}, ValueError, "as float16 have a resolution of 0.0625 s near 100"),
        ({"times": np.ma.array([0.0, 1, 2], mask=[0, 1, 0])}, ValueError, "sample 1 has time nan"),
    ],
)
def test_invalid_cases_are_refused(changes, error, message):
    with pytest.raises(error, match=message):
        Signal(**({"data": np.zeros(3)} | changes))


def test_times_of_single_precision_must_be_finer_than_samples():
    fine, coarse = (np.float32(1e5 + np.arange(2000) * step) for step in (0.1, 0.05))
    assert Signal(np.zeros(2000), times=fine).length == 2000
    with pytest.raises(ValueError, match=r"as float32 have a resolution of 0\.0078125 s near .* 2000 samples"):
        Signal(np.zeros(2000), times=coarse)


def test_a_crop_is_a_view_that_keeps_its_times():
    signal = Signal(np.arange(6.0), times=np.arange(6) ** 2)
    cut = signal.crop(2, 4)
    assert np.shares_memory(cut.data, signal.data)
    np.testing.assert_array_equal(cut.times, [4.0, 9.0])
    assert cut.first_sample == 2


def test_annotations_of_a_crop_are_relative_to_its_first_sample():
    marks = (Annotation(0.0, 0.0, "before"), Annotation(0.1, 0.3, "overlaps"), Annotation(0.3, 0.0, "inside"))
    cut = Signal(np.zeros(10), sfreq=10, annotations=marks).crop(2, 4)
    assert [(round(mark.onset_s, 9), mark.description) for mark in cut.annotations] == [
        (-0.1, "overlaps"),
        (0.1, "inside"),
    ]


def test_annotations_of_an_irregular_crop_are_relative_to_its_times():
    signal = Signal(np.zeros(4), times=[10, 11, 15, 20], annotations=(Annotation(6.0, 0.0, "a"), Annotation(9, 2, "b")))
    assert [mark.onset_s for mark in signal.crop(2, 4).annotations] == [1.0, 4.0]
    assert signal.crop(0, 2).annotations == ()
    assert Signal(np.zeros(4), annotations=signal.annotations).crop(1, 3).annotations == ()


def test_equality_compares_everything_and_nan_equals_nan():
    signal = Signal([np.nan, 1.0], sfreq=2, ch_names=("a",))
    assert signal == Signal([np.nan, 1.0], sfreq=2, ch_names=("a",))
    assert signal != Signal([np.nan, 1.0], sfreq=2, ch_names=("b",))
    assert signal != Signal([np.nan, 2.0], sfreq=2, ch_names=("a",))
    assert signal != Signal([np.nan, 1.0], times=[0, 1], sfreq=2, ch_names=("a",))
    assert signal != "signal"


def test_the_repr_describes_the_case():
    assert repr(Signal(np.zeros((2, 3)), times=[0, 1, 3])) == "Signal: 2 channels × 3 samples, irregular times"


def test_a_tensor_with_a_gradient_is_detached() -> None:
    x = torch.arange(6.0).reshape(1, 6).requires_grad_()
    for given in (x, 1.0 * x):
        assert np.array_equal(Signal(given).data, [[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]])


def test_regular_times_are_kept_and_shown_as_a_rate():
    data, times = np.zeros((2, 20)), 1.7e9 + np.arange(20) / 50
    assert repr(Signal(data, times=times)) == "Signal: 2 channels × 20 samples, 50 Hz"
    assert repr(Signal(data[:, :5], times=times[:5])) == "Signal: 2 channels × 5 samples, irregular times"
    signals = Signals([data, data[:, :5]], times=[times, times[:5]])  # the first shows the rate of the second
    assert repr(signals) == "Signals: 2 cases × 2 channels, 5–20 samples, 50 Hz (0.1–0.4 s)"
    assert signals[1].times.tolist() == times[:5].tolist()
    assert "irregular times" in repr(Signals([data] * 2, times=[times, times + 0.005 * (np.arange(20) % 2)]))
