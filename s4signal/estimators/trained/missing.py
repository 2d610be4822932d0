"""When samples were taken and which are missing: from a recorded case to what the network takes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from s4signal.estimators.standardizer import FURTHEST, Standardizer
from s4signal.estimators.survey import check_time_unit, median_gap
from s4signal.estimators.trained.sparse_records import is_sparse
from s4signal.estimators.validation import check_observed
from s4signal.nn import KERNELS
from s4signal.nn.frontends.augmentation import SampleDropout
from s4signal.signals import Signal, Signals
from s4signal.training import Samples

__all__ = [
    "Sampling",
    "check_times",
    "grid_lengths",
    "plan_sampling",
    "prepare_case",
    "thinned",
    "training_rate",
]

LONGEST_SPLINE = 8.5  # periods from sample to sample

Flags = NDArray[np.bool_]
Floats = NDArray[np.floating]


class Sampling(NamedTuple):
    """How irregular times and missing samples reach the network; plain values that fit into the header of a file.

    Shapes: masked ().
    """

    times: bool = False
    missing: str = "gap"
    masked: tuple[int, ...] = ()
    grid: bool = False
    gaps: bool = True
    sparse: bool = False


def training_rate(signals: Signals) -> float | None:
    """Choose the rate whose period is the unit of time."""
    rates = signals.sfreqs
    if not np.isnan(rates).all():
        return float(np.nanmax(rates))
    gap = _unnamed_gap(signals)
    return None if gap is None else 1.0 / gap


def check_times(signals: Signals, sampling: Sampling, sfreq: float | None) -> None:
    """Refuse cases that do not suit how a model was fitted: without times, or in another unit than seconds."""
    for index, case in enumerate(signals.cases):
        if sampling.times and not case.has_times and case.sfreq is None:
            raise ValueError(
                f"case {index} has neither times nor a rate, but the model was fitted with times; pass "
                "Signals(X, times=...) or times=, or sfreq if the samples are regular."
            )
    if sfreq is not None:
        check_time_unit(signals, sfreq)


def plan_sampling(estimator: Any, signals: Signals, *, grid: bool) -> Sampling:
    """Look through training cases for times and missing samples, and decide how the network gets them."""
    times = any(case.has_times for case in signals.cases)
    gaps = KERNELS[estimator.kernel].TAKES_GAPS
    missing = estimator.missing
    if missing == "auto":
        missing = "gap" if gaps else "mask"
    if (times or missing == "gap") and not (gaps or grid):
        what = "X has times" if times else "missing='gap' was asked for"
        raise ValueError(
            f"{what}, but kernel={estimator.kernel!r} has dense state matrices, which cannot take gaps between "
            "samples. Use kernel='s4d' or 's5', or put X on a regular grid with Signals.to_grid."
        )
    absent = np.zeros(signals.n_channels, dtype=bool)
    observed = np.zeros(signals.n_channels, dtype=bool)
    for case in signals:
        holes = _holes(case.data)
        observed |= True if holes is None else ~holes.all(1)
        if holes is not None:
            absent |= (holes[:, _kept(holes)] if missing == "gap" else holes).any(1)
    masked = () if grid else tuple(np.flatnonzero(absent & observed).tolist())
    # A filter bank hears waves, whose peaks are no slips.
    return Sampling(times, missing, masked, grid, gaps, sparse=not grid and is_sparse(signals))


def prepare_case(
    case: Signal, index: int, *, standardizer: Standardizer, sampling: Sampling, sfreq: float | None
) -> Samples:
    """Standardise a case, and turn its times and missing samples into gaps and masks."""
    check_observed(case, index, refuse=sampling.missing == "error")
    period = 1.0 if case.sfreq is None or sfreq is None else sfreq / case.sfreq
    when = _positions(case, index, period, sfreq)
    holes = _holes(case.data)
    data = standardizer(case.data)
    if sampling.sparse:
        data = np.clip(data, -FURTHEST, FURTHEST)
    if sampling.grid:
        return Samples(_on_grid(data, when, period, holes))
    known = case.sfreq is not None or not case.has_times
    if sampling.missing == "hold":
        return Samples(data, None if when is None else _gaps(when, period, known=known))
    if holes is not None and sampling.missing == "gap" and sampling.gaps:
        kept = _kept(holes)
        when = np.flatnonzero(kept) * period if when is None else when[kept]
        data, holes = data[:, kept], holes[:, kept]
    gaps = None if when is None else _gaps(when, period, known=known)
    if gaps is not None and not sampling.gaps:
        raise ValueError(
            f"case {index} has samples that are not equally far apart, but the kernel has dense state matrices, which "
            "cannot take gaps. Fit with kernel='s4d' or 's5', or put X on a regular grid with Signals.to_grid."
        )
    if holes is not None and holes.any():
        data = _held(data, holes)
    if sampling.masked:
        there = np.ones(data.shape, dtype=data.dtype) if holes is None else ~holes
        data = np.concatenate([data, there[list(sampling.masked)]])
    return Samples(data, gaps)


def thinned(samples: Samples, share: float, *, seed: int) -> Samples:
    """Remove samples at random from a case on a regular grid, and draw across them as across any that are missing."""
    n_times = samples.data.shape[1]
    holes = np.broadcast_to(SampleDropout.removed(n_times, share, seed=seed), samples.data.shape)
    return Samples(_on_grid(samples.data, None, 1.0, holes))


def grid_lengths(signals: Signals, sfreq: float | None) -> NDArray[np.int64]:
    """Count the samples of cases on a regular grid.

    Shape: (n_samples,).
    """
    lengths = signals.lengths
    for index, stored in enumerate(signals.cases):
        if stored.has_times:
            case = stored.load()
            lengths[index] = round((case.duration_s or 0.0) * (case.sfreq or sfreq or 1.0)) + 1
    return lengths


def _unnamed_gap(signals: Signals) -> float | None:
    """Median gap of the cases that carry times and know no rate."""
    return median_gap(case.load() for case in signals.cases if case.has_times and case.sfreq is None)


def _holes(data: Floats) -> Flags | None:
    """Where samples are missing; None if they are all there."""
    # One sum finds a NaN without a copy.
    return np.isnan(data) if np.isnan(data.sum()) else None


def _kept(holes: Flags) -> Flags:
    return np.asarray(~holes.all(0))


def _positions(case: Signal, index: int, period: float, sfreq: float | None) -> Floats | None:
    """Times in training sample periods; None for a regular case."""
    if case.times is None:
        return None
    if sfreq is None:
        raise ValueError(
            f"case {index} has times, but the model was fitted without times and without a rate, so seconds mean "
            "nothing to it. Fit with sfreq or with times."
        )
    return np.asarray((case.times - case.times[0]) * sfreq, dtype=np.float64)


def _gaps(when: Floats, period: float, *, known: bool) -> Floats | None:
    """Time before each sample; None if it is the period for all of them.

    Nothing precedes the first sample: it stands for a period, or for the median gap where no period is known.
    """
    periods = np.diff(when) / period
    # Times such as 0.1 + 0.2 are a little off the grid that they lie on: one gap is one number then.
    whole = np.round(periods)
    gaps = np.where(np.abs(periods - whole) < 1e-6 * np.maximum(whole, 1.0), whole, periods) * period
    later = gaps[gaps > 0]
    first = period if known or not len(later) else float(np.median(later))
    gaps = np.concatenate([[first], gaps])
    return None if (gaps == period).all() else gaps


def _held(data: Floats, holes: Flags) -> Floats:
    """Carry the last value of each channel forward; zero, the mean, before the first."""
    data = np.where(holes, 0.0, data)
    for channel in np.flatnonzero(holes.any(1)):
        last = np.maximum.accumulate(np.where(holes[channel], -1, np.arange(data.shape[1])))
        data[channel] = np.where(last < 0, 0.0, data[channel, last])
    return data


def _on_grid(data: Floats, when: Floats | None, period: float, holes: Flags | None) -> Floats:
    """Put the samples that are there on a grid of one period."""
    if when is None:
        if holes is None:
            return data
        when = np.arange(data.shape[1]) * period
    positions = when / period
    there = np.ones(data.shape, dtype=bool) if holes is None else ~holes
    n_times = round(float(positions[-1])) + 1
    return np.stack(
        [_drawn(positions[seen], channel[seen], n_times) for channel, seen in zip(data, there, strict=True)]
    ).astype(data.dtype)


def _drawn(positions: Floats, values: Floats, n_times: int) -> Floats:
    """Draw a curve through samples: straight lines, but a cubic spline across short holes of a regular recording.

    A spline keeps more of the bands' energies, and swings out where a hole is long or two times nearly meet.
    """
    grid = np.arange(n_times, dtype=np.float64)
    if not len(positions):
        return np.zeros(n_times)
    lines = np.interp(grid, positions, values)
    steps = np.diff(positions)
    if len(positions) < 4 or (np.abs(positions - np.round(positions)) > 1e-6).any() or (steps < 0.5).any():
        return lines
    after = np.clip(np.searchsorted(positions, grid, side="left"), 1, len(steps))
    inside = (grid > positions[0]) & (grid < positions[-1])
    return np.where(inside & (steps[after - 1] <= LONGEST_SPLINE), CubicSpline(positions, values)(grid), lines)
