"""Cut recordings into cases, each with the group that keeps cross-validation free of leakage."""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt

from s4signal.errors import RecordingError, ShapeError
from s4signal.signals.case import Signal
from s4signal.signals.checks import check_positive
from s4signal.signals.clock import Clock
from s4signal.signals.collection import Signals
from s4signal.signals.eeg import read_mne_events
from s4signal.signals.epochs import is_bad, labelled, named_labels
from s4signal.signals.lazy import Case, with_metadata
from s4signal.signals.mne_objects import fingerprint


def windows(
    signals: Any,
    *,
    duration_s: float,
    step_s: float | None = None,
    y: Any = None,
    groups: Any = None,
    start_s: float = 0.0,
    stop_s: float | None = None,
    labels: Mapping[str, Any] | Sequence[str] | None = None,
    reject_by_annotation: bool = True,
) -> tuple[Signals, npt.NDArray[Any] | None, npt.NDArray[Any]]:
    """Cut every recording into windows of one length: by their times where recordings have them.

    Parameters
    ----------
    signals : Signals or what Signals takes
        One case per recording.
    duration_s : float, positive
        Length of a window [s].
    step_s : float, positive, optional
        From the start of a window to the start of the next [s]; `duration_s` if missing, so that none overlap.
    y : array-like of shape (n_recordings,), optional
        The target of each recording, handed on to its windows.
    groups : array-like of shape (n_recordings,), optional
        What must not be split, such as the subject; if missing, the subject that a recording knows, else the recording.
        Trials of one `mne.Epochs` are of one recording.
    start_s, stop_s : float, optional
        Cut between these times [s] after the first sample; negative counts from the end.
    labels : mapping of description to label, or list of descriptions, optional
        Take the target of each window from the annotation that covers more than half of it: several descriptions may
        have one label, such as two stages of sleep that are one. Windows that none covers are left out.
    reject_by_annotation : bool
        Whether to leave out windows into which a span reaches whose annotation begins with "bad", as MNE does.

    Returns
    -------
    windows : Signals
        Views, or parts of files that are not yet read; times stay as they are, and a window in which no sample was
        taken is left out.
    y : ndarray of shape (n_windows,) or None
        The targets, or the labels.
    groups : ndarray of shape (n_windows,)
        Pass them to ``GroupKFold``.

    Raises
    ------
    RecordingError
        If a recording is shorter than `duration_s`, its rate is unknown, or no annotation gives a label.
    ShapeError
        If `y` or `groups` has another length.
    ValueError
        If `duration_s` or `step_s` is not positive, or `y` and `labels` are given together.

    Examples
    --------
    >>> recordings = Signals(np.zeros((2, 1, 1000)), sfreq=100)
    >>> cut, y, groups = windows(recordings, duration_s=2, step_s=1, y=["rest", "task"])
    >>> cut
    Signals: 18 cases × 1 channel, 200 samples, 100 Hz (2 s)
    >>> y[8:10], groups[8:10]
    (array(['rest', 'task'], dtype='<U4'), array([0, 1]))

    A label per window, from annotations:

    >>> from s4signal.signals import Annotation, Signal
    >>> stages = (Annotation(0, 60, "Sleep stage 3"), Annotation(60, 30, "Sleep stage 4"), Annotation(90, 30, "W"))
    >>> night = Signals([Signal(np.zeros((1, 12000)), sfreq=100, annotations=stages)])
    >>> windows(night, duration_s=30, labels={"Sleep stage 3": "N3", "Sleep stage 4": "N3", "W": "W"})[1]
    array(['N3', 'N3', 'N3', 'W'], dtype='<U2')
    """
    if y is not None and labels is not None:
        raise ValueError("y= and labels= both give targets; pass one of them.")
    step_s = duration_s if step_s is None else step_s
    for name, value in (("duration_s", duration_s), ("step_s", step_s)):
        check_positive(name, value)
    recordings = Signals(signals)
    cases: list[Case] = []
    origin: list[int] = []
    for i, recording in enumerate(recordings.cases):
        clock = Clock(i, recognised(i, recording))
        pieces = [clock.case.crop(a, b) for a, b in _edges(clock, duration_s, step_s, start_s, stop_s)]
        pieces = [piece for piece in pieces if not (reject_by_annotation and is_bad(piece, duration_s))]
        cases += pieces
        origin += [i] * len(pieces)
    if not cases and len(recordings):
        raise RecordingError("every window is marked as bad. Pass reject_by_annotation=False to keep such windows.")
    targets = None if y is None else _one_a_recording(y, "y", len(recordings))[origin]
    if labels is not None:
        kept, targets = labelled(cases, labels, duration_s)
        cases, origin = [cases[k] for k in kept], [origin[k] for k in kept]
    return Signals.from_cases(cases), targets, _groups(recordings, groups)[origin]


def epochs_from_events(
    signals: Any,
    *,
    events: Any = None,
    event_id: Mapping[str, int | str] | Sequence[str] | None = None,
    tmin: float = 0.0,
    tmax: float,
    groups: Any = None,
    reject_by_annotation: bool = True,
) -> tuple[Signals, npt.NDArray[np.str_], npt.NDArray[Any]]:
    """Cut a stretch around every event.

    Parameters
    ----------
    signals : Signals or what Signals takes
        One case per recording, such as `read_eeg` gives.
    events : array of shape (n_events, 3), path, or list of them, optional
        One per recording: an MNE events array, or the ``-eve.fif`` file of one; samples count as in the recording,
        whatever rate it was brought to since. The annotations (and stimulus channels) of the recordings if missing.
    event_id : mapping of name to code or description, or list of descriptions, optional
        Which events to take and how to name them; every one if missing, except what starts with "bad" or "edge".
    tmin, tmax : float
        From `tmin` to `tmax` [s] after the event, both included, as in MNE: ``tmax=1`` at 100 Hz gives 101 samples.
    groups, reject_by_annotation : as `windows` takes them
        Whose the recordings are, and whether epochs in bad spans are left out.

    Returns
    -------
    epochs : Signals
        Views, or parts of files that are not yet read.
    y : ndarray of shape (n_epochs,)
        The names of the events.
    groups : ndarray of shape (n_epochs,)
        Pass them to ``GroupKFold``.

    Raises
    ------
    RecordingError
        If no event is found, none has the stretch inside its recording and free of bad spans, a rate is unknown, or
        `events` count samples that the recording no longer has.
    ShapeError
        If `events` or `groups` has another length.
    ValueError
        If `tmax` is less than `tmin`.

    Warns
    -----
    UserWarning
        If the stretch of an event reaches outside its recording, or holds no sample: the event is left out.

    See Also
    --------
    epoch_labels : Labels every epoch within annotations that last, such as stages of sleep.

    Examples
    --------
    >>> recording = Signals(np.zeros((1, 2, 1000)), sfreq=100)
    >>> events = np.array([[200, 0, 1], [500, 0, 2]])
    >>> epochs, y, groups = epochs_from_events(recording, events=events, event_id={"left": 1, "right": 2}, tmax=3)
    >>> epochs, y
    (Signals: 2 cases × 2 channels, 301 samples, 100 Hz (3.01 s), array(['left', 'right'], dtype='<U5'))
    """
    if not tmax >= tmin:
        raise ValueError(f"tmax={tmax} must not be less than tmin={tmin}.")
    recordings = Signals(signals)
    given = [None] * len(recordings) if events is None else _event_lists(events, len(recordings))
    cases: list[Case] = []
    names: list[str] = []
    origin: list[int] = []
    for i, recording in enumerate(recordings.cases):
        clock = Clock(i, recognised(i, recording))
        found = _named(_marks(clock, given[i]), event_id)
        spans = [(clock.around(onset_s, tmin, tmax), name) for onset_s, name in found]
        inside = [(span, name) for span, name in spans if span is not None]
        if len(inside) < len(found):
            said = f"{len(found) - len(inside)} of {len(found)} events reach outside the recording and are left out."
            warnings.warn(f"{clock.name}: {said}", stacklevel=2)
        for span, name in inside:
            piece = with_metadata(clock.case.crop(*span), event=name, tmin=tmin)
            if not (reject_by_annotation and is_bad(piece, tmax - tmin)):
                cases.append(piece)
                names.append(name)
                origin.append(i)
    if not cases:
        raise RecordingError(_nothing_found(recordings, event_id, events is None))
    return Signals.from_cases(cases), np.array(names), _groups(recordings, groups)[origin]


def _edges(
    clock: Clock, duration_s: float, step_s: float, start_s: float, stop_s: float | None
) -> Iterator[tuple[int, int]]:
    total_s = clock.total_s
    first = max(0.0, start_s + total_s * (start_s < 0))
    last = total_s if stop_s is None else min(total_s, stop_s + total_s * (stop_s < 0))
    spare_s = last - first - duration_s + clock.slack_s
    if spare_s < 0:
        where = "" if (first, last) == (0.0, total_s) else f" between start_s={start_s} and stop_s={stop_s}"
        raise RecordingError(
            f"{clock.name} lasts {max(0.0, last - first):.2f} s{where}, less than duration_s={duration_s:.2f}. "
            "Lower duration_s or leave this recording out."
        )
    for k in clock.windows(first, step_s, duration_s, int(spare_s / step_s + 1e-9) + 1):
        span = clock.span(first + step_s * k, duration_s)
        if span is not None:
            yield span


def recognised(i: int, case: Case) -> Case:
    """Name a recording in memory, so that its parts are known for parts of one."""
    if case.source or "recording" in case.metadata or not isinstance(case, Signal):
        return case
    return with_metadata(case, recording=f"recording {i} [{fingerprint(case.data)}]")


def _marks(clock: Clock, events: npt.NDArray[np.int64] | None) -> list[tuple[float, str]]:
    """Return instant [s] and description of every event of a recording, its annotations if none are given."""
    if events is None:
        return [(mark.onset_s, mark.description) for mark in clock.case.annotations]
    return [(clock.event_s(int(sample)), str(code)) for sample, _, code in events]


def _named(marks: Iterable[tuple[float, str]], event_id: Any) -> list[tuple[float, str]]:
    """Choose events and name them by `event_id`; without it take all but those that mark a fault."""
    if event_id is None:
        return [(at, what) for at, what in marks if not what.lower().startswith(("bad", "edge"))]
    names = {str(code): str(name) for name, code in named_labels(event_id).items()}
    return [(at, names[what]) for at, what in marks if what in names]


def _event_lists(events: Any, n: int) -> list[npt.NDArray[np.int64]]:
    single = isinstance(events, str | PathLike) or (not isinstance(events, list) and np.ndim(events) == 2)
    items = [events] if single else list(events)
    if len(items) != n:
        raise ShapeError(f"events must hold one array or path for each of {n} recordings, got {len(items)}.")
    arrays = [np.asarray(read_mne_events(item) if isinstance(item, str | PathLike) else item) for item in items]
    for array in arrays:
        if array.ndim != 2 or array.shape[1] != 3:
            raise ShapeError(f"events must have shape (n_events, 3): sample, 0, code; got {array.shape}.")
    return [array.astype(np.int64) for array in arrays]


def _groups(recordings: Signals, groups: Any) -> npt.NDArray[Any]:
    if groups is not None:
        return _one_a_recording(groups, "groups", len(recordings))
    known = [case.source or {"subject", "recording"} & set(case.metadata) for case in recordings.cases]
    return recordings.groups if all(known) else np.arange(len(recordings))


def _one_a_recording(values: Any, name: str, n: int) -> npt.NDArray[Any]:
    array = np.asarray(values)
    if array.ndim == 0 or len(array) != n:
        raise ShapeError(f"{name} must hold one value for each of {n} recordings, got shape {array.shape}.")
    return array


def _nothing_found(recordings: Signals, event_id: Any, annotated: bool) -> str:
    if not annotated:
        return f"no event has a code of event_id={event_id} and lies inside its recording. Look at the events array."
    there = sorted({mark.description for case in recordings.cases for mark in case.annotations})
    return (
        f"no annotation matches event_id={event_id} and lies inside its recording. "
        f"The recordings hold: {', '.join(there[:20]) or 'no annotations; pass events='}."
    )
