"""Prediction while the signal arrives."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from s4signal.estimators.features.streaming import FeatureStream
from s4signal.estimators.standardizer import Standardizer
from s4signal.estimators.streams import Lines, SignalStream
from s4signal.estimators.trained.plan import Plan
from s4signal.estimators.validation import finite_outputs
from s4signal.nn import S4Network
from s4signal.nn.steps import NetworkState, NetworkSteps
from s4signal.signals.resampling import hold_missing


class Stream(SignalStream):
    """A network that listens, and looks no further ahead than so far; it is for inference and no other's.

    ``finish`` makes predictions of outputs (1, n_outputs); ``period`` is that of a sample, over that of the training.
    A ``readout`` hears the same, and its scores are added.
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
        # The plan knows how the network was built; a parameter may have been set since.
        if plan.sees_all:
            raise ValueError(
                "stream needs a causal model, this one looks ahead; fit with bidirectional=False (s4signal fit "
                "--causal) or lookahead_s=0.2 (--lookahead 0.2), or ask for windows: stream(window_s=...)."
            )
        self._network, self._finish, self._period, self._readout = network, finish, period, readout
        self._sampling, self._steps = plan.sampling, NetworkSteps(network, period)
        gaps = "whole" if plan.sampling.grid or readout is not None else "any"
        super().__init__(standardizer, missing="refused" if plan.sampling.missing == "error" else gaps)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is made of the network again."""
        return {name: value for name, value in self.__dict__.items() if name != "_steps"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = state
        self._steps = NetworkSteps(self._network, self._period)

    def _forget(self) -> None:
        self._lines = Lines()
        self._readout = None if self._readout is None else self._readout.fresh()
        self._state: NetworkState | None = None
        self._last: NDArray[np.floating] | None = None  # observation of each channel
        self._lost = 0  # samples since the last that was observed

    def _advance(self, data: NDArray[np.floating], *, answer: bool) -> NDArray[np.float64] | None:
        said = None
        # Across short holes of sound, too: a spline would go through samples that are still to come.
        for piece in self._lines.over(data) if self._sampling.grid else (data,):
            said = self._take(piece, answer=answer)
        return said

    def _take(self, data: NDArray[np.floating], *, answer: bool) -> NDArray[np.float64] | None:
        own = None if self._readout is None else self._readout.hear(data, answer=answer)
        inputs, periods, lost = self._inputs(data)
        if not inputs.shape[-1]:
            self._lost = lost
            return None
        state, outputs = self._state, None
        for first, last, held in _runs(periods, inputs.shape[-1]):
            x = self._steps.tensor(inputs[..., first:last])
            outputs, state = self._steps.advance(x, state, held=held, answer=answer and last == inputs.shape[-1])
        if isinstance(outputs, Tensor):
            outputs = outputs.double().cpu().numpy()
        numbers = None if outputs is None else outputs.astype(np.float64)
        if self._readout is not None:  # which waits for the end of what is lost
            numbers = None if numbers is None or own is None else numbers + own
        finite = numbers if numbers is None or np.isfinite(numbers).all() else finite_outputs(numbers)
        self._state, self._last, self._lost = state, inputs[..., : data.shape[-2], -1].copy(), lost
        said = None if finite is None else self._finish(finite)
        return said if said is None or data.ndim == 3 else said[0]

    def _inputs(self, data: NDArray[np.floating]) -> tuple[NDArray[np.floating], NDArray[np.intp] | None, int]:
        """Return samples as `prepare_case` gives them, masks below; the periods each stands for; how many were lost.

        No periods if each stands for one.
        """
        missing, n, lost, periods = np.isnan(data), data.shape[-1], 0, None
        holes = bool(missing.any())
        if self._sampling.missing == "gap" and self._sampling.gaps and (self._lost or holes):
            present = np.flatnonzero(~missing.all(0))
            periods = np.diff(present, prepend=-1 - self._lost)
            if self._state is None:  # nothing precedes the first sample
                periods[:1] = 1
            lost = self._lost + n if not len(present) else n - 1 - int(present[-1])
            data, missing = data[:, present], missing[:, present]
        if holes and missing.any():
            before = np.zeros(len(data)) if self._last is None else self._last
            behind = np.concatenate([before[:, None], data], axis=1)
            data = hold_missing(behind, np.pad(missing, ((0, 0), (1, 0))))[:, 1:]
        if self._sampling.masked:
            data = np.concatenate([data, ~missing[..., list(self._sampling.masked), :]], axis=-2)
        return data, periods, lost


class WholeStream(SignalStream):
    """A network that looks ahead: all samples so far are predicted anew for each answer; windows keep them few.

    ``predict`` says of a recording (n_channels, n_times), not standardised, what the stream answers.
    """

    _SIDE_BY_SIDE = False

    def __init__(
        self,
        standardizer: Standardizer,
        predict: Callable[[NDArray[np.floating]], NDArray[np.float64]],
        *,
        missing: str,
    ) -> None:
        self._predict = predict
        super().__init__(standardizer, missing=missing)

    def _forget(self) -> None:
        self._heard: list[NDArray[np.floating]] = []

    def _advance(self, data: NDArray[np.floating], *, answer: bool) -> NDArray[np.float64] | None:
        self._heard = [*self._heard, data]
        if not answer:
            return None
        self._heard = [np.concatenate(self._heard, axis=1)]
        recording = self._standardizer.undone(self._heard[0])
        return None if np.isnan(recording).all() else self._predict(recording)


def _runs(periods: NDArray[np.intp] | None, n: int) -> Iterator[tuple[int, int, int]]:
    """Cut n samples into runs of one period each, and samples that stand for more."""
    if periods is None:
        yield 0, n, 1
        return
    late = np.flatnonzero(periods > 1)
    for first, last in pairwise(sorted({0, n, *late.tolist(), *(late + 1).tolist()})):
        yield first, last, int(periods[first])
