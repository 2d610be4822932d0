"""Checks that a split keeps related cases together: subjects, recordings, overlapping windows, copies."""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import check_cv

from s4signal.signals import Signals
from s4signal.signals.summary import one_group_each

_SLACK_S = 1e-6
_RUN = 16  # consecutive samples that are searched for in other cases
_ODD = np.uint64(0x9E3779B97F4A7C15)  # multiplier of a rolling hash

Spans: TypeAlias = Mapping[str, NDArray[np.float64]]
Partners: TypeAlias = dict[int, set[int]]


@dataclass(frozen=True, slots=True)
class Leak:
    """Something that a fold, counted from 0, has on both sides: `n_test` test cases are affected, one is the example.

    Kinds are "group", "recording", "overlap" (some samples are those of a training case) and "copy" (all are).
    """

    fold: int
    kind: str
    n_test: int
    example: str

    def __str__(self) -> str:
        return f"fold {self.fold}: {self.kind}, {self.n_test} test cases: {self.example}"


def check_groups(groups: Any, signals: Signals) -> NDArray[Any] | None:
    """Return the group of each case, (n,): as given, else its subject or recording; None if none has two cases."""
    if groups is None:
        recordings = np.array([name or f"case {index}" for index, name in enumerate(signals.recordings)])
        groupings = (names for names in (signals.groups, recordings) if 1 < len(np.unique(names)) < len(names))
        return next(groupings, None)
    return np.array([str(group) for group in one_group_each(groups, len(signals))])


def check_leakage(X: Any, groups: Any = None, cv: Any = 5, *, y: Any = None) -> list[Leak]:
    """Find related cases on both sides of the splits of a cross-validation.

    Parameters
    ----------
    X : array-like, mne.Epochs, mne.io.Raw or Signals
        Cases, as `S4Classifier.fit` takes them; those on disk are read once.
    groups : array-like (n_samples,), optional
        Groups that must not be split, such as subjects; also passed to `cv`. ``Signals(X).groups`` by default.
    cv : int, cross-validation generator or iterable, default=5
        As in `cross_val_score`.
    y : array-like (n_samples,), optional
        Targets, if `cv` stratifies.

    Returns
    -------
    list of Leak
        Empty if nothing was found. Each has ``fold``, ``kind`` ("group", "recording", "overlap", "copy"), ``n_test``
        and an ``example``; as text, each is one line.

    Raises
    ------
    ValueError
        If groups are not one per case.

    See Also
    --------
    s4signal.signals.windows : Returns groups with the windows.

    Notes
    -----
    Cases from files, from `mne.Epochs` and from `windows` carry their recording. Overlapping windows are found by their
    position in the recording, and in plain arrays by their samples.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.model_selection import GroupKFold, KFold
    >>> from s4signal import Signals
    >>> from s4signal.estimators import check_leakage
    >>> from s4signal.signals import windows
    >>> recordings = Signals(np.random.default_rng(0).standard_normal((4, 2, 1000)), sfreq=100)
    >>> X, _, groups = windows(recordings, duration_s=2, step_s=1)
    >>> check_leakage(X, groups, GroupKFold(4))
    []
    >>> leaks = check_leakage(X, groups, KFold(4, shuffle=True, random_state=0))
    >>> sorted({leak.kind for leak in leaks})
    ['group', 'overlap', 'recording']
    """
    signals = Signals(X)
    given = signals.groups if groups is None else one_group_each(groups, len(signals))
    splitter = check_cv(cv, y, classifier=y is not None)
    targets = np.zeros(len(signals)) if y is None else y
    twins, pieces = _same_samples(signals)
    found: list[Leak] = []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The groups parameter is ignored")  # the check finds its effect
        folds = list(splitter.split(np.zeros(len(signals)), targets, given))
    for fold, (train, test) in enumerate(folds):
        train, test = np.arange(len(signals))[train], np.arange(len(signals))[test]
        leaks = {
            "group": _shared(given, train, test),
            "recording": _shared(signals.recordings, train, test),
            "copy": [(i, f"case {i} has the samples of case {j}") for i, j in _pairs(twins, train, test)],
        }
        copies = {i for i, _ in leaks["copy"]}
        overlapping = dict(_overlapping(signals, train, test))
        overlapping |= {i: f"case {i} shares samples with case {j}" for i, j in _pairs(pieces, train, test)}
        leaks["overlap"] = [(i, text) for i, text in sorted(overlapping.items()) if i not in copies]
        found += [Leak(fold, kind, len(cases), cases[0][1]) for kind, cases in leaks.items() if cases]
    return found


def spans_of(signals: Signals, given: Spans = MappingProxyType({})) -> Spans:
    """Return the seconds that cases were cut from, by recording, (n, 2) in order, including `given` ones."""
    found: dict[str, set[tuple[float, float]]] = {name: {*map(tuple, spans.tolist())} for name, spans in given.items()}
    for name, spans in _by_recording(signals).items():
        found.setdefault(name, set()).update(map(tuple, spans[:, :2].tolist()))
    return {name: np.array(sorted(spans)) for name, spans in found.items()}


def warn_of_overlap(X: Any, trained: Spans) -> None:
    """Warn if a case of `Signals` shares some, but not all, of its samples with a training case.

    An identical case is not an error: it gives the score on the training cases.
    """
    if not isinstance(X, Signals):
        return
    matches = [(name, int((part & ~same).sum())) for name, _, part, same in _overlaps(X, trained)]
    if n_cases := sum(n for _, n in matches):
        warnings.warn(
            f"{n_cases} of {len(X)} cases overlap in time with cases that the model was trained on, such as in "
            f"{next(name for name, n in matches if n)}: their score does not estimate that of new recordings. Split by "
            "groups, as GroupKFold does; check_leakage checks a split.",
            stacklevel=2,
        )


def warn_of_shared(X_val: Signals, trained: Spans) -> None:
    """Warn if validation cases are from recordings of the training cases."""
    both = np.isin(X_val.recordings, list(trained))
    if both.any():
        warnings.warn(
            f"{both.sum()} of {len(both)} cases of X_val are from recordings of the training cases, such as "
            f"{X_val.recordings[both][0]}: the best epoch on them need not be the best for new ones. Hold out whole "
            "recordings, or omit X_val: fit then holds them out.",
            stacklevel=2,
        )


def _by_recording(signals: Signals) -> dict[str, NDArray[np.float64]]:
    """Return start, end [s] and index of the cases of each recording with known sample positions, (n, 3) each."""
    found: dict[str, list[tuple[float, float, float]]] = {}
    for i, (name, case) in enumerate(zip(signals.recordings.tolist(), signals.cases, strict=True)):
        if name and case.recorded_sfreq != 0:
            rate = case.sfreq or 1.0
            start = case.first_sample / rate
            found.setdefault(name, []).append((start, start + case.length / rate, i))
    return {name: np.array(spans) for name, spans in found.items()}


def _overlaps(
    signals: Signals, trained: Spans
) -> Iterator[tuple[str, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]]:
    """Yield for every shared recording its cases (n, 3), which overlap with trained ones, and which equal one."""
    for name, spans in _by_recording(signals).items():
        if (others := trained.get(name)) is not None:
            before = np.searchsorted(others[:, 0], spans[:, 1] - _SLACK_S)
            reach = np.maximum.accumulate(others[:, 1])[np.maximum(before - 1, 0)]
            part = (before > 0) & (reach > spans[:, 0] + _SLACK_S)
            yield name, spans, part, np.isin(spans[:, 0] + 1j * spans[:, 1], others[:, 0] + 1j * others[:, 1])


def _overlapping(signals: Signals, train: NDArray[np.intp], test: NDArray[np.intp]) -> Iterator[tuple[int, str]]:
    for name, spans, part, _ in _overlaps(signals[test], spans_of(signals[train])):
        for start, end, index in spans[part].tolist():
            i = int(test[int(index)])
            yield i, f"case {i} overlaps with a training case in {name}, {start:g} to {end:g} s"


def _shared(names: NDArray[Any], train: NDArray[np.intp], test: NDArray[np.intp]) -> list[tuple[int, str]]:
    both = np.isin(names[test], names[train]) & (names[test].astype(str) != "")
    return [(i, f"{names[i]} is on both sides") for i in test[both].tolist()]


def _pairs(partners: Partners, train: NDArray[np.intp], test: NDArray[np.intp]) -> Iterator[tuple[int, int]]:
    trained = set(train.tolist())
    for i in test.tolist():
        if both := partners.get(i, set()) & trained:
            yield i, min(both)


def _same_samples(signals: Signals) -> tuple[Partners, Partners]:
    """Return identical cases, and cases of which one contains the first samples of the other, by index."""
    hashes, changing = zip(*(_run_hashes(case.data) for case in signals), strict=True)
    owner = np.repeat(np.arange(len(signals)), [int(varies.sum()) for varies in changing])
    position = np.concatenate([np.flatnonzero(varies) for varies in changing])
    runs = np.concatenate([case_hashes[varies] for case_hashes, varies in zip(hashes, changing, strict=True)])
    order = np.argsort(runs, kind="stable")
    runs = runs[order]
    twins: Partners = {}
    pieces: Partners = {}
    for i, (case_hashes, varies) in enumerate(zip(hashes, changing, strict=True)):
        if not len(varies):
            continue
        matches = order[slice(*(int(np.searchsorted(runs, case_hashes[0], side)) for side in ("left", "right")))]
        for j, shift in zip(owner[matches].tolist(), position[matches].tolist(), strict=True):
            if _continues(signals[j].data[:, shift:], signals[i].data):
                same = shift == 0 and signals.lengths[i] == signals.lengths[j]
                for one, other in ((i, j), (j, i)):
                    (twins if same else pieces).setdefault(one, set()).add(other)
    return twins, pieces


def _continues(one: NDArray[np.floating], other: NDArray[np.floating]) -> bool:
    """Whether two intervals are equal over their common length, which is long enough to exclude chance."""
    n_times = min(one.shape[1], other.shape[1])
    return n_times >= other.shape[1] / 20 and np.array_equal(one[:, :n_times], other[:, :n_times], equal_nan=True)


def _run_hashes(data: NDArray[np.floating]) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Return exact hashes of all runs of samples of all channels, (n_runs,), and whether a run is not flat."""
    n_runs = data.shape[1] - _RUN + 1
    if n_runs < 1:
        return np.zeros(0, np.uint64), np.zeros(0, bool)
    bits = np.ascontiguousarray(data, dtype=np.float64).view(np.uint64)
    factors = np.cumprod(np.full(data.shape[0] + _RUN, _ODD, dtype=np.uint64), dtype=np.uint64)
    moments = (bits * factors[_RUN:, np.newaxis]).sum(0, dtype=np.uint64)
    moments ^= moments >> np.uint64(31)
    runs = np.zeros(n_runs, dtype=np.uint64)
    for k in range(_RUN):
        runs += moments[k : k + n_runs] * factors[k]
    turns = np.concatenate([[0], np.cumsum(moments[1:] != moments[:-1])])
    changing: NDArray[np.bool_] = turns[_RUN - 1 :] - turns[:n_runs] >= _RUN // 2
    return runs, changing
