"""Seconds of a case, counted in its samples."""

import numpy as np

from s4signal.errors import RecordingError
from s4signal.signals.case import Case
from s4signal.signals.checks import median_gap

__all__ = ["Clock"]


class Clock:
    """Finds samples by the seconds after the first one: by the times of a case where it has them, else by its rate."""

    def __init__(self, case: Case, name: str) -> None:
        times = case.load().times if case.has_times else None
        self.length = case.length
        if times is not None:
            self.times = times - times[0]
            period_s = median_gap(times)
            self.sfreq, self.total_s = None, float(self.times[-1]) + period_s
        elif case.sfreq is not None:
            period_s, self.sfreq, self.total_s = 1 / case.sfreq, case.sfreq, case.length / case.sfreq
        else:
            raise RecordingError(f"{name} has no known rate, so seconds cannot be counted. Pass sfreq= to Signals.")
        self.slack_s = period_s / 2

    def span(self, onset_s: float, duration_s: float, *, offset_s: float = 0.0) -> tuple[int, int] | None:
        """Find the samples of a stretch; one at its very end is not of it."""
        if self.sfreq is not None:
            start = round(onset_s * self.sfreq) + round(offset_s * self.sfreq)
            stop = start + round(duration_s * self.sfreq)
            return (start, stop) if 0 <= start < stop <= self.length else None
        first_s = onset_s + offset_s
        if first_s < -self.slack_s or first_s + duration_s > self.total_s + self.slack_s:
            return None
        # 3 * 0.1 is a little more than 0.3: a sample that should lie on the edge does.
        edges = np.array([first_s, first_s + duration_s]) - 1e-6 * self.slack_s
        start, stop = np.searchsorted(self.times, edges).tolist()
        return (start, stop) if start < stop else None

    def seconds(self, sample: int) -> float:
        """Tell when a sample was taken."""
        if self.sfreq is not None:
            return sample / self.sfreq
        within = min(max(sample, 0), self.length - 1)
        return float(self.times[within]) + (sample - within) * 2 * self.slack_s
