"""EEG recordings of every format that MNE reads."""

import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from s4signal.errors import RecordingError
from s4signal.signals.case import Signal
from s4signal.signals.checks import FloatArray, PathOrText, as_paths, check_file, optional
from s4signal.signals.collection import Signals
from s4signal.signals.edf import read_edf_signals, volts_per_unit
from s4signal.signals.eeg_channels import choose_channels
from s4signal.signals.lazy import LazyCase
from s4signal.signals.mne_objects import common_type, positions_of, raw_annotations

_mne = partial(optional, "mne", "Reading EEG", "eeg")
_TRUNCATED = re.compile(r"truncat|file size|incomplete|corrupt", re.IGNORECASE)


def read_eeg(
    path: PathOrText | Iterable[PathOrText],
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
        Channels: "eeg" are those of that type, except what has the name of another sensor (ECG, EOG, EMG, breathing,
        saturation, pulse, temperature, markers, photic, position …) or another unit than volts, as EDF calls every
        channel EEG; "data" every data type of MNE; "all" everything; or names, in the order wanted. Channels that the
        file marks as bad are left out unless named.
    l_freq, h_freq : float, optional
        Edges of a zero-phase band-pass filter [Hz]; either may be missing.
    sfreq : float, optional
        Resample to this rate [Hz], after the filter.

    Returns
    -------
    Signals
        Volts, with rate, channel names and annotations; the events of stimulus channels are annotations too, their
        code as description. Samples are read from disk when asked for; with a filter or another rate, at once.
        Channels of EDF or BDF keep their own rate where those asked for share one, whatever the other channels have;
        otherwise the slower ones are brought to the rate of the fastest.

    Raises
    ------
    RecordingError
        If a file is missing, empty, truncated or of no format that MNE reads, or a channel is not there.
    MissingDependencyError
        If MNE is not installed.

    Warns
    -----
    UserWarning
        If ``picks="eeg"`` leaves out what the file calls EEG, or channels of one name are numbered.

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
    files = [_open(p, picks) for p in as_paths(path, "path")]
    others = dict.fromkeys(name for file in files for name in file.others)
    if others:
        warnings.warn(
            f"picks='eeg' leaves out {', '.join(others)}: no EEG by name or unit, although the files, such as "
            f"{next(file.source for file in files if file.others)}, say so. Name the channels to have them.",
            stacklevel=2,
        )
    filtered = l_freq is not None or h_freq is not None
    cases = [_filtered(file.case.load(), l_freq, h_freq) if filtered else file.case for file in files]
    return Signals.from_cases(cases) if sfreq is None else Signals.from_cases(c.load() for c in cases).resample(sfreq)


def read_mne_events(path: PathOrText) -> npt.NDArray[np.int64]:
    """Read an MNE events file, (n_events, 3)."""
    check_file(path)
    try:
        events: npt.NDArray[np.int64] = _mne().read_events(path, verbose="error").astype(np.int64)
    except Exception as error:
        raise RecordingError(f"{path} cannot be read as an MNE events file ({error}).") from error
    return events


@dataclass(frozen=True, eq=False)
class _RawFile:
    """A recording on disk: what its header says; opened once, and again after unpickling."""

    source: str
    ch_names: tuple[str, ...]
    others: tuple[str, ...]  # called EEG, and left out
    scales: tuple[float, ...]  # volts in what MNE calls one
    alone: bool  # read without the other channels, whose rates are higher
    in_one: bool  # the channels have several rates: stretches would be resampled each for itself

    @cached_property
    def raw(self) -> Any:
        """The recording as its file has it."""
        return _read_raw(Path(self.source))

    @cached_property
    def data(self) -> Any:
        """The recording as its samples are read."""
        if not self.alone:
            return self.raw
        read = _mne().io.read_raw_bdf if self.source.lower().endswith(".bdf") else _mne().io.read_raw_edf
        return read(self.source, include=list(self.ch_names), exclude_after_unique=True, verbose="error")

    def __getstate__(self) -> dict[str, Any]:
        """Leave the open recording behind."""
        return {name: value for name, value in self.__dict__.items() if name not in ("raw", "data")}

    def read(self, start: int, stop: int) -> FloatArray:
        """Return a stretch, (n_channels, n_times)."""
        try:
            data = self.data.get_data(list(self.ch_names), start, stop, verbose="error")
        except Exception as error:
            raise _unreadable(self.source, str(error)) from error
        in_volts: FloatArray = data if set(self.scales) == {1.0} else data * np.array(self.scales)[:, np.newaxis]
        return in_volts

    @property
    def case(self) -> LazyCase:
        """All of the recording."""
        sfreq, recorded = float(self.data.info["sfreq"]), float(self.raw.info["sfreq"])
        return LazyCase(
            read=self.read,
            n_channels=len(self.ch_names),
            length=int(self.data.n_times),
            sfreq=sfreq,
            ch_names=self.ch_names,
            annotations=raw_annotations(self.raw),
            source=self.source,
            first_sample=int(self.raw.first_samp) * sfreq / recorded,
            recorded_sfreq=None if sfreq == recorded else recorded,
            modality=common_type(self.raw.get_channel_types(list(self.ch_names))),
            in_one=self.in_one,
            positions=positions_of(self.raw.info, self.ch_names),
        )


def _open(path: Path, picks: str | Sequence[str]) -> _RawFile:
    raw = _read_raw(path)
    signals = read_edf_signals(path)
    if len(signals) != len(raw.ch_names):  # MNE reads the file in another way
        signals = []
    rows, others = choose_channels(raw, signals, picks, path)
    counts = [signals[row].n_samples for row in rows] if signals else [1]
    file = _RawFile(
        str(path),
        tuple(raw.ch_names[row] for row in rows),
        tuple(others),
        tuple(_scale(signals[row].unit) if signals else 1.0 for row in rows),
        alone=bool(signals) and max(counts) < max(signal.n_samples for signal in signals),
        in_one=len(set(counts)) > 1,
    )
    file.__dict__["raw"] = raw
    try:
        raw.get_data([0], start=raw.n_times - 1, verbose="error")
    except Exception as error:
        raise _incomplete(path, f"its last sample is missing: {error}") from error
    return file


def _scale(unit: str) -> float:
    """Return the volts in what MNE calls one: it knows uV and mV, and takes every other unit for volts."""
    volts = volts_per_unit(unit)
    known = {"uV": 1e-6, "\u00b5V": 1e-6, "\u03bcV": 1e-6, "\x83\xcaV": 1e-6, "mV": 1e-3}.get(unit, 1.0)
    return 1.0 if volts is None else volts / known


def _read_raw(path: Path) -> Any:
    mne = _mne()
    if not path.is_dir():  # some formats are folders
        check_file(path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            raw = mne.io.read_raw(path, preload=False, verbose="warning")
        except Exception as error:  # each format fails in its own way: struct.error, IndexError, UnicodeDecodeError …
            raise _unreadable(str(path), str(error)) from error
    for text in (str(warning.message) for warning in caught):
        # BrainVision stores no length: a marker after the last sample is a sign that samples are missing.
        late = path.suffix == ".vhdr" and text.startswith("Omitted")
        if late or _TRUNCATED.search(text):
            raise _incomplete(path, text)
        if "not unique" in text:
            warnings.warn(f"{path}: {_shorten(text)}. Such channels are numbered: {raw.ch_names}.", stacklevel=4)
    if raw.n_times < 1:
        raise RecordingError(f"{path} holds no samples. Leave it out.")
    if path.suffix == ".vhdr":
        _check_binary_size(raw, path)
    return raw


def _check_binary_size(raw: Any, path: Path) -> None:
    """Refuse a BrainVision file of binary samples whose last frame is cut."""
    data = Path(raw.filenames[0])
    if b"=ASCII" in path.read_bytes().upper() or not data.is_file():
        return
    n_bytes, n_values = data.stat().st_size, raw.n_times * len(raw.ch_names)
    if not any(n_bytes == n_values * width for width in (2, 4, 8)):
        raise _incomplete(path, f"{data.name} has {n_bytes} bytes, no whole number of samples of all channels")


def _filtered(signal: Signal, l_freq: float | None, h_freq: float | None) -> Signal:
    try:
        data = _mne().filter.filter_data(signal.data, signal.sfreq, l_freq, h_freq, verbose="error")
    except ValueError as error:
        raise RecordingError(f"{signal.source} ({signal.sfreq:g} Hz) cannot be filtered: {error}") from None
    return replace(signal, data=data)


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
