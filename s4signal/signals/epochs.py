"""Epochs of long recordings: stretches of one length that follow each other, what lies around them, their labels."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt

from s4signal.errors import RecordingError, ShapeError
from s4signal.signals.case import Annotation, Signal, part_of
from s4signal.signals.checks import check_clock, check_file, check_positive, object_array, optional
from s4signal.signals.clock import Clock
from s4signal.signals.collection import Signals
from s4signal.signals.lazy import Case, transformed

Samples = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
_MOST = 100  # times as long as a recording may its epochs and what lies around them be


def epoch_labels(
    signals: Any,
    *,
    epoch_s: float = 30.0,
    labels: Mapping[str, Any] | Sequence[str] | None = None,
    annotations: Sequence[Any] | None = None,
    otherwise: Any = None,
    reject_by_annotation: bool = True,
) -> npt.NDArray[np.object_]:
    """Label every epoch of long recordings by the annotation that covers more than half of it.

    An annotation of an hour labels all epochs within it, as hypnograms with merged stages need it.

    Parameters
    ----------
    signals : Signals or what Signals takes
        One case per recording.
    epoch_s : float, positive
        Length of an epoch [s]; the first begins with the recording, and what is left at its end is no epoch.
    labels : mapping of description to label, or list of descriptions, optional
        Which annotations count, and as what: several descriptions may have one label. Every one, under its own
        description, if missing, except what starts with "bad" or "edge".
    annotations : list, optional
        For each recording a file that `mne.read_annotations` reads, such as an EDF+ hypnogram, `mne.Annotations`, or a
        list of (onset, duration, label) or `Annotation`, in seconds after the first sample of the recording. By default
        what the recordings carry.
    otherwise : object, optional
        The label of epochs in which none holds, such as "background" beside seizures; None, which is no label, if
        missing.
    reject_by_annotation : bool
        Whether an epoch into which a span reaches whose annotation begins with "bad" has no label.

    Returns
    -------
    ndarray of shape (n_recordings,)
        An array of (n_epochs,) labels for each recording, None where no label holds: the ``y`` of
        `s4signal.estimators.S4Segmenter`.

    Raises
    ------
    RecordingError
        If the rate of a recording is unknown, it is shorter than an epoch, a file cannot be read, or no epoch gets a
        label.
    ShapeError
        If `annotations` are not one for each recording.
    ValueError
        If `epoch_s` is not positive.

    Examples
    --------
    >>> night = Signals(np.zeros((1, 2, 21000)), sfreq=100)
    >>> hypnogram = [(0, 90, "Sleep stage 2"), (90, 30, "Sleep stage 3"), (120, 60, "Sleep stage 4")]
    >>> names = {"Sleep stage 2": "N2", "Sleep stage 3": "N3", "Sleep stage 4": "N3"}
    >>> epoch_labels(night, labels=names, annotations=[hypnogram])[0].tolist()
    ['N2', 'N2', 'N2', 'N3', 'N3', 'N3', None]
    """
    check_positive("epoch_s", epoch_s)
    cases = Signals(signals).cases
    if annotations is not None and (isinstance(annotations, str | PathLike) or len(annotations) != len(cases)):
        got = repr(annotations)[:60] if isinstance(annotations, str | PathLike) else len(annotations)
        raise ShapeError(f"annotations must hold one list or file for each of {len(cases)} recordings, got {got}.")
    marks = [case.annotations if annotations is None else _marks(annotations[i]) for i, case in enumerate(cases)]
    found, n_labelled = np.empty(len(cases), dtype=object), 0
    for i, case in enumerate(cases):
        n = len(epoch_spans(Clock(i, case), epoch_s)[0])
        found[i], holds, bad = labels_of(marks[i], named_labels(labels, marks[i]), n, epoch_s)
        n_labelled += holds.sum()
        found[i][~holds] = otherwise
        found[i][bad & reject_by_annotation] = None
    if not n_labelled:
        there = sorted({mark.description for of_one in marks for mark in of_one})
        raise RecordingError(
            f"no annotation of labels={labels if labels is None else list(labels)} covers more than half of an epoch "
            f"of {epoch_s:g} s. The recordings hold: {', '.join(there[:20]) or 'no annotations; pass annotations='}."
        )
    return found


def epoch_spans(clock: Clock, epoch_s: float, before_s: float = 0.0, after_s: float = 0.0) -> tuple[Samples, Samples]:
    """Return first sample and end of every epoch with what lies around it, (n_epochs,) each.

    Those of a regular recording may lie outside of it, see `cut_epoch`; of one with times they may hold no sample.
    """
    if max(epoch_s, before_s, after_s) > _MOST * clock.total_s:
        raise RecordingError(
            f"{clock.name} lasts {clock.total_s:.2f} s, too short for epochs of {epoch_s:g} s with {before_s:g} s "
            f"before and {after_s:g} s after them. Lower epoch_s and context_s, which count seconds."
        )
    if clock.times is None:
        rate = clock.case.sfreq or 1.0
        before, length, after = round(before_s * rate), epoch_samples(epoch_s, rate, clock.name), round(after_s * rate)
        first = np.rint(np.arange(clock.total_s / epoch_s + 1) * epoch_s * rate).astype(np.int64)
        first = first[first + length <= clock.case.length]
        starts, stops = first - before, first + length + after
    else:
        n_epochs = clock.total_s / epoch_s
        check_clock(clock.times, n_epochs, f"{clock.name} has {n_epochs:.3g} epochs of {epoch_s:g} s")
        onsets = np.arange(int((clock.total_s + clock.slack_s) / epoch_s + 1e-9)) * epoch_s - 1e-6 * clock.slack_s
        starts, stops = (np.searchsorted(clock.times, onsets + s) for s in (-before_s, epoch_s + after_s))
    if not len(starts):
        raise RecordingError(
            f"{clock.name} lasts {clock.total_s:.2f} s, less than an epoch of epoch_s={epoch_s:g}. Lower epoch_s or "
            "leave this recording out."
        )
    return starts, stops


def epoch_samples(epoch_s: float, rate: float, name: str) -> int:
    """Count the samples of an epoch, to the nearest; refuse one that has none."""
    if round(epoch_s * rate) < 1:
        raise RecordingError(
            f"{name} has a sample each {1 / rate:g} s, an epoch of epoch_s={epoch_s:g} is shorter. Raise it, or look "
            "at the sampling rate."
        )
    return round(epoch_s * rate)


def cut_epoch(case: Case, start: int, stop: int) -> Case:
    """Cut out samples, of which some may lie outside the recording: there it goes on as its mirror image."""
    first, end = max(0, start), min(case.length, stop)
    part = case.crop(first, end)
    if (first, end) == (start, stop):
        return part
    return transformed(part, partial(_mirrored, before=first - start, after=stop - end), length=stop - start)


def _mirrored(signal: Signal, before: int, after: int) -> Signal:
    data = np.pad(signal.data, ((0, 0), (before, after)), mode="symmetric")
    return part_of(signal, data=data, first_sample=signal.first_sample - before)


def _marks(given: Any) -> Sequence[Annotation]:
    """Read the annotations of one recording in whatever form they came."""
    if isinstance(given, str | PathLike):
        name = given
        check_file(name)
        mne = optional("mne", "Reading annotations", "eeg")
        try:
            given = mne.read_annotations(given)
        except Exception as error:
            raise RecordingError(f"{name} cannot be read as annotations ({error}).") from error
        if not len(given):
            raise RecordingError(f"{name} holds no annotations; pass [] for a recording in which nothing was marked.")
    if hasattr(given, "onset") and hasattr(given, "description"):
        given = zip(given.onset.tolist(), given.duration.tolist(), given.description.tolist(), strict=True)
    rows = [(m.onset_s, m.duration_s, m.description) if isinstance(m, Annotation) else m for m in given]
    try:
        marks = [Annotation(float(onset), float(duration), str(label)) for onset, duration, label in rows]
    except (TypeError, ValueError):
        raise ShapeError(f"an annotation must be (onset, duration, label), got {repr(rows[:1])[1:-1][:60]}.") from None
    odd = [mark for mark in marks if not (np.isfinite(mark.onset_s) and mark.duration_s >= 0)]
    if odd:
        raise ValueError(f"{odd[0]} has no time; give onset and duration in seconds, or leave it out.")
    return marks


def is_bad(window: Case, duration_s: float) -> bool:
    """Whether a span that is marked as bad reaches into a window, which counts annotations from its start."""
    return any(
        mark.description.lower().startswith("bad") and mark.onset_s < duration_s and mark.onset_s + mark.duration_s > 0
        for mark in window.annotations
        if mark.duration_s > 0  # an instant is no span
    )


def labelled(
    windows: Sequence[Case], labels: Mapping[str, Any] | Iterable[str], duration_s: float
) -> tuple[list[int], npt.NDArray[Any]]:
    """Return the windows that a label covers by more than half, and their labels; RecordingError if there is none."""
    named = named_labels(labels)
    found = [labels_of(window.annotations, named, 1, duration_s) for window in windows]
    kept = [k for k, (_, holds, _) in enumerate(found) if holds[0]]
    if not kept:
        there = sorted({mark.description for window in windows for mark in window.annotations})
        raise RecordingError(
            f"no annotation of labels={list(named)} covers more than half of a window of {duration_s:g} s. The windows "
            f"hold: {', '.join(there[:20]) or 'no annotations'}. Marks without duration are cut by epochs_from_events."
        )
    return kept, np.array([found[k][0][0] for k in kept])


def named_labels(
    labels: Mapping[str, Any] | Iterable[str] | None, marks: Iterable[Annotation] = ()
) -> Mapping[str, Any]:
    """Return the label of each description that counts; if none are named, of all marks but those of a fault."""
    if isinstance(labels, Mapping):
        return labels
    if labels is None:
        labels = [m.description for m in marks if not m.description.lower().startswith(("bad", "edge"))]
    return {name: name for name in ([labels] if isinstance(labels, str) else labels)}


def labels_of(
    marks: Iterable[Annotation], named: Mapping[str, Any], n: int, window_s: float
) -> tuple[npt.NDArray[np.object_], Flags, Flags]:
    """Return the label that covers most of each of n windows, whether that is more than half, and which are bad.

    Windows follow each other, and marks count from the start of the first.
    """
    choices = list(dict.fromkeys(named.values()))
    covered = np.zeros((len(choices) + 2, n))  # a row of nothing, so that there is one; and the bad spans
    for mark in marks:
        first, end = mark.onset_s, mark.onset_s + mark.duration_s
        inside = np.arange(max(0, int(first // window_s)), int(np.ceil(min(n, end / window_s))))
        seconds = np.minimum(end, (inside + 1) * window_s) - np.maximum(first, inside * window_s)
        if mark.description in named:
            covered[choices.index(named[mark.description]), inside] += seconds
        if mark.description.lower().startswith("bad"):
            covered[-1, inside] += seconds
    best = covered[:-1].argmax(0)
    return object_array([*choices, None])[best], covered[best, np.arange(n)] > window_s / 2, covered[-1] > 0
