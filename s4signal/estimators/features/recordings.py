"""Cases as input of the oscillators: on a regular grid, with missing samples linearly interpolated."""

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from s4signal.estimators.montage import in_order_of_fit
from s4signal.estimators.survey import check_span, check_time_unit, check_timed, median_gap
from s4signal.estimators.validation import all_finite, check_observed, check_signals
from s4signal.signals import Signal, Signals
from s4signal.signals.clock import at_rate, warn_of_clocks, without_regular_times
from s4signal.signals.resampling import fill_missing


class Recordings(NamedTuple):
    """Checked cases on a regular grid and as recorded; both are the same unless some carry times (``timed``)."""

    signals: Signals
    recorded: Signals
    timed: bool

    def take(self, indices: Any) -> "Recordings":
        """Return some of the cases."""
        return Recordings(self.signals[indices], self.recorded[indices], self.timed)

    def in_memory(self) -> "Recordings":
        """Return the recorded cases, loaded into memory."""
        recorded = Signals.from_cases(case.load() for case in self.recorded.cases)
        return Recordings(recorded, recorded, timed=False)

    def load(self, index: int) -> tuple[Signal, NDArray[np.floating]]:
        """Load a case: as recorded, and its interpolated samples (n_channels, n_times) on the grid."""
        recorded = self.recorded.cases[index].load()
        return recorded, self.fill(recorded, index)

    def fill(self, recorded: Signal, index: int) -> NDArray[np.floating]:
        """Return the interpolated samples on the grid of a loaded case."""
        case = self.signals.cases[index].load() if self.timed else recorded
        return fill_lines(case, index)


class TrainingCases(NamedTuple):
    """Cases with targets (n, k), weights and groups (n,)."""

    recordings: Recordings
    targets: NDArray[np.float64]
    weights: NDArray[np.float64]
    groups: NDArray[Any] | None = None

    def take(self, indices: NDArray[np.intp], weights: NDArray[np.float64] | None = None) -> "TrainingCases":
        """Return some of the cases, with other weights if these are given."""
        weights = self.weights[indices] if weights is None else weights
        groups = None if self.groups is None else self.groups[indices]
        return TrainingCases(self.recordings.take(indices), self.targets[indices], weights, groups)

    def merged(self, digests: Sequence[bytes]) -> "tuple[TrainingCases, NDArray[np.intp]]":
        """Drop cases of weight 0 and merge duplicates, so that no left-out case is predicted from its copy.

        Also return the position among the remaining cases of each case with positive weight.
        """
        keys = [(digest, target.tobytes()) for digest, target in zip(digests, self.targets, strict=True)]
        weights, first = weights_of_first(keys, self.weights)
        kept = np.flatnonzero(weights)
        return self.take(kept, weights[kept]), np.searchsorted(kept, first)


def weights_of_first(
    keys: Sequence[Hashable], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Give the first of the cases with the same key the sum of their weights, (n,), and the others 0.

    Also return the index of that first case for each case with positive weight.
    """
    seen: dict[Hashable, int] = {}
    totals = np.zeros_like(weights)
    used = np.flatnonzero(weights > 0).tolist()
    first = np.array([seen.setdefault(keys[index], index) for index in used], dtype=np.intp)
    np.add.at(totals, first, weights[used])
    return totals, first


def prepare_recordings(
    estimator: Any, X: Any, *, sfreq: float | None, times: Any = None, fitted: Any = None, reset: bool = False
) -> Recordings:
    """Check X, and put cases with times on a grid of the rate of the feature map ``fitted``, or of their median gap."""
    if times is not None:
        X = Signals(X, times=times)
    if isinstance(X, Signals) and any(case.has_times for case in X.cases):
        recorded = Signals(Signals.from_cases(X), sfreq=sfreq)  # load once: the grid is in memory too
        recorded = recorded if reset else in_order_of_fit(estimator, recorded)
        if fitted is None:
            recorded = Signals.from_cases(without_regular_times(recorded.cases))
            rate = _rate(recorded)
        elif fitted.sfreq is None:
            rate = 1.0  # a model without a rate takes times as sample numbers
        else:
            rate = fitted.sfreq
            check_time_unit(recorded, rate)
            if not fitted.timed:
                recorded = Signals.from_cases(at_rate(case, rate) for case in recorded.cases)
        recordings = on_grid(recorded, rate)
        warn_of_clocks(recorded.cases)
        recordings = recordings._replace(signals=check_signals(estimator, recordings.signals, reset=reset))
    else:
        signals = check_signals(estimator, X, sfreq=sfreq, reset=reset)
        recordings = Recordings(signals, signals, timed=False)
    if fitted is not None and fitted.timed:
        check_timed(recordings.signals, type(estimator).__name__)
    return recordings


def on_grid(signals: Signals, rate: float) -> Recordings:
    """Put cases with times on a grid of this rate."""
    if not any(case.has_times for case in signals.cases):
        return Recordings(signals, signals, timed=False)
    recorded, gridded = Signals.from_cases(signals), list[Signal]()
    for index, case in enumerate(recorded):
        if case.has_times:
            check_span(case, index, float(case.duration_s or 0.0), rate)
        gridded.append(Signals([case]).to_grid(rate)[0] if case.has_times else case)
    return Recordings(Signals.from_cases(gridded), recorded, timed=True)


def fill_lines(case: Signal, index: int) -> NDArray[np.floating]:
    """Interpolate missing samples (n_channels, n_times) linearly and hold the ends; a channel of only NaN stays NaN."""
    data: NDArray[np.floating] = case.data
    if all_finite(data):
        return data
    check_observed(case, index)
    missing = np.isnan(data)
    return np.where(missing.all(1, keepdims=True), data, fill_missing(data, missing))


def _rate(signals: Signals) -> float:
    rates = signals.sfreqs
    if not np.isnan(rates).any() and rates.min() == rates.max():
        return float(rates[0])
    gap = median_gap(signals)
    return 1.0 if gap is None else 1.0 / gap
