"""Prediction while the signal arrives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from s4signal.errors import ShapeError
from s4signal.estimators.validation import check_finite, check_rate
from s4signal.nn import for_inference
from s4signal.training import PRECISIONS, resolve_device

if TYPE_CHECKING:
    from s4signal.estimators.trained.base import S4Estimator

__all__ = ["Stream", "read_chunk", "stream_rate"]


def stream_rate(estimator: Any, sfreq: float | None, *, timed: bool, sparse: bool) -> float:
    """Compare the sample period of a stream with that of the training."""
    check_rate(estimator, sfreq)
    if timed and sfreq is None:
        raise ValueError("the model was fitted with times; a stream is regular: pass its rate, stream(sfreq=...).")
    if sparse:
        raise ValueError(
            "the model was fitted on sparse records, and a stream misses no sample; predict on whole cases."
        )
    return 1.0 if sfreq is None or estimator.sfreq_ is None else float(estimator.sfreq_ / sfreq)


def read_chunk(chunk: ArrayLike, n_channels: int) -> NDArray[np.float64]:
    """Check a piece of a stream.

    Shapes: chunk (n_channels, n_times) → (n_channels, n_times).
    """
    data = np.atleast_2d(np.asarray(chunk, dtype=np.float64))
    if data.ndim != 2 or len(data) != n_channels:
        raise ShapeError(f"chunk must have shape ({n_channels}, n_times), got {np.shape(chunk)}.")
    check_finite(data, 0, "the chunk")
    return data


class Stream:
    """A causal model that listens: memory is bounded, and what it says equals the prediction of all heard so far.

    Parameters
    ----------
    estimator : S4Classifier or S4Regressor
        Fitted with ``bidirectional=False``.
    sfreq : float, optional
        Sampling rate of the stream, in Hz; that of the training by default.

    Raises
    ------
    ValueError
        If sfreq is not positive, the model was fitted without one, with times and none is given, or on sparse records;
        if the front end hears whole cases alone.
    """

    def __init__(self, estimator: S4Estimator, *, sfreq: float | None = None) -> None:
        self._estimator = estimator
        plan = estimator._plan.sampling
        self._rate = stream_rate(estimator, sfreq, timed=plan.times, sparse=plan.sparse)
        self._network = for_inference(estimator._on(resolve_device(estimator.device)))
        self._unit = self._network.frontend.unit(self._rate)
        self.reset()

    def reset(self) -> None:
        """Forget all that was heard."""
        self._rest = np.zeros((self._estimator._plan.n_inputs, 0))
        self._state: list[Any] | None = None
        self._pooled: _RunningPool = _RunningPool()

    def push(self, chunk: ArrayLike) -> NDArray[np.float64]:
        """Hear a chunk.

        Parameters
        ----------
        chunk : array-like (n_channels, n_times)
            The next samples, of any number; (n_times,) for one channel.

        Returns
        -------
        ndarray (n_outputs,)
            What ``predict_proba`` (a classifier) or ``predict`` (a regressor) says of all heard so far.

        Raises
        ------
        ShapeError
            If the chunk has other channels, or nothing was heard yet.
        ValueError
            If a sample is NaN or infinite.
        """
        data = read_chunk(chunk, self._estimator.n_channels_in_)
        there = np.ones((self._rest.shape[0] - len(data), data.shape[1]))  # masks: nothing is missing
        heard = np.concatenate([self._estimator._standardizer(data), there])
        heard = np.concatenate([self._rest, heard], axis=1)
        whole = heard.shape[1] // self._unit * self._unit
        if whole:
            h, self._state = self._advance(heard[:, :whole])
            self._pooled = self._pooled.with_steps(h)
        self._rest = heard[:, whole:]
        pooled = self._pooled
        if self._rest.shape[1]:
            # The unfinished hop is heard on a copy of the state, and again when it is whole.
            pooled = pooled.with_steps(self._advance(self._rest)[0])
        if pooled.count == 0:
            raise ShapeError("chunk is empty and nothing was heard before; push at least one sample.")
        with torch.no_grad():
            outputs = self._network.head(pooled.value(self._network.pooling).T)
        scores: NDArray[np.float64] = self._estimator._finish(outputs.double().cpu().numpy())[0]
        return scores

    @torch.no_grad()
    def _advance(self, data: NDArray[np.floating]) -> tuple[Tensor, list[Any]]:
        dtype = PRECISIONS[self._estimator.precision]
        device = next(self._network.parameters()).device
        x = torch.from_numpy(np.ascontiguousarray(data)).to(device, dtype).unsqueeze(1)
        return self._network.advance(x, self._state, rate=self._rate)


class _RunningPool:
    """Mean, maximum and last value over all steps so far, each (d_model, 1)."""

    def __init__(self) -> None:
        self.count = 0
        self._values: dict[str, Tensor] = {}

    def with_steps(self, h: Tensor) -> _RunningPool:
        """Return the pool after further steps (d_model, 1, n_steps)."""
        new = _RunningPool()
        new.count = self.count + h.shape[-1]
        total, largest = h.double().sum(-1), h.amax(-1)
        if self.count:
            total = total + self._values["total"]
            largest = torch.maximum(largest, self._values["max"])
        new._values = {"total": total, "max": largest, "last": h[..., -1]}
        return new

    def value(self, pooling: str) -> Tensor:
        """Return the pooled features (d_model, 1)."""
        if pooling == "mean":
            return (self._values["total"] / self.count).to(self._values["last"].dtype)
        return self._values[pooling]
