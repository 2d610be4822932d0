"""Windows and epochs: right samples, right labels, groups that keep recordings whole."""

import numpy as np
import pytest
import recording_files as files
from sklearn.model_selection import GroupKFold

from s4signal.errors import RecordingError, ShapeError
from s4signal.signals import Annotation, Signal, Signals, epochs_from_events, read_eeg, windows

RAMP = np.arange(1000.0)[np.newaxis]


def recordings(n=2, source="s0{}.edf"):
    marks = (Annotation(2.0, 0.0, "left"), Annotation(5.0, 0.0, "right"), Annotation(7.0, 0.0, "BAD blink"))
    return Signals([Signal(RAMP, sfreq=100, annotations=marks, source=source.format(i)) for i in range(n)])


def test_windows_tile_a_recording():
    cut, y, groups = windows(recordings(1), duration_s=3)
    assert [signal.data[0, 0] for signal in cut] == [0, 300, 600]
    assert cut.lengths.tolist() == [300] * 3
    assert y is None
    assert groups.tolist() == ["s00.edf"] * 3


def test_windows_are_views():
    assert np.shares_memory(windows(recordings(1), duration_s=3)[0][1].data, RAMP)


def test_steps_may_overlap_and_edges_may_be_cut():
    cut, _, _ = windows(recordings(1), duration_s=2, step_s=1, start_s=1, stop_s=-5)
    assert [signal.data[0, 0] for signal in cut] == [100, 200, 300]


def test_a_negative_start_counts_from_the_end():
    cut, _, _ = windows(recordings(1), duration_s=2, start_s=-4)
    assert [signal.data[0, 0] for signal in cut] == [600, 800]


def test_a_window_as_long_as_the_recording_fits():
    assert len(windows(Signals(RAMP, sfreq=300), duration_s=1000 / 300)[0]) == 1


def test_no_recording_is_on_both_sides_of_a_split():
    cut, y, groups = windows(recordings(4), duration_s=1, y=[0, 1, 0, 1])
    for train, test in GroupKFold(2).split(cut, y, groups):
        assert not set(cut[train].sources) & set(cut[test].sources)


def test_targets_and_subjects_follow_their_recording():
    _, y, groups = windows(recordings(2), duration_s=5, y=["rest", "task"], groups=[7, 7])
    assert y.tolist() == ["rest", "rest", "task", "task"]
    assert groups.tolist() == [7] * 4


def test_recordings_without_a_file_are_numbered():
    assert windows(recordings(2, ""), duration_s=5)[2].tolist() == [0, 0, 1, 1]


def test_irregular_recordings_are_cut_by_their_times():
    times = np.array([0.0, 0.5, 1.1, 2.0, 2.1, 2.9, 4.0])
    cut, _, _ = windows(Signals([np.arange(7.0)], times=[times + 10]), duration_s=2)
    assert [signal.data[0].tolist() for signal in cut] == [[0, 1, 2], [3, 4, 5]]
    assert cut[1].times.tolist() == [12.0, 12.1, 12.9]


def test_regular_times_are_cut_like_a_rate():
    data = np.arange(1000.0)
    for start in (0.0, 12345.6):
        timed = Signals([data], times=[start + np.arange(1000) * 0.01])
        options = {"duration_s": 0.3, "step_s": 0.1, "start_s": 0.05}
        expected, cut = (windows(signals, **options)[0] for signals in (Signals([data], sfreq=100), timed))
        assert [signal.data.tolist() for signal in cut] == [signal.data.tolist() for signal in expected]
        assert len(windows(timed, duration_s=10)[0]) == 1


def test_samples_of_one_time_stay_together():
    cut, _, _ = windows(Signals([np.arange(6.0)], times=[[0, 1, 1, 2, 2, 3]]), duration_s=2)
    assert [signal.data[0].tolist() for signal in cut] == [[0, 1, 2], [3, 4, 5]]


def test_targets_follow_where_a_hole_leaves_no_window():
    signals = Signals([np.arange(4.0), np.arange(4.0)], times=[[0, 1, 6, 7], [0, 2, 4, 6]])
    cut, y, groups = windows(signals, duration_s=2, y=["a", "b"])
    assert [signal.times.tolist() for signal in cut[groups == 0]] == [[0, 1], [6, 7]]
    assert y.tolist() == ["a"] * 2 + ["b"] * 4


def test_a_window_next_to_a_hole_keeps_rate_and_times():
    times = np.r_[np.arange(100) * 0.01, 9.5 + np.arange(100) * 0.01]
    cut, _, _ = windows(Signals([np.arange(200.0)], times=[times], sfreq=100), duration_s=0.99, step_s=9.5)
    assert (cut.sfreq, cut.lengths.tolist(), cut[1].times[0]) == (100, [99, 99], 9.5)


def test_irregular_recordings_without_enough_time_are_refused():
    with pytest.raises(RecordingError, match=r"recording 0 lasts 5\.00 s, less than duration_s=9"):
        windows(Signals([np.arange(5.0)], times=[np.arange(5)]), duration_s=9)


def test_resampled_files_are_cut_at_the_new_rate(tmp_path):
    pytest.importorskip("soundfile")
    signals = Signals.from_files(files.write_audio(tmp_path / "a.wav"), sfreq=8000)
    whole = signals[0].data
    cut, _, _ = windows(signals, duration_s=0.25)
    np.testing.assert_array_equal(np.concatenate([signal.data[0] for signal in cut]), whole[0])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"duration_s": 20},
            RecordingError,
            "s00.edf lasts 10.00 s, less than duration_s=20.00. Lower",
        ),
        ({"duration_s": 2, "start_s": 9}, RecordingError, "s00.edf lasts 1.00 s between start_s=9"),
        ({"duration_s": 0}, ValueError, "duration_s=0 must be a positive number of seconds"),
        ({"duration_s": 1, "step_s": -1}, ValueError, "step_s=-1 must be a positive"),
        ({"duration_s": 1, "y": [1]}, ShapeError, "y must hold one value for each of 2 recordings"),
        ({"duration_s": 1, "groups": "me"}, ShapeError, "groups must hold one value for each of 2 recordings"),
    ],
)
def test_windows_that_cannot_be_cut_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        windows(recordings(), **options)


def test_an_unknown_rate_is_refused():
    with pytest.raises(RecordingError, match="recording 0 has no known rate"):
        windows([RAMP], duration_s=1)


def test_epochs_take_every_good_annotation_by_default():
    epochs, y, groups = epochs_from_events(recordings(), tmax=1)
    assert [signal.data[0, 0] for signal in epochs] == [200, 500, 200, 500]
    assert y.tolist() == ["left", "right"] * 2
    assert groups.tolist() == ["s00.edf"] * 2 + ["s01.edf"] * 2
    assert epochs.lengths.tolist() == [101] * 4


@pytest.mark.parametrize(
    ("event_id", "names"),
    [
        (["right"], ["right"]),
        ("right", ["right"]),
        ({"move": "right"}, ["move"]),
        ({"a": "left", "b": "right"}, ["a", "b"]),
    ],
)
def test_event_id_chooses_and_names(event_id, names):
    assert epochs_from_events(recordings(1), event_id=event_id, tmax=1)[1].tolist() == names


def test_events_of_mne_are_cut_around_their_sample():
    events = np.array([[200, 0, 1], [400, 0, 2], [600, 0, 9]])
    epochs, y, _ = epochs_from_events(
        Signals([RAMP], sfreq=100), events=events, event_id={"a": 1, "b": 2}, tmin=-0.5, tmax=1
    )
    assert [(signal.data[0, 0], signal.length) for signal in epochs] == [(150, 151), (350, 151)]
    assert y.tolist() == ["a", "b"]


def test_events_agree_with_mne_epochs_in_a_cropped_recording(tmp_path):
    mne = pytest.importorskip("mne")
    raw = mne.io.read_raw(files.write_fif(tmp_path / "a_raw.fif"), verbose="error").crop(0.5)
    raw.save(tmp_path / "b_raw.fif", verbose="error")
    events = mne.find_events(raw, verbose="error")
    mne.write_events(tmp_path / "b-eve.fif", events, verbose="error")
    expected = mne.Epochs(raw, events, tmin=-0.2, tmax=0.49, baseline=None, picks="eeg", verbose="error").get_data()
    signals = read_eeg(tmp_path / "b_raw.fif")
    for options in ({}, {"events": events}, {"events": tmp_path / "b-eve.fif"}, {"events": [events]}):
        epochs, y, _ = epochs_from_events(signals, tmin=-0.2, tmax=0.49, **options)
        np.testing.assert_allclose(epochs.to_numpy(), expected)
        assert y.tolist() == ["1", "2"]


def test_events_of_irregular_recordings_are_cut_by_time():
    times = np.array([10, 10.4, 11.2, 12.0, 12.9, 15.0])
    marks = (Annotation(1.0, 0.0, "a"), Annotation(3.7, 0.0, "in a hole"), Annotation(9.0, 0.0, "outside"))
    recording = Signals([Signal(np.arange(6.0), times=times, annotations=marks)])
    with pytest.warns(UserWarning, match="recording 0: 2 of 3 events reach outside"):
        epochs, y, _ = epochs_from_events(recording, tmin=-0.6, tmax=1.1)
    assert y.tolist() == ["a"]
    assert epochs[0].times.tolist() == [10.4, 11.2, 12.0]
    epochs, y, _ = epochs_from_events(recording, events=np.array([[3, 0, 7]]), tmin=-0.9, tmax=0.1)
    assert epochs[0].data.tolist() == [[2.0, 3.0]]


def test_events_that_reach_outside_are_left_out_with_a_warning():
    with pytest.warns(UserWarning, match="s00.edf: 1 of 2 events reach outside the recording and are left out"):
        epochs, y, _ = epochs_from_events(recordings(1), tmax=6)
    assert y.tolist() == ["left"]
    assert len(epochs) == 1


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"event_id": ["up"]}, RecordingError, "matches event_id=.*hold: BAD blink, left, right"),
        ({"events": [np.zeros((0, 3))] * 2}, RecordingError, "Look at the events array"),
        ({"events": [np.zeros((1, 3))]}, ShapeError, "one array or path for each of 2 recordings, got 1"),
        ({"events": [np.zeros((1, 2))] * 2}, ShapeError, r"shape \(n_events, 3\)"),
        ({"tmin": 1.5}, ValueError, "tmax=1 must not be less than tmin=1.5"),
    ],
)
def test_epochs_that_cannot_be_cut_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        epochs_from_events(recordings(), **({"tmax": 1} | options))


def test_a_missing_events_file_is_named(tmp_path):
    pytest.importorskip("mne")
    with pytest.raises(RecordingError, match=r"gone-eve\.fif does not exist"):
        epochs_from_events(recordings(1), events=tmp_path / "gone-eve.fif", tmax=1)
    (tmp_path / "bad-eve.fif").write_bytes(b"no events")
    with pytest.raises(RecordingError, match=r"bad-eve\.fif cannot be read as an MNE events file"):
        epochs_from_events(recordings(1), events=tmp_path / "bad-eve.fif", tmax=1)


def test_gdf_annotations_and_fif_events_of_one_recording_agree(data_home):
    folder = data_home / "ssvep_exo/subject01"
    by_code = {"rest": 1, "13 Hz": 2, "21 Hz": 3, "17 Hz": 4}
    by_mark = {"rest": 33024, "13 Hz": 33025, "21 Hz": 33026, "17 Hz": 33027}
    fif, y, _ = epochs_from_events(
        read_eeg(folder / "session1_raw.fif"), events=folder / "session1-eve.fif", event_id=by_code, tmax=5 - 1 / 256
    )
    gdf, y_gdf, _ = epochs_from_events(
        read_eeg(folder / "session1.gdf"), event_id=by_mark, tmin=0.5, tmax=5.5 - 1 / 256
    )
    assert y.tolist() == y_gdf.tolist()
    # The two files count one sample apart.
    a, b = fif.to_numpy()[..., :-1], gdf.to_numpy()[..., 1:]
    np.testing.assert_allclose(a / a.std(), b / b.std(), atol=1e-2)
