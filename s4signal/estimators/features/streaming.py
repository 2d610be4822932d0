"""Features and predictions of the closed form on a stream."""

from collections.abc import Callable, Set
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from s4signal.estimators.features.feature_map import BLOCKS, FeatureMap
from s4signal.estimators.streams import LinearInterpolator, SignalStream
from s4signal.estimators.validation import check_stream_rate
from s4signal.random_features.running import RunningStatistics

Finish = Callable[[NDArray[np.float64]], NDArray[np.floating]]


class FeatureStream(SignalStream):
    """Stream of a feature map; the output is that of all samples so far as one case.

    ``finish`` turns features (1, n_features) into the output; a feature is NaN if it does not exist or its block is not
    ``wanted``. ``period`` is the sample period of the stream relative to training.
    """

    _PARALLEL = False

    def __init__(
        self, feature_map: FeatureMap, finish: Finish, *, period: float, wanted: Set[str] = frozenset(BLOCKS)
    ) -> None:
        self._feature_map, self._finish = feature_map, finish
        banks = zip(feature_map.banks, feature_map.needed(wanted), strict=True)
        self._running = [RunningStatistics(bank, rate=period, wanted=names) for bank, names in banks]
        # A channel that misses samples alone could need interpolation from any time before.
        super().__init__(feature_map.standardizer, missing="whole")

    def _reset_state(self) -> None:
        self._running = [running.fresh() for running in self._running]
        self._interpolator = LinearInterpolator()

    def _advance(self, data: NDArray[np.floating], *, answer: bool) -> NDArray[np.floating] | None:
        n_new = 0
        for piece in self._interpolator.interpolate(data):
            n_new += piece.shape[1]
            x = torch.from_numpy(np.ascontiguousarray(piece)).to(self._feature_map.dtype)
            for running, bank in zip(self._running, self._feature_map.banks, strict=True):
                if running.used:
                    running.push(self._feature_map.input(bank, x).numpy())
        if not n_new or not answer:
            return None
        features = self._feature_map.concatenated([running.value() for running in self._running])
        return np.asarray(self._finish(features.astype(np.float64))[0])


def stream_period(estimator: Any, features: FeatureMap, sfreq: float | None) -> float:
    """Check the rate of a stream against the fit; return the sample period relative to training."""
    return check_stream_rate(estimator, sfreq, timed=features.timed, mostly_missing=features.summaries is not None)
