"""One case in memory: a recording, a trial or a word, with its rate, times, names and annotations."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from s4signal.errors import RecordingError, ShapeError
from s4signal.signals import checks
from s4signal.signals.checks import FloatArray, time_rounding

_FEWEST = 10  # samples needed to infer a rate


@dataclass(frozen=True, slots=True)
class Annotation:
    """Annotated span of a case.

    Parameters
    ----------
    onset_s : float
        Start, in seconds after the first sample of the case.
    duration_s : float, at least 0
        Duration in seconds; 0 for an instant.
    description : str
        The event or state, as in MNE.

    Examples
    --------
    >>> Annotation(1.5, 0.0, "stimulus/left").description
    'stimulus/left'
    """

    onset_s: float
    duration_s: float
    description: str


def crop_annotations(annotations: tuple[Annotation, ...], first_s: float, end_s: float) -> tuple[Annotation, ...]:
    """Return the annotations that overlap a segment, with onsets relative to its first sample."""
    return tuple(
        replace(mark, onset_s=mark.onset_s - first_s)
        for mark in annotations
        if mark.onset_s < end_s and (mark.onset_s >= first_s or mark.onset_s + mark.duration_s > first_s)
    )


def cropped(case: Any, start: int, first_s: float, end_s: float) -> dict[str, Any]:
    """Return the fields of a segment of a case; "tmin" is the time from the event to its first sample."""
    marks, metadata = crop_annotations(case.annotations, first_s, end_s), case.metadata
    metadata = {**metadata, "tmin": metadata["tmin"] + first_s} if "tmin" in metadata else metadata
    return {"annotations": marks, "first_sample": case.first_sample + start, "metadata": metadata}


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Signal:
    """One case in memory.

    Parameters
    ----------
    data : array-like of shape (n_channels, n_times) or (n_times,)
        float32 is kept, every other real type is converted to float64. NaN marks a missing sample. Integer audio of
        8 (unsigned), 16 or 32 bits is scaled to float32 in -1…1, as audio files are. A case is audio if `modality` is
        "audio", or if `modality` is None, `sfreq` is at least 4 kHz and there are one or two channels.
    times : array-like of shape (n_times,) or None
        Seconds, in non-decreasing order; None means evenly spaced. Samples may share a time: their gap is zero.
    sfreq : float or None
        Samples per second [Hz].
    ch_names : sequence of str or None
        One name per channel.
    annotations : tuple of Annotation
        Annotated spans, in seconds after the first sample.
    source : str
        The file the case comes from, "" if none.
    first_sample : float
        Index of the first sample in the recording, at the rate of the case; MNE's ``first_samp``.
    recorded_sfreq : float or None
        The rate [Hz] at which the sample numbers of events are counted, if it differs from the rate of the case; 0 if
        sample numbers of the recording are no longer valid.
    modality : str or None
        Type of the signal: "audio" from audio files, MNE's channel type ("eeg", "ecog", "mag", …) or "mixed" from MNE,
        "biosignal" from WFDB.
    metadata : mapping of str to any value
        Other attributes of the case, such as a row of the ``metadata`` of `mne.Epochs`. Four keys have a meaning:
        "subject" and "recording" define the group that a split must keep together, "event" is the name of the event
        that the case was cut around, and "tmin" is the time [s] from that event to the first sample.
    positions : ndarray of shape (n_channels, 3) or None
        Positions of the sensors in metres, in head coordinates; NaN where unknown.

    Raises
    ------
    ShapeError
        If `data` is empty or has another number of dimensions, or `times` or `ch_names` has another length.
    TypeError
        If `data` is not numeric, or is sparse.
    ValueError
        If `data` is complex or has infinite values, `times` decrease or are not seconds, or `sfreq` is not positive.

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
    first_sample: float = 0
    recorded_sfreq: float | None = None
    modality: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    positions: FloatArray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "sfreq", checks.as_sfreq(self.sfreq))
        data = checks.as_case_array(checks.scale_pcm(self.data, self.sfreq, self.modality))
        checks.refuse_time_first(data.shape, self.sfreq)
        checks.refuse_infinite(data, self.source)
        object.__setattr__(self, "data", data)
        if self.times is not None:
            object.__setattr__(self, "times", checks.as_times(self.times, data.shape[1]))
            if self.sfreq is not None:
                checks.check_time_unit(self.times, self.sfreq)
        if self.ch_names is not None:
            object.__setattr__(self, "ch_names", checks.as_ch_names(self.ch_names, data.shape[0]))

    @property
    def n_channels(self) -> int:
        """Number of channels."""
        return int(self.data.shape[0])

    @property
    def length(self) -> int:
        """Number of samples over time."""
        return int(self.data.shape[1])

    @property
    def has_times(self) -> bool:
        """Whether the case has a time for every sample."""
        return self.times is not None

    @property
    def observed(self) -> npt.NDArray[np.bool_]:
        """Mask of the samples that are not missing, shape (n_channels, n_times)."""
        return ~np.isnan(self.data)

    @property
    def duration_s(self) -> float | None:
        """Seconds from the first to the last time, or n_times / sfreq; None if neither is known."""
        if self.times is not None:
            return float(self.times[-1] - self.times[0])
        return None if self.sfreq is None else self.length / self.sfreq

    def load(self) -> "Signal":
        """Return the case itself, which is already in memory."""
        return self

    def crop(self, start: int, stop: int) -> "Signal":
        """Return a segment as a view; annotations are relative to its first sample, times are unchanged.

        Parameters
        ----------
        start, stop : int
            Index of the first sample, and of the one after the last.

        Raises
        ------
        ShapeError
            If the segment is empty or reaches outside the case.
        """
        if not 0 <= start < stop <= self.length:
            raise ShapeError(f"samples {start} to {stop} were requested, but the case has samples 0 to {self.length}.")
        times = None if self.times is None else self.times[start:stop]
        new = cropped(self, start, *self._edges_s(start, stop))
        return part_of(self, data=self.data[:, start:stop], times=times, **new)

    def _edges_s(self, start: int, stop: int) -> tuple[float, float]:
        """Return seconds from the first sample to `start` and to `stop`; NaN if neither rate nor times are known."""
        if self.times is not None:
            end = self.times[stop] - self.times[0] if stop < self.length else np.inf
            return float(self.times[start] - self.times[0]), float(end)
        return (np.nan, np.nan) if self.sfreq is None else (start / self.sfreq, stop / self.sfreq)

    def __repr__(self) -> str:
        unknown, sfreq = "irregular times" if self.has_times else "rate unknown", regular_rate(self)
        channels = f"{self.n_channels} channel{'s' * (self.n_channels != 1)}"
        source = self.source and f", {self.source}"
        return f"Signal: {channels} × {self.length} samples, {unknown if sfreq is None else f'{sfreq:g} Hz'}{source}"

    def __eq__(self, other: object) -> bool:
        """Compare all fields except the metadata; NaN equals NaN."""
        if not isinstance(other, Signal):
            return NotImplemented
        pairs = [(f.name, getattr(self, f.name), getattr(other, f.name)) for f in fields(self) if f.name != "metadata"]
        with_nan = ["data"] if self.positions is None or other.positions is None else ["data", "positions"]
        return all(np.array_equal(a, b, equal_nan=name in with_nan) for name, a, b in pairs)

    __hash__ = None  # type: ignore[assignment]


def part_of(signal: Signal, **new: Any) -> Signal:
    """Copy a validated case with some fields replaced, without validating it again."""
    part = object.__new__(Signal)
    for name in (f.name for f in fields(Signal)):
        object.__setattr__(part, name, new.get(name, getattr(signal, name)))
    return part


def sample_times(signal: Signal) -> FloatArray:
    """Return the time of each sample [s], shape (n_times,)."""
    if signal.times is not None:
        return signal.times
    if signal.sfreq is None:
        raise RecordingError("neither its times nor its rate are known. Pass times= or sfreq= when you build it.")
    return np.arange(signal.length) / signal.sfreq


def regular_rate(signal: Signal, likely: float | None = None, unit_s: float = 1.0) -> float | None:
    """Return the rate [Hz]: with times, the nominal, `likely` or roundest rate that fits up to their last decimal."""
    times, rates = signal.times, [signal.sfreq or likely]
    if times is None:
        return signal.sfreq
    if signal.sfreq is None and len(times) >= _FEWEST and times[-1] > times[0]:
        rate = float((len(times) - 1) / (times[-1] - times[0]))
        rates += [value for n in range(10) for value in (round(rate, n), 1 / (round(1 / rate, n) or 1.0))] + [rate]
    return next((rate for rate in rates if rate and _on_grid(times, rate, unit_s)), None)


def _on_grid(times: FloatArray, rate: float, unit_s: float) -> bool:
    spread_s, slack_s = float(np.ptp(times - np.arange(len(times)) / rate)), 2 * time_rounding(times)
    if slack_s < spread_s < 0.45 / rate:  # a missing sample moves the others by half a period; coarser decimals hide it
        precision_s = _last_digit(times / unit_s) * unit_s
        slack_s += precision_s * (precision_s < 0.45 / rate)
    return spread_s <= slack_s


def _last_digit(numbers: FloatArray) -> float:
    """Return the unit of the last decimal: 0.01 for two decimals; 0 for more than nine."""
    decimals = (n for n in range(10) if np.abs(np.round(numbers * 10.0**n) / 10.0**n - numbers).max() < 1e-4 / 10.0**n)
    return float(10.0 ** -next(decimals, np.inf))
