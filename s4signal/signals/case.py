"""One case: a recording, a trial or a word, held in memory or read when it is asked for."""

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from s4signal.errors import RecordingError
from s4signal.signals.checks import FloatArray, as_case_array, as_ch_names, as_sfreq, as_times
from s4signal.signals.resampling import resample_array, resampled_length

__all__ = ["Annotation", "Case", "ResampledCase", "Signal", "crop_annotations", "resample_case"]


@dataclass(frozen=True, slots=True)
class Annotation:
    """A marked stretch of a case.

    Parameters
    ----------
    onset_s : float
        Seconds after the first sample of the case.
    duration_s : float, at least 0
        Zero marks an instant.
    description : str
        What happened there.

    Examples
    --------
    >>> Annotation(1.5, 0.0, "stimulus/left").description
    'stimulus/left'
    """

    onset_s: float
    duration_s: float
    description: str


class Case(Protocol):
    """What a collection needs to know of a case; a `Signal` is one, and so is a file that is not yet read."""

    @property
    def n_channels(self) -> int: ...
    @property
    def length(self) -> int: ...
    @property
    def sfreq(self) -> float | None: ...
    @property
    def ch_names(self) -> tuple[str, ...] | None: ...
    @property
    def has_times(self) -> bool: ...
    @property
    def annotations(self) -> tuple[Annotation, ...]: ...
    @property
    def source(self) -> str: ...
    @property
    def first_sample(self) -> int: ...

    def load(self) -> "Signal":
        """The case in memory."""

    def crop(self, start: int, stop: int) -> "Case":
        """The samples from `start` up to, not including, `stop`."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Signal:
    """One case in memory.

    Parameters
    ----------
    data : array-like of shape (n_channels, n_times) or (n_times,)
        float32 stays, every other real type becomes float64. NaN is a missing sample.
    times : array-like of shape (n_times,) or None
        Seconds, strictly increasing; None means evenly spaced.
    sfreq : float or None
        Samples per second [Hz].
    ch_names : sequence of str or None
        One name a channel.
    annotations : tuple of Annotation
        Marked stretches, in seconds after the first sample.
    source : str
        The file the case came from, "" otherwise.
    first_sample : int
        What the recording itself counts its first sample as; MNE's ``first_samp``.

    Raises
    ------
    ShapeError
        If `data` is empty or has another rank, or `times` or `ch_names` another length.
    TypeError
        If `data` holds something other than numbers, or is sparse.
    ValueError
        If `data` is complex, `times` do not increase, or `sfreq` is not positive.

    Examples
    --------
    >>> signal = Signal([[1, 2, 3], [4, 5, 6]], sfreq=100, ch_names=("Oz", "O1"))
    >>> signal
    Signal: 2 channels × 3 samples, 100 Hz
    >>> signal.crop(1, 3).data
    array([[2., 3.],
           [5., 6.]])
    """

    data: FloatArray
    times: FloatArray | None = None
    sfreq: float | None = None
    ch_names: tuple[str, ...] | None = None
    annotations: tuple[Annotation, ...] = ()
    source: str = ""
    first_sample: int = 0

    def __post_init__(self) -> None:
        """Check and convert what was given."""
        data = as_case_array(self.data)
        object.__setattr__(self, "data", data)
        object.__setattr__(self, "sfreq", as_sfreq(self.sfreq))
        if self.times is not None:
            object.__setattr__(self, "times", as_times(self.times, data.shape[1]))
        if self.ch_names is not None:
            object.__setattr__(self, "ch_names", as_ch_names(self.ch_names, data.shape[0]))

    @property
    def n_channels(self) -> int:
        """Number of channels."""
        return int(self.data.shape[0])

    @property
    def length(self) -> int:
        """Number of samples in time."""
        return int(self.data.shape[1])

    @property
    def has_times(self) -> bool:
        """Whether the case carries the time of every sample."""
        return self.times is not None

    @property
    def duration_s(self) -> float | None:
        """Seconds from first to last time, or n_times / sfreq; None if neither is known."""
        if self.times is not None:
            return float(self.times[-1] - self.times[0])
        return None if self.sfreq is None else self.length / self.sfreq

    def load(self) -> "Signal":
        """Return itself: the case is in memory.

        Returns
        -------
        Signal
            The same object.
        """
        return self

    def crop(self, start: int, stop: int) -> "Signal":
        """Cut out a stretch; the data is a view.

        Parameters
        ----------
        start, stop : int
            First sample, and the one after the last.

        Returns
        -------
        Signal
            Its annotations are counted from its own first sample; its times stay as they are.
        """
        times = None if self.times is None else self.times[start:stop]
        annotations = crop_annotations(self.annotations, start, stop, self.sfreq)
        first = self.first_sample + start
        return replace(self, data=self.data[:, start:stop], times=times, annotations=annotations, first_sample=first)

    def __repr__(self) -> str:
        """Say in one line what is held."""
        rate = "rate unknown" if self.sfreq is None else f"{self.sfreq:g} Hz"
        when = "irregular times" if self.has_times else rate
        source = self.source and f", {self.source}"
        return (
            f"Signal: {self.n_channels} channel{'s' * (self.n_channels != 1)} × {self.length} samples, {when}{source}"
        )

    def __eq__(self, other: object) -> bool:
        """Whether data (NaN equals NaN), times, rate, names, annotations and source are the same."""
        if not isinstance(other, Signal):
            return NotImplemented
        same_times = (
            np.array_equal(self.times, other.times)
            if self.times is not None and other.times is not None
            else self.times is other.times
        )
        return (
            same_times
            and (self.sfreq, self.ch_names) == (other.sfreq, other.ch_names)
            and (self.annotations, self.source) == (other.annotations, other.source)
            and self.first_sample == other.first_sample
            and np.array_equal(self.data, other.data, equal_nan=True)
        )

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class ResampledCase:
    """A case on disk that is resampled after it is read."""

    case: Case
    sfreq: float

    has_times = False

    @property
    def n_channels(self) -> int:
        return self.case.n_channels

    @property
    def length(self) -> int:
        return resampled_length(self.case.length, self.case.sfreq or self.sfreq, self.sfreq)

    @property
    def ch_names(self) -> tuple[str, ...] | None:
        return self.case.ch_names

    @property
    def annotations(self) -> tuple[Annotation, ...]:
        return self.case.annotations

    @property
    def source(self) -> str:
        return self.case.source

    @property
    def first_sample(self) -> int:
        return round(self.case.first_sample * self.sfreq / (self.case.sfreq or self.sfreq))

    def load(self) -> Signal:
        return resample_signal(self.case.load(), self.sfreq)

    def crop(self, start: int, stop: int) -> Signal:
        """Read the case: a filter reaches past the ends of any stretch."""
        return self.load().crop(start, stop)


def resample_case(case: Case, sfreq: float) -> Case:
    """Resample a case: at once if it is in memory, after reading if it is a file.

    Parameters
    ----------
    case : Case
        A `Signal` or a case on disk.
    sfreq : float, positive
        The rate wanted [Hz].

    Returns
    -------
    Case
        The case at `sfreq`, low-passed below half of it.

    Raises
    ------
    RecordingError
        If the rate of the case is unknown, its times are irregular, or it holds an infinite value.
    """
    if case.sfreq == sfreq and not case.has_times:
        return case
    if isinstance(case, Signal):
        return resample_signal(case, sfreq)
    if case.sfreq is None:
        raise RecordingError("the sampling rate is unknown, so it cannot be resampled. Pass sfreq= when you build it.")
    return ResampledCase(case, sfreq)


def resample_signal(signal: Signal, sfreq: float) -> Signal:
    """Resample a case in memory; see `resample_case`."""
    rate = signal.sfreq if signal.times is None else _regular_rate(signal.times)
    if rate is None:
        raise RecordingError("the sampling rate is unknown, so it cannot be resampled. Pass sfreq= when you build it.")
    if np.isinf(signal.data).any():
        raise RecordingError("an infinite value cannot be resampled. Replace it by NaN, which means missing.")
    data = signal.data if rate == sfreq else resample_array(signal.data, rate, sfreq)
    times = None if signal.times is None else signal.times[0] + np.arange(data.shape[1]) / sfreq
    first = round(signal.first_sample * sfreq / rate)
    return replace(signal, data=data, times=times, sfreq=sfreq, first_sample=first)


def _regular_rate(times: FloatArray) -> float:
    steps = np.diff(times)
    if steps.size == 0 or np.ptp(steps) > 1e-3 * steps.mean():
        raise RecordingError(
            "its times are irregular, so it cannot be resampled. Keep the times: a model takes them as they are."
        )
    return float(1 / steps.mean())


def crop_annotations(
    annotations: tuple[Annotation, ...], start: int, stop: int, sfreq: float | None
) -> tuple[Annotation, ...]:
    """Keep what reaches into samples start..stop, counted from the new first sample."""
    if sfreq is None or not annotations:
        return ()
    first, end = start / sfreq, stop / sfreq
    return tuple(
        replace(mark, onset_s=mark.onset_s - first)
        for mark in annotations
        if mark.onset_s < end and (mark.onset_s >= first or mark.onset_s + mark.duration_s > first)
    )
