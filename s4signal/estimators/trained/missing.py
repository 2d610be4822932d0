"""Times and missing samples: from a recorded case to the input of the network."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from s4signal.errors import ModelFileError
from s4signal.estimators.augmentation import CHANGED_LOADS, CaseVersions
from s4signal.estimators.model_file import State
from s4signal.estimators.standardizer import FURTHEST, Standardizer
from s4signal.estimators.survey import Survey, check_span, check_time_unit, check_timed, relative_periods
from s4signal.estimators.trained.defaults import BY_HOPS
from s4signal.estimators.validation import all_finite
from s4signal.nn import KERNELS
from s4signal.signals import Signal, Signals
from s4signal.signals.augmentation import SampleChange
from s4signal.signals.checks import time_rounding
from s4signal.signals.clock import at_rate
from s4signal.signals.resampling import hold_missing
from s4signal.training import Cases, Samples

LONGEST_SPLINE = 8.5  # periods between two observed samples

Flags = NDArray[np.bool_]
Floats = NDArray[np.floating]


class Sampling(NamedTuple):
    """How irregular times and missing samples enter the network."""

    times: bool = False  # some training case carried times
    missing: str = "gap"  # "gap", "mask", "error"; on a grid also "line"; "hold" for the transformer
    masked: tuple[int, ...] = ()  # channels with an observation mask as an additional channel
    grid: bool = False  # the front end needs a regular grid
    gaps: bool = True  # the layers support gaps
    mostly_missing: bool = False

    def to_state(self) -> State:
        """Return the state for a file."""
        return State(self._asdict(), {})

    @classmethod
    def from_state(cls, state: State, *, n_channels: int) -> "Sampling":
        """Check and restore the state of `to_state`."""
        flags = {name: state.value(name, bool) for name in ("times", "grid", "gaps", "mostly_missing")}
        missing, masked = state.value("missing", str), tuple(state.values("masked", int, low=0))
        if missing not in ("gap", "mask", "line", "error") or not all(channel < n_channels for channel in masked):
            raise ModelFileError(f"missing={missing!r} with masks of the channels {masked} is not valid.")
        return cls(missing=missing, masked=masked, **flags)


def plan_sampling(options: Any, found: Survey, weights: NDArray[np.float64], frontend: str) -> Sampling:
    """Choose how times and missing samples enter the network, by a survey of the training cases."""
    times, missing, grid = bool(found.has_times.any()), options.missing, frontend != "linear"
    diagonal, limited = KERNELS[options.kernel].TAKES_GAPS, options.lookahead_s is not None
    gaps = diagonal and not limited
    if missing == "auto":
        missing = "gap" if gaps else "mask"
    if (times or missing == "gap") and not (gaps or grid):
        what = "X has times" if times else "missing='gap' is set"
        why = f"kernel={options.kernel!r} has dense state matrices, which cannot", "kernel='s4d' or 's5'"
        why = (f"lookahead_s={options.lookahead_s:g} cannot", "lookahead_s=None") if diagonal else why
        raise ValueError(
            f"{what}, but {why[0]} take gaps between samples. Use {why[1]}, or put X on a regular grid with "
            "Signals.to_grid."
        )
    absent = (found.partly_missing if missing == "gap" else found.missing).any(0)
    masked = () if grid else tuple(np.flatnonzero(absent & found.n_observed.any(0)).tolist())
    # On a grid, missing samples are interpolated. A filter bank gets waveforms, whose peaks are not outliers.
    mostly_missing = not grid and found.mostly_missing(weights)
    missing = "line" if frontend in BY_HOPS and missing != "error" else missing
    return Sampling(times, missing, masked, grid, gaps, mostly_missing)


def training_rate(found: Survey) -> float | None:
    """Return the rate whose period is the unit of time."""
    if not np.isnan(found.sfreqs).all():
        return float(np.nanmax(found.sfreqs))
    return None if found.median_gap is None else 1.0 / found.median_gap


def check_times(signals: Signals, sfreq: float | None, *, timed: bool, read: bool = True) -> Signals:
    """Refuse cases that do not match the fit; return them, for a model fitted at a rate without regular times."""
    if timed:
        check_timed(signals)
    if sfreq is not None and (read or not timed):  # else check_time_unit after a survey, which reads each case once
        check_time_unit(signals, sfreq)
    return signals if timed or sfreq is None else Signals.from_cases(at_rate(case, sfreq) for case in signals.cases)


def make_cases(
    signals: Signals,
    standardizer: Standardizer,
    *,
    sfreq: float | None,
    sampling: Sampling,
    found: Survey | None = None,
    weights: NDArray[np.float64] | None = None,
    targets: torch.Tensor | None = None,
    visit: Callable[[int, Signal], None] | None = None,
    changes: Sequence[SampleChange] = (),
) -> Cases:
    """Wrap signals for the training loop; a lazy case is read when a batch needs it, and passed to ``visit`` then.

    With ``changes``, a share of the loads in training return a changed version, which depends on a random number.
    """
    prepare = partial(prepare_case, standardizer=standardizer, sampling=sampling, sfreq=sfreq)
    versions, n = CaseVersions(signals.cases, changes, sfreq), len(signals)

    def load(index: int) -> Samples:
        case = versions.read(index)
        if visit is not None:
            visit(index, case)
        return prepare(case, index)

    def augment(index: int, chance: float) -> Samples:
        return prepare(versions.changed(index, chance), index) if chance < CHANGED_LOADS else load(index)

    on_grid = sampling.grid or sampling.missing == "hold"
    lengths = grid_lengths(signals, sfreq, found=found) if on_grid else signals.lengths
    weights = np.ones(n) if weights is None else weights
    periods = relative_periods(signals, sfreq)
    return Cases(load, lengths, periods, weights, targets, augment if changes else None)


def grid_lengths(signals: Signals, sfreq: float | None, *, found: Survey | None = None) -> NDArray[np.int64]:
    """Return the number of samples of cases on a regular grid, (n,)."""
    lengths = signals.lengths
    for index, case in enumerate(signals.cases):
        if case.has_times:
            span_s = case.load().duration_s or 0.0 if found is None else float(found.spans_s[index])
            rate = case.sfreq or sfreq or 1.0
            check_span(case, index, span_s, rate)
            lengths[index] = round(span_s * rate) + 1
    return lengths


def prepare_case(
    case: Signal, index: int, *, standardizer: Standardizer, sampling: Sampling, sfreq: float | None
) -> Samples:
    """Standardise a case, and convert its times and missing samples to gaps and masks."""
    period = 1.0 if case.sfreq is None or sfreq is None else sfreq / case.sfreq
    when = _positions(case, index, sfreq, period)
    missing = None if all_finite(case.data) else np.isnan(case.data)
    data = standardizer(case.data, f"case {index}")
    if sampling.mostly_missing:
        data = np.clip(data, -FURTHEST, FURTHEST)
    if sampling.grid:
        return Samples(_on_grid(data, when, period, missing, linear=sampling.missing == "line"))
    has_period = case.sfreq is not None or not case.has_times
    if sampling.missing == "hold":
        return Samples(data, None if when is None else _gaps(when, period, has_period=has_period))
    if missing is not None and sampling.missing == "gap" and sampling.gaps:
        present = ~missing.all(0)
        when = np.flatnonzero(present) * period if when is None else when[present]
        data, missing = data[:, present], missing[:, present]
    gaps = None if when is None else _gaps(when, period, has_period=has_period)
    if gaps is not None and not sampling.gaps:
        raise ValueError(
            f"case {index} has samples at irregular times, but the kernel has dense state matrices, or the model has "
            "lookahead_s, and does not support gaps. Fit with kernel='s4d' or 's5' and lookahead_s=None, or put X on "
            "a regular grid with Signals.to_grid."
        )
    if missing is not None and missing.any():
        data = hold_missing(data, missing)  # zero, the mean, before the first observation
    if sampling.masked:
        observed = np.ones(data.shape, dtype=data.dtype) if missing is None else ~missing
        data = np.concatenate([data, observed[list(sampling.masked)]])
    return Samples(data, gaps)


def _positions(case: Signal, index: int, sfreq: float | None, period: float) -> Floats | None:
    """Return times in training sample periods, on the grid of the case up to rounding; None for a regular case."""
    if case.times is None:
        return None
    if sfreq is None:
        raise ValueError(
            f"case {index} has times, but the model was fitted without times and without a rate, so it cannot convert "
            "seconds to samples. Fit with sfreq or with times."
        )
    places: Floats = (case.times - case.times[0]) * (sfreq / period)
    on_grid = np.abs(places - np.round(places)) <= time_rounding(case.times) * sfreq / period
    return np.asarray(np.where(on_grid, np.round(places), places) * period)


def _gaps(when: Floats, period: float, *, has_period: bool) -> Floats | None:
    """Return the time before each sample; None if it is the period for all of them.

    The first sample has no predecessor: its gap is a period, or the median gap if no period is has_period.
    """
    periods = np.diff(when) / period
    # Times such as 0.1 + 0.2 are slightly off their grid: after rounding, equal gaps are equal numbers.
    whole = np.round(periods)
    gaps = np.where(np.abs(periods - whole) < 1e-6 * np.maximum(whole, 1.0), whole, periods) * period
    later = gaps[gaps > 0]
    first = period if has_period or not len(later) else float(np.median(later))
    gaps = np.concatenate([[first], gaps])
    return None if (gaps == period).all() else gaps


def _on_grid(data: Floats, when: Floats | None, period: float, missing: Flags | None, *, linear: bool) -> Floats:
    """Interpolate the observed samples on a grid of one period."""
    if when is None and missing is None:
        return data
    positions = np.arange(float(data.shape[1])) if when is None else when / period
    observed = np.ones(data.shape, dtype=bool) if missing is None else ~missing
    n_times = round(float(positions[-1])) + 1
    channels = zip(data, observed, strict=True)
    filled = [_interpolated(positions[present], x[present], n_times, linear) for x, present in channels]
    return np.stack(filled).astype(data.dtype)


def _interpolated(positions: Floats, values: Floats, n_times: int, only_linear: bool) -> Floats:
    """Interpolate linearly, or by a cubic spline across short gaps of a regular recording.

    A spline preserves more of the band energies, but overshoots in long gaps or if two times nearly coincide.
    """
    grid = np.arange(n_times, dtype=np.float64)
    if not len(positions):
        return np.zeros(n_times)
    linear = np.interp(grid, positions, values)
    steps = np.diff(positions)
    regular = (np.abs(positions - np.round(positions)) <= 1e-6).all() and (steps >= 0.5).all()
    if only_linear or len(positions) < 4 or not regular:
        return linear
    after = np.clip(np.searchsorted(positions, grid, side="left"), 1, len(steps))
    inside = (grid > positions[0]) & (grid < positions[-1])
    return np.where(inside & (steps[after - 1] <= LONGEST_SPLINE), CubicSpline(positions, values)(grid), linear)
