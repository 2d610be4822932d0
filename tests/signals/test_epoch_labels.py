"""A label for every epoch of a long recording, from annotations and hypnograms."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from s4signal.errors import MissingDependencyError, RecordingError, ShapeError
from s4signal.signals import Annotation, Signal, Signals, epoch_labels, epochs_from_events, windows
from s4signal.signals.clock import Clock, warn_of_clocks
from s4signal.signals.epochs import cut_epoch, epoch_spans

STAGES = {"Sleep stage 2": "N2", "Sleep stage 3": "N3", "Sleep stage 4": "N3"}
HYPNOGRAM = [
    (0, 90, "Sleep stage 2"),
    (90, 60, "Sleep stage 3"),
    (150, 60, "Sleep stage 4"),
    (210, 300, "Sleep stage ?"),
]
EXPECTED = ["N2"] * 3 + ["N3"] * 4 + [None] * 3


def night(seconds=300.0, sfreq=10.0, annotations=()):
    return Signals([Signal(np.zeros((1, round(seconds * sfreq))), sfreq=sfreq, annotations=annotations)])


def write_hypnogram(path, rows):
    """Write an EDF+ file with annotations only, as in sleep archives."""
    tal = b"+0\x14\x14\x00" + b"".join(f"+{a}\x15{b}\x14{text}\x14".encode() + b"\x00" for a, b, text in rows)
    n = -(-len(tal) // 2)
    fields = [
        ("0", 8), ("X X X X", 80), ("Startdate 01-JAN-2000 X X X", 80), ("01.01.00", 8), ("00.00.00", 8), ("512", 8),
        ("EDF+C", 44), ("1", 8), ("0", 8), ("1", 4), ("EDF Annotations", 16), ("", 80), ("", 8), ("-1", 8), ("1", 8),
        ("-32768", 8), ("32767", 8), ("", 80), (str(n), 8), ("", 32),
    ]  # fmt: skip
    path.write_bytes("".join(text.ljust(width) for text, width in fields).encode("ascii") + tal.ljust(2 * n, b"\x00"))


def test_one_annotation_of_an_hour_labels_its_120_epochs():
    (y,) = epoch_labels(night(3700.0, annotations=(Annotation(0, 3600, "Sleep stage 2"),)), labels=STAGES)
    assert y.tolist() == ["N2"] * 120 + [None] * 3


def test_annotations_lists_and_files_give_the_same_labels(tmp_path):
    mne = pytest.importorskip("mne")
    write_hypnogram(tmp_path / "hypnogram.edf", HYPNOGRAM)
    marks = [Annotation(*row) for row in HYPNOGRAM]
    for given in (HYPNOGRAM, marks, mne.Annotations(*zip(*HYPNOGRAM, strict=True)), tmp_path / "hypnogram.edf"):
        assert epoch_labels(night(), labels=STAGES, annotations=[given])[0].tolist() == EXPECTED
    raw = mne.io.RawArray(np.zeros((1, 3000)), mne.create_info(["Cz"], 10.0, "eeg"), verbose="error")
    raw.set_annotations(mne.Annotations(*zip(*HYPNOGRAM[:3], strict=True)))
    assert epoch_labels([raw, raw], labels=STAGES)[1].tolist() == EXPECTED
    assert epoch_labels(raw)[0].tolist()[:5] == ["Sleep stage 2"] * 3 + ["Sleep stage 3"] * 2


def test_the_label_of_more_than_half_of_an_epoch_counts_unless_bad():
    rows = [(0, 16, "a"), (16, 29, "b"), (45, 16, "a"), (61, 0, "b"), (90, 10, "a"), (100, 10, "b"), (120, 150, "b")]
    assert epoch_labels(night(), annotations=[rows])[0].tolist() == [
        "a",
        None,
        None,
        None,
        "b",
        "b",
        "b",
        "b",
        "b",
        None,
    ]
    bad = [*rows, (149, 2, "BAD_artefact"), (180, 0, "bad"), (215, 0, "BAD boundary")]
    # An instant within an epoch makes it bad, where recordings were joined; one between two epochs is in neither.
    assert epoch_labels(night(), annotations=[bad])[0].tolist()[4:9] == [None, None, "b", None, "b"]
    others = epoch_labels(night(), annotations=[bad], otherwise="background")
    assert others[0].tolist()[:5] == ["a", *["background"] * 3, None]
    not_rejected = epoch_labels(night(), annotations=[bad], reject_by_annotation=False)
    assert not_rejected[0].tolist()[4:7] == ["b", "b", "b"]


def test_a_bad_span_begins_and_ends_with_the_epoch_up_to_rounding():
    spans = [(0.0, 1.0, "a"), (0.3, 0.1, "BAD")]  # 0.3 / 0.1 < 3
    assert (
        epoch_labels(night(1.0, 100.0), epoch_s=0.1, annotations=[spans])[0].tolist() == ["a"] * 3 + [None] + ["a"] * 6
    )


@pytest.mark.parametrize(("sfreq", "epoch_s"), [(10.0, 0.33), (256.03, 0.25), (12.5, 0.1), (100.0, 2.0)])
def test_epochs_start_on_time_and_end_within_the_recording(sfreq, epoch_s):
    clock = Clock(0, night(20.0, sfreq).cases[0])
    starts, stops = epoch_spans(clock, epoch_s)
    assert np.abs(starts / sfreq - np.arange(len(starts)) * epoch_s).max() < 0.51 / sfreq
    assert set(stops - starts) == {max(1, round(epoch_s * sfreq))}
    assert stops[-1] <= clock.case.length < stops[-1] + 2 * epoch_s * sfreq
    around = epoch_spans(clock, epoch_s, 1.0, 2.0)
    assert ((starts - around[0]) == round(sfreq)).all()
    assert ((around[1] - stops) == round(2 * sfreq)).all()


def test_epochs_of_irregular_times_contain_the_samples_of_their_seconds():
    times = np.array([5.0, 5.5, 5.9, 7.0, 9.5, 9.9])
    clock = Clock(0, Signal(np.arange(6.0), times=times))
    starts, stops = epoch_spans(clock, 1.0)
    assert list(zip(starts, stops, strict=True)) == [(0, 3), (3, 3), (3, 4), (4, 4), (4, 6)]
    starts, stops = epoch_spans(clock, 1.0, 1.0, 0.0)
    assert list(zip(starts, stops, strict=True)) == [(0, 3), (0, 3), (3, 4), (3, 4), (4, 6)]


@pytest.mark.parametrize("start", [0.0, 12345.6, 1.7e9])
@pytest.mark.parametrize("epoch_s", [0.03, 0.1, 0.7])
def test_epochs_of_regular_times_equal_those_of_their_rate(epoch_s, start):
    data, times = np.arange(630.0), start + np.arange(630) * 0.01
    spans = [epoch_spans(Clock(0, case), epoch_s) for case in (Signal(data, sfreq=100.0), Signal(data, times=times))]
    np.testing.assert_array_equal(*spans)
    assert len(spans[0][0]) == round(6.3 / epoch_s)


@pytest.mark.parametrize("start", [0.0, 12345.6, 1.7e9])
def test_events_of_regular_times_are_cut_as_with_a_rate(start):
    marks, found = tuple(Annotation(0.05 * k, 0.0, str(k)) for k in range(200)), []
    for clock in ({"sfreq": 100.0}, {"times": start + np.arange(1000) * 0.01}):
        recording = Signals([Signal(np.arange(1000.0), annotations=marks, **clock)])
        with pytest.warns(UserWarning, match="recording 0: 9 of 200 events reach outside"):
            epochs, y, _ = epochs_from_events(recording, tmin=-0.13, tmax=0.3)
        assert y.tolist() == [str(k) for k in range(3, 194)]
        found.append([epoch.data.tolist() for epoch in epochs])
    assert found[0] == found[1]


@pytest.mark.parametrize(("duration_s", "step_s"), [(2.5, 1.0), (1.0, 2.5), (0.7, 0.7)])
def test_no_window_is_lost_next_to_gaps(rng, duration_s, step_s):
    times = np.delete(np.arange(0, 60, 0.1), np.r_[40:90, 200:201, 300:420])
    cut, _, _ = windows(Signals([times], times=[times]), duration_s=duration_s, step_s=step_s)
    starts = step_s * np.arange(int((60 - duration_s) / step_s + 1e-9) + 1)
    inside = (times[(times >= start - 1e-9) & (times < start + duration_s - 1e-9)] for start in starts)
    for case, expected in zip(cut, (values for values in inside if len(values)), strict=True):
        np.testing.assert_array_equal(case.data[0], expected)


def test_all_windows_have_one_length_if_they_start_between_samples():
    cut, _, _ = windows(Signals([np.arange(640.0)], sfreq=64), duration_s=0.5077, step_s=0.0131)
    assert set(cut.lengths) == {round(0.5077 * 64)}


@pytest.mark.parametrize("clock", [{"sfreq": 100.0}, {"times": np.arange(1000) * 0.01}])
def test_an_epoch_reaches_at_most_half_a_sample_outside_the_recording(clock):
    at_s = {"before": 0.043, "first": 0.047, "last": 9.943, "after": 9.947}
    marks = tuple(Annotation(onset_s, 0.0, name) for name, onset_s in at_s.items())
    with pytest.warns(UserWarning, match="recording 0: 2 of 4 events reach outside"):
        y = epochs_from_events(Signals([Signal(np.zeros(1000), annotations=marks, **clock)]), tmin=-0.05, tmax=0.05)[1]
    assert y.tolist() == ["first", "last"]


def test_epochs_of_events_between_samples_have_one_length(rng):
    marks = tuple(Annotation(onset, 0.0, "a") for onset in rng.uniform(1, 8, 50))
    epochs, _, _ = epochs_from_events(night(10.0, annotations=marks), tmin=-0.13, tmax=0.58)
    assert set(epochs.lengths) == {8}


def test_sample_numbers_of_irregular_times_are_those_of_the_samples():
    times = np.r_[np.arange(10.0), np.arange(15.0, 25)]  # five are missing
    recording = Signals([np.arange(20.0)], times=[times], sfreq=1)
    with pytest.warns(UserWarning, match="recording 0: 2 of 3 events reach outside"):
        epochs, _, _ = epochs_from_events(recording, events=np.array([[12, 0, 1], [-2, 0, 1], [21, 0, 1]]), tmax=1)
    assert epochs[0].data.tolist() == [[12, 13]]
    part = Signals([recording[0].crop(5, 20)])
    assert epochs_from_events(part, events=np.array([[12, 0, 1]]), tmax=1)[0][0].data.tolist() == [[12, 13]]


def test_a_few_samples_years_from_the_others_are_reported_as_a_wrong_clock():
    year, hour = 365 * 86400.0, np.arange(60.0)
    for times in (np.r_[hour[:30], 3 * year + hour[30:]], 2 * year * hour):  # two sessions; one sample in two years
        warn_of_clocks([Signal(np.zeros(60), times=times)])
    with pytest.warns(UserWarning, match="case 0: times jump by 3.0 years after sample 0"):
        warn_of_clocks([Signal(np.zeros(60), times=np.r_[0.0, 3 * year + hour[1:]])])


def test_a_jump_of_the_times_is_reported_without_allocating_memory():
    times = np.concatenate([[0.0], 1.7e9 + np.arange(200)])
    message = r"recording 0 has 8\.5e\+08 epochs of 2 s for 201 observed: times jump by 1\.7e\+09 s after sample 0"
    with pytest.raises(RecordingError, match=message):
        epoch_labels(Signals([np.zeros(201)], times=[times]), epoch_s=2.0, annotations=[[(0, 2, "W")]])


def test_annotations_may_be_endless_but_need_a_valid_time():
    recording = Signals([np.zeros(50)], sfreq=10.0)
    assert epoch_labels(recording, epoch_s=1.0, annotations=[[(2, np.inf, "W")]])[0].tolist() == [None] * 2 + ["W"] * 3
    for mark in ((np.nan, 1, "W"), (np.inf, 1, "W"), (0, -1, "W"), (0, np.nan, "W")):
        with pytest.raises(ValueError, match=r"Annotation\(onset_s=.* has an invalid time. Pass onset and duration"):
            epoch_labels(recording, epoch_s=1.0, annotations=[[mark]])


def test_recordings_are_mirrored_beyond_their_ends():
    case = Signal([[1.0, 2.0, 3.0]], sfreq=1.0, first_sample=10)
    around = cut_epoch(case, -2, 4)
    assert around.data.tolist() == [[2, 1, 1, 2, 3, 3]]
    assert (around.first_sample, around.length) == (8, 6)
    assert cut_epoch(case, 1, 3).data.base is not None  # a view


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"annotations": [HYPNOGRAM] * 2}, "annotations must hold one list or file for each of 1 recordings, got 2"),
        ({"annotations": "night.edf"}, "for each of 1 recordings, got 'night.edf'"),
        ({"annotations": [[(0, 30)]]}, r"an annotation must be \(onset, duration, label\), got \(0, 30\)"),
        ({"annotations": [HYPNOGRAM], "labels": ["REM"]}, r"no annotation of labels=\['REM'\] covers more than half"),
        ({}, r"no annotation .* of 30 s. The recordings have: no annotations; pass annotations="),
        ({"annotations": [HYPNOGRAM], "epoch_s": 0}, "epoch_s=0 must be a positive number of seconds"),
        ({"annotations": [HYPNOGRAM], "epoch_s": 1e-4}, "recording 0 has one sample per .* longer than epoch_s=0.0001"),
        ({"annotations": [HYPNOGRAM], "epoch_s": 301}, "recording 0 lasts 300.00 s, less than an epoch of epoch_s=301"),
    ],
)
def test_input_without_labels_is_refused(given, message):
    with pytest.raises((RecordingError, ShapeError, ValueError), match=message):
        epoch_labels(night(), **given)


def test_files_without_annotations_are_refused(tmp_path):
    pytest.importorskip("mne")
    with pytest.raises(RecordingError, match=r"gone\.edf does not exist"):
        epoch_labels(night(), annotations=[tmp_path / "gone.edf"])
    (tmp_path / "noise.edf").write_bytes(bytes(range(256)) * 4)
    with pytest.raises(RecordingError, match=r"noise\.edf has no annotations. Pass \[\]"):
        epoch_labels(night(), annotations=[tmp_path / "noise.edf"])
    (tmp_path / "notes.txt").write_text("nobody slept")
    with pytest.raises(RecordingError, match=r"notes\.txt cannot be read as annotations"):
        epoch_labels(night(), annotations=[tmp_path / "notes.txt"])
    with pytest.raises(RecordingError, match="recording 0 has no known rate"):
        epoch_labels([np.zeros((1, 100))], annotations=[HYPNOGRAM])


def test_missing_mne_names_the_extra_for_annotations_and_events(monkeypatch, tmp_path):
    (tmp_path / "night-eve.fif").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "mne", None)
    with pytest.raises(MissingDependencyError, match=r"s4signal\[eeg\]"):
        epoch_labels(night(), annotations=[tmp_path / "night-eve.fif"])
    with pytest.raises(MissingDependencyError, match=r"s4signal\[eeg\]"):
        epochs_from_events(night(), events=tmp_path / "night-eve.fif", tmax=1)


def test_a_recording_of_which_nothing_is_used_is_reported():
    names = ("left", "Comment/left", "right")
    cases = [Signal(np.zeros((1, 900)), sfreq=100, annotations=(Annotation(2, 3, name),)) for name in names]
    both = Signals([replace(case, source=f"{i}.vhdr") for i, case in enumerate(cases)])
    cuts = {"tmax": 1, "event_id": ["left"]}, {"duration_s": 1, "labels": ["left"]}, {"epoch_s": 1, "labels": ["left"]}
    for cut, options in zip((epochs_from_events, windows, epoch_labels), cuts, strict=True):
        with pytest.warns(
            UserWarning, match=r"nothing is used of 2 of 3 recordings; the first, 1.vhdr, has Comment/left\."
        ):
            cut(both, **options)
    assert all(epoch_labels(both, epoch_s=1, labels=["left"], otherwise="none")[1] == "none")  # without a warning
    given = [[(2, 3, "left")], [(2, 3, "up")], [(2, 3, "left")]]
    with pytest.warns(UserWarning, match=r"nothing is used of 1 of 3 recordings; the first, 1.vhdr, has up\."):
        epoch_labels(both, epoch_s=1, labels=["left"], annotations=given)
