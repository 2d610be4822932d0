"""Open one EEG recording: the header is read now, the samples on access."""

import re
import warnings
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from s4signal.errors import RecordingError
from s4signal.signals.checks import FloatArray, check_file, optional
from s4signal.signals.edf import holds_no_signal, other_format, read_edf_signals, volts_per_unit
from s4signal.signals.eeg_folder import Found
from s4signal.signals.lazy import LazyCase
from s4signal.signals.mne_objects import common_type, positions_of, raw_annotations, subject_of
from s4signal.signals.montage import Chosen, OpenedFile, choose_channels

_mne = partial(optional, "mne", "Reading EEG", "eeg")
_READ_AHEAD = 2**19  # numbers: 4 MB
_TRUNCATED = re.compile(r"truncat|file size|incomplete|corrupt|record length", re.IGNORECASE)
# Advice for files that are not recordings, by name.
_KINDS = [
    (r"[-_]epo(-\d+)?\.fif(\.gz)?$", "It holds epochs, not a recording: pass mne.read_epochs(path) to fit."),
    (r"[-_](ave|evoked)\.fif(\.gz)?$", "It holds averages. Pass the recording that they were computed from."),
    (r"[-_]eve\.(fif(\.gz)?|lst|txt)$", "It holds events: read the recording, and pass this to epochs_from_events."),
    (r"[-_]annot\.(fif(\.gz)?|csv|txt)$", "It holds annotations and no signal. Pass the recording they belong to."),
    (r"\.(csv|tsv|txt)$", "Tables are read by s4signal.signals.read_csv, or by read_events."),
    (r"\.(hea|dat)$", "WFDB records are read by s4signal.signals.read_wfdb."),
    (r"\.(wav|flac|ogg|mp3|m4a)$", "Audio is read by s4signal.read_audio."),
    (r"\.ts$", "Such files are read by s4signal.signals.read_ts."),
    (r"\.(npy|npz)$", "Pass the array itself: Signals(numpy.load(path), sfreq=...)."),
    (r"\.mat$", "Pass the array itself: Signals(scipy.io.loadmat(path)[name], sfreq=...)."),
    (r"\.(vmrk|eeg|avg)$", "For BrainVision pass the header file, .vhdr."),
    (r"\.fdt$", "For EEGLAB pass the header file, .set."),
    (r"\.(json|tsv)$", "It describes a recording. Pass the recording, or the folder of the BIDS data set."),
]
_ENDING = "The extension must give its format (.edf, .bdf, .gdf, .vhdr, .fif, .set …). Copy it again or convert it."


def open_recording(found: Found, picks: str | Sequence[str], *, incomplete: str) -> OpenedFile:
    """Read the header, and the BIDS sidecar files if any; RecordingError if the recording is unusable."""
    path = found.path
    raw, numbered, missing = _read_raw(path, tolerant=incomplete == "warn")
    signals = read_edf_signals(path)
    if len(signals) != len(raw.ch_names):  # MNE reads other channels
        signals = []
    described = raw if found.bids is None else _bids_raw(found, raw)
    chosen = choose_channels(described, signals, picks, path)
    counts = [signals[row].n_samples for row in chosen.rows] if signals else [1]
    names = tuple(raw.ch_names[row] for row in chosen.rows)
    scales = tuple(_scale(signals[row].unit) if signals else 1.0 for row in chosen.rows)
    alone = bool(signals) and max(counts) < max(signal.n_samples for signal in signals)
    file = _RawFile(str(path), names, scales, alone=alone, in_one=len(set(counts)) > 1, tolerant=incomplete == "warn")
    file.__dict__["raw"] = raw
    if (n_whole := _n_whole(raw)) < raw.n_times:
        reason = f"only {n_whole} of {raw.n_times} samples can be read"
        if incomplete != "warn" or not n_whole:
            raise _incomplete(path, reason)
        missing = f"{path} ({reason})"
        raw.crop(tmax=(n_whole - 1) / raw.info["sfreq"], verbose="error")
    case = file.case(described, chosen, found)
    positions = case.positions if chosen.names == chosen.every else positions_of(described.info, chosen.every)
    return OpenedFile(case, chosen, positions, numbered, missing)


@dataclass(frozen=True, eq=False)
class _RawFile:
    """A recording on disk with its header; opened once, and again after unpickling."""

    source: str
    ch_names: tuple[str, ...]  # names in the file
    scales: tuple[float, ...]  # factors from the values of MNE to volts
    alone: bool  # read without the other channels, which have higher rates
    in_one: bool  # channels of several rates: MNE would resample each segment separately
    tolerant: bool  # whether the file can be incomplete

    @cached_property
    def raw(self) -> Any:
        """The recording with all channels of the file."""
        return _read_raw(Path(self.source), tolerant=self.tolerant)[0]

    @cached_property
    def data(self) -> Any:
        """The recording that samples are read from."""
        if not self.alone:
            return self.raw
        read = _mne().io.read_raw_bdf if self.source.lower().endswith(".bdf") else _mne().io.read_raw_edf
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # already raised on opening
            return read(self.source, include=list(self.ch_names), exclude_after_unique=True, verbose="error")

    def __getstate__(self) -> dict[str, Any]:
        """Pickle without the open recording."""
        return {name: value for name, value in self.__dict__.items() if name not in ("raw", "data", "kept")}

    def read(self, start: int, stop: int) -> FloatArray:
        """Return a segment, (n_channels, n_times); for consecutive segments, read ahead."""
        last, first, kept = self.__dict__.get("kept", (range(0), 0, None))
        if kept is None or not first <= start < stop <= first + kept.shape[1]:
            follows = last.start < start <= last.stop
            end = min(int(self.data.n_times), start + _READ_AHEAD // len(self.ch_names)) if follows else stop
            first, kept = start, self._read(start, max(stop, end))
        ends = stop == first + kept.shape[1]  # nothing read ahead
        self.__dict__["kept"] = range(start, stop), first, None if ends else kept
        segment: FloatArray = kept[:, start - first : stop - first]
        return segment if ends and start == first else segment.copy()

    def _read(self, start: int, stop: int) -> FloatArray:
        try:
            data = self.data.get_data(list(self.ch_names), start, stop, verbose="error")
        except Exception as error:
            raise _unreadable(self.source, str(error)) from error
        return np.asarray(data if set(self.scales) == {1.0} else data * np.array(self.scales)[:, np.newaxis])

    def case(self, described: Any, chosen: Chosen, found: Found) -> LazyCase:
        """Return the recording as a lazy case, with the attributes of `described`."""
        sfreq, recorded = float(self.data.info["sfreq"]), float(self.raw.info["sfreq"])
        types = described.get_channel_types()
        return LazyCase(
            read=self.read,
            n_channels=len(self.ch_names),
            length=int(self.data.n_times),
            sfreq=sfreq,
            ch_names=chosen.names,
            annotations=raw_annotations(described),
            source=self.source,
            first_sample=int(self.raw.first_samp) * sfreq / recorded,
            recorded_sfreq=None if sfreq == recorded else recorded,
            modality=common_type(types[row] for row in chosen.rows),
            in_one=self.in_one,
            metadata={**subject_of(described.info), **found.known},
            positions=positions_of(described.info, [described.ch_names[row] for row in chosen.rows]),
        )


def _scale(unit: str) -> float:
    """Return the factor from values of MNE to volts; MNE knows uV and mV, and reads every other unit as volts."""
    volts = volts_per_unit(unit)
    known = {"uV": 1e-6, "\u00b5V": 1e-6, "\u03bcV": 1e-6, "\x83\xcaV": 1e-6, "mV": 1e-3}.get(unit, 1.0)
    return 1.0 if volts is None else volts / known


def _bids_raw(found: Found, raw: Any) -> Any:
    """Read the BIDS sidecar files of a recording: channel types and status, events, positions."""
    bids = optional("mne_bids", "Reading a BIDS data set", "bids")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about optional parts of a data set
        try:
            described = bids.read_raw_bids(found.bids, on_ch_mismatch="rename", verbose="error")
        except Exception as error:
            raise RecordingError(
                f"{found.path}: its BIDS sidecar files cannot be read ({shortened(str(error))}). Check them with the "
                "BIDS validator, or pass a list of files."
            ) from error
    return described if len(described.ch_names) == len(raw.ch_names) else raw


def _read_raw(path: Path, *, tolerant: bool) -> tuple[Any, str, str]:
    """Open a recording; return messages on duplicate channel names and, if tolerated, on missing samples too."""
    mne = _mne()
    if not path.is_dir():  # some formats are folders
        check_file(path)
    if kind := other_format(path):
        raise RecordingError(f"{path} has the content of {kind}. Change its extension to .{kind.lower()}.")
    if holds_no_signal(path):
        raise RecordingError(f"{path} holds annotations and no signal. Pass the recording they belong to.")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            raw = mne.io.read_raw(path, preload=False, verbose="warning")
        except FileNotFoundError as error:
            raise RecordingError(
                f"{path} needs {error.filename or 'another file'}, which does not exist. Keep the files of a recording "
                "together, with their original names."
            ) from error
        except Exception as error:  # each format raises others: struct.error, IndexError, UnicodeDecodeError …
            raise _unreadable(str(path), str(error)) from error
    numbered = missing = ""
    for text in (str(warning.message).replace(str(path), path.suffix) for warning in caught):
        # BrainVision stores no length: a marker after the last sample shows that samples are missing.
        late = path.suffix == ".vhdr" and text.startswith("Omitted")
        if late or _TRUNCATED.search(text):
            missing = missing or text
        if "not unique" in text:
            numbered = f"{path}: {shortened(text)}. Duplicate names are numbered: {raw.ch_names}."
    if path.suffix == ".vhdr":
        missing = missing or _cut_binary(raw, path)
    if missing and not tolerant:
        raise _incomplete(path, missing)
    if raw.n_times < 1:
        raise RecordingError(f"{path} holds no samples. Leave it out.")
    return raw, numbered, missing and f"{path} ({shortened(missing)})"


def _cut_binary(raw: Any, path: Path) -> str:
    """Return a message if a binary BrainVision file ends within a sample, else ""."""
    data = Path(raw.filenames[0])
    if b"=ASCII" in path.read_bytes().upper() or not data.is_file():
        return ""
    n_bytes, n_values = data.stat().st_size, raw.n_times * len(raw.ch_names)
    if any(n_bytes == n_values * width for width in (2, 4, 8)):
        return ""
    return f"{data.name} has {n_bytes} bytes, not a whole number of samples of all channels"


def _n_whole(raw: Any) -> int:
    """Return the number of samples that can be read, less than all if the file is truncated."""

    def is_unreadable(sample: int) -> bool:
        try:
            raw.get_data([0], sample, sample + 1, verbose="error")
        except Exception:  # each format raises different errors
            return True
        return False

    n: int = raw.n_times
    return bisect_left(range(n), True, key=is_unreadable) if is_unreadable(n - 1) else n


def _unreadable(path: str, reason: str) -> RecordingError:
    return RecordingError(f"{path} cannot be read as a recording ({shortened(reason)}). {what_it_is(Path(path))}")


def _incomplete(path: Path, reason: str) -> RecordingError:
    return RecordingError(
        f"{path} is incomplete ({shortened(reason)}). Copy it again; to use the readable part, pass incomplete='warn'."
    )


def what_it_is(path: Path) -> str:
    """Return advice by the name and first lines of a file, and by the content that MNE detects."""
    name = path.name.lower()
    if name.endswith((".csv", ".tsv", ".txt")) and {"onset", "duration"} <= _words(path):
        return "It holds annotations and no signal. Pass the recording they belong to."
    advice = next((text for kind, text in _KINDS if re.search(kind, name)), "")
    if not advice and name.endswith((".fif", ".fif.gz")):
        advice = _advice_by_content(path)
    return advice or _ENDING


def shortened(reason: str) -> str:
    """Shorten the message of another package to one line."""
    return " ".join(reason.split()).rstrip(".")[:200] or "no reason given"


def _words(path: Path) -> set[str]:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            lines = [file.readline(1000) for _ in range(3)]
    except OSError:
        return set()
    return set(re.findall(r"\w+", " ".join(lines).lower()))


def _advice_by_content(path: Path) -> str:
    from mne import what

    try:
        kind = what(path)
    except Exception:
        return ""
    return next((text for pattern, text in _KINDS[:3] if re.search(pattern, f"_{kind[:3]}.fif")), "")
