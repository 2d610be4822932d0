"""Epochs of long recordings: consecutive segments of equal duration, their context, their labels."""

import warnings
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
_MOST = 100  # largest ratio of an epoch or its context to the recording


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

    A long annotation labels all epochs within it, as needed for hypnograms with merged stages.

    Parameters
    ----------
    signals : Signals, or any input of Signals
        One case per recording.
    epoch_s : float, positive
        Duration of an epoch [s]. The first starts with the recording; an incomplete epoch at the end is ignored.
    labels : mapping of description to label, or list of descriptions, optional
        The annotations to use and their labels; several descriptions can share a label. By default every description
        is a label, except those that start with "bad" or "edge".
    annotations : list, optional
        For each recording a file that `mne.read_annotations` reads, such as an EDF+ hypnogram, `mne.Annotations`, or a
        list of (onset, duration, label) or `Annotation`, in seconds after the first sample of the recording. By default
        the annotations of the recordings.
    otherwise : object, optional
        The label of epochs without one, such as "background" for epochs outside seizures; None, the default, leaves
        them unlabelled.
    reject_by_annotation : bool
        Whether epochs that overlap an annotation whose description begins with "bad" get no label.

    Returns
    -------
    ndarray of shape (n_recordings,)
        An array of (n_epochs,) labels for each recording, None where unlabelled: the ``y`` of
        `s4signal.estimators.S4Segmenter`. A warning names a recording without any label.

    Raises
    ------
    RecordingError
        If the rate of a recording is unknown, it is shorter than an epoch, a file cannot be read, or no epoch gets a
        label.
    ShapeError
        If `annotations` does not have one entry per recording.
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
    found, used = np.empty(len(cases), dtype=object), list[int]()
    for i, case in enumerate(cases):
        n = len(epoch_spans(Clock(i, case), epoch_s)[0])
        found[i], covered, bad = labels_of(marks[i], named_labels(labels, marks[i]), n, epoch_s)
        used += [i] * bool(covered.any())
        found[i][~covered] = otherwise
        found[i][bad & reject_by_annotation] = None
    if not used:
        raise RecordingError(
            f"no annotation of labels={labels if labels is None else list(labels)} covers more than half of an epoch "
            f"of {epoch_s:g} s. The recordings have: {descriptions(marks)}; pass annotations= for others."
        )
    if otherwise is None:
        warn_of_unused(cases, used, marks)
    return found


def epoch_spans(clock: Clock, epoch_s: float, before_s: float = 0.0, after_s: float = 0.0) -> tuple[Samples, Samples]:
    """Return the first sample and the end of every epoch with its context, (n_epochs,) each.

    At a fixed rate they can reach outside the recording, see `cut_epoch`; with times, an epoch can have no samples.
    """
    if max(epoch_s, before_s, after_s) > _MOST * clock.total_s:
        raise RecordingError(
            f"{clock.name} lasts {clock.total_s:.2f} s, too short for epochs of {epoch_s:g} s with {before_s:g} s "
            f"before and {after_s:g} s after them. Lower epoch_s and context_s, which are in seconds."
        )
    if clock.times is None:
        rate = clock.case.sfreq or 1.0
        before, length, after = round(before_s * rate), epoch_samples(epoch_s, rate, clock.name), round(after_s * rate)
        first = np.rint(np.arange(clock.total_s / epoch_s) * epoch_s * rate).astype(np.int64)
        first = first[first + length <= clock.case.length]
        starts, stops = first - before, first + length + after
    else:
        n_epochs = clock.total_s / epoch_s
        check_clock(clock.times, n_epochs, f"{clock.name} has {n_epochs:.3g} epochs of {epoch_s:g} s")
        onsets = np.arange(int((clock.total_s + clock.slack_s) / epoch_s)) * epoch_s - clock.rounding_s
        starts, stops = (np.searchsorted(clock.times, onsets + s) for s in (-before_s, epoch_s + after_s))
    if not len(starts):
        raise RecordingError(
            f"{clock.name} lasts {clock.total_s:.2f} s, less than an epoch of epoch_s={epoch_s:g}. Lower epoch_s or "
            "leave this recording out."
        )
    return starts, stops


def epoch_samples(epoch_s: float, rate: float, name: str) -> int:
    """Return the rounded number of samples of an epoch; RecordingError if it is 0."""
    if round(epoch_s * rate) < 1:
        raise RecordingError(
            f"{name} has one sample per {1 / rate:g} s, longer than epoch_s={epoch_s:g}. Raise epoch_s, or check "
            "the sampling rate."
        )
    return round(epoch_s * rate)


def cut_epoch(case: Case, start: int, stop: int) -> Case:
    """Return a segment, which can reach outside the recording; samples outside are mirrored from inside."""
    first, end = max(0, start), min(case.length, stop)
    part = case.crop(first, end)
    if (first, end) == (start, stop):
        return part
    return transformed(part, partial(_mirrored, before=first - start, after=stop - end), length=stop - start)


def _mirrored(signal: Signal, before: int, after: int) -> Signal:
    data = np.pad(signal.data, ((0, 0), (before, after)), mode="symmetric")
    return part_of(signal, data=data, first_sample=signal.first_sample - before)


def _marks(given: Any) -> Sequence[Annotation]:
    """Convert the annotations of one recording, in any supported form."""
    if isinstance(given, str | PathLike):
        name = given
        check_file(name)
        mne = optional("mne", "Reading annotations", "eeg")
        try:
            given = mne.read_annotations(given)
        except Exception as error:
            raise RecordingError(f"{name} cannot be read as annotations ({error}).") from error
        if not len(given):
            raise RecordingError(f"{name} has no annotations. Pass [] for a recording without annotations.")
    if hasattr(given, "onset") and hasattr(given, "description"):
        given = zip(given.onset.tolist(), given.duration.tolist(), given.description.tolist(), strict=True)
    rows = [(m.onset_s, m.duration_s, m.description) if isinstance(m, Annotation) else m for m in given]
    try:
        marks = [Annotation(float(onset), float(duration), str(label)) for onset, duration, label in rows]
    except (TypeError, ValueError):
        raise ShapeError(f"an annotation must be (onset, duration, label), got {repr(rows[:1])[1:-1][:60]}.") from None
    if invalid := [mark for mark in marks if not (np.isfinite(mark.onset_s) and mark.duration_s >= 0)]:
        raise ValueError(f"{invalid[0]} has an invalid time. Pass onset and duration in seconds, or leave it out.")
    return marks


def is_bad(window: Case, duration_s: float) -> bool:
    """Return whether a bad span or instant overlaps a window, whose annotations are relative to its start."""
    return bool(labels_of(window.annotations, {}, 1, duration_s)[2][0])


def labelled(
    windows: Sequence[Case], labels: Mapping[str, Any] | Iterable[str], duration_s: float
) -> tuple[list[int], npt.NDArray[Any]]:
    """Return the windows of which a label covers more than half, and the labels; RecordingError if there are none."""
    named = named_labels(labels)
    found = [labels_of(window.annotations, named, 1, duration_s) for window in windows]
    kept = [k for k, (_, covered, _) in enumerate(found) if covered[0]]
    if not kept:
        raise RecordingError(
            f"no annotation of labels={list(named)} covers more than half of a window of {duration_s:g} s. The windows "
            f"have: {descriptions(window.annotations for window in windows)}. For instants use epochs_from_events."
        )
    return kept, np.array([found[k][0][0] for k in kept])


def descriptions(marks: Iterable[Iterable[Annotation]]) -> str:
    """List the descriptions of the annotations of recordings."""
    return ", ".join(sorted({mark.description for of_case in marks for mark in of_case})[:20]) or "no annotations"


def warn_of_unused(cases: Sequence[Case], used: Iterable[int], marks: Sequence[Iterable[Annotation]] | None) -> None:
    """Warn of recordings without a window, epoch or label: formats can name the same event differently."""
    if unused := sorted({*range(len(cases))} - {*used}):
        first = cases[unused[0]]
        has = descriptions([marks[unused[0]] if marks else first.annotations])
        text = f"the first, {first.source or unused[0]}, has {has}."
        warnings.warn(f"nothing is used of {len(unused)} of {len(cases)} recordings; {text}", stacklevel=3)


def named_labels(
    labels: Mapping[str, Any] | Iterable[str] | None, marks: Iterable[Annotation] = ()
) -> Mapping[str, Any]:
    """Map descriptions to labels; by default all descriptions except "bad" and "edge"."""
    if isinstance(labels, Mapping):
        return labels
    if labels is None:
        labels = [m.description for m in marks if not m.description.lower().startswith(("bad", "edge"))]
    return {name: name for name in ([labels] if isinstance(labels, str) else labels)}


def labels_of(
    marks: Iterable[Annotation], named: Mapping[str, Any], n: int, window_s: float
) -> tuple[npt.NDArray[np.object_], Flags, Flags]:
    """Return the label that covers most of each of n windows, whether it covers over half, and which are bad.

    Windows are consecutive; annotations are relative to the start of the first.
    """
    choices = list(named.values())
    covered, bad = np.zeros((len(choices) + 1, n)), np.zeros(n, dtype=bool)  # plus a row for no label
    for mark in marks:
        first, end = (round(s / window_s, 9) for s in (mark.onset_s, mark.onset_s + mark.duration_s))
        inside = np.arange(max(0, int(first)), int(np.ceil(min(n, end))))
        if mark.description in named:
            share = np.minimum(end, inside + 1) - np.maximum(first, inside)
            covered[choices.index(named[mark.description]), inside] += share
        if mark.description.lower().startswith("bad"):
            bad[inside] = True  # instants too: MNE marks the boundary of concatenated recordings by one
    best = covered.argmax(0)
    return object_array([*choices, None])[best], covered[best, np.arange(n)] > 0.5, bad
