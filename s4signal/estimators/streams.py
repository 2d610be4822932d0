"""What the streams of both wings share: checked chunks, windows, and the door to them."""

import copy
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from s4signal.errors import ShapeError
from s4signal.estimators.standardizer import LARGEST, OTHER_UNITS, Standardizer, warn_of_looks
from s4signal.estimators.validation import all_finite, check_chunk, window_samples

_LONGEST = 2**14  # samples of a line at once


class SignalStream(ABC):
    """A model that listens: memory is bounded, and what it says equals the prediction of all samples so far.

    It keeps the model that it was built with, whatever becomes of the estimator. Made by ``stream()``.

    Parameters
    ----------
    standardizer : Standardizer
        Of the channels.
    missing : {"refused", "whole", "any"}
        Whether samples may be missing: none, at all channels at once, or at any.

    Attributes
    ----------
    n_missing : int
        Values so far that were NaN, of all channels together.
    """

    time_first: bool | None = None
    sfreq: float | None = None
    n_streams: int | None = None  # side by side
    _SIDE_BY_SIDE: ClassVar[bool] = True  # whether `_advance` takes (n_streams, n_channels, n_times) as well

    def __init__(self, standardizer: Standardizer, *, missing: str = "refused") -> None:
        if standardizer.kept is not None:
            raise ValueError(
                "the training cases lie so far apart that the mean of each was taken away, which a stream does not "
                "know yet; fit with a causal high-pass in front, such as BandPass(0.5, None, causal=True)."
            )
        self._standardizer, self._missing = standardizer, missing
        self.reset()

    def reset(self) -> None:
        """Forget all samples so far."""
        self._warned, self.n_missing = False, 0
        self._n_heard = self._next_look = 0  # samples so far, and those after which a chunk is looked at again
        self._answer: NDArray[np.floating] | None = None  # the last one
        self._each: list[SignalStream] = []  # of streams side by side, where there is no faster way
        self._forget()

    def fresh(self) -> Self:
        """Return a stream of the same model that has heard nothing."""
        other = object.__new__(type(self))
        vars(other).update(vars(self))  # shared: what does not depend on samples
        other.reset()
        return other

    def push(self, chunk: ArrayLike) -> NDArray[np.floating]:
        """Take the next samples.

        Parameters
        ----------
        chunk : array-like (n_channels, n_times)
            The next samples, of any number; (n_times,) for one channel. With ``stream(time_first=True)``
            (n_times, n_channels), as LSL gives them, or one sample (n_channels,). An empty chunk changes nothing.
            NaN is a sample that was lost: a gap, where the model takes such (of sound a line; `predict` has a spline
            across fewer than eight). With ``stream(n_streams=...)`` chunks of one shape are stacked, without NaN.

        Returns
        -------
        ndarray (n_outputs,) or (n_features,), or a row for each of the streams
            What ``predict_proba`` (a classifier), ``predict`` (a regressor) or ``transform`` says of all samples so
            far, or of the window; while none is observed, what it said before.

        Raises
        ------
        ShapeError
            If the chunk has other channels, or there was no sample yet, or chunks are not one for each stream.
        ValueError, TypeError
            If a sample is infinite, or NaN where the model takes none, or the chunk is something that `predict` would
            refuse too.

        Warns
        -----
        UserWarning
            If a chunk varies 100 times as much as any training case; if its reference is the average of the channels
            and that of no training case is, or the reverse (looked at whenever twice as much has been heard); or if it
            is square and nobody said which axis is time.
        """
        n_channels = len(self._standardizer.mean)
        chunks: Sequence[Any] = [chunk] if self.n_streams is None else stacked_chunks(chunk, self.n_streams)
        door: dict[str, Any] = {"sfreq": self.sfreq, "time_first": self.time_first, "missing": self._missing}
        pieces = [check_chunk(one, n_channels, **door) for one in chunks]
        if not pieces[0].size:
            if self._answer is None:
                raise ShapeError("chunk is empty and nothing came before; push at least one sample.")
            return self._answer.copy()
        if self.n_streams is None:
            if self._answer is None and np.isnan(pieces[0]).all():
                raise ValueError(
                    "the chunk contains NaN alone and nothing came before; push at least one observed sample."
                )
        elif gaps := [k for k, data in enumerate(pieces) if np.isnan(data).any()]:
            raise ValueError(
                f"chunk {gaps[0]} contains NaN, and streams side by side take no gaps; push the last value instead, or "
                "open a stream of its own for a signal that may miss samples."
            )
        measured = [self._standardizer.measured(data) for data in pieces]
        self._look_at(pieces, largest := max(largest for _, largest in measured))
        if largest > LARGEST:
            for data in pieces:
                self._standardizer(data, "the chunk")  # which refuses it
        answer = self.hear(measured[0][0] if self.n_streams is None else np.stack([data for data, _ in measured]))
        self.n_missing += int(np.count_nonzero(np.isnan(pieces[0])))  # those side by side miss none
        self._answer = self._answer if answer is None else answer
        if self._answer is None:  # what was observed lies before all windows
            raise ValueError(
                "the chunk ends in NaN for longer than a window, and nothing came before; push it shorter."
            )
        return self._answer.copy()

    def hear(self, data: NDArray[np.floating], *, answer: bool = True) -> NDArray[np.floating] | None:
        """Take standardised samples (n_channels, n_times), NaN where missing; None if nothing new is said.

        Of streams side by side they are (n_streams, n_channels, n_times), and so is what is said of them.
        """
        if data.ndim == 2 or self._SIDE_BY_SIDE:
            return self._advance(data, answer=answer)
        self._each = self._each or [self.fresh() for _ in data]
        said = [stream.hear(one, answer=answer) for stream, one in zip(self._each, data, strict=True)]
        return np.array(said) if answer else None

    @abstractmethod
    def _forget(self) -> None:
        """Go back to before the first sample."""

    @abstractmethod
    def _advance(self, data: NDArray[np.floating], *, answer: bool) -> NDArray[np.floating] | None:
        """Take standardised samples (n_channels, n_times), and answer, if asked and if one was observed."""

    def _look_at(self, pieces: Sequence[NDArray[np.floating]], largest: float) -> None:
        """Warn, once, of other units (by the largest deviation), another reference, or a chunk that may be turned."""
        self.time_first = said_axes(pieces[0].shape, self.time_first)
        self._n_heard += pieces[0].shape[1]
        wild = largest > OTHER_UNITS * self._standardizer.range[1]
        if not self._warned and (wild or self._n_heard >= self._next_look):
            self._next_look = 2 * self._n_heard
            look = np.array([self._standardizer.look(data) for data in pieces])
            self._warned = warn_of_looks(self._standardizer, look, chunk=True)


def said_axes(shape: Sequence[int], time_first: bool | None) -> bool:
    """Warn of a square chunk of which nobody said which axis is time; return what holds from then on."""
    if time_first is None and shape[0] == shape[1] > 1:
        n = shape[0]
        warnings.warn(
            f"the chunk is square, ({n}, {n}), and is taken as (n_channels, n_times). Say stream(time_first=False) "
            "if that is right, stream(time_first=True) if it is (n_times, n_channels), as LSL gives it.",
            stacklevel=4,
        )
    return bool(time_first)


class Lines:
    """Lines over what was lost, as over the missing samples of a case; what is lost last waits for its end."""

    def __init__(self) -> None:
        self._last: NDArray[np.floating] | None = None  # the sample that came last (n_channels, 1)
        self._lost = 0

    def over(self, data: NDArray[np.floating]) -> Iterator[NDArray[np.floating]]:
        """Return the samples (…, n_channels, n_times) up to the last that was observed, in pieces."""
        first, end, at = -self._lost, data.shape[-1], None
        if self._lost or not all_finite(data):
            seen = np.flatnonzero(~np.isnan(data).any(0))
            if not len(seen):
                self._lost += end
                return
            end, known = int(seen[-1]) + 1, data[:, seen]
            at = seen if self._last is None else np.append(first - 1, seen)
            known = known if self._last is None else np.append(self._last, known, axis=1)
        for start in range(first, end, _LONGEST):
            stop = min(start + _LONGEST, end)
            when = np.arange(start, stop)
            yield data[..., start:stop] if at is None else np.stack([np.interp(when, at, row) for row in known])
        self._last, self._lost = data[..., end - 1 : end].copy(), data.shape[-1] - end


class WindowStream(SignalStream):
    """What a model says of the last seconds: streams that begin one after the other, of which the oldest answers.

    Windows begin every ``n_step`` samples, and the oldest of at most ``n_window`` samples answers. Each is heard from
    its own first sample on.
    """

    def __init__(self, stream: SignalStream, n_window: int, n_step: int) -> None:
        self._stream, self._n_window, self._n_step = stream, n_window, n_step
        super().__init__(stream._standardizer, missing=stream._missing)

    def _forget(self) -> None:
        self._open: list[tuple[int, SignalStream]] = []
        self._now = 0

    def _advance(self, data: NDArray[np.floating], *, answer: bool) -> NDArray[np.floating] | None:
        now, end = self._now, self._now + data.shape[-1]
        first, oldest = -(-now // self._n_step) * self._n_step, end - self._n_window
        new = [(start, self._stream.fresh()) for start in range(first, end, self._n_step) if start >= oldest]
        self._open = [(start, stream) for start, stream in self._open + new if start >= oldest]
        self._now = end
        said = [
            stream.hear(data[..., max(0, start - now) :], answer=answer and index == 0)
            for index, (start, stream) in enumerate(self._open)
        ]
        return said[0]


def stacked_chunks(chunks: Any, n_streams: int) -> list[Any]:
    """Return the chunks of streams side by side; refuse another number of them, and other lengths."""
    each = list(chunks) if hasattr(chunks, "__len__") else []
    if len(each) != n_streams or len({np.shape(chunk) for chunk in each}) > 1:
        came = f"{len(each)} of {', '.join(sorted({str(np.shape(chunk)) for chunk in each})[:3])}" if each else "none"
        raise ShapeError(f"push the chunks of all {n_streams} streams, of one shape, along a first axis; got {came}.")
    return each


class StreamMixin:
    """The door to a stream, which ``_open_stream`` of a copy makes."""

    _open_stream: Callable[[float | None], SignalStream]
    sfreq_: float | None

    def _open_windows(self, sfreq: float | None) -> SignalStream:
        return self._open_stream(sfreq)

    def stream(
        self,
        *,
        sfreq: float | None = None,
        window_s: float | None = None,
        step_s: float | None = None,
        time_first: bool | None = None,
        n_streams: int | None = None,
    ) -> SignalStream:
        """Predict, or describe, while the signal arrives, by ``push(chunk)``; a later fit reaches no open stream.

        Parameters
        ----------
        sfreq : float, optional
            Sampling rate of the stream, in Hz; that of the training by default.
        window_s : float, positive, optional
            Answer for the last seconds only; by default for all since the stream began. A window begins every `step_s`;
            the oldest that is no longer than `window_s` answers, and says what ``predict`` says of its samples as one
            case: whenever it is full, exactly what it says of a window that `s4signal.signals.windows` cuts with
            ``duration_s=window_s, step_s=step_s``. A model that sees all ahead needs windows: a push predicts one anew.
        step_s : float, positive, optional
            From the start of a window to the start of the next [s]; half of `window_s` by default. A push costs
            ``window_s / step_s`` times what it costs without windows.
        time_first : bool, optional
            Whether chunks are (n_times, n_channels), as LSL gives them. By default they are (n_channels, n_times), and
            a square one is taken so with a warning.
        n_streams : int, >= 1, optional
            Follow as many signals at once, in chunks (n_streams, n_channels, n_times), each as if it were alone.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If sfreq is given and the model was fitted without one, or is not given and it was fitted with times; if it
            was fitted on mostly missing data, or looks ahead without windows; if no rate is known for windows, or they
            are shorter than a sample or a step; if `n_streams` is no positive integer.
        """
        check_is_fitted(self)
        if n_streams is not None and not (isinstance(n_streams, Integral) and n_streams >= 1):
            raise ValueError(f"n_streams={n_streams!r} must be a positive integer, or None for one signal.")
        own, rate = copy.copy(self), self.sfreq_ if sfreq is None else sfreq
        if window_s is None and step_s is None:
            stream = own._open_stream(sfreq)
        else:
            stream = WindowStream(own._open_windows(sfreq), *window_samples(window_s, step_s, rate))
        stream.time_first, stream.sfreq, stream.n_streams = time_first, rate, n_streams
        return stream
