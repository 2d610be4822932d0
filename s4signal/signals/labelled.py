"""Labelled audio, with a report of what was read, skipped and ignored."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from s4signal.errors import MissingDependencyError, RecordingError
from s4signal.signals.audio_file import OnError, Skipped, open_audio, skip_or_raise, usable, warn_of_skipped
from s4signal.signals.audio_layout import Layout, Row
from s4signal.signals.checks import FloatArray, few
from s4signal.signals.collection import Signals
from s4signal.signals.lazy import LazyCase

_SLACK_S = 0.02  # tolerance of the end of a row beyond that of its file, for rounded times
_MOST = 12  # labels listed in a summary


class _Triple(NamedTuple):
    signals: Signals
    y: npt.NDArray[np.str_]
    groups: npt.NDArray[np.str_]


class LabelledSignals(_Triple):
    """Signals, labels and groups of `read_audio_folder` and `read_audio_manifest`; printing summarises them.

    Parameters
    ----------
    signals : Signals
        The cases.
    y : ndarray of shape (n,)
        The labels.
    groups : ndarray of shape (n,)
        The group of each case for cross-validation, such as the speaker; by default the file.
    splits : ndarray of shape (n,) or None
        The part of the data set that a case belongs to, such as "train", if folders or lists define it.
    skipped : tuple of (path, reason)
        Skipped files, and why.
    aside : tuple of str
        Descriptions of other files, which are ignored.

    Examples
    --------
    >>> data = LabelledSignals(Signals(np.zeros((3, 8000)), sfreq=8000), np.array(["no", "yes", "no"]), np.arange(3))
    >>> data
    Signals: 3 cases × 1 channel, 8000 samples, 8000 Hz (1 s)
    2 labels: no 2, yes 1
    3 groups of 1 case
    >>> X, y, groups = data
    """

    splits: npt.NDArray[np.str_] | None
    skipped: tuple[Skipped, ...]
    aside: tuple[str, ...]

    def __new__(
        cls,
        signals: Signals,
        y: npt.NDArray[Any],
        groups: npt.NDArray[Any],
        splits: npt.NDArray[Any] | None = None,
        skipped: Sequence[Skipped] = (),
        aside: Sequence[str] = (),
    ) -> "LabelledSignals":
        """Set the attributes that are not part of the tuple."""
        self = super().__new__(cls, signals, y, groups)
        self.splits, self.skipped, self.aside = splits, tuple(skipped), tuple(aside)
        return self

    def __repr__(self) -> str:
        """Summarise the cases, the counts of labels and parts, and ignored or skipped files."""
        n_groups = Counter(self.groups.tolist())
        most = max(n_groups.values(), default=0)
        span = "–".join(map(str, sorted({min(n_groups.values(), default=0), most})))
        lines = [repr(self.signals), f"{len(set(self.y.tolist()))} labels: {_counts(self.y)}"]
        lines.append(f"{len(n_groups)} group{'s' * (len(n_groups) != 1)} of {span} case{'s' * (most != 1)}")
        lines += [] if self.splits is None else [f"parts: {_counts(self.splits)}"]
        lines += [f"ignored: {text}" for text in self.aside]
        lines += [f"skipped: {len(self.skipped)}, the first: {first.reason}" for first in self.skipped[:1]]
        return "\n".join(lines)


def assemble(
    layout: Layout, *, split: str | None, sfreq: float | None, mono: bool, on_error: OnError
) -> LabelledSignals:
    """Open the files of a layout in order; unusable ones raise an error, or are skipped with a warning."""
    opened, last = dict[str, LazyCase](), _LastFile()
    cases, rows, skipped = [], [], list(layout.skipped)
    for row in of_split(layout.rows, split):
        try:
            if str(row.path) not in opened:
                opened[str(row.path)] = usable(open_audio(row.path, mono=mono), on_error)
            cases.append(_segment(opened[str(row.path)], row, last))
            rows.append(row)
        except (ValueError, MissingDependencyError) as error:
            skipped.append(skip_or_raise(error, row.path, on_error))
    if not cases:
        raise RecordingError(f"nothing can be used, {len(skipped)} are left out; the last: {skipped[-1].reason}")
    _check_alike(cases, resampled=sfreq is not None)
    signals = Signals.from_cases(cases)
    return labelled(signals if sfreq is None else signals.resample(sfreq), rows, layout._replace(skipped=skipped))


def labelled(signals: Signals, rows: Sequence[Row], layout: Layout) -> LabelledSignals:
    """Put to recordings what is known of their rows, and warn of what was left out."""
    warn_of_skipped(layout.skipped, len(rows) + len(layout.skipped), stacklevel=4)
    y, groups, splits = (np.array([row[i] for row in rows]) for i in (1, 2, 3))
    return LabelledSignals(signals, y, groups, splits if any(splits) else None, layout.skipped, layout.aside)


def of_split(rows: Sequence[Row], split: str | None) -> list[Row]:
    """Return the rows of one part of the data set; all if `split` is None."""
    parts = sorted({row.split for row in rows} - {""})
    if split is None:
        return list(rows)
    if not parts:
        raise ValueError(
            f"split={split!r} was passed, but the data set defines no parts: it has no folders train/ and test/ "
            "above or below those of classes, no validation_list.txt or testing_list.txt, no column split."
        )
    if split not in parts:
        raise ValueError(f"split={split!r} is unknown; there are {', '.join(map(repr, parts))}.")
    return [row for row in rows if row.split == split]


def _segment(case: LazyCase, row: Row, last: "_LastFile") -> LazyCase:
    """Return the segment of a row, without reading it."""
    rate = case.sfreq or np.nan
    duration_s = case.length / rate
    if row.start_s == 0 and row.end_s == np.inf:
        return case
    if row.start_s >= duration_s or (row.end_s > duration_s + _SLACK_S and row.end_s < np.inf):
        end = "" if row.end_s == np.inf else f" to {row.end_s:g} s"
        raise RecordingError(
            f"{row.where}: {row.path} lasts {duration_s:.2f} s, but the row is from {row.start_s:g} s{end}. Correct it."
        )
    start, stop = round(row.start_s * rate), round(min(row.end_s, duration_s) * rate)
    if stop <= start:
        raise RecordingError(f"{row.where}: no sample lies between {row.start_s:g} and {row.end_s:g} s.")
    read = partial(last.read, case) if case.in_one else case.read
    return replace(case, read=read, start=start, length=stop - start, first_sample=start)


class _LastFile:
    """Read segments of files that are decoded as a whole; the last file is kept for the next segment."""

    _kept: tuple[LazyCase | None, FloatArray] = (None, np.empty((0, 0)))

    def __reduce__(self) -> Any:
        """Pickle without the samples."""
        return _LastFile, ()

    def read(self, case: LazyCase, start: int, stop: int) -> FloatArray:
        """Return a copy, which does not keep the whole file alive."""
        if (kept := self._kept)[0] is not case:
            kept = self._kept = type(self)._kept  # one file in memory at a time
            kept = self._kept = case, case.load().data
        return kept[1][:, start:stop].copy()


def _check_alike(cases: Sequence[LazyCase], *, resampled: bool) -> None:
    """Refuse files with different rates or numbers of channels."""
    first = cases[0]
    for case in cases:
        if case.sfreq != first.sfreq and not resampled:
            raise RecordingError(
                f"{first.source} is sampled at {first.sfreq:g} Hz and {case.source} at {case.sfreq:g} Hz. "
                "Pass sfreq= to resample them to one rate."
            )
        if case.n_channels != first.n_channels:
            raise RecordingError(
                f"{first.source} has {first.n_channels} channels and {case.source} has {case.n_channels}. "
                "Pass mono=True to average them."
            )


def _counts(values: npt.NDArray[Any]) -> str:
    return few([f"{value} {n}" for value, n in sorted(Counter(values.tolist()).items())], _MOST)
