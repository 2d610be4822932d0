"""Features and predictions of the closed form while the signal arrives."""

from collections.abc import Callable, Set
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from s4signal.estimators.features.feature_map import BLOCKS, FeatureMap, statistics_of
from s4signal.estimators.streams import SignalStream
from s4signal.estimators.validation import check_stream_rate
from s4signal.random_features.running import RunningStatistics

_LONGEST = 2**14  # samples of a line at once

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
        self._last: NDArray[np.floating] = np.zeros((len(self._standardizer.mean), 0))
        self._lost = 0

    def _advance(self, data: NDArray[np.floating], *, answer: bool) -> NDArray[np.floating] | None:
        """Draw lines over what was lost, as over the missing samples of a case; what is lost last waits for its end."""
        seen = np.flatnonzero(~np.isnan(data).any(0))
        if not len(seen):
            self._lost += data.shape[1]
            return None
        first, end = -self._lost, int(seen[-1]) + 1
        if len(seen) == end and not self._lost:
            for start in range(0, end, _LONGEST):
                self._push(data[:, start : min(start + _LONGEST, end)])
        else:
            at = np.concatenate([np.full(self._last.shape[1], first - 1), seen])
            known = np.concatenate([self._last, data[:, seen]], axis=1)
            for start in range(first, end, _LONGEST):
                when = np.arange(start, min(start + _LONGEST, end))
                self._push(np.stack([np.interp(when, at, row) for row in known]))
        self._last, self._lost = data[:, end - 1 : end].copy(), data.shape[1] - end
        if not answer:
            return None
        features = self._feature_map.concatenated([running.value() for running in self._running])
        said: NDArray[np.floating] = self._finish(features.astype(np.float64))[0]
        return said

    def _push(self, data: NDArray[np.floating]) -> None:
        x = torch.from_numpy(np.ascontiguousarray(data)).to(self._feature_map.dtype)
        for running, bank in zip(self._running, self._feature_map.banks, strict=True):
            if running.listens:
                running.push(self._feature_map.input(bank, x).numpy())


def stream_period(estimator: Any, features: FeatureMap, sfreq: float | None) -> float:
    """Return the sample period of a stream at a rate that suits how an estimator was fitted, over that of the fit."""
    return check_stream_rate(estimator, sfreq, timed=features.timed, mostly_missing=features.summaries is not None)
