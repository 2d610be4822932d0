"""Seconds of a case, counted in its samples."""

import warnings
from collections.abc import Iterable
from itertools import chain

import numpy as np

from s4signal.errors import RecordingError
from s4signal.signals.case import Signal
from s4signal.signals.checks import case_name, is_audio, largest_jump, median_gap
from s4signal.signals.lazy import Case, LazyCase

_YEAR_S = 3.15e7
_ALONE = 100.0  # times as long as all that is on either side


class Clock:
    """Finds samples by the seconds after the first one: by the times of a case where it has them, else by its rate."""

    def __init__(self, i: int, recording: Case) -> None:
        self.name = recording.source or f"recording {i}"
        # Of some files every stretch would cost reading the whole.
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

    def span(self, start_s: float, duration_s: float) -> tuple[int, int] | None:
        """Find the samples of a window; one at its very end is not of it."""
        if self.times is None:
            rate = self.case.sfreq or 1.0
            start = round(start_s * rate)
            return self._inside(start, start + round(duration_s * rate))
        if start_s < -self.slack_s or start_s + duration_s > self.total_s + self.slack_s:
            return None
        # 3 * 0.1 is a little more than 0.3: a sample that should lie on the edge does.
        edges = np.array([start_s, start_s + duration_s]) - 1e-6 * self.slack_s
        return self._inside(*np.searchsorted(self.times, edges).tolist())

    def around(self, onset_s: float, tmin: float, tmax: float) -> tuple[int, int] | None:
        """Find the samples around an event, those at `tmin` and at `tmax` among them, as MNE does."""
        if self.times is None:
            rate = self.case.sfreq or 1.0
            at = round(onset_s * rate)
            return self._inside(at + round(tmin * rate), at + round(tmax * rate) + 1)
        if onset_s + tmin < -self.slack_s or onset_s + tmax > self.total_s - self.slack_s:
            return None
        edges = np.array([tmin - 1e-6 * self.slack_s, tmax + 1e-6 * self.slack_s]) + onset_s
        return self._inside(*np.searchsorted(self.times, edges).tolist())

    def _inside(self, start: int, stop: int) -> tuple[int, int] | None:
        return (start, stop) if 0 <= start < stop <= self.case.length else None

    def windows(self, first_s: float, step_s: float, duration_s: float, n: int) -> Iterable[int]:
        """Tell which of n windows may hold a sample: none of those within a long hole."""
        if self.times is None:
            return range(n)
        last = np.floor((self.times - first_s) / step_s + 1e-6).astype(np.int64)
        first = last - int(np.ceil(duration_s / step_s)) - 1
        holes = np.flatnonzero(first[1:] > last[:-1] + 1)
        runs = zip(first[[0, *(holes + 1)]].tolist(), last[[*holes, -1]].tolist(), strict=True)
        return chain.from_iterable(range(max(0, a), min(n, b + 1)) for a, b in runs)

    def event_s(self, sample: int) -> float:
        """Tell the instant of an event whose sample was counted in the recording, at its rate."""
        case = self.case
        if case.recorded_sfreq == 0:
            raise RecordingError(
                f"{self.name}: its samples are no longer those of the recording, so events cannot be counted in them. "
                "Cut epochs before samples are removed or interpolated, or give events as annotations."
            )
        if case.sfreq is not None and (self.times is None or case.recorded_sfreq is not None):
            return sample / (case.recorded_sfreq or case.sfreq) - case.first_sample / case.sfreq
        index = sample - int(case.first_sample)
        within = min(max(index, 0), case.length - 1)
        known = 0.0 if self.times is None else float(self.times[within])
        return known + (index - within) * 2 * self.slack_s


def warn_of_clocks(cases: Iterable[Case]) -> None:
    """Warn of cases in memory of which a few samples lie years from all others, as of a clock that was not yet set."""
    wrong = []
    for i, case in enumerate(cases):
        times = case.times if isinstance(case, Signal) else None
        if times is None or len(times) < 3:
            continue
        after, jump_s = largest_jump(times)
        rest_s, n_few = times[-1] - times[0] - jump_s, min(after + 1, len(times) - after - 1)
        if jump_s > max(_YEAR_S, _ALONE * rest_s) and n_few <= max(1, len(times) // 10):
            name = case_name(i, case.source)
            wrong.append(f"{name}: times jump by {jump_s / _YEAR_S:.1f} years after sample {after}")
    if wrong:
        more = f", {len(wrong) - 1} more as well" if len(wrong) > 1 else ""
        warnings.warn(
            f"{wrong[0]}{more}. If a clock was wrong, correct it or leave its samples out; if not, nothing is amiss.",
            stacklevel=3,
        )


def warn_of_short_sounds(cases: Iterable[Case]) -> None:
    """Warn of sounds that are over before they can tell anything: damaged files, or seconds that were milliseconds."""
    for i, case in enumerate(cases):
        rate = case.sfreq or 0.0
        if case.length < 0.002 * rate and is_audio(case.modality, rate, case.n_channels):
            name = case_name(i, case.source)
            warnings.warn(f"{name}: {case.length} samples at {rate:g} Hz are no sound; leave it out.", stacklevel=3)
            break


def warn_of_no_rate(cases: Iterable[Case]) -> None:
    """Ask for the rate of cases of several channels: they are recordings, of which Hz and seconds mean something."""
    if any(case.n_channels > 1 and case.sfreq is None and getattr(case, "times", None) is None for case in cases):
        warnings.warn(
            "X has several channels and no sampling rate: durations are taken in samples, and other rates cannot be "
            "told. Pass sfreq= to the model, or Signals(X, sfreq=...); Signals(X) says that there is none.",
            stacklevel=4,
        )
