"""Features and predictions of instant models while the signal arrives."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from s4signal.errors import ShapeError
from s4signal.estimators.trained.streaming import read_chunk, stream_rate
from s4signal.random_features.running import RunningStatistics
from s4signal.training import PRECISIONS

if TYPE_CHECKING:
    from s4signal.estimators.closed_form.transformer import S4RandomFeatures

__all__ = ["InstantStream"]

Finish = Callable[[NDArray[np.float64], float], NDArray[np.floating]]


class InstantStream:
    """Frozen oscillators that listen: memory is bounded, and what they say is of all heard so far as one case.

    At every moment that is what the model says of the case offline, to rounding. Nothing of it changes when the case
    ends: what the last chunk gives is the answer.

    Parameters
    ----------
    features : S4RandomFeatures
        Fitted.
    finish : callable
        From features (1, n_features), NaN where an oscillator cannot be heard, and the sample period over that of the
        training, to what `push` returns.
    sfreq : float, optional
        Sampling rate of the stream, in Hz; that of the training by default.

    Raises
    ------
    ValueError
        If sfreq is not positive, the model was fitted without one, with times and none is given, or on sparse records.
    """

    def __init__(self, features: S4RandomFeatures, finish: Finish, *, sfreq: float | None = None) -> None:
        self._rate = stream_rate(features, sfreq, timed=features._timed, sparse=features._levels is not None)
        self._features, self._finish = features, finish
        self.reset()

    def reset(self) -> None:
        """Forget all that was heard."""
        self._running = [RunningStatistics(bank, rate=self._rate) for bank in self._features._banks]

    def push(self, chunk: ArrayLike) -> NDArray[np.floating]:
        """Hear a chunk.

        Parameters
        ----------
        chunk : array-like (n_channels, n_times)
            The next samples, of any number; (n_times,) for one channel.

        Returns
        -------
        ndarray (n_outputs,) or (n_features,)
            What ``predict_proba`` (a classifier), ``predict`` (a regressor) or ``transform`` says of all heard so far.

        Raises
        ------
        ShapeError
            If the chunk has other channels, or nothing was heard yet.
        ValueError
            If a sample is NaN or infinite.
        """
        data = read_chunk(chunk, self._features.n_channels_in_)
        if self._running[0].n_times + data.shape[1] == 0:
            raise ShapeError("chunk is empty and nothing was heard before; push at least one sample.")
        x = torch.from_numpy(self._features._standardizer(data)).to(PRECISIONS[self._features.precision])
        heard = zip(self._running, self._features._inputs(x), strict=False)
        families = self._features._by_family([running.push(part) for running, part in heard])
        said: NDArray[np.floating] = self._finish(np.concatenate(families, axis=1).astype(np.float64), self._rate)[0]
        return said
