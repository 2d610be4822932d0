"""Streams of networks."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from s4signal.estimators.features.streaming import FeatureStream
from s4signal.estimators.standardizer import Standardizer
from s4signal.estimators.streams import LinearInterpolator, SignalStream
from s4signal.estimators.trained.plan import Plan
from s4signal.estimators.validation import finite_outputs
from s4signal.nn import S4Network
from s4signal.nn.steps import NetworkState, NetworkSteps
from s4signal.signals.resampling import hold_missing

Predict = Callable[[NDArray[np.floating]], NDArray[np.float64]]


class Stream(SignalStream):
    """Stream of a network that is causal or has limited look-ahead; the network is not shared with an estimator.

    ``finish`` turns outputs (1, n_outputs) into predictions; ``period`` is the sample period relative to training.
    A ``readout`` processes the same samples, and its scores are added.
    """

    def __init__(
        self,
        plan: Plan,
        standardizer: Standardizer,
        network: S4Network,
        finish: Callable[[NDArray[np.float64]], NDArray[np.float64]],
        *,
        period: float,
        readout: FeatureStream | None = None,
    ) -> None:
        # The plan describes how the network was built; a parameter may have been set since.
        if plan.sees_all:
            raise ValueError(
                "stream needs a causal model, this one looks ahead; fit with bidirectional=False (s4signal fit "
                "--causal) or lookahead_s=0.2 (--lookahead 0.2), or ask for windows: stream(window_s=...) (--window 2)."
            )
        self._network, self._finish, self._period, self._readout = network, finish, period, readout
        self._sampling, self._steps = plan.sampling, NetworkSteps(network, period)
        gaps = "whole" if plan.sampling.grid or readout is not None else "any"
        super().__init__(standardizer, missing="refused" if plan.sampling.missing == "error" else gaps)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the steps, which are built again from the network."""
        return {name: value for name, value in self.__dict__.items() if name != "_steps"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = state
        self._steps = NetworkSteps(self._network, self._period)

    def _reset_state(self) -> None:
        self._interpolator = LinearInterpolator()
        self._readout = None if self._readout is None else self._readout.fresh()
        self._state: NetworkState | None = None
        self._last: NDArray[np.floating] | None = None  # last observation of each channel
        self._n_pending = 0  # samples since the last observed one

    def _advance(self, data: NDArray[np.floating], *, answer: bool) -> NDArray[np.float64] | None:
        prediction = None
        # This also holds for short gaps of audio: a spline would need samples that are still to come.
        for piece in self._interpolator.interpolate(data) if self._sampling.grid else (data,):
            prediction = self._take(piece, answer=answer)
        return prediction

    def _take(self, data: NDArray[np.floating], *, answer: bool) -> NDArray[np.float64] | None:
        readout_scores = None if self._readout is None else self._readout.process(data, answer=answer)
        inputs, periods, pending = self._inputs(data)
        if not inputs.shape[-1]:
            self._n_pending = pending
            return None
        state, outputs = self._state, None
        for first, last, held in _runs(periods, inputs.shape[-1]):
            x = self._steps.tensor(inputs[..., first:last])
            outputs, state = self._steps.advance(x, state, held=held, answer=answer and last == inputs.shape[-1])
        if isinstance(outputs, Tensor):
            outputs = outputs.double().cpu().numpy()
        numbers = None if outputs is None else outputs.astype(np.float64)
        if self._readout is not None:  # it waits for the end of a gap
            numbers = None if numbers is None or readout_scores is None else numbers + readout_scores
        finite = numbers if numbers is None or np.isfinite(numbers).all() else finite_outputs(numbers)
        self._state, self._last, self._n_pending = state, inputs[..., : data.shape[-2], -1].copy(), pending
        prediction = None if finite is None else self._finish(finite)
        return prediction if prediction is None or data.ndim == 3 else prediction[0]

    def _inputs(self, data: NDArray[np.floating]) -> tuple[NDArray[np.floating], NDArray[np.intp] | None, int]:
        """Return samples like `prepare_case`, above masks; periods each covers (None: one); the number missing last."""
        missing, n, pending, periods = np.isnan(data), data.shape[-1], 0, None
        has_missing = bool(missing.any())
        if self._sampling.missing == "gap" and self._sampling.gaps and (self._n_pending or has_missing):
            present = np.flatnonzero(~missing.all(0))
            periods = np.diff(present, prepend=-1 - self._n_pending)
            if self._state is None:  # nothing precedes the first sample
                periods[:1] = 1
            pending = self._n_pending + n if not len(present) else n - 1 - int(present[-1])
            data, missing = data[:, present], missing[:, present]
        if has_missing and missing.any():
            data = hold_missing(data, missing, 0.0 if self._last is None else self._last[:, None])
        if self._sampling.masked:
            data = np.concatenate([data, ~missing[..., list(self._sampling.masked), :]], axis=-2)
        return data, periods, pending


class WholeStream(SignalStream):
    """Stream of a network that looks ahead: each output is a new prediction of all samples so far; windows limit them.

    ``predict`` returns the output for a recording (n_channels, n_times) in original units.
    """

    _PARALLEL = False

    def __init__(self, standardizer: Standardizer, predict: Predict, *, missing: str) -> None:
        self._predict = predict
        super().__init__(standardizer, missing=missing)

    def _reset_state(self) -> None:
        self._chunks: list[NDArray[np.floating]] = []

    def _advance(self, data: NDArray[np.floating], *, answer: bool) -> NDArray[np.float64] | None:
        self._chunks = [*self._chunks, data]
        if not answer:
            return None
        self._chunks = [np.concatenate(self._chunks, axis=1)]
        recording = self._standardizer.inverse(self._chunks[0])
        return None if np.isnan(recording).all() else self._predict(recording)


def _runs(periods: NDArray[np.intp] | None, n: int) -> Iterator[tuple[int, int, int]]:
    """Split n samples into runs of one period each, and single samples that cover more."""
    if periods is None:
        yield 0, n, 1
        return
    late = np.flatnonzero(periods > 1)
    for first, last in pairwise(sorted({0, n, *late.tolist(), *(late + 1).tolist()})):
        yield first, last, int(periods[first])
