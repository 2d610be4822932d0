"""Segments of long recordings: the labels over time, from probabilities of windows that are read piece by piece."""

from collections.abc import Callable, Iterator
from numbers import Real
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d
from sklearn.utils.validation import check_is_fitted

from s4signal.errors import RecordingError
from s4signal.signals import Signal, Signals, read_audio
from s4signal.signals.checks import check_positive, in_full_scale
from s4signal.signals.clock import at_rate
from s4signal.signals.epochs import cut_epoch

_MOST_VALUES, _MOST_WINDOWS = 2**21, 256  # in a piece: at most 16 MB, and the windows scored at once

Floats = NDArray[np.float64]


class Segment(NamedTuple):
    """An interval of a recording in which a label holds.

    Parameters
    ----------
    recording : int
        Index of the recording in X.
    onset_s, offset_s : float
        Start and end of the interval [s].
    label : object
        One of ``classes_``.
    score : float
        Highest probability of the label in the interval.

    Examples
    --------
    >>> Segment(recording=0, onset_s=1.5, offset_s=2.25, label="yes", score=0.9).label
    'yes'
    """

    recording: int
    onset_s: float
    offset_s: float
    label: Any
    score: float


class SegmentsMixin:
    """Segments of long recordings, for a classifier with ``predict_proba``, ``classes_`` and ``sfreq_``."""

    classes_: NDArray[Any]
    sfreq_: float | None
    predict_proba: Callable[..., Floats]
    multilabel_: bool

    def predict_segments(
        self, X: Any, *, window_s: float, hop_s: float | None = None, threshold: float = 0.5, smoothing: float = 0.0
    ) -> list[Segment]:
        """Return the labels over time in long recordings: windows are scored, smoothed, and merged by label.

        The score of a window applies around its centre; the most probable label holds, while tags are independent.
        Files are read piece by piece, so an hour needs no more memory than a minute, unless the format (mp3, m4a) or
        resampling requires the whole file.

        Parameters
        ----------
        X : path, paths, or what `predict` takes
            Recordings; those without a rate get the training rate.
        window_s : float, positive
            Length of a window [s], usually that of the training cases: fit a network on `s4signal.signals.windows` of
            this length if sounds last longer. A shorter recording is one window.
        hop_s : float, positive, optional
            Time from the start of a window to the start of the next [s], at most `window_s`; half of it by default.
        threshold : float
            Minimum probability at which a label holds.
        smoothing : float
            Seconds over which probabilities are averaged before the threshold; 0 is no averaging.

        Returns
        -------
        list of Segment
            Sorted by recording and onset; ``pandas.DataFrame(segments)`` is a table of them.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        RecordingError
            If a recording has irregular times, or neither it nor the training has a rate.
        ValueError
            If an option is out of range, or as `predict`.

        Examples
        --------
        >>> import numpy as np
        >>> from s4signal import S4RidgeClassifier, Signals
        >>> rng = np.random.default_rng(0)
        >>> noise, tone = 0.1 * rng.standard_normal((2000, 8)), np.sin(np.arange(2000))[:, None]
        >>> clips = Signals((noise + tone * [0, 0, 0, 0, 1, 1, 1, 1]).T, sfreq=4000)
        >>> model = S4RidgeClassifier(n_oscillators=8, random_state=0).fit(clips, ["noise"] * 4 + ["tone"] * 4)
        >>> day = np.concatenate([noise[:, 0], noise[:, 1], (noise + tone)[:, 2], noise[:, 3]])
        >>> segments = model.predict_segments(Signals([day], sfreq=4000), window_s=0.5, hop_s=0.1)
        >>> [(segment.label, round(segment.onset_s), round(segment.offset_s)) for segment in segments]
        [('noise', 0, 1), ('tone', 1, 2), ('noise', 2, 2)]
        """
        check_is_fitted(self)
        hop_s = check_segment_options(window_s, hop_s, threshold, smoothing)
        listed = isinstance(X, list | tuple) and len(X) > 0 and isinstance(X[0], str | PathLike)
        paths = listed or isinstance(X, str | PathLike)
        recordings = read_audio(X) if paths else Signals(in_full_scale(X, self.sfreq_))
        found: list[Segment] = []
        for i, case in enumerate(at_rate(case, self.sfreq_) for case in recordings.cases):
            name, rate = case.source or f"case {i}", case.sfreq or self.sfreq_
            if rate is None or case.has_times:
                what = "irregular times; put it on a grid: Signals.to_grid" if case.has_times else "no known rate"
                raise RecordingError(f"{name} has {what}, but windows need a rate. Pass Signals(X, sfreq=...).")
            window, hop = max(1, round(window_s * rate)), max(1, round(hop_s * rate))
            starts = window_starts(case.length, window, hop)
            pieces = [
                score_windows(self.predict_proba, piece, len(self.classes_))
                for piece in read_windows(case, starts, np.minimum(starts + window, case.length))
            ]
            scores = smooth(np.nan_to_num(np.concatenate(pieces)), round(smoothing * rate / hop))
            edges_s = cell_edges(starts, window, case.length) / rate
            found += join(scores, edges_s, self.classes_, i, threshold=threshold, multilabel=self.multilabel_)
        return found


def check_segment_options(window_s: float, hop_s: float | None, threshold: float, smoothing: float) -> float:
    """Check the options; return the hop [s]."""
    check_positive("window_s", window_s)
    check_positive("hop_s", hop_s := window_s / 2 if hop_s is None else hop_s)
    if hop_s > window_s:
        raise ValueError(f"hop_s={hop_s:g} must be at most window_s={window_s:g}: no sample may lie between windows.")
    if not isinstance(threshold, Real) or not 0 <= threshold <= 1:
        raise ValueError(f"threshold={threshold!r} must be a probability, from 0 to 1.")
    if not isinstance(smoothing, Real) or not 0 <= smoothing < np.inf:
        raise ValueError(f"smoothing={smoothing!r} must be at least 0 s.")
    return hop_s


def window_starts(length: int, window: int, hop: int) -> NDArray[np.int64]:
    """Return the first sample of every window; the last window ends with the recording."""
    last = max(0, length - window)
    starts = np.arange(0, last + 1, hop)
    return starts if starts[-1] == last else np.append(starts, last)


def read_windows(case: Any, starts: NDArray[np.int64], stops: NDArray[np.int64]) -> Iterator[list[Signal]]:
    """Yield windows in groups, each read at once as one stretch; beyond the recording they are mirrored."""
    whole = case.load() if getattr(case, "in_one", False) else case
    first = 0
    while first < len(starts):
        end = int(np.searchsorted(stops, starts[first] + _MOST_VALUES // case.n_channels, side="right"))
        group = slice(first, max(first + 1, min(end, first + _MOST_WINDOWS)))
        low = max(0, int(starts[first]))
        stretch = whole.crop(low, min(case.length, int(stops[group][-1]))).load()
        spans = zip((starts[group] - low).tolist(), (stops[group] - low).tolist(), strict=True)
        yield [cut_epoch(stretch, a, b).load() for a, b in spans]
        first = group.stop


def score_windows(predict_proba: Callable[..., Floats], windows: list[Signal], n_classes: int) -> Floats:
    """Return probabilities (n_windows, n_classes), NaN for a window without an observation."""
    observed = np.array([bool(np.isfinite(w.data.sum())) or bool(w.observed.any()) for w in windows])
    scores = np.full((len(windows), n_classes), np.nan)
    if observed.any():
        kept = [window for window, some in zip(windows, observed, strict=True) if some]
        scores[observed] = predict_proba(Signals.from_cases(kept))
    return scores


def smooth(scores: Floats, n: int) -> Floats:
    """Average over n windows, one more if n is even, because an even n shifts onsets; (n_windows, n_classes)."""
    return scores if n < 2 else np.asarray(uniform_filter1d(scores, n | 1, axis=0, mode="nearest"))


def cell_edges(starts: NDArray[np.int64], window: int, length: int) -> Floats:
    """Return the samples between which the score of a window applies, (n_windows + 1,), around its centre."""
    return np.concatenate([[0.0], (starts[1:] + starts[:-1] + window) / 2, [length]])


def join(
    scores: Floats, edges_s: Floats, classes: NDArray[Any], recording: int, *, threshold: float, multilabel: bool
) -> list[Segment]:
    """Merge neighbouring windows with the same label into one segment."""
    best, found = scores.argmax(1), []
    for k, label in enumerate(classes.tolist()):
        holds = scores[:, k] >= threshold
        if not multilabel:
            holds &= best == k
        turns = np.flatnonzero(np.diff(np.concatenate([[False], holds, [False]]).astype(np.int8)))
        for a, b in zip(turns[::2].tolist(), turns[1::2].tolist(), strict=True):
            span = float(edges_s[a]), float(edges_s[b])
            found.append(Segment(recording, *span, label, float(scores[a:b, k].max())))
    return sorted(found, key=lambda segment: segment.onset_s)
