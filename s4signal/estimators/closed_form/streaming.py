"""Features and predictions of the closed form while the signal arrives."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from s4signal.errors import ShapeError
from s4signal.estimators.closed_form.feature_map import FeatureMap
from s4signal.estimators.standardizer import warn_of_scale
from s4signal.estimators.validation import check_chunk
from s4signal.random_features.running import RunningStatistics

Finish = Callable[[NDArray[np.float64], float], NDArray[np.floating]]


class ClosedFormStream:
    """A feature map that listens: memory is bounded, and what it says is of all samples so far as one case.

    At every moment that equals what the model says of that case offline, to rounding. A model that is fitted again does
    not change its open streams. Made by ``stream()`` of an estimator.

    Parameters
    ----------
    feature_map : FeatureMap
        Fitted.
    finish : callable
        From features (1, n_features), NaN where one does not exist, and ``period`` to what `push` returns.
    period : float
        Sample period of the stream, over that of the training.
    """

    def __init__(self, feature_map: FeatureMap, finish: Finish, *, period: float) -> None:
        self._feature_map, self._finish, self._period = feature_map, finish, period
        self.reset()

    def reset(self) -> None:
        """Forget all samples so far."""
        self._warned = False
        self._running = [RunningStatistics(bank, rate=self._period) for bank in self._feature_map.banks]

    def push(self, chunk: ArrayLike) -> NDArray[np.floating]:
        """Take the next samples.

        Parameters
        ----------
        chunk : array-like (n_channels, n_times)
            The next samples, of any number; (n_times,) for one channel.

        Returns
        -------
        ndarray (n_outputs,) or (n_features,)
            What ``predict_proba`` (a classifier), ``predict`` (a regressor) or ``transform`` says so far.

        Raises
        ------
        ShapeError
            If the chunk has other channels, or there was no sample yet.
        ValueError
            If a sample is missing or infinite.
        """
        features, standardizer = self._feature_map, self._feature_map.standardizer
        data = check_chunk(chunk, len(standardizer.mean))
        if self._running[0].n_times + data.shape[1] == 0:
            raise ShapeError("chunk is empty and nothing was heard before; push at least one sample.")
        if data.size and not self._warned:
            self._warned = warn_of_scale(standardizer, np.array([standardizer.case_scale(data)]), chunk=True)
        inputs = features.inputs(features.standardised(data, "the chunk"))
        pooled = [running.push(part) for running, part in zip(self._running, inputs, strict=False)]
        outputs: NDArray[np.floating] = self._finish(features.concatenated(pooled).astype(np.float64), self._period)[0]
        return outputs
