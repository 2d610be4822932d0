"""EEG recordings of every format that MNE reads."""

import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from s4signal.errors import MissingDependencyError, RecordingError
from s4signal.signals.case import Annotation, Case, Signal, crop_annotations
from s4signal.signals.checks import as_paths, check_file, pick_rows
from s4signal.signals.collection import Signals
from s4signal.signals.forms import common_type

__all__ = ["read_eeg", "read_mne_events"]

# Many EDF files call every channel EEG: these names say otherwise. A1, A2 are earlobes, A2-A1 their difference.
_NOT_EEG = re.compile(
    r"^(EEG\s+)?(ECG|EKG|EMG|EOG|[HV]EOG|RESP|GSR|DIG\b|TRIG|STATUS|STI\b|A[12]-A[12])", re.IGNORECASE
)
_TRUNCATED = re.compile(r"truncat|file size|incomplete|corrupt", re.IGNORECASE)


def read_eeg(
    path: str | PathLike[str] | Iterable[str | PathLike[str]],
    *,
    picks: str | Sequence[str] = "eeg",
    l_freq: float | None = None,
    h_freq: float | None = None,
    sfreq: float | None = None,
) -> Signals:
    """Read EEG recordings, one case per file.

    Parameters
    ----------
    path : path or iterable of paths
        EDF, BDF, GDF, BrainVision (.vhdr), FIF, EEGLAB (.set), CNT, EGI or another format of ``mne.io.read_raw``.
    picks : {"eeg", "data", "all"}, another channel type of MNE, or sequence of str
        Channels: "eeg" are those of that type whose name does not say ECG, EOG, EMG, trigger or earlobe reference;
        "data" every data type of MNE; "all" everything; or names, in the order wanted. Channels that the file marks
        as bad are left out unless named.
    l_freq, h_freq : float, optional
        Edges of a zero-phase band-pass filter [Hz]; either may be missing.
    sfreq : float, optional
        Resample to this rate [Hz], after the filter.

    Returns
    -------
    Signals
        Volts, with rate, channel names and annotations; the events of stimulus channels are annotations too, their
        code as description. Samples are read from disk when asked for; with a filter or another rate, at once.

    Raises
    ------
    RecordingError
        If a file is missing, empty, truncated or of no format that MNE reads, or a channel is not there.
    MissingDependencyError
        If MNE is not installed.

    Examples
    --------
    >>> import mne
    >>> from tempfile import TemporaryDirectory
    >>> info = mne.create_info(["Oz", "ECG"], sfreq=250.0, ch_types=["eeg", "ecg"])
    >>> with TemporaryDirectory() as folder:
    ...     mne.io.RawArray(np.zeros((2, 500)), info, verbose="error").save(f"{folder}/s03_raw.fif", verbose="error")
    ...     read_eeg(f"{folder}/s03_raw.fif")
    [...]
    Signals: 1 case × 1 channel, 500 samples, 250 Hz (2 s)
    """
    files = [_open(Path(p), picks) for p in as_paths(path, "path")]
    if l_freq is None and h_freq is None:
        signals = Signals.from_cases(_RawCase(file, 0, file.n_times) for file in files)
    else:
        signals = Signals.from_cases(_filtered(file, l_freq, h_freq) for file in files)
    return signals if sfreq is None else Signals(list(signals)).resample(sfreq)


def read_mne_events(path: str | PathLike[str]) -> npt.NDArray[np.int64]:
    """Read an MNE events file.

    Shape: (n_events, 3).
    """
    mne = _mne()
    check_file(path)
    try:
        events: npt.NDArray[np.int64] = mne.read_events(path, verbose="error").astype(np.int64)
    except Exception as error:
        raise RecordingError(f"{path} cannot be read as an MNE events file ({error}).") from error
    return events


@dataclass(frozen=True, eq=False)
class _RawFile:
    """A recording on disk: what its header says; opened once, and again after unpickling."""

    source: str
    rows: tuple[int, ...]
    ch_names: tuple[str, ...]
    sfreq: float
    n_times: int
    first_sample: int
    modality: str

    @cached_property
    def raw(self) -> Any:
        return _read_raw(Path(self.source))

    @cached_property
    def annotations(self) -> tuple[Annotation, ...]:
        marks = [
            Annotation(float(onset - self.raw.first_time), float(duration), str(description))
            for onset, duration, description in zip(
                self.raw.annotations.onset,
                self.raw.annotations.duration,
                self.raw.annotations.description,
                strict=True,
            )
        ]
        return tuple(sorted(marks + _stimulus_events(self.raw), key=lambda mark: mark.onset_s))

    def __getstate__(self) -> dict[str, Any]:
        """Leave the open recording behind."""
        return {name: value for name, value in self.__dict__.items() if name != "raw"}


@dataclass(frozen=True, slots=True)
class _RawCase:
    """Samples `start` to `stop` of a recording on disk."""

    file: _RawFile
    start: int
    stop: int

    has_times = False
    recorded_sfreq = None

    @property
    def n_channels(self) -> int:
        return len(self.file.rows)

    @property
    def modality(self) -> str:
        return self.file.modality

    @property
    def length(self) -> int:
        return self.stop - self.start

    @property
    def sfreq(self) -> float:
        return self.file.sfreq

    @property
    def ch_names(self) -> tuple[str, ...]:
        return self.file.ch_names

    @property
    def annotations(self) -> tuple[Annotation, ...]:
        return crop_annotations(self.file.annotations, self.start / self.sfreq, self.stop / self.sfreq)

    @property
    def source(self) -> str:
        return self.file.source

    @property
    def first_sample(self) -> int:
        return self.file.first_sample + self.start

    def load(self) -> Signal:
        try:
            data = self.file.raw.get_data(list(self.file.rows), self.start, self.stop, verbose="error")
        except Exception as error:
            raise _unreadable(self.source, str(error)) from error
        return Signal(
            data,
            sfreq=self.sfreq,
            ch_names=self.ch_names,
            annotations=self.annotations,
            source=self.source,
            first_sample=self.first_sample,
            modality=self.modality,
        )

    def crop(self, start: int, stop: int) -> "_RawCase":
        return replace(self, start=self.start + start, stop=self.start + stop)


def _open(path: Path, picks: str | Sequence[str]) -> _RawFile:
    raw = _read_raw(path)
    rows = _pick(raw, picks, path)
    file = _RawFile(
        str(path),
        tuple(rows),
        tuple(raw.ch_names[row] for row in rows),
        float(raw.info["sfreq"]),
        int(raw.n_times),
        int(raw.first_samp),
        common_type(raw.get_channel_types(rows)),
    )
    file.__dict__["raw"] = raw
    try:
        raw.get_data([0], start=file.n_times - 1, verbose="error")
    except Exception as error:
        raise _incomplete(path, f"its last sample is missing: {error}") from error
    return file


def _read_raw(path: Path) -> Any:
    mne = _mne()
    if not path.exists():
        raise RecordingError(f"{path} does not exist. Check the path.")
    if path.is_file() and path.stat().st_size == 0:
        raise RecordingError(f"{path} is empty (0 bytes). Copy it again or leave it out.")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            raw = mne.io.read_raw(path, preload=False, verbose="warning")
        except Exception as error:  # each format fails in its own way: struct.error, IndexError, UnicodeDecodeError …
            raise _unreadable(str(path), str(error)) from error
    for warning in caught:
        # BrainVision stores no length: a marker after the last sample is the one sign that samples are missing.
        late = path.suffix == ".vhdr" and str(warning.message).startswith("Omitted")
        if late or _TRUNCATED.search(str(warning.message)):
            raise _incomplete(path, str(warning.message))
    if raw.n_times < 1:
        raise RecordingError(f"{path} holds no samples. Leave it out.")
    return raw


def _pick(raw: Any, picks: str | Sequence[str], path: Path) -> list[int]:
    names, types, bads = raw.ch_names, raw.get_channel_types(), raw.info["bads"]
    if not isinstance(picks, str):
        return pick_rows(names, picks, path)
    if picks not in ("eeg", "data", "all", *types):
        raise ValueError(f"picks={picks!r} is unknown; choose one of 'eeg', 'data', 'all', or pass a list of names.")
    if picks == "all":
        return list(range(len(names)))
    if picks == "data":
        rows = [int(row) for row in _mne().pick_types(raw.info, meg=True, eeg=True, seeg=True, ecog=True, fnirs=True)]
    else:
        rows = [row for row, kind in enumerate(types) if kind == picks and names[row] not in bads]
    if picks == "eeg":
        rows = [row for row in rows if not _NOT_EEG.match(names[row])]
    if not rows:
        raise RecordingError(f"{path} has no {picks} channel. Pass picks= a list of names from: {', '.join(names)}.")
    return rows


def _filtered(file: _RawFile, l_freq: float | None, h_freq: float | None) -> Case:
    signal = _RawCase(file, 0, file.n_times).load()
    try:
        data = _mne().filter.filter_data(signal.data, file.sfreq, l_freq, h_freq, verbose="error")
    except ValueError as error:
        raise RecordingError(f"{file.source} ({file.sfreq:g} Hz) cannot be filtered: {error}") from None
    return replace(signal, data=data)


def _stimulus_events(raw: Any) -> list[Annotation]:
    stimulus = [name for name, kind in zip(raw.ch_names, raw.get_channel_types(), strict=True) if kind == "stim"]
    if not stimulus:
        return []
    events = _mne().find_events(raw, stimulus, shortest_event=1, verbose="error")
    return [
        Annotation(float(sample - raw.first_samp) / float(raw.info["sfreq"]), 0.0, str(code))
        for sample, _, code in np.asarray(events)
    ]


def _unreadable(path: str, reason: str) -> RecordingError:
    return RecordingError(
        f"{path} cannot be read as a recording ({_shorten(reason)}). "
        "Its ending must tell its format (.edf, .bdf, .gdf, .vhdr, .fif, .set …); copy the file again or convert it."
    )


def _incomplete(path: Path, reason: str) -> RecordingError:
    return RecordingError(
        f"{path} is incomplete ({_shorten(reason)}). Copy it again; to use what is left, save that to a new file: "
        "mne.io.read_raw(path, preload=True).save('repaired_raw.fif')."
    )


def _shorten(reason: str) -> str:
    return " ".join(reason.split()).rstrip(".")[:200] or "no reason given"


def _mne() -> ModuleType:
    try:
        import mne
    except ImportError:
        raise MissingDependencyError('Reading EEG needs MNE-Python: pip install "s4signal[eeg]".') from None
    module: ModuleType = mne
    return module
