"""Labels of epochs while a signal arrives."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from s4signal.estimators.segments import score_windows
from s4signal.estimators.streams import said_axes
from s4signal.estimators.validation import check_chunk
from s4signal.signals import Signal
from s4signal.signals.epochs import cut_epoch, epoch_samples


class EpochShape(NamedTuple):
    """Channels and seconds of an epoch, and of what is seen before and after it."""

    n_channels: int
    epoch_s: float
    context_s: tuple[float, float]
    sfreq: float
    ch_names: tuple[str, ...] | None


class EpochStream:
    """A segmenter that listens: what it says of an epoch equals the prediction; made by ``S4Segmenter.stream``."""

    def __init__(self, classifier: Any, shape: EpochShape, *, time_first: bool | None) -> None:
        self._classifier, self._shape, self._time_first = classifier, shape, time_first
        self._period = shape.epoch_s * shape.sfreq
        self._length = epoch_samples(shape.epoch_s, shape.sfreq, "the stream")
        self._before, self._after = (round(seconds * shape.sfreq) for seconds in shape.context_s)
        self.reset()

    def reset(self) -> None:
        """Forget all samples so far."""
        self._kept = np.zeros((self._shape.n_channels, 0))
        self._first = self._epoch = 0  # the sample at which what is kept begins, and the epoch that comes next

    def push(self, chunk: ArrayLike) -> NDArray[np.float64]:
        """Take the next samples, (n_channels, n_times) of any number; NaN is a sample that was lost.

        Returns what ``predict_proba`` says, (n_epochs, n_classes), of the epochs of which all is heard now, what comes
        after them too: most often none.
        """
        n_channels, sfreq = self._shape.n_channels, self._shape.sfreq
        data = check_chunk(chunk, n_channels, sfreq=sfreq, time_first=self._time_first, missing="any")
        self._time_first = said_axes(data.shape, self._time_first)
        self._kept = np.concatenate([self._kept, data], axis=1)
        windows = []
        seen = self._length + self._after
        while (end := round(self._epoch * self._period) + seen - self._first) <= self._kept.shape[1]:
            so_far = Signal(self._kept[:, :end], sfreq=self._shape.sfreq, ch_names=self._shape.ch_names)
            windows.append(cut_epoch(so_far, end - seen - self._before, end).load())
            self._epoch += 1
        spare = round(self._epoch * self._period) - self._before - self._first
        if spare > 0:
            self._kept, self._first = self._kept[:, spare:], self._first + spare
        return score_windows(self._classifier.predict_proba, windows, len(self._classifier.classes_))
