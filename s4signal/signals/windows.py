"""Cut recordings into windows or epochs, with the groups that cross-validation needs to avoid leakage."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt

from s4signal.errors import RecordingError, ShapeError
from s4signal.signals.case import Annotation, Signal
from s4signal.signals.checks import check_positive
from s4signal.signals.clock import Clock
from s4signal.signals.collection import Signals
from s4signal.signals.eeg import read_mne_events
from s4signal.signals.epochs import descriptions, is_bad, labelled, named_labels, warn_of_unused
from s4signal.signals.lazy import Case, with_metadata
from s4signal.signals.mne_objects import fingerprint
from s4signal.signals.summary import one_group_each


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
    """Cut every recording into windows of equal duration, by times if the recording has them.

    Parameters
    ----------
    signals : Signals, or any input of Signals
        One case per recording.
    duration_s : float, positive
        Duration of a window [s].
    step_s : float, positive, optional
        Time between the starts of successive windows [s]; by default `duration_s`, without overlap.
    y : array-like of shape (n_recordings,), optional
        The target of each recording, which all its windows get.
    groups : array-like of shape (n_recordings,), optional
        The group of each recording, such as the subject; by default the subject in its metadata, else the recording.
        Trials of one `mne.Epochs` belong to one recording.
    start_s, stop_s : float, optional
        Range to cut, in seconds after the first sample; negative values count from the end.
    labels : mapping of description to label, or list of descriptions, optional
        Take the target of each window from the annotation that covers more than half of it. Several descriptions can
        share a label, for example to merge two sleep stages. Windows without such an annotation are left out.
    reject_by_annotation : bool
        Whether to leave out windows that overlap an annotation whose description begins with "bad", as MNE does.

    Returns
    -------
    windows : Signals
        Views, or segments of files that are read on access, with unchanged times. A window without samples is left
        out; a warning names a recording of which no window is left.
    y : ndarray of shape (n_windows,) or None
        The targets of the windows.
    groups : ndarray of shape (n_windows,)
        Groups for a splitter such as ``GroupKFold``.

    Raises
    ------
    RecordingError
        If a recording is shorter than `duration_s`, its rate is unknown, or no window gets a label.
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
    cases, origin = list[Case](), list[int]()
    for i, recording in enumerate(recordings.cases):
        clock = Clock(i, recognised(i, recording))
        parts = [clock.case.crop(a, b) for a, b in _edges(clock, duration_s, step_s, start_s, stop_s)]
        parts = [part for part in parts if not (reject_by_annotation and is_bad(part, duration_s))]
        cases += parts
        origin += [i] * len(parts)
    if not cases and len(recordings):
        raise RecordingError("every window is marked as bad. Pass reject_by_annotation=False to keep bad windows.")
    if y is not None and np.shape(y)[:1] != (len(recordings),):
        raise ShapeError(f"y must hold one value for each of {len(recordings)} recordings, got shape {np.shape(y)}.")
    targets = None if y is None else np.asarray(y)[origin]
    if labels is not None:
        kept, targets = labelled(cases, labels, duration_s)
        cases, origin = [cases[k] for k in kept], [origin[k] for k in kept]
    warn_of_unused(recordings.cases, origin, None)
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
    """Cut an epoch around every event.

    Parameters
    ----------
    signals : Signals, or any input of Signals
        One case per recording, for example from `read_eeg`.
    events : array of shape (n_events, 3), path, or list of them, optional
        One per recording: an MNE events array or an ``-eve.fif`` file. Sample numbers are those of the original
        recording, even after resampling. By default the annotations (and stimulus channels) of the recordings.
    event_id : mapping of name to code or description, or list of descriptions, optional
        The events to use and their names; by default all, except descriptions that start with "bad" or "edge".
    tmin, tmax : float
        Start and end of the epoch after the event [s], both included as in MNE: 0 to 1 s at 100 Hz has 101 samples.
    groups, reject_by_annotation : as in `windows`
        The group of each recording, and whether to leave out epochs that overlap bad spans.

    Returns
    -------
    epochs : Signals
        Views, or segments of files that are read on access.
    y : ndarray of shape (n_epochs,)
        The names of the events.
    groups : ndarray of shape (n_epochs,)
        Groups for a splitter such as ``GroupKFold``.

    Raises
    ------
    RecordingError
        If no event is found, no epoch lies inside its recording and outside bad spans, a rate is unknown, or the
        sample numbers of `events` are no longer valid for the recording.
    ShapeError
        If `events` or `groups` has another length.
    ValueError
        If `tmax` is less than `tmin`.

    Warns
    -----
    UserWarning
        If an epoch reaches outside its recording or has no samples; it is left out. If no epoch of a recording is left.

    See Also
    --------
    epoch_labels : Label epochs by annotations with a duration, such as sleep stages.

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
    event_arrays = [None] * len(recordings) if events is None else _event_lists(events, len(recordings))
    cases, names, origin = list[Case](), list[str](), list[int]()
    for i, recording in enumerate(recordings.cases):
        clock = Clock(i, recognised(i, recording))
        found = _named(clock, event_arrays[i], event_id)
        spans = [(clock.around(onset_s, tmin, tmax), name) for onset_s, name in found]
        inside = [(span, name) for span, name in spans if span is not None]
        if len(inside) < len(found):
            text = f"{len(found) - len(inside)} of {len(found)} events reach outside the recording and are left out."
            warnings.warn(f"{clock.name}: {text}", stacklevel=2)
        for span, name in inside:
            epoch = with_metadata(clock.case.crop(*span), event=name, tmin=tmin)
            if not (reject_by_annotation and is_bad(epoch, tmax - tmin + 2 * clock.slack_s)):
                cases.append(epoch)
                names.append(name)
                origin.append(i)
    if not cases:
        if events is not None:
            raise RecordingError(
                f"no event with a code of event_id={event_id} lies inside its recording. Check the events array."
            )
        have = descriptions(case.annotations for case in recordings.cases) + "; pass events= for others"
        text = f"no annotation that matches event_id={event_id} lies inside its recording"
        raise RecordingError(f"{text}. The recordings have: {have}.")
    warn_of_unused(recordings.cases, origin, None)
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
    for k in clock.windows(first, step_s, duration_s, int(spare_s / step_s) + 1):
        if (span := clock.span(first + step_s * k, duration_s)) is not None:
            yield span


def recognised(i: int, case: Case) -> Case:
    """Give a recording in memory a name, so that its windows share a group."""
    if case.source or "recording" in case.metadata or not isinstance(case, Signal):
        return case
    return with_metadata(case, recording=f"recording {i} [{fingerprint(case.data)}]")


def _named(clock: Clock, events: npt.NDArray[np.int64] | None, event_id: Any) -> list[tuple[float, str]]:
    """Return time [s] and name of the events of a recording that `event_id` selects; annotations if there are none."""
    marks: Sequence[Annotation] = clock.case.annotations
    if events is not None:
        marks = [Annotation(clock.event_s(int(sample)), 0.0, str(code)) for sample, _, code in events]
    names = {str(code): str(name) for name, code in named_labels(event_id, marks).items()}
    return [(mark.onset_s, names[mark.description]) for mark in marks if mark.description in names]


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
        return one_group_each(groups, len(recordings), "recording")
    identified = [case.source or {"subject", "recording"} & set(case.metadata) for case in recordings.cases]
    return recordings.groups if all(identified) else np.arange(len(recordings))
