"""Labels of epochs, one array per recording, the windows of these epochs, and labels of a stream."""

from collections.abc import Sequence
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from s4signal.errors import ShapeError
from s4signal.estimators.parameters import is_positive
from s4signal.estimators.segments import read_windows, score_windows
from s4signal.estimators.streams import resolve_time_first
from s4signal.estimators.validation import check_chunk, given_targets
from s4signal.signals import Signal, Signals
from s4signal.signals.checks import check_positive, is_unknown
from s4signal.signals.clock import Clock
from s4signal.signals.epochs import Samples, cut_epoch, epoch_samples
from s4signal.signals.lazy import Case, with_metadata
from s4signal.signals.summary import one_group_each

Labels = tuple[NDArray[np.bool_], NDArray[Any]]  # which epochs have a label (n_epochs,), and their labels (n_labelled,)


def check_epoch_options(segmenter: Any) -> None:
    """Check the parameters of a segmenter, before any work."""
    check_positive("epoch_s", segmenter.epoch_s)
    pair = segmenter.context_s if isinstance(segmenter.context_s, tuple | list) else ()
    if len(pair) != 2 or not all(isinstance(s, Real) and 0 <= float(s) < np.inf for s in pair):
        raise ValueError(f"context_s={segmenter.context_s!r} must be (before, after), each at least 0 s.")
    if segmenter.sfreq is not None and not is_positive(segmenter.sfreq):
        raise ValueError(f"sfreq={segmenter.sfreq!r} must be a positive number of Hz, or None.")
    if segmenter.estimator is not None and not hasattr(segmenter.estimator, "predict_proba"):
        raise ValueError(f"estimator={segmenter.estimator!r} must be a classifier with predict_proba, or None.")


def most_probable(scores: NDArray[np.float64], classes: NDArray[Any]) -> NDArray[Any]:
    """Return the most probable class of each epoch, (n_epochs, n_classes) to (n_epochs,); None where scores are NaN."""
    unknown = np.isnan(scores[:, 0])
    labels: NDArray[Any] = classes[scores.argmax(1)]  # the first if they are NaN
    if unknown.any():
        labels = labels.astype(object)
        labels[unknown] = None
    return labels


def check_dense_labels(
    y: Any, names: Sequence[str], counts: Sequence[int], epoch_s: float, *, n_classes: int
) -> list[Labels]:
    """Return which epochs of each recording have a label, and their labels, of at least `n_classes` classes."""
    if isinstance(given_targets(y), str) or not hasattr(y, "__len__") or len(y) != len(names):
        got = f"{len(y)} of them" if hasattr(y, "__len__") and not isinstance(y, str) else repr(y)[:60]
        raise ShapeError(
            f"y must hold one array of labels for each of {len(names)} recordings, got {got}. A recording is "
            "(n_channels, n_times): pass a list of them, and a list for y; for one recording [x] and [y]."
        )
    found = []
    for values, name, n in zip(y, names, counts, strict=True):
        labels = np.asarray(values, dtype=object)
        if labels.ndim != 1:
            raise ShapeError(f"y must hold labels of shape (n_epochs,) for {name}, got shape {labels.shape}.")
        if len(labels) != n:
            raise ShapeError(
                f"{name} has {n} epochs of epoch_s={epoch_s:g}, but y holds {len(labels)} labels for it. An epoch "
                "without a label is None; the remainder at the end of a recording is not an epoch."
            )
        labelled = np.array([not is_unknown(label) for label in labels.tolist()])
        found.append((labelled, labels[labelled]))
    every = np.concatenate([labels for _, labels in found]).tolist()
    if not every:
        raise ValueError("y has no label: all epochs of all recordings are None or NaN.")
    kinds = {str if isinstance(label, str) else type(label) for label in every}
    if str in kinds and len(kinds) > 1:
        names_of_kinds = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise ValueError(f"y mixes labels that cannot be sorted ({names_of_kinds}); give all of them one type.")
    if len(set(every)) < n_classes:
        raise ValueError(
            f"y has 1 class ({every[0]!r}) in all recordings; at least 2 are needed. If this is a fold of a "
            "cross-validation, take fewer folds: they are made of whole recordings."
        )
    dtype = np.array(every).dtype
    return [(labelled, labels.astype(dtype)) for labelled, labels in found]


def labelled_windows(
    clocks: Sequence[Clock], spans: Sequence[tuple[Samples, Samples]], labels: Sequence[Labels], groups: Any
) -> tuple[Signals, NDArray[Any]]:
    """Cut the windows of epochs with a label and an observation; the group of a recording becomes its subject."""
    groups = None if groups is None else one_group_each(groups, len(clocks), "recording")
    windows: list[Case] = []
    targets = []
    for i, (clock, (starts, stops), (labelled, values)) in enumerate(zip(clocks, spans, labels, strict=True)):
        used = labelled & (starts < stops)
        pieces = read_windows(clock.case, starts[used], stops[used])
        used[used] = [bool(window.observed.any()) for piece in pieces for window in piece]
        case = clock.case if groups is None else with_metadata(clock.case, subject=groups[i])
        windows += [cut_epoch(case, a, b) for a, b in zip(starts[used].tolist(), stops[used].tolist(), strict=True)]
        targets.append(values[used[labelled]])
    return Signals.from_cases(windows), np.concatenate(targets)


def balanced_accuracy(predictions: Sequence[NDArray[Any]], labels: Sequence[Labels]) -> float:
    """Return the balanced accuracy: the mean over labels of the share of their epochs that are predicted correctly."""
    true = np.concatenate([values for _, values in labels])
    predicted = np.concatenate([values[labelled] for values, (labelled, _) in zip(predictions, labels, strict=True)])
    return float(np.mean([np.mean(predicted[true == label] == label) for label in np.unique(true)]))


class EpochShape(NamedTuple):
    """Channels and rate of the stream, and the seconds of an epoch and of its context before and after."""

    n_channels: int
    epoch_s: float
    context_s: tuple[float, float]
    sfreq: float
    ch_names: tuple[str, ...] | None


class EpochStream:
    """Stream of a segmenter; the output for an epoch equals its prediction. Created by ``S4Segmenter.stream``."""

    def __init__(self, classifier: Any, shape: EpochShape, *, time_first: bool | None) -> None:
        self._classifier, self._shape, self._time_first = classifier, shape, time_first
        self._period = shape.epoch_s * shape.sfreq
        self._length = epoch_samples(shape.epoch_s, shape.sfreq, "the stream")
        self._before, self._after = (round(seconds * shape.sfreq) for seconds in shape.context_s)
        self.reset()

    def reset(self) -> None:
        """Discard all samples so far."""
        self._kept = np.zeros((self._shape.n_channels, 0))
        self._first = self._epoch = 0  # index of the first sample kept, and of the next epoch

    def push(self, chunk: ArrayLike) -> NDArray[np.float64]:
        """Process the next samples, (n_channels, n_times) of any number; NaN is a dropped sample.

        Returns ``predict_proba``, (n_epochs, n_classes), of the epochs that are now complete with the context after
        them; most often there are none.
        """
        n_channels, sfreq = self._shape.n_channels, self._shape.sfreq
        data = check_chunk(chunk, n_channels, sfreq=sfreq, time_first=self._time_first, missing="any")
        self._time_first = resolve_time_first(data.shape, self._time_first)
        self._kept = np.concatenate([self._kept, data], axis=1)
        windows = []
        n_needed = self._length + self._after
        while (end := round(self._epoch * self._period) + n_needed - self._first) <= self._kept.shape[1]:
            so_far = Signal(self._kept[:, :end], sfreq=self._shape.sfreq, ch_names=self._shape.ch_names)
            windows.append(cut_epoch(so_far, end - n_needed - self._before, end).load())
            self._epoch += 1
        spare = round(self._epoch * self._period) - self._before - self._first
        if spare > 0:
            self._kept, self._first = self._kept[:, spare:], self._first + spare
        return score_windows(self._classifier.predict_proba, windows, len(self._classifier.classes_))
