"""Conversion of seconds to samples of a case, and warnings about clocks and rates."""

import warnings
from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np

from s4signal.errors import RecordingError
from s4signal.signals.case import Signal, part_of, regular_rate
from s4signal.signals.checks import case_name, is_audio, largest_jump, median_gap, time_rounding
from s4signal.signals.lazy import Case, LazyCase

_YEAR_S = 3.15e7
_ALONE = 100.0  # ratio of a suspicious jump to the rest of the recording


class Clock:
    """Convert seconds after the first sample to sample indices, by the times of a case if any, else by its rate."""

    def __init__(self, i: int, recording: Case) -> None:
        self.name = recording.source or f"recording {i}"
        # For some files reading a segment costs as much as reading the whole.
        read_now = isinstance(recording, LazyCase) and recording.in_one
        self.case = case = recording.load() if read_now else recording
        times = case.times if isinstance(case, Signal) else None
        self.times = None if times is None else times - times[0]
        if self.times is not None:
            period_s = median_gap(self.times)
            self.total_s = float(self.times[-1]) + period_s
        elif case.sfreq is not None:
            period_s, self.total_s = 1 / case.sfreq, case.length / case.sfreq
        else:
            raise RecordingError(
                f"{self.name} has no known rate, so seconds cannot be counted. Pass sfreq= to Signals."
            )
        self.slack_s = period_s / 2
        # Of times and edges: 3 * 0.1 is slightly more than 0.3; seconds since 1970 have a resolution of 2e-7 s.
        self.rounding_s = 1e-6 * self.slack_s + (0.0 if times is None else time_rounding(times))

    def span(self, start_s: float, duration_s: float) -> tuple[int, int] | None:
        """Return the first sample of a window and its end, exclusive; None if it is empty or outside."""
        if self.times is None:
            rate = self.case.sfreq or 1.0
            start = round(start_s * rate)
            return self._inside(start, start + round(duration_s * rate))
        edges = np.array([start_s, start_s + duration_s]) - self.rounding_s
        return self._inside(*np.searchsorted(self.times, edges).tolist())

    def around(self, onset_s: float, tmin: float, tmax: float) -> tuple[int, int] | None:
        """Return the samples from `tmin` to `tmax` around an event, both included, as MNE does."""
        if self.times is None:
            rate = self.case.sfreq or 1.0
            at = round(onset_s * rate)
            return self._inside(at + round(tmin * rate), at + round(tmax * rate) + 1)
        if onset_s + tmin < -self.slack_s or onset_s + tmax > self.total_s - self.slack_s:
            return None
        edges = np.array([tmin - self.rounding_s, tmax + self.rounding_s]) + onset_s
        return self._inside(*np.searchsorted(self.times, edges).tolist())

    def _inside(self, start: int, stop: int) -> tuple[int, int] | None:
        return (start, stop) if 0 <= start < stop <= self.case.length else None

    def windows(self, first_s: float, step_s: float, duration_s: float, n: int) -> Iterable[int]:
        """Return which of n windows may contain a sample, skipping those within long gaps."""
        if self.times is None:
            return range(n)
        last = np.floor((self.times - first_s + self.rounding_s) / step_s).astype(np.int64)
        first = last - int(np.ceil(duration_s / step_s))
        gaps = np.flatnonzero(first[1:] > last[:-1] + 1)
        runs = zip(first[[0, *(gaps + 1)]].tolist(), last[[*gaps, -1]].tolist(), strict=True)
        return chain.from_iterable(range(max(0, a), min(n, b + 1)) for a, b in runs)

    def event_s(self, sample: int) -> float:
        """Return the time [s] of an event given as a sample number of the recording, at its rate."""
        case = self.case
        if case.recorded_sfreq == 0:
            raise RecordingError(
                f"{self.name}: its samples are no longer those of the recording, so sample numbers are not valid. "
                "Cut epochs before removing or interpolating samples, or pass events as annotations."
            )
        if case.sfreq is not None and (self.times is None or case.recorded_sfreq is not None):
            return sample / (case.recorded_sfreq or case.sfreq) - case.first_sample / case.sfreq
        index = sample - int(case.first_sample)
        nearest = min(max(index, 0), case.length - 1)
        known_s = 0.0 if self.times is None else float(self.times[nearest])
        return known_s + (index - nearest) * 2 * self.slack_s


def at_rate(case: Case, likely: float | None = None, unit_s: float = 1.0) -> Case:
    """Replace the times of a case in memory by its rate, if they are regular; see `regular_rate`."""
    if not isinstance(case, Signal) or case.times is None:
        return case
    rate = regular_rate(case, likely, unit_s)
    return case if rate is None else part_of(case, times=None, sfreq=rate)


def without_regular_times(cases: Sequence[Case], unit_s: float = 1.0) -> list[Case]:
    """Replace times by rates if those of all cases are regular; few samples need the rate of the longest case."""
    by_length = sorted(cases, key=lambda case: case.length)
    likely = at_rate(by_length[-1], unit_s=unit_s).sfreq if cases else None
    regular = [at_rate(case, likely, unit_s) for case in cases]
    return list(cases) if any(case.has_times for case in regular) else regular


def warn_of_clocks(cases: Iterable[Case]) -> None:
    """Warn about cases in memory with a few samples years away from the others, as if the clock was not set."""
    jumps = []
    for i, case in enumerate(cases):
        times = case.times if isinstance(case, Signal) else None
        if times is None or len(times) < 3:
            continue
        after, jump_s = largest_jump(times)
        rest_s, n_few = times[-1] - times[0] - jump_s, min(after + 1, len(times) - after - 1)
        if jump_s > max(_YEAR_S, _ALONE * rest_s) and n_few <= max(1, len(times) // 10):
            name = case_name(i, case.source)
            jumps.append(f"{name}: times jump by {jump_s / _YEAR_S:.1f} years after sample {after}")
    if jumps:
        more = f", {len(jumps) - 1} more as well" if len(jumps) > 1 else ""
        warnings.warn(
            f"{jumps[0]}{more}. If a clock was wrong, correct it or remove its samples; if not, ignore this.",
            stacklevel=3,
        )


def warn_of_short_sounds(cases: Iterable[Case]) -> None:
    """Warn about audio that is too short to be useful: damaged files, or milliseconds passed as seconds."""
    for i, case in enumerate(cases):
        rate = case.sfreq or 0.0
        if case.length < 0.002 * rate and is_audio(case.modality, rate, case.n_channels):
            what = f"{case_name(i, case.source)}: {case.length} samples at {rate:g} Hz"
            warnings.warn(f"{what} are too short for audio; leave it out.", stacklevel=3)
            break


def warn_of_no_rate(cases: Iterable[Case]) -> None:
    """Warn about cases with several channels and no rate: they look like recordings, where Hz and s matter."""
    if any(case.n_channels > 1 and case.sfreq is None and getattr(case, "times", None) is None for case in cases):
        warnings.warn(
            "X has several channels and no sampling rate: durations are counted in samples, and other rates cannot be "
            "detected. Pass sfreq= to the model or Signals(X, sfreq=...); for data without a rate pass Signals(X).",
            stacklevel=4,
        )
