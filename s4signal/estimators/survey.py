"""One pass over the cases of a fit: statistics for checks, standardisation, sampling plan, durations and rates."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s4signal.estimators.validation import all_finite, check_observed
from s4signal.signals import Signal, Signals
from s4signal.signals.checks import case_name, largest_jump
from s4signal.signals.lazy import Case

LARGEST_RATIO = 200.0  # between the gaps at prediction and at training, either way
LARGEST_RATE_RATIO = 1000.0  # between sampling rates, either way: above it, tables of a hop need too much memory
LARGEST_SPAN, SPARE_SAMPLES = 200, 2**16  # of a grid: samples for each recorded one, and in any case
OUTLIER = 100.0  # times the deviation of nine tenths of the cases
MOSTLY_MISSING = 0.5  # of the values: above it, more values are filled in than were observed

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Survey:
    """Statistics of the cases from one pass; no data is kept.

    Shapes: n_observed, sums, squares (n, n_channels); n_present, lengths, sfreqs, spans_s (n,); shift (n_channels,).
    Methods take weights (n,), of which the largest is about 1: only ratios count.
    """

    n_observed: Counts
    sums: Floats  # of x - shift: without the shift, microvolts on an offset of a volt would cancel
    squares: Floats  # of x - shift
    n_present: Counts  # times at which at least one channel was observed
    spans_s: Floats  # from first to last time; NaN if a case carries no times
    common: Floats  # share of the power that the average over channels has, see `spread`
    lengths: Counts
    sfreqs: Floats  # Hz, NaN where unknown
    shift: Floats  # mean of each channel in the first case that observed it
    median_gap: float | None  # s, over all cases with times and without a rate; `take` does not change it
    ch_names: tuple[str, ...] | None
    digests: tuple[bytes, ...]  # of data and times, one per case, on request

    def __len__(self) -> int:
        return len(self.lengths)

    def take(self, indices: NDArray[np.intp]) -> "Survey":
        """Return the statistics of some of the cases, in that order."""
        names = ("n_observed", "sums", "squares", "n_present", "spans_s", "lengths", "sfreqs", "common")
        parts: dict[str, Any] = {name: getattr(self, name)[indices] for name in names}
        return replace(self, **parts, digests=tuple(self.digests[i] for i in indices) if self.digests else ())

    @property
    def has_times(self) -> Flags:
        """Whether each case carries times, (n,)."""
        return ~np.isnan(self.spans_s)

    @property
    def missing(self) -> Flags:
        """Whether a channel misses a sample in a case, (n, n_channels)."""
        return self.n_observed < self.lengths[:, None]

    @property
    def partly_missing(self) -> Flags:
        """Whether a channel misses a sample of a case that another channel has, (n, n_channels)."""
        return self.n_observed < self.n_present[:, None]

    def moments(self, weights: Floats) -> tuple[Floats, Floats]:
        """Return mean and standard deviation of each channel, (n_channels,) each; NaN where it was never observed."""
        count = weights @ self.n_observed
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = (weights @ self.sums) / count
            variance = (weights @ self.squares) / count - mean**2
        return self.shift + mean, np.sqrt(np.maximum(variance, 0.0))

    def deviations(self) -> Floats:
        """Return the standard deviation of each channel within each case, (n, n_channels); 0 where not observed."""
        count = np.maximum(self.n_observed, 1)
        return np.sqrt(np.maximum(self.squares / count - (self.sums / count) ** 2, 0.0))

    def within(self, weights: Floats) -> Floats:
        """Return the standard deviation of each channel around its mean in each case, (n_channels,)."""
        with np.errstate(invalid="ignore", divide="ignore"):
            variances = weights @ (self.n_observed * self.deviations() ** 2) / (weights @ self.n_observed)
        return np.sqrt(variances)

    def without_outliers(self, weights: Floats) -> Floats:
        """Return weights (n,) that are 0 for the few cases with an extreme deviation in some channel.

        That is `OUTLIER` times that of nine tenths of the cases: such a case would dominate means and deviations.
        """
        used, deviations = np.flatnonzero(weights > 0), self.deviations()
        usual = np.quantile(deviations[used], 0.9, axis=0, method="higher")
        rounding = 1e-6 * np.abs(self.sums / np.maximum(self.n_observed, 1))[used].max(0)  # of sums of flat channels
        extreme = ((deviations > OUTLIER * usual) & (usual > rounding)).any(1)
        return np.where(extreme, 0.0, weights)

    def share_missing(self, weights: Floats) -> float:
        """Return the share of missing values among the channels that are observed at all."""
        observed = self.n_observed[:, self.n_observed.any(0)]
        return 1.0 - float(weights @ observed.sum(1) / (weights @ self.lengths * observed.shape[1]))

    def mostly_missing(self, weights: Floats) -> bool:
        """Whether more than half of the values are missing at times when some channel was observed."""
        values = weights @ self.n_present * self.n_observed.shape[1]
        return bool(values - weights @ self.n_observed.sum(1) > MOSTLY_MISSING * values)


def channel_name(index: int, names: Sequence[str] | None) -> str:
    """Return the name of a channel for a message."""
    return f"channel {index}" if names is None else f"channel {index} ({names[index]})"


def survey(
    signals: Signals,
    *,
    refuse_missing: bool = False,
    hashed: bool = False,
    visit: Callable[[int, Signal], None] | None = None,
    name: str = "X",
) -> Survey:
    """Read every case once; refuse a case without observations, or (``refuse_missing``) with missing samples.

    ``visit`` is called with the index of each case and the checked case.
    """
    shift = np.full(signals.n_channels, np.nan)
    rows: list[tuple[Any, ...]] = []
    gaps: list[NDArray[np.floating[Any]]] = []
    digests: list[bytes] = []
    for index, case in enumerate(signals):
        observed = _observed(case, index, refuse_missing=refuse_missing, name=name)
        sums, squares = _add_up(case, observed, shift)
        check_squares(squares, case, index, name)
        span_s = np.nan if case.times is None else float(case.times[-1] - case.times[0])
        present = np.broadcast_to(True, case.data.shape) if observed is None else observed
        rows.append((present.sum(1), sums, squares, int(present.any(0).sum()), span_s, spread(case.data)[1]))
        if case.times is not None and case.sfreq is None:
            gaps.append(np.diff(case.times))
        digests += [_digest(case)] if hashed else []
        if visit is not None:
            visit(index, case)
    n_observed, sums_of, squares_of, n_present, spans_s, common = map(np.array, zip(*rows, strict=True))
    return Survey(
        n_observed=n_observed,
        sums=sums_of,
        squares=squares_of,
        n_present=n_present,
        spans_s=spans_s,
        common=common,
        lengths=signals.lengths,
        sfreqs=signals.sfreqs,
        shift=np.nan_to_num(shift),
        median_gap=_median(gaps),
        ch_names=signals.ch_names,
        digests=tuple(digests),
    )


def spread(data: NDArray[np.floating]) -> tuple[Floats, float]:
    """Return the standard deviation of each channel (n_channels,), and the share of the power that their average has.

    The share is 0 if the average is the reference; NaN if it cannot be computed.
    """
    with np.errstate(all="ignore"):
        count: Any = data.shape[1]
        mean = data.mean(1, dtype=np.float64)
        whole = centred = data - mean[:, None]
        if not all_finite(data):
            observed = ~np.isnan(data)
            count = np.maximum(observed.sum(1), 1)
            mean = np.where(observed, data, 0.0).sum(1, dtype=np.float64) / count
            centred = np.where(observed, data - mean[:, None], 0.0)
            whole = centred[:, observed.all(0)]
        average = whole.mean(0)
        power = np.einsum("ct,ct->c", centred, centred) / count
        power[power < (1e-12 * mean) ** 2] = 0.0  # rounding
        if not average.size:
            return np.sqrt(power), np.nan
        return np.sqrt(power), float((average @ average / len(average) - average.mean() ** 2) / power.mean())


def check_squares(squares: NDArray[np.float64], case: Signal, index: int, name: str = "X") -> None:
    """Refuse a case whose sums of squares are not finite."""
    if not np.isfinite(squares).all():
        largest = float(np.nanmax(np.abs(case.data)))
        raise ValueError(f"case {index} of {name} has values up to {largest:.1g}, whose squares overflow; scale X.")


def median_gap(cases: Iterable[Signal]) -> float | None:
    """Return the median time between two samples, over cases that carry times."""
    return _median([np.diff(case.times) for case in cases if case.times is not None])


def check_timed(signals: Signals, model: str = "the model") -> None:
    """Refuse cases without times or a rate, for a model that was fitted with times."""
    for index, case in enumerate(signals.cases):
        if not case.has_times and case.sfreq is None:
            raise ValueError(
                f"case {index} has neither times nor a rate, but {model} was fitted with times; pass "
                "Signals(X, times=...) or times=, or sfreq if the samples are regular."
            )


def check_time_unit(signals: Signals, sfreq: float | None, *, found: Survey | None = None) -> None:
    """Refuse times that are not in seconds, by the median gap of cases with times and without a rate."""
    unrated = [index for index, case in enumerate(signals.cases) if case.has_times and case.sfreq is None]
    # Over all cases together: a single case may well have samples every second while others have them every hour.
    gap = found.median_gap if found is not None else median_gap(signals.cases[index].load() for index in unrated)
    if sfreq and unrated and gap is not None and not 1 / LARGEST_RATIO < gap * sfreq < LARGEST_RATIO:
        raise ValueError(
            f"case {unrated[0]}: times must be seconds: their median gap is {gap:g}, but it was {1 / sfreq:g} s in "
            "training. Divide milliseconds by 1000 and sample numbers by the rate; pass sfreq if the times are right."
        )


def check_span(case: Case, index: int, span_s: float, rate: float) -> None:
    """Refuse times that no grid of ``rate`` can hold: all of one moment, or far apart because of a wrong clock."""
    name, n = case_name(index, case.source), case.length
    if n > 1 and span_s <= 0:
        raise ValueError(f"{name} has all its samples at one time; pass times in float64.")
    if span_s * rate > LARGEST_SPAN * n + SPARE_SAMPLES:
        after, jump_s = largest_jump(np.asarray(case.load().times))
        raise ValueError(
            f"{name} has {n} samples within {span_s:.4g} s, too few for a grid of {rate:.4g} Hz: times jump by "
            f"{jump_s:.4g} s after sample {after}. Correct a wrong time stamp, pass seconds, or fit with a lower sfreq."
        )


def relative_periods(signals: Signals, sfreq: float | None) -> Floats:
    """Return the sample periods of cases relative to training, (n,); 1 where unknown."""
    periods = np.ones(len(signals)) if sfreq is None else sfreq / signals.sfreqs
    far = (periods > LARGEST_RATE_RATIO) | (periods < 1 / LARGEST_RATE_RATIO)
    if far.any():
        index = int(np.argmax(far))
        raise ValueError(
            f"case {index} has {signals.sfreqs[index]:g} Hz, but the training cases {sfreq:g} Hz; correct the rate, or "
            "use Signals.resample first."
        )
    return np.where(np.isnan(periods), 1.0, periods)


def _observed(case: Signal, index: int, *, refuse_missing: bool, name: str) -> Flags | None:
    """Return where samples are observed, (n_channels, n_times); None if all are, which one sum finds without a copy."""
    if all_finite(case.data):
        return None
    check_observed(case, index, refuse=refuse_missing, name=name)
    observed: Flags = case.observed
    return None if observed.all() else observed


def _add_up(case: Signal, observed: Flags | None, shift: Floats) -> tuple[Floats, Floats]:
    """Return sums and squares of a case around the shift; a channel without a shift gets its mean in this case."""
    mask: Any = True if observed is None else observed
    with np.errstate(over="ignore", invalid="ignore"):
        unknown = np.isnan(shift)
        if unknown.any():
            totals = np.asarray(case.data.sum(1, dtype=np.float64, where=mask))
            shift[unknown] = (totals / np.broadcast_to(mask, case.data.shape).sum(1))[unknown]
        centred = case.data - np.nan_to_num(shift)[:, None]
        if observed is not None:
            centred = np.where(observed, centred, 0.0)
        return centred.sum(1), np.einsum("ct,ct->c", centred, centred)


def _median(gaps: Sequence[NDArray[np.floating[Any]]]) -> float | None:
    together = np.concatenate([np.empty(0), *gaps])
    together = together[together > 0]
    return float(np.median(together)) if len(together) else None


def _digest(case: Signal) -> bytes:
    digest = hashlib.blake2b(repr((case.data.shape, case.data.dtype.str, case.sfreq)).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(case.data).data)
    if case.times is not None:
        digest.update(np.ascontiguousarray(case.times).data)
    return digest.digest()
