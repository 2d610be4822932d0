"""Features and predictions of the closed form while the signal arrives."""

from collections.abc import Callable, Set
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from s4signal.estimators.features.feature_map import BLOCKS, FeatureMap, statistics_of
from s4signal.estimators.streams import Lines, SignalStream
from s4signal.estimators.validation import check_stream_rate
from s4signal.random_features.running import RunningStatistics

Finish = Callable[[NDArray[np.float64]], NDArray[np.floating]]


class FeatureStream(SignalStream):
    """A feature map that listens: its answers are of all samples so far as one case.

    ``finish`` makes them of features (1, n_features), NaN where one does not exist or is of a block that is not
    ``wanted``; ``period`` is the sample period of the stream over that of the training.
    """

    _SIDE_BY_SIDE = False

    def __init__(
        self, feature_map: FeatureMap, finish: Finish, *, period: float, wanted: Set[str] = frozenset(BLOCKS)
    ) -> None:
        self._feature_map, self._finish = feature_map, finish
        banks = zip(feature_map.banks, statistics_of(wanted), strict=False)
        self._running = [RunningStatistics(bank, rate=period, wanted=asked) for bank, asked in banks]
        # Of one channel alone the line to its next sample may begin at any time before.
        super().__init__(feature_map.standardizer, missing="whole")

    def _forget(self) -> None:
        self._running = [running.fresh() for running in self._running]
        self._lines = Lines()

    def _advance(self, data: NDArray[np.floating], *, answer: bool) -> NDArray[np.floating] | None:
        n_heard = 0
        for piece in self._lines.over(data):
            n_heard += piece.shape[1]
            x = torch.from_numpy(np.ascontiguousarray(piece)).to(self._feature_map.dtype)
            for running, bank in zip(self._running, self._feature_map.banks, strict=True):
                if running.listens:
                    running.push(self._feature_map.input(bank, x).numpy())
        if not n_heard or not answer:
            return None
        features = self._feature_map.concatenated([running.value() for running in self._running])
        return np.asarray(self._finish(features.astype(np.float64))[0])


def stream_period(estimator: Any, features: FeatureMap, sfreq: float | None) -> float:
    """Return the sample period of a stream at a rate that suits how an estimator was fitted, over that of the fit."""
    return check_stream_rate(estimator, sfreq, timed=features.timed, mostly_missing=features.summaries is not None)
