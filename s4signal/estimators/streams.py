"""What the streams of both wings share: checked chunks, and the door to them."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from s4signal.errors import ShapeError
from s4signal.estimators.standardizer import Standardizer, warn_of_scale
from s4signal.estimators.validation import check_chunk


class SignalStream(ABC):
    """A model that listens: memory is bounded, and what it says equals the prediction of all samples so far.

    It keeps the model that it was built with, whatever becomes of the estimator. Made by ``stream()``.

    Parameters
    ----------
    standardizer : Standardizer
        Of the channels.
    """

    def __init__(self, standardizer: Standardizer) -> None:
        self._standardizer = standardizer
        self.reset()

    def reset(self) -> None:
        """Forget all samples so far."""
        self._warned = False
        self._answer: NDArray[np.floating] | None = None  # the last one
        self._forget()

    def push(self, chunk: ArrayLike) -> NDArray[np.floating]:
        """Take the next samples.

        Parameters
        ----------
        chunk : array-like (n_channels, n_times)
            The next samples, of any number; (n_times,) for one channel.

        Returns
        -------
        ndarray (n_outputs,) or (n_features,)
            What ``predict_proba`` (a classifier), ``predict`` (a regressor) or ``transform`` says of all samples so
            far.

        Raises
        ------
        ShapeError
            If the chunk has other channels, or there was no sample yet.
        ValueError, TypeError
            If a sample is NaN or infinite, or the chunk is something that `predict` would refuse too.

        Warns
        -----
        UserWarning
            If a chunk varies 100 times as much as any training case.
        """
        data = check_chunk(chunk, len(self._standardizer.mean))
        if not data.size:
            if self._answer is None:
                raise ShapeError("chunk is empty and nothing came before; push at least one sample.")
            return self._answer.copy()
        if not self._warned:
            scale = np.array([self._standardizer.case_scale(data)])
            self._warned = warn_of_scale(self._standardizer, scale, chunk=True)
        answer = self._advance(self._standardizer(data, "the chunk"))
        self._answer = answer
        return answer.copy()

    @abstractmethod
    def _forget(self) -> None:
        """Go back to before the first sample."""

    @abstractmethod
    def _advance(self, data: NDArray[np.floating]) -> NDArray[np.floating]:
        """Take standardised samples (n_channels, n_times), and answer."""


class StreamMixin:
    """The door to a stream, which ``_open_stream`` of a copy makes."""

    _open_stream: Callable[[float | None], SignalStream]

    def stream(self, *, sfreq: float | None = None) -> SignalStream:
        """Predict, or describe, while the signal arrives; a later fit does not reach a stream that is open.

        Parameters
        ----------
        sfreq : float, optional
            Sampling rate of the stream, in Hz; that of the training by default.

        Returns
        -------
        SignalStream
            With ``push(chunk)`` and ``reset()``.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If sfreq is given and the model was fitted without one, or is not given and it was fitted with times; if it
            was fitted on mostly missing data, or is a network that is bidirectional or whose front end takes whole
            cases alone.
        """
        check_is_fitted(self)
        return copy.copy(self)._open_stream(sfreq)
