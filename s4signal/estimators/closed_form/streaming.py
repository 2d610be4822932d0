"""Features and predictions of the closed form while the signal arrives."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from s4signal.estimators.closed_form.feature_map import FeatureMap
from s4signal.estimators.streams import SignalStream
from s4signal.estimators.validation import check_stream_rate
from s4signal.random_features.running import RunningStatistics

Finish = Callable[[NDArray[np.float64], float], NDArray[np.floating]]


class ClosedFormStream(SignalStream):
    """A feature map that listens: its answers are of all samples so far as one case.

    ``finish`` makes them of features (1, n_features), NaN where one does not exist, and of ``period``, the sample
    period of the stream over that of the training.
    """

    def __init__(self, feature_map: FeatureMap, finish: Finish, *, period: float) -> None:
        self._feature_map, self._finish, self._period = feature_map, finish, period
        super().__init__(feature_map.standardizer)

    def _forget(self) -> None:
        self._running = [RunningStatistics(bank, rate=self._period) for bank in self._feature_map.banks]

    def _advance(self, data: NDArray[np.floating]) -> NDArray[np.floating]:
        x = torch.from_numpy(np.ascontiguousarray(data)).to(self._feature_map.dtype)
        inputs = zip(self._running, self._feature_map.inputs(x), strict=False)
        features = self._feature_map.concatenated([running.push(part) for running, part in inputs])
        answer: NDArray[np.floating] = self._finish(features.astype(np.float64), self._period)[0]
        return answer


def open_stream(estimator: Any, features: FeatureMap, finish: Finish, sfreq: float | None) -> ClosedFormStream:
    """Return a stream at a rate that suits how an estimator was fitted."""
    period = check_stream_rate(estimator, sfreq, timed=features.timed, mostly_missing=features.summaries is not None)
    return ClosedFormStream(features, finish, period=period)
