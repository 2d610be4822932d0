"""Read EEG recordings in any format that MNE reads."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np
import numpy.typing as npt

from s4signal.errors import RecordingError, check_choice
from s4signal.signals.audio_file import OnError, Skipped, check_on_error, skip_or_raise, warn_of_skipped
from s4signal.signals.case import Signal
from s4signal.signals.checks import PathOrText, check_file, check_positive, few, optional
from s4signal.signals.collection import Signals
from s4signal.signals.eeg_file import open_recording
from s4signal.signals.eeg_folder import Listing, find_recordings
from s4signal.signals.lazy import Case
from s4signal.signals.montage import OpenedFile, make_alike

_mne = partial(optional, "mne", "Reading EEG", "eeg")


def read_eeg(
    path: PathOrText | Iterable[PathOrText],
    *,
    picks: str | Sequence[str] = "eeg",
    l_freq: float | None = None,
    h_freq: float | None = None,
    sfreq: float | None = None,
    pattern: str | None = None,
    ch_names: Literal["file", "standard"] = "file",
    min_duration_s: float | None = None,
    on_error: OnError = "raise",
    incomplete: Literal["error", "warn"] = "error",
) -> Signals:
    """Read EEG recordings, one case per file: a file, a folder, a glob, a list of files, or a BIDS data set.

    Several recordings get one montage: the channels that most of them have, named as in the first of these. Channels
    match whatever their order, upper or lower case, prefix (``EEG ``, ``POL ``), reference (``-REF``, ``-LE``, ``-AVG``
    …), or older name (T3, T4, T5, T6). Extra channels are left out. A channel that is bad in only some files is NaN
    there, which every model accepts. One warning, and the printed result, list these changes.

    Parameters
    ----------
    path : path, glob or iterable of paths
        EDF, BDF, GDF, BrainVision (.vhdr), FIF, EEGLAB (.set), CNT, EGI or another format of ``mne.io.read_raw``. A
        folder is searched recursively, in the order of paths. A folder with a ``dataset_description.json`` is a BIDS
        data set, whose channels, events and positions are read by mne-bids.
    picks : {"eeg", "data", "all"}, another channel type of MNE, or sequence of str
        Channels to read: "eeg" for EEG channels, except those named like another sensor (ECG, EOG, EMG, breathing,
        saturation, pulse, temperature, markers, photic, position …) or not in volts, since EDF labels every channel as
        EEG; "data" for every data type of MNE; "all" for all; or a list of names, in this order. Channels marked as
        bad are left out unless named.
    l_freq, h_freq : float, optional
        Edges of a zero-phase band-pass filter [Hz]; with only one of them, a high-pass or low-pass filter.
    sfreq : float, optional
        Rate to resample to [Hz], after the filter.
    pattern : str, optional
        Pattern of file names, or of the ends of paths: ``"{subject}_{session}.edf"``,
        ``"{subject}/{task}_raw.fif"``, or a regular expression with named groups. Every field is a column of
        ``metadata``; "subject" defines the groups. BIDS names need no pattern.
    ch_names : {"file", "standard"}
        Whether to keep the names of the files, or to use those of the 10-10 system (``Fp1``, ``T7``) where known.
    min_duration_s : float, positive, optional
        Recordings shorter than this [s] are handled as unusable, see `on_error`.
    on_error : {"raise", "skip"}
        Whether an unusable file raises an error or is skipped with a warning. A file is unusable if it is unreadable,
        incomplete or too short, lacks a channel of the others, or has another rate (unless `sfreq` is given).
    incomplete : {"error", "warn"}
        Whether a truncated file, or one without a length (the number of records is -1 in many archived EDF files),
        raises an error, or is read as far as possible with a warning.

    Returns
    -------
    Signals
        Volts, with rate, channel names, positions and annotations; events of stimulus channels become annotations, with
        their code as description. Samples are read from disk on access; with a filter or another rate, immediately.
        Channels of EDF or BDF keep their rate if all picked channels share it, whatever the rate of the others;
        otherwise slower channels are resampled to the rate of the fastest. ``metadata`` is a table of the attributes
        of each recording: subject, session, task, run. Several recordings are `EegRecordings`, which list skipped
        files.

    Raises
    ------
    RecordingError
        If a file is missing, empty, truncated or in a format that MNE cannot read, a channel is missing, recordings
        differ in channels or rate, or no file is usable.
    MissingDependencyError
        If MNE is not installed, or, for a BIDS data set, mne-bids.
    ValueError
        If an option has an unknown value.

    Warns
    -----
    UserWarning
        If files are skipped or incomplete, channels were changed to get one montage, ``picks="eeg"`` leaves out
        channels that a file labels as EEG, or duplicate channel names are numbered.

    Examples
    --------
    >>> import mne
    >>> from tempfile import TemporaryDirectory
    >>> info = mne.create_info(["Oz", "ECG"], sfreq=250.0, ch_types=["eeg", "ecg"])
    >>> with TemporaryDirectory() as folder:
    ...     mne.io.RawArray(np.zeros((2, 500)), info, verbose="error").save(f"{folder}/s03_raw.fif", verbose="error")
    ...     read_eeg(f"{folder}/s03_raw.fif")
    ...     read_eeg(folder, pattern="{subject}_raw.fif").groups
    [...]
    Signals: 1 case × 1 channel, 500 samples, 250 Hz (2 s)
    array(['s03'], dtype='<U3')
    """
    check_on_error(on_error)
    check_choice("incomplete", incomplete, ("error", "warn"))
    check_choice("ch_names", ch_names, ("file", "standard"))
    if min_duration_s is not None:
        check_positive("min_duration_s", min_duration_s)
    listing = find_recordings(path, pattern)
    opened, skipped = _opened(listing, picks, min_duration_s, on_error, incomplete)
    _warn_of_files(opened)
    cases, others, changes = make_alike(
        [file._replace(case=_filtered(file.case, l_freq, h_freq)) for file in opened],
        standard=ch_names == "standard",
        one_rate=sfreq is None and not listing.single,
        on_error=on_error,
    )
    skipped += others
    warn_of_skipped(skipped, len(listing.found) + len(listing.skipped), stacklevel=2)
    if changes and not listing.single:
        warnings.warn(f"The recordings were brought to one montage; {'; '.join(changes)}.", stacklevel=2)
    signals = Signals.from_cases(cases)
    if sfreq is not None:
        signals = Signals.from_cases(case.load() for case in cases).resample(sfreq)
    return signals if listing.single else EegRecordings(signals.cases, skipped=skipped, changes=changes)


def read_mne_events(path: PathOrText) -> npt.NDArray[np.int64]:
    """Read an MNE events file, (n_events, 3)."""
    check_file(path)
    mne = _mne()
    try:
        events: npt.NDArray[np.int64] = mne.read_events(path, verbose="error").astype(np.int64)
    except Exception as error:
        raise RecordingError(f"{path} cannot be read as an MNE events file ({error}).") from error
    return events


def _opened(
    listing: Listing, picks: str | Sequence[str], min_duration_s: float | None, on_error: OnError, incomplete: str
) -> tuple[list[OpenedFile], list[Skipped]]:
    opened, skipped = [], list(listing.skipped)
    for one in listing.found:
        try:
            file = open_recording(one, picks, incomplete=incomplete)
            if min_duration_s is not None and (file.case.duration_s or 0.0) < min_duration_s:
                raise RecordingError(
                    f"{one.path} lasts {file.case.duration_s:.2f} s, less than min_duration_s={min_duration_s:.2f}. "
                    "Lower it, or leave this recording out."
                )
            opened.append(file)
        except RecordingError as error:
            if listing.single or (len(listing.found) == 1 and on_error == "raise"):
                raise
            skipped.append(skip_or_raise(error, one.path, on_error))
    if not opened:
        raise RecordingError(f"none of {len(skipped)} recordings can be used; the first: {skipped[0].reason}")
    return opened, skipped


def _warn_of_files(files: Sequence[OpenedFile]) -> None:
    """Warn about channels that are not EEG, duplicate names and incomplete files."""
    if others := dict.fromkeys(name for file in files for name in file.chosen.others):
        warnings.warn(
            f"picks='eeg' leaves out {', '.join(others)}: not EEG by name or unit, although files such as "
            f"{next(file.case.source for file in files if file.chosen.others)} label them as EEG. Pass their names as "
            "picks= to keep them.",
            stacklevel=3,
        )
    for text in (file.numbered for file in files if file.numbered):
        warnings.warn(text, stacklevel=3)
    if incomplete := [file.incomplete for file in files if file.incomplete]:
        warnings.warn(f"Incomplete recordings are read as far as possible: {few(incomplete)}.", stacklevel=3)


def _filtered(case: Case, l_freq: float | None, h_freq: float | None) -> Case:
    if l_freq is None and h_freq is None:
        return case
    signal: Signal = case.load()
    try:
        data = _mne().filter.filter_data(signal.data, signal.sfreq, l_freq, h_freq, verbose="error")
    except ValueError as error:
        raise RecordingError(f"{signal.source} ({signal.sfreq:g} Hz) cannot be filtered: {error}") from None
    return replace(signal, data=data)


class EegRecordings(Signals):
    """EEG recordings with one montage, as `read_eeg` returns them; printing lists changes and skipped files.

    `metadata` has the subject, session, task and run of each recording, if names, headers or the data set give them.
    A selection, and any transformed version, is plain `Signals`.

    Parameters
    ----------
    cases : iterable of Case
        One case per recording.
    skipped : sequence of (path, reason)
        Skipped files, and why.
    changes : sequence of str
        Changes made so that all recordings have the same channels.

    Examples
    --------
    >>> import mne
    >>> import numpy as np
    >>> from tempfile import TemporaryDirectory
    >>> from s4signal import read_eeg
    >>> info = mne.create_info(["Oz", "O1"], sfreq=250.0, ch_types="eeg")
    >>> with TemporaryDirectory() as folder:
    ...     for name in ("anna_1", "anna_2", "ben_1"):
    ...         raw = mne.io.RawArray(np.zeros((2, 500)), info, verbose="error")
    ...         raw.save(f"{folder}/{name}_raw.fif", verbose="error")
    ...     recordings = read_eeg(folder, pattern="{subject}_{session}_raw.fif")
    [...]
    >>> recordings
    Signals: 3 cases × 2 channels, 500 samples, 250 Hz (2 s)
    3 recordings of 2 subjects
    >>> recordings.metadata["session"], recordings.groups
    (array(['1', '2', '1'], dtype='<U1'), array(['anna', 'anna', 'ben'], dtype='<U4'))
    >>> recordings.skipped, recordings.changes
    ((), ())
    """

    def __init__(self, cases: Iterable[Case], *, skipped: Sequence[Skipped] = (), changes: Sequence[str] = ()) -> None:
        super().__init__(list(cases))
        self.skipped, self.changes = tuple(skipped), tuple(changes)

    def __repr__(self) -> str:
        """Summarise recordings, subjects, changes and skipped files."""
        lines = [super().__repr__()]
        subjects = self.metadata.get("subject")
        if subjects is not None:
            n = len(set(subjects.tolist()) - {None})
            lines.append(f"{len(self)} recordings of {n} subject{'s' * (n != 1)}")
        lines += self.changes
        if self.skipped:
            lines.append(f"skipped: {len(self.skipped)}, the first: {self.skipped[0].reason}")
        return "\n".join(lines)
