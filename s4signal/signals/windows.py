"""Cut recordings into cases, each with the group that keeps cross-validation free of leakage."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt

from s4signal.errors import RecordingError, ShapeError
from s4signal.signals.case import Case
from s4signal.signals.collection import Signals
from s4signal.signals.resampling import ready_to_cut

__all__ = ["epochs_from_events", "windows"]


def windows(
    signals: Any,
    *,
    duration_s: float,
    step_s: float | None = None,
    y: Any = None,
    groups: Any = None,
    start_s: float = 0.0,
    stop_s: float | None = None,
) -> tuple[Signals, npt.NDArray[Any] | None, npt.NDArray[Any]]:
    """Cut every recording into windows of one length.

    Parameters
    ----------
    signals : Signals or what Signals takes
        One case a recording.
    duration_s : float, positive
        Length of a window [s].
    step_s : float, positive, optional
        From the start of a window to the start of the next [s]; `duration_s` if missing, so that none overlap.
    y : array-like of shape (n_recordings,), optional
        The target of each recording, handed on to its windows.
    groups : array-like of shape (n_recordings,), optional
        What must not be split, such as the subject; the recording if missing.
    start_s, stop_s : float, optional
        Cut between these times [s] after the first sample; negative counts from the end.

    Returns
    -------
    windows : Signals
        Views, or parts of files that are not yet read.
    y : ndarray of shape (n_windows,) or None
        The targets.
    groups : ndarray of shape (n_windows,)
        Pass them to ``GroupKFold``.

    Raises
    ------
    RecordingError
        If a recording is shorter than `duration_s`, or its rate is unknown.
    ShapeError
        If `y` or `groups` has another length.
    ValueError
        If `duration_s` or `step_s` is not positive.

    Examples
    --------
    >>> recordings = Signals(np.zeros((2, 1, 1000)), sfreq=100)
    >>> cut, y, groups = windows(recordings, duration_s=2, step_s=1, y=["rest", "task"])
    >>> cut
    Signals: 18 cases × 1 channel, 200 samples, 100 Hz (2 s)
    >>> y[8:10], groups[8:10]
    (array(['rest', 'task'], dtype='<U4'), array([0, 1]))
    """
    step_s = duration_s if step_s is None else step_s
    for name, value in (("duration_s", duration_s), ("step_s", step_s)):
        if not value > 0:
            raise ValueError(f"{name}={value} must be a positive number of seconds.")
    recordings = signals if isinstance(signals, Signals) else Signals(signals)
    cases: list[Case] = []
    origin: list[int] = []
    for i, recording in enumerate(recordings.cases):
        case = ready_to_cut(recording)
        pieces = [case.crop(a, b) for a, b in _edges(i, case, duration_s, step_s, start_s, stop_s)]
        cases += pieces
        origin += [i] * len(pieces)
    targets = None if y is None else _one_a_recording(y, "y", len(recordings))[origin]
    return Signals.from_cases(cases), targets, _groups(recordings, groups)[origin]


def epochs_from_events(
    signals: Any,
    *,
    events: Any = None,
    event_id: Mapping[str, int | str] | Sequence[str] | None = None,
    tmin: float = 0.0,
    tmax: float,
    groups: Any = None,
) -> tuple[Signals, npt.NDArray[np.str_], npt.NDArray[Any]]:
    """Cut a stretch around every event.

    Parameters
    ----------
    signals : Signals or what Signals takes
        One case a recording, such as `read_eeg` gives.
    events : array of shape (n_events, 3), path, or list of them, optional
        One a recording: an MNE events array, or the ``-eve.fif`` file of one; samples count as in the recording. The
        annotations (and stimulus channels) of the recordings if missing.
    event_id : mapping of name to code or description, or list of descriptions, optional
        Which events to take and how to name them; every one if missing, except what starts with "bad" or "edge".
    tmin, tmax : float
        From `tmin` up to, not including, `tmax` [s] after the event.
    groups : array-like of shape (n_recordings,), optional
        What must not be split, such as the subject; the recording if missing.

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
        If no event is found, none has the stretch inside its recording, or a rate is unknown.
    ShapeError
        If `events` or `groups` has another length.
    ValueError
        If `tmax` is not greater than `tmin`.

    Warns
    -----
    UserWarning
        If the stretch of an event reaches outside its recording: the event is left out.

    Examples
    --------
    >>> recording = Signals(np.zeros((1, 2, 1000)), sfreq=100)
    >>> events = np.array([[200, 0, 1], [500, 0, 2]])
    >>> epochs, y, groups = epochs_from_events(recording, events=events, event_id={"left": 1, "right": 2}, tmax=3)
    >>> epochs, y
    (Signals: 2 cases × 2 channels, 300 samples, 100 Hz (3 s), array(['left', 'right'], dtype='<U5'))
    """
    if not tmax > tmin:
        raise ValueError(f"tmax={tmax} must be greater than tmin={tmin}.")
    recordings = signals if isinstance(signals, Signals) else Signals(signals)
    marks = [None] * len(recordings) if events is None else _event_lists(events, len(recordings))
    cases: list[Case] = []
    names: list[str] = []
    origin: list[int] = []
    for i, (recording, given) in enumerate(zip(recordings.cases, marks, strict=True)):
        case = ready_to_cut(recording)
        sfreq = _rate(i, case)
        n_times = round((tmax - tmin) * sfreq)
        found = list(_annotated(case, sfreq, event_id) if given is None else _coded(case, given, event_id))
        starts = [(sample + round(tmin * sfreq), name) for sample, name in found]
        inside = [(start, name) for start, name in starts if start >= 0 and start + n_times <= case.length]
        _warn_outside(i, case, len(found) - len(inside), len(found))
        cases += [case.crop(start, start + n_times) for start, _ in inside]
        names += [name for _, name in inside]
        origin += [i] * len(inside)
    if not cases:
        raise RecordingError(_nothing_found(recordings, event_id, events is None))
    return Signals.from_cases(cases), np.array(names), _groups(recordings, groups)[origin]


def _edges(
    i: int, case: Case, duration_s: float, step_s: float, start_s: float, stop_s: float | None
) -> Iterator[tuple[int, int]]:
    times = case.load().times if case.has_times else None
    sfreq = 0.0 if times is not None else _rate(i, case)
    total_s = case.length / sfreq if times is None else float(times[-1] - times[0])
    first = max(0.0, start_s + total_s * (start_s < 0))
    last = total_s if stop_s is None else min(total_s, stop_s + total_s * (stop_s < 0))
    slack = 0.5 / sfreq if times is None else 0.0
    if last - first + slack < duration_s:
        where = "" if (first, last) == (0.0, total_s) else f" between start_s={start_s} and stop_s={stop_s}"
        raise RecordingError(
            f"{_name(i, case)} lasts {max(0.0, last - first):.2f} s{where}, less than duration_s={duration_s:.2f}. "
            "Lower duration_s or leave this recording out."
        )
    n_windows = int((last - first - duration_s + slack) / step_s + 1e-9) + 1
    for at in first + step_s * np.arange(n_windows):
        if times is None:
            a = round(at * sfreq)
            b = a + round(duration_s * sfreq)
            if b <= case.length:
                yield a, b
        else:
            a, b = np.searchsorted(times - times[0], [at, at + duration_s])
            if b > a:
                yield int(a), int(b)


def _annotated(case: Case, sfreq: float, event_id: Any) -> Iterator[tuple[int, str]]:
    wanted = _names_by_code(event_id)
    for mark in case.annotations:
        if wanted is None and not mark.description.lower().startswith(("bad", "edge")):
            yield round(mark.onset_s * sfreq), mark.description
        elif wanted is not None and mark.description in wanted:
            yield round(mark.onset_s * sfreq), wanted[mark.description]


def _coded(case: Case, events: npt.NDArray[np.int64], event_id: Any) -> Iterator[tuple[int, str]]:
    wanted = _names_by_code(event_id)
    for sample, _, code in events:
        if wanted is None or str(code) in wanted:
            yield int(sample) - case.first_sample, str(code) if wanted is None else wanted[str(code)]


def _names_by_code(event_id: Any) -> dict[str, str] | None:
    if event_id is None:
        return None
    if isinstance(event_id, Mapping):
        return {str(code): str(name) for name, code in event_id.items()}
    names = [event_id] if isinstance(event_id, str) else event_id
    return {str(name): str(name) for name in names}


def _event_lists(events: Any, n: int) -> list[npt.NDArray[np.int64]]:
    single = isinstance(events, str | PathLike) or (np.ndim(events) == 2 if not isinstance(events, list) else False)
    items = [events] if single else list(events)
    if len(items) != n:
        raise ShapeError(f"events must hold one array or path for each of {n} recordings, got {len(items)}.")
    return [_events_array(item) for item in items]


def _events_array(item: Any) -> npt.NDArray[np.int64]:
    if isinstance(item, str | PathLike):
        from s4signal.signals.eeg import read_events

        item = read_events(item)
    array = np.asarray(item)
    if array.ndim != 2 or array.shape[1] != 3:
        raise ShapeError(f"events must have shape (n_events, 3): sample, 0, code; got {array.shape}.")
    return array.astype(np.int64)


def _rate(i: int, case: Case) -> float:
    if case.sfreq is None:
        raise RecordingError(
            f"{_name(i, case)} has no known rate, so seconds cannot be counted. Pass sfreq= to Signals."
        )
    return case.sfreq


def _groups(recordings: Signals, groups: Any) -> npt.NDArray[Any]:
    if groups is not None:
        return _one_a_recording(groups, "groups", len(recordings))
    sources = recordings.sources
    return np.array(sources) if all(sources) else np.arange(len(recordings))


def _one_a_recording(values: Any, name: str, n: int) -> npt.NDArray[Any]:
    array = np.asarray(values)
    if array.ndim == 0 or len(array) != n:
        raise ShapeError(f"{name} must hold one value for each of {n} recordings, got shape {array.shape}.")
    return array


def _warn_outside(i: int, case: Case, n_outside: int, n_events: int) -> None:
    if n_outside:
        warnings.warn(
            f"{_name(i, case)}: {n_outside} of {n_events} events reach outside the recording and are left out.",
            stacklevel=3,
        )


def _nothing_found(recordings: Signals, event_id: Any, annotated: bool) -> str:
    if not annotated:
        return f"no event has a code of event_id={event_id} and lies inside its recording. Look at the events array."
    there = sorted({mark.description for case in recordings.cases for mark in case.annotations})
    return (
        f"no annotation matches event_id={event_id} and lies inside its recording. "
        f"The recordings hold: {', '.join(there[:20]) or 'no annotations; pass events='}."
    )


def _name(i: int, case: Case) -> str:
    return case.source or f"recording {i}"
