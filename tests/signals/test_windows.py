"""Windows and epochs: samples, labels and groups are correct."""

import numpy as np
import pytest
import recording_files as files
from sklearn.model_selection import GroupKFold

from s4signal.errors import RecordingError, ShapeError
from s4signal.signals import (
    Annotation,
    Signal,
    Signals,
    decimate,
    drop_samples,
    epochs_from_events,
    read_eeg,
    windows,
)

RAMP = np.arange(1000.0)[np.newaxis]


def recordings(n=2, source="s0{}.edf"):
    marks = (Annotation(0.0, 0.0, "BAD blink"), Annotation(2.0, 0.0, "left"), Annotation(5.0, 0.0, "right"))
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


@pytest.mark.parametrize(("start_s", "first"), [(-4, [600, 800]), (-25, [0, 200, 400, 600, 800])])
def test_a_negative_start_counts_from_the_end(start_s, first):
    cut, _, _ = windows(recordings(1), duration_s=2, start_s=start_s)
    assert [signal.data[0, 0] for signal in cut] == first


def test_a_window_as_long_as_the_recording_fits():
    assert len(windows(Signals(RAMP, sfreq=300), duration_s=1000 / 300)[0]) == 1
    assert len(windows(Signals(RAMP[:, :900], sfreq=30), duration_s=0.1)[0]) == 300  # (30 - 0.1) / 0.1 < 299


def test_groups_keep_a_recording_on_one_side_of_a_split():
    cut, y, groups = windows(recordings(4), duration_s=1, y=[0, 1, 0, 1])
    for train, test in GroupKFold(2).split(cut, y, groups):
        assert not set(cut[train].sources) & set(cut[test].sources)


def test_windows_have_the_target_and_group_of_their_recording():
    _, y, groups = windows(recordings(2), duration_s=5, y=["rest", "task"], groups=[7, 7])
    assert y.tolist() == ["rest", "rest", "task", "task"]
    assert groups.tolist() == [7] * 4


def test_recordings_without_a_file_are_numbered():
    assert windows(recordings(2, ""), duration_s=5)[2].tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("known", [{"source": "night"}, {"metadata": {"recording": "night"}}])
def test_windows_keep_the_name_of_their_recording(known):
    cut, _, groups = windows(Signals([Signal(RAMP, sfreq=100, **known)]), duration_s=5)
    assert groups.tolist() == cut.groups.tolist() == ["night"] * 2


def test_irregular_recordings_are_cut_by_their_times():
    times = np.array([0.0, 0.5, 1.1, 2.0, 2.1, 2.9, 4.0])
    cut, _, _ = windows(Signals([np.arange(7.0)], times=[times + 10]), duration_s=2)
    assert [signal.data[0].tolist() for signal in cut] == [[0, 1, 2], [3, 4, 5]]
    assert cut[1].times.tolist() == [12.0, 12.1, 12.9]


def test_regular_times_are_cut_as_with_a_rate():
    data = np.arange(1000.0)
    for start in (0.0, 12345.6, 1.7e9):  # the last: seconds since 1970
        timed = Signals([data], times=[start + np.arange(1000) * 0.01])
        options = {"duration_s": 0.3, "step_s": 0.1, "start_s": 0.05}
        expected, cut = (windows(signals, **options)[0] for signals in (Signals([data], sfreq=100), timed))
        assert [signal.data.tolist() for signal in cut] == [signal.data.tolist() for signal in expected]
        assert len(windows(timed, duration_s=10)[0]) == 1
        rare = Signals([data[:90]], times=[start + np.arange(90) * 0.7])
        assert len(windows(rare, duration_s=0.1)[0]) == 90


def test_samples_at_the_same_time_stay_together():
    cut, _, _ = windows(Signals([np.arange(6.0)], times=[[0, 1, 1, 2, 2, 3]]), duration_s=2)
    assert [signal.data[0].tolist() for signal in cut] == [[0, 1, 2], [3, 4, 5]]


def test_targets_are_correct_if_a_gap_leaves_no_window():
    signals = Signals([np.arange(4.0), np.arange(4.0)], times=[[0, 1, 6, 7], [0, 2, 4, 6]])
    cut, y, groups = windows(signals, duration_s=2, y=["a", "b"])
    assert [signal.times.tolist() for signal in cut[groups == 0]] == [[0, 1], [6, 7]]
    assert y.tolist() == ["a"] * 2 + ["b"] * 4


def test_a_window_next_to_a_gap_keeps_rate_and_times():
    times = np.r_[np.arange(100) * 0.01, 9.5 + np.arange(100) * 0.01]
    cut, _, _ = windows(Signals([np.arange(200.0)], times=[times], sfreq=100), duration_s=0.99, step_s=9.5)
    assert (cut.sfreq, cut.lengths.tolist(), cut[1].times[0]) == (100, [99, 99], 9.5)


def test_a_jump_of_the_times_costs_no_time_or_memory():
    times = np.concatenate([[0.0], 1.7e9 + np.arange(200) / 50])
    cut, _, _ = windows(Signals([np.arange(201.0)], times=[times]), duration_s=1, step_s=0.5)
    assert len(cut) == 1 + 7 + 1
    assert cut[1].data[0, 0] == 1.0


def test_short_irregular_recordings_are_refused():
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
        ({"duration_s": 20, "stop_s": 99}, RecordingError, "s00.edf lasts 10.00 s, less than duration_s=20"),
        ({"duration_s": 0}, ValueError, "duration_s=0 must be a positive number of seconds"),
        ({"duration_s": 1, "step_s": -1}, ValueError, "step_s=-1 must be a positive"),
        ({"duration_s": 1, "y": [1]}, ShapeError, "y must hold one value for each of 2 recordings"),
        ({"duration_s": 1, "groups": "me"}, ShapeError, r"groups must have shape \(2,\), one group per recording, got"),
        ({"duration_s": 1, "groups": ["me", None]}, ValueError, "groups holds no group of recording 1, but None"),
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
def test_event_id_selects_and_names_events(event_id, names):
    assert epochs_from_events(recordings(1), event_id=event_id, tmax=1)[1].tolist() == names


def test_mne_events_are_cut_around_their_sample():
    events = np.array([[200, 0, 1], [400, 0, 2], [600, 0, 9]])
    epochs, y, _ = epochs_from_events(
        Signals([RAMP], sfreq=100), events=events, event_id={"a": 1, "b": 2}, tmin=-0.5, tmax=1
    )
    assert [(signal.data[0, 0], signal.length) for signal in epochs] == [(150, 151), (350, 151)]
    assert y.tolist() == ["a", "b"]


def test_recordings_may_have_different_numbers_of_events():
    events = [np.array([[200, 0, 1], [500, 0, 1]]), np.array([[300, 0, 2]])]
    epochs, y, _ = epochs_from_events(recordings(2), events=events, tmax=1)
    assert (y.tolist(), [signal.data[0, 0] for signal in epochs]) == (["1", "1", "2"], [200, 500, 300])


def test_events_equal_mne_epochs_in_a_cropped_recording(tmp_path):
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


@pytest.mark.parametrize(("tmin", "tmax"), [(0, 1), (-0.5, 0.3), (0.014, 0.026), (0, 0), (-1 / 3, 1 / 3)])
def test_both_ends_of_an_epoch_equal_mne(tmp_path, tmin, tmax):
    mne = pytest.importorskip("mne")
    raw = mne.io.read_raw(files.write_fif(tmp_path / "a_raw.fif"), verbose="error")
    events = np.array([[150, 0, 1], [201, 0, 1]])
    options = {"baseline": None, "picks": "eeg", "verbose": "error"}
    expected = mne.Epochs(raw, events, tmin=tmin, tmax=tmax, **options).get_data()
    epochs = epochs_from_events(read_eeg(tmp_path / "a_raw.fif"), events=events, tmin=tmin, tmax=tmax)[0]
    np.testing.assert_allclose(epochs.to_numpy(), expected)


EVENTS = np.array([[300, 0, 1], [452, 0, 2], [700, 0, 3]])
AT_S = [3.0, 4.52, 7.0]
CLOCK = np.arange(1000) / 100  # each sample is its own time

CHANGES = {
    "nothing": lambda signals: signals,
    "resampled": lambda signals: signals.resample(250),
    "resampled twice": lambda signals: signals.resample(50).resample(300),
    "decimated": lambda signals: decimate(signals, 2),
    "on a grid": lambda signals: signals.to_grid(50),
    "with samples dropped": lambda signals: drop_samples(signals, 0.3, random_state=0),
    "with samples missing": lambda signals: drop_samples(signals, 0.3, random_state=0, as_nan=True),
    "dropped, decimated": lambda signals: decimate(drop_samples(signals, 0.3, random_state=0), 2),
    "dropped, on a grid": lambda signals: drop_samples(signals, 0.3, random_state=0).to_grid(100),
    "cropped": lambda signals: Signals([signal.crop(210, 990) for signal in signals]),
    "cropped and resampled": lambda signals: Signals([signal.crop(211, 990) for signal in signals]).resample(30),
    "resampled and cropped": lambda signals: Signals([signal.crop(63, 297) for signal in signals.resample(30)]),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("first", [0, 1234])
def test_events_keep_their_times_after_any_transform(change, first):
    mark = tuple(Annotation(at_s, 0.0, str(i)) for i, at_s in enumerate(AT_S))
    changed = change(Signals([Signal(CLOCK, sfreq=100, first_sample=first, annotations=mark)]))
    for events in (EVENTS + np.array([first, 0, 0]), None):
        epochs, y, _ = epochs_from_events(changed, events=events, tmin=-0.2, tmax=0.2)
        assert len(y) == 3
        for epoch, at_s in zip(epochs, AT_S, strict=True):
            values = epoch.data[0][epoch.observed[0]]
            assert (np.abs(values - at_s) < 0.2 + 1 / 30).all()
            assert abs(values.mean() - at_s) < 0.05


def test_events_of_resampled_files_keep_their_times(tmp_path):
    pytest.importorskip("mne")
    files.write_fif(tmp_path / "a_raw.fif")
    events = np.array([[100, 0, 1], [300, 0, 2]])
    whole = epochs_from_events(read_eeg(tmp_path / "a_raw.fif"), events=events, tmax=0.5)[0]
    low = epochs_from_events(read_eeg(tmp_path / "a_raw.fif", sfreq=50), events=events, tmax=0.5)[0]
    assert [signal.first_sample / 100 for signal in whole] == [signal.first_sample / 50 for signal in low] == [1, 3]


@pytest.mark.parametrize(
    "change",
    [
        lambda signals: signals.to_grid(2),
        lambda signals: decimate(signals, 2),
        lambda signals: drop_samples(signals, 0.5, random_state=0),
    ],
)
@pytest.mark.parametrize("sfreq", [None, 1])
def test_sample_numbers_are_refused_after_irregular_samples_are_dropped(change, sfreq):
    signals = change(Signals([np.arange(8.0)], times=[[0, 1, 3, 4, 7, 8, 9, 12]], sfreq=sfreq))
    with pytest.raises(RecordingError, match="recording 0: its samples are no longer those of the recording"):
        epochs_from_events(signals, events=np.array([[3, 0, 1]]), tmax=1)


def test_events_of_irregular_recordings_are_cut_by_time():
    times = np.array([10, 10.4, 11.2, 12.0, 12.9, 15.0])
    marks = (Annotation(1.0, 0.0, "a"), Annotation(3.7, 0.0, "in a gap"), Annotation(9.0, 0.0, "outside"))
    recording = Signals([Signal(np.arange(6.0), times=times, annotations=marks)])
    with pytest.warns(UserWarning, match="recording 0: 2 of 3 events reach outside"):
        epochs, y, _ = epochs_from_events(recording, tmin=-0.6, tmax=1.1)
    assert y.tolist() == ["a"]
    assert epochs[0].times.tolist() == [10.4, 11.2, 12.0]
    epochs, y, _ = epochs_from_events(recording, events=np.array([[3, 0, 7]]), tmin=-0.9, tmax=0.1)
    assert epochs[0].data.tolist() == [[2.0, 3.0]]


def test_events_outside_the_recording_are_left_out_with_a_warning():
    with pytest.warns(UserWarning, match="s00.edf: 1 of 2 events reach outside the recording and are left out"):
        epochs, y, _ = epochs_from_events(recordings(1), tmax=6)
    assert y.tolist() == ["left"]
    assert len(epochs) == 1


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"event_id": ["up"]}, RecordingError, "matches event_id=.*have: BAD blink, left, right"),
        ({"events": [np.zeros((0, 3))] * 2}, RecordingError, "Check the events array"),
        ({"events": [np.zeros((1, 3))]}, ShapeError, "one array or path for each of 2 recordings, got 1"),
        ({"events": [np.zeros((1, 2))] * 2}, ShapeError, r"shape \(n_events, 3\)"),
        ({"tmin": 1.5}, ValueError, "tmax=1 must not be less than tmin=1.5"),
    ],
)
def test_epochs_that_cannot_be_cut_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        epochs_from_events(recordings(), **({"tmax": 1} | options))


def test_a_missing_events_file_is_refused(tmp_path):
    pytest.importorskip("mne")
    with pytest.raises(RecordingError, match=r"gone-eve\.fif does not exist"):
        epochs_from_events(recordings(1), events=tmp_path / "gone-eve.fif", tmax=1)
    (tmp_path / "bad-eve.fif").write_bytes(b"no events")
    with pytest.raises(RecordingError, match=r"bad-eve\.fif cannot be read as an MNE events file"):
        epochs_from_events(recordings(1), events=tmp_path / "bad-eve.fif", tmax=1)


def test_gdf_annotations_equal_fif_events_of_one_recording(data_home):
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
    # The sample numbers of the two files differ by one.
    a, b = fif.to_numpy()[..., :-1], gdf.to_numpy()[..., 1:]
    np.testing.assert_allclose(a / a.std(), b / b.std(), atol=1e-2)


def stages():
    marks = (
        Annotation(0.0, 3.0, "Sleep stage 3"),
        Annotation(3.0, 3.0, "Sleep stage 4"),
        Annotation(6.0, 2.0, "Sleep stage W"),
        Annotation(9.2, 0.0, "blink"),
    )
    return Signals([Signal(np.arange(1000.0), sfreq=100, annotations=marks)])


def test_windows_have_the_label_of_the_annotation_that_covers_most():
    merged = {"Sleep stage 3": "N3", "Sleep stage 4": "N3", "Sleep stage W": "W"}
    cut, y, groups = windows(stages(), duration_s=2, labels=merged)
    assert y.tolist() == ["N3", "N3", "N3", "W"]  # the second window is half of one stage and half of the other
    assert cut[3].data[0, 0] == 600
    assert len(set(groups)) == 1
    assert windows(stages(), duration_s=2, labels=["Sleep stage 3", "Sleep stage W"])[1].tolist() == [
        "Sleep stage 3", "Sleep stage W",
    ]  # fmt: skip
    with pytest.raises(RecordingError, match=r"no annotation of labels=\['blink'\] covers more than half of a window"):
        windows(stages(), duration_s=2, labels=["blink"])
    with pytest.raises(ValueError, match="y= and labels= both give targets"):
        windows(stages(), duration_s=2, labels=["blink"], y=[1])


def test_bad_spans_are_left_out_as_in_mne():
    mne = pytest.importorskip("mne")
    rng = np.random.default_rng(0)
    raw = mne.io.RawArray(rng.standard_normal((1, 1000)), mne.create_info(["Oz"], 100.0, "eeg"), verbose="error")
    raw.set_annotations(mne.Annotations([2.5, 6.99], [0.2, 1.2], ["BAD_muscle", "bad"]))
    for overlap in (0.0, 0.5):
        expected = mne.make_fixed_length_epochs(raw, 1.0, overlap=overlap, preload=True, verbose="error").get_data()
        cut, _, _ = windows(raw, duration_s=1, step_s=1 - overlap)
        np.testing.assert_array_equal(cut.to_numpy(), expected)
    assert len(windows(raw, duration_s=1, reject_by_annotation=False)[0]) == 10
    events = np.column_stack([np.arange(50, 900, 50), np.zeros(17, int), np.ones(17, int)])
    expected = mne.Epochs(raw, events, tmin=-0.2, tmax=0.4, baseline=None, preload=True, verbose="error").get_data()
    epochs, _, _ = epochs_from_events(raw, events=events, tmin=-0.2, tmax=0.4)
    np.testing.assert_array_equal(epochs.to_numpy(), expected)
    assert len(epochs_from_events(raw, events=events, tmax=0.4, reject_by_annotation=False)[0]) == 17
    raw.set_annotations(mne.Annotations([0], [10], ["BAD_"]))
    with pytest.raises(RecordingError, match=r"every window is marked as bad. Pass reject_by_annotation=False"):
        windows(raw, duration_s=1)


@pytest.mark.parametrize("sfreq", [100.0, 256.0, 333.0])
def test_nothing_reaches_across_the_boundary_of_recordings_that_were_joined(sfreq):
    mne = pytest.importorskip("mne")
    rng = np.random.default_rng(0)
    info = mne.create_info(["Oz"], sfreq, "eeg")
    raws = [mne.io.RawArray(rng.standard_normal((1, n)), info, verbose="error") for n in (round(7.3 * sfreq), 2000)]
    joined = mne.concatenate_raws(raws, verbose="error")  # marks the boundary by an instant, "BAD boundary"
    expected = mne.make_fixed_length_epochs(joined, 1.0, preload=True, verbose="error").get_data()
    cut, _, _ = windows(joined, duration_s=1)
    np.testing.assert_array_equal(cut.to_numpy(), expected)
    assert len(windows(joined, duration_s=1, reject_by_annotation=False)[0]) == len(cut) + 1
    events = np.array([[round(7.3 * sfreq) + shift, 0, 1] for shift in range(-140, 60)])
    expected = mne.Epochs(joined, events, tmin=-0.1, tmax=0.2, baseline=None, preload=True, verbose="error").get_data()
    np.testing.assert_array_equal(
        epochs_from_events(joined, events=events, tmin=-0.1, tmax=0.2)[0].to_numpy(), expected
    )
