"""Streams of both families of estimators: checks of chunks, windows, and the method `stream`."""

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
from s4signal.estimators.standardizer import LARGEST, OTHER_UNITS, Standardizer, warn_of_differences
from s4signal.estimators.validation import all_finite, check_chunk, window_samples

_LONGEST = 2**14  # samples interpolated at once


class SignalStream(ABC):
    """Online prediction in bounded memory; the output equals the prediction of all samples so far as one case.

    A stream keeps the model it was built with, even if the estimator changes later. Created by ``stream()``.

    Parameters
    ----------
    standardizer : Standardizer
        Standardises the channels.
    missing : {"refused", "whole", "any"}
        Samples that may be missing: none, only all channels at once, or any.

    Attributes
    ----------
    n_missing : int
        Number of NaN values so far, over all channels.
    """

    time_first: bool | None = None
    sfreq: float | None = None
    n_streams: int | None = None  # parallel streams
    _PARALLEL: ClassVar[bool] = True  # whether `_advance` takes (n_streams, n_channels, n_times) as well

    def __init__(self, standardizer: Standardizer, *, missing: str = "refused") -> None:
        if standardizer.kept is not None:
            raise ValueError(
                "the training cases have such different offsets that the mean of each was subtracted; a stream does "
                "not know it yet; fit with a causal high-pass in front, such as BandPass(0.5, None, causal=True)."
            )
        self._standardizer, self._missing = standardizer, missing
        self.reset()

    def reset(self) -> None:
        """Discard all samples so far."""
        self._warned, self.n_missing = False, 0
        self._n_samples = self._next_check = 0  # samples so far, and their number at the next check of inputs
        self._last_output: NDArray[np.floating] | None = None
        self._each: list[SignalStream] = []  # of parallel streams, if they cannot be computed as a batch
        self._reset_state()

    def fresh(self) -> Self:
        """Return a stream of the same model in its initial state."""
        other = object.__new__(type(self))
        vars(other).update(vars(self))  # shares everything that does not depend on samples
        other.reset()
        return other

    def push(self, chunk: ArrayLike) -> NDArray[np.floating]:
        """Process the next samples and return the output.

        Parameters
        ----------
        chunk : array-like (n_channels, n_times)
            The next samples, of any number; (n_times,) for one channel. With ``stream(time_first=True)``
            (n_times, n_channels), as in LSL, or one sample (n_channels,). An empty chunk changes nothing. NaN is a
            dropped sample: a gap, if the model supports gaps (audio is interpolated linearly; `predict` uses a spline
            across fewer than eight samples). With ``stream(n_streams=...)``, stacked chunks of one shape, without NaN.

        Returns
        -------
        ndarray (n_outputs,) or (n_features,), or a row for each of the streams
            Output of ``predict_proba`` (a classifier), ``predict`` (a regressor) or ``transform`` for all samples so
            far, or for the window; the previous output if none of the new samples is observed.

        Raises
        ------
        ShapeError
            If the chunk has other channels, if the first chunk is empty, or if there is not one chunk per stream.
        ValueError, TypeError
            If a sample is infinite, or NaN where the model does not accept missing samples, or if `predict` would not
            accept the chunk either.

        Warns
        -----
        UserWarning
            If a chunk varies 100 times as much as any training case; if its reference is the average of the channels
            and that of no training case is, or the reverse (checked whenever the number of samples has doubled); or if
            it is square and `time_first` was not given.
        """
        n_channels = len(self._standardizer.mean)
        chunks: Sequence[Any] = [chunk] if self.n_streams is None else stacked_chunks(chunk, self.n_streams)
        options: dict[str, Any] = {"sfreq": self.sfreq, "time_first": self.time_first, "missing": self._missing}
        pieces = [check_chunk(one, n_channels, **options) for one in chunks]
        if not pieces[0].size:
            if self._last_output is None:
                raise ShapeError("chunk is empty and nothing came before; push at least one sample.")
            return self._last_output.copy()
        if self.n_streams is None:
            if self._last_output is None and np.isnan(pieces[0]).all():
                raise ValueError(
                    "the chunk contains NaN alone and nothing came before; push at least one observed sample."
                )
        elif gaps := [k for k, data in enumerate(pieces) if np.isnan(data).any()]:
            raise ValueError(
                f"chunk {gaps[0]} contains NaN, but parallel streams accept no gaps; push the last value instead, or "
                "open a separate stream for a signal with missing samples."
            )
        measured = [self._standardizer.measured(data) for data in pieces]
        self._check_inputs(pieces, largest := max(largest for _, largest in measured))
        if largest > LARGEST:
            for data in pieces:
                self._standardizer(data, "the chunk")  # raises an error
        answer = self.process(measured[0][0] if self.n_streams is None else np.stack([data for data, _ in measured]))
        self.n_missing += int(np.count_nonzero(np.isnan(pieces[0])))  # parallel streams have no missing samples
        self._last_output = self._last_output if answer is None else answer
        if self._last_output is None:  # the observed samples lie before all windows
            raise ValueError(
                "the chunk ends in NaN for longer than a window, and nothing came before; push a shorter one."
            )
        return self._last_output.copy()

    def process(self, data: NDArray[np.floating], *, answer: bool = True) -> NDArray[np.floating] | None:
        """Process standardised samples (n_channels, n_times), NaN where missing; return None if there is no new output.

        Parallel streams take (n_streams, n_channels, n_times) and return one row for each.
        """
        if data.ndim == 2 or self._PARALLEL:
            return self._advance(data, answer=answer)
        self._each = self._each or [self.fresh() for _ in data]
        outputs = [stream.process(one, answer=answer) for stream, one in zip(self._each, data, strict=True)]
        return np.array(outputs) if answer else None

    @abstractmethod
    def _reset_state(self) -> None:
        """Return to the initial state."""

    @abstractmethod
    def _advance(self, data: NDArray[np.floating], *, answer: bool) -> NDArray[np.floating] | None:
        """Process standardised samples (n_channels, n_times); return an output if ``answer`` and one was observed."""

    def _check_inputs(self, pieces: Sequence[NDArray[np.floating]], largest: float) -> None:
        """Warn once of other units (by the largest deviation), another reference, or a chunk that may be transposed."""
        self.time_first = resolve_time_first(pieces[0].shape, self.time_first)
        self._n_samples += pieces[0].shape[1]
        other_units = largest > OTHER_UNITS * self._standardizer.range[1]
        if not self._warned and (other_units or self._n_samples >= self._next_check):
            self._next_check = 2 * self._n_samples
            statistics = np.array([self._standardizer.statistics(data) for data in pieces])
            self._warned = warn_of_differences(self._standardizer, statistics, chunk=True)


def resolve_time_first(shape: Sequence[int], time_first: bool | None) -> bool:
    """Warn of a square chunk if ``time_first`` is None; return the value to use."""
    if time_first is None and shape[0] == shape[1] > 1:
        warnings.warn(
            f"the chunk is square, {tuple(shape)}, and is taken as (n_channels, n_times). Pass "
            "stream(time_first=False) if that is right, or stream(time_first=True) for LSL's (n_times, n_channels).",
            stacklevel=4,
        )
    return bool(time_first)


class LinearInterpolator:
    """Linear interpolation of dropped samples, as for cases; trailing ones wait for the next observation."""

    def __init__(self) -> None:
        self._last: NDArray[np.floating] | None = None  # the last sample (n_channels, 1)
        self._n_pending = 0

    def interpolate(self, data: NDArray[np.floating]) -> Iterator[NDArray[np.floating]]:
        """Yield the samples (…, n_channels, n_times) up to the last observed one, in pieces."""
        first, end, at = -self._n_pending, data.shape[-1], None
        if self._n_pending or not all_finite(data):
            observed = np.flatnonzero(~np.isnan(data).any(0))
            if not len(observed):
                self._n_pending += end
                return
            end, values = int(observed[-1]) + 1, data[:, observed]
            at = observed if self._last is None else np.append(first - 1, observed)
            values = values if self._last is None else np.append(self._last, values, axis=1)
        for start in range(first, end, _LONGEST):
            stop = min(start + _LONGEST, end)
            when = np.arange(start, stop)
            yield data[..., start:stop] if at is None else np.stack([np.interp(when, at, row) for row in values])
        self._last, self._n_pending = data[..., end - 1 : end].copy(), data.shape[-1] - end


class WindowStream(SignalStream):
    """Predictions for the last seconds: streams that start one after the other, of which the oldest gives the output.

    Windows start every ``n_step`` samples; the oldest of at most ``n_window`` samples gives the output. The stream of a
    window starts from the initial state at its first sample.
    """

    def __init__(self, stream: SignalStream, n_window: int, n_step: int) -> None:
        self._stream, self._n_window, self._n_step = stream, n_window, n_step
        super().__init__(stream._standardizer, missing=stream._missing)

    def _reset_state(self) -> None:
        self._open: list[tuple[int, SignalStream]] = []
        self._now = 0

    def _advance(self, data: NDArray[np.floating], *, answer: bool) -> NDArray[np.floating] | None:
        now, end = self._now, self._now + data.shape[-1]
        first, oldest = -(-now // self._n_step) * self._n_step, end - self._n_window
        new = [(start, self._stream.fresh()) for start in range(first, end, self._n_step) if start >= oldest]
        self._open = [(start, stream) for start, stream in self._open + new if start >= oldest]
        self._now = end
        outputs = [
            stream.process(data[..., max(0, start - now) :], answer=answer and index == 0)
            for index, (start, stream) in enumerate(self._open)
        ]
        return outputs[0]


def stacked_chunks(chunks: Any, n_streams: int) -> list[Any]:
    """Return the chunks of parallel streams; refuse another number of them, or different lengths."""
    each = list(chunks) if hasattr(chunks, "__len__") else []
    if len(each) != n_streams or len({np.shape(chunk) for chunk in each}) > 1:
        got = f"{len(each)} of {', '.join(sorted({str(np.shape(chunk)) for chunk in each})[:3])}" if each else "none"
        raise ShapeError(f"push the chunks of all {n_streams} streams, of one shape, along a first axis; got {got}.")
    return each


class StreamMixin:
    """The method `stream`; ``_open_stream`` of a copy creates the stream."""

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
        """Predict, or compute features, while the signal arrives, by ``push(chunk)``; a later fit changes no stream.

        Parameters
        ----------
        sfreq : float, optional
            Sampling rate of the stream, in Hz; by default the training rate.
        window_s : float, positive, optional
            Predict the last `window_s` seconds, or up to `step_s` less; by default all samples so far. A window starts
            every `step_s`; the samples of the oldest one that is no longer than `window_s` are predicted as one case.
            A full window gives the prediction of the same window of `s4signal.signals.windows` with
            ``duration_s=window_s, step_s=step_s``. A non-causal model needs windows: each push predicts one again.
        step_s : float, positive, optional
            Time from the start of a window to the start of the next [s]; half of `window_s` by default. A push costs
            ``window_s / step_s`` times as much as without windows.
        time_first : bool, optional
            Whether chunks are (n_times, n_channels), as in LSL. By default they are (n_channels, n_times), with a
            warning for a square one.
        n_streams : int, >= 1, optional
            Number of parallel signals, in chunks (n_streams, n_channels, n_times); each is processed independently.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If sfreq is given and the model was fitted without one, or is not given and it was fitted with times; if it
            was fitted on mostly missing data, or looks ahead without windows; if no rate is known for windows, or they
            are shorter than a sample or a step; if `n_streams` is not a positive integer.
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
