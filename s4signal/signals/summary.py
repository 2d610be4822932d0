"""Properties of a collection of cases: what they share, their groups and metadata, a one-line summary."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from s4signal.errors import RecordingError, ShapeError
from s4signal.signals.case import Signal
from s4signal.signals.checks import MISSING, case_name, object_array
from s4signal.signals.clock import without_regular_times
from s4signal.signals.lazy import Case

# Attributes that cases must share: the noun for messages, and what to do if they differ.
_COMMON = {
    "n_channels": (
        "channels",
        "Give every case the same channels. A case is (n_channels, n_times); pass x.T if time comes first.",
    ),
    "sfreq": ("Hz", "Call resample(sfreq) to resample them to one rate."),
    "ch_names": ("as channel names", "Pick the same channels in the same order from every recording."),
    "has_times": ("for has_times", "Give times to all cases or to none."),
    "length": (
        "samples",
        "They cannot form one array: cut them to one length with windows, or take them one by one: "
        "[case.data for case in signals].",
    ),
}


class CaseList:
    """Base of `Signals`: properties of its cases, which read cases on disk only where documented."""

    _cases: npt.NDArray[np.object_]

    @property
    def shape(self) -> tuple[int]:
        """Shape of the collection, (n,)."""
        return (len(self),)

    @property
    def ndim(self) -> int:
        """Number of axes, 1, as in `shape`; ``numpy.asarray`` of cases of equal length has three."""
        return 1

    @property
    def n_channels(self) -> int:
        """Number of channels of every case; ShapeError if they differ."""
        if not len(self):
            raise ShapeError("there is no case, so the number of channels is unknown.")
        return int(_common_value(self.cases, "n_channels"))

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Number of samples of each case, shape (n,)."""
        return np.array([case.length for case in self._cases], dtype=np.int64)

    @property
    def n_observed(self) -> npt.NDArray[np.int64]:
        """Number of non-missing values per case, over all channels, shape (n,); reads cases on disk."""
        return np.array([np.count_nonzero(case.observed) for case in self], dtype=np.int64)

    @property
    def sfreqs(self) -> npt.NDArray[np.float64]:
        """Sampling rate of each case [Hz], shape (n,); NaN where unknown."""
        return np.array([case.sfreq for case in self._cases], dtype=np.float64)  # None becomes NaN

    @property
    def sfreq(self) -> float | None:
        """Sampling rate of all cases [Hz], None if unknown; RecordingError if they differ."""
        return cast("float | None", _common_value(self.cases, "sfreq"))

    @property
    def ch_names(self) -> tuple[str, ...] | None:
        """Channel names of all cases, None if unknown; RecordingError if they differ."""
        return cast("tuple[str, ...] | None", _common_value(self.cases, "ch_names"))

    @property
    def has_times(self) -> bool:
        """Whether the cases have times; RecordingError if only some do."""
        return bool(_common_value(self.cases, "has_times"))

    @property
    def durations_s(self) -> npt.NDArray[np.float64]:
        """Duration of each case [s], shape (n,): last minus first time, or n_times / sfreq; NaN where unknown."""
        durations = self.lengths / self.sfreqs
        for i, case in enumerate(self._cases):
            if case.has_times:
                durations[i] = case.load().duration_s
        return durations

    @property
    def cases(self) -> tuple[Case, ...]:
        """The cases as stored, in memory or lazy; nothing is read."""
        return tuple(self._cases)

    @property
    def sources(self) -> tuple[str, ...]:
        """The file that each case comes from, "" if none."""
        return tuple(case.source for case in self._cases)

    @property
    def recordings(self) -> npt.NDArray[Any]:
        """Recording of each case, shape (n,): "recording" of its metadata, or its file; "" if unknown."""
        return np.array([text_of(case, "recording") or case.source for case in self._cases])

    @property
    def groups(self) -> npt.NDArray[Any]:
        """Group of each case for cross-validation, shape (n,): its subject, else its recording, else the case itself.

        Pass it to `cross_val_score` with a splitter such as `GroupKFold`.
        """
        pairs = enumerate(zip(self._cases, self.recordings.tolist(), strict=True))
        return np.array([text_of(case, "subject") or recording or f"case {i}" for i, (case, recording) in pairs])

    @property
    def metadata(self) -> dict[str, npt.NDArray[Any]]:
        """Metadata of the cases, one column of shape (n,) per key; ``pandas.DataFrame`` accepts it.

        A case without the key has None.
        """
        names = dict.fromkeys(name for case in self._cases for name in case.metadata)
        columns = {name: [case.metadata.get(name) for case in self._cases] for name in names}
        return {name: _column(values) for name, values in columns.items()}

    def _check_one_shape(self) -> None:
        """Raise ShapeError if the cases cannot form one array."""
        if not len(self):
            raise ShapeError("there is no case to stack.")
        for name in ("n_channels", "length"):
            _common_value(self.cases, name)

    def __len__(self) -> int:
        return len(self._cases)

    def __iter__(self) -> Iterator[Signal]:
        """Iterate over the cases, reading those on disk one at a time."""
        return (case.load() for case in self._cases)

    def __eq__(self, other: object) -> bool:
        """Compare the cases in order; reads those on disk."""
        if not isinstance(other, CaseList):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """Return a one-line summary; reads nothing."""
        if not len(self):
            return "Signals: 0 cases"
        cases = without_regular_times(self.cases)
        channels = _span([case.n_channels for case in cases])
        rates = [case.sfreq for case in cases if case.sfreq is not None]
        timing = f"{_span(rates)} Hz" if len(rates) == len(cases) else "rate unknown"
        if any(case.has_times for case in cases):
            timing = "irregular times"
        return (
            f"Signals: {len(cases)} case{'s' * (len(cases) != 1)} × {channels} channel{'s' * (channels != '1')}, "
            f"{_span([case.length for case in cases])} samples, {timing}{_durations(cases)}"
        )


def text_of(case: Case, key: str) -> str:
    """Return an entry of the metadata as text, such as the subject, which can be 0; "" if it is unknown."""
    text = str(case.metadata.get(key, ""))
    return "" if text in MISSING else text


def one_group_each(groups: Any, n: int, of: str = "case") -> npt.NDArray[Any]:
    """Return given groups as an array (n,); refuse another number of them, and missing ones."""
    if np.shape(groups) != (n,):
        raise ShapeError(f"groups must have shape ({n},), one group per {of}, got {np.shape(groups)}.")
    if missing := [i for i, group in enumerate(groups) if str(group) in MISSING]:
        raise ValueError(
            f"groups holds no group of {of} {missing[0]}, but {list(groups)[missing[0]]!r} ({len(missing)} such), as "
            f"where a merged table has no row: give each {of} its group, or leave it out."
        )
    return np.asarray(groups)


def _column(values: Sequence[Any]) -> npt.NDArray[Any]:
    """Return an array (n,) of texts or of numbers, or of objects for a mixture or anything else."""
    alike = any(all(isinstance(v, kinds) for v in values) for kinds in (str, (bool, int, float, np.generic)))
    return np.array(values) if alike else object_array(values)


def name_errors(i: int, source: str, build: Callable[[], Case]) -> Case:
    """Call `build`, and name the case in its errors."""
    try:
        return build()
    except (RecordingError, ShapeError, TypeError, ValueError) as error:
        raise type(error)(f"{case_name(i, source)}: {error}") from None


def each_case(cases: Iterable[Case], change: Callable[[Case], Case]) -> list[Case]:
    """Transform every case, and name the case in errors."""
    return [name_errors(i, case.source, partial(change, case)) for i, case in enumerate(cases)]


def _common_value(cases: Sequence[Case], name: str) -> Any:
    """Return the value of an attribute that all cases share; None if there is no case."""
    values = [getattr(case, name) for case in cases]
    for i, value in enumerate(values):
        if value != values[0]:
            noun, advice = _COMMON[name]
            texts = (
                "unknown" if v is None else f"{v:g}" if isinstance(v, float) else str(v) for v in (values[0], value)
            )
            names = (f"case {k}{cases[k].source and f' ({cases[k].source})'}" for k in (0, i))
            first, other = (f"{name} has {text}" for name, text in zip(names, texts, strict=True))
            error = ShapeError if name in ("n_channels", "length") else RecordingError
            raise error(f"the cases differ: {first} and {other} {noun}. {advice}")
    return values[0] if values else None


def _durations(cases: Sequence[Case]) -> str:
    """Return the durations of the cases as text, if all are known without reading."""
    durations_s = [case.duration_s for case in cases if case.duration_s is not None]
    if len(durations_s) < len(cases):
        return ""
    unit, seconds = ("s", 1) if min(durations_s) < 7200 else ("h", 3600)
    return f" ({_span([duration_s / seconds for duration_s in durations_s])} {unit})"


def _span(values: Sequence[float]) -> str:
    low, high = (f"{value:.0f}" if value >= 1000 else f"{value:.4g}" for value in (min(values), max(values)))
    return low if low == high else f"{low}–{high}"
