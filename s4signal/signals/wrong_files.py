"""What a file is that cannot be read as an EEG recording, and what reads it."""

import re
from pathlib import Path

_KINDS = [
    (r"[-_]epo(-\d+)?\.fif(\.gz)?$", "It holds epochs, no recording: mne.read_epochs(path) goes straight into fit."),
    (r"[-_](ave|evoked)\.fif(\.gz)?$", "It holds averages. Pass the recording that they were computed from."),
    (r"[-_]eve\.(fif(\.gz)?|lst|txt)$", "It holds events: read the recording, and pass this to epochs_from_events."),
    (r"[-_]annot\.(fif(\.gz)?|csv|txt)$", "It holds annotations and no signal. Pass the recording they belong to."),
    (r"\.(csv|tsv|txt)$", "Tables are read by s4signal.signals.read_csv, or by read_events."),
    (r"\.(hea|dat)$", "WFDB records are read by s4signal.signals.read_wfdb."),
    (r"\.(wav|flac|ogg|mp3|m4a)$", "Sound is read by s4signal.read_audio."),
    (r"\.ts$", "Such files are read by s4signal.signals.read_ts."),
    (r"\.(npy|npz)$", "Pass the array itself: Signals(numpy.load(path), sfreq=...)."),
    (r"\.mat$", "Pass the array itself: Signals(scipy.io.loadmat(path)[name], sfreq=...)."),
    (r"\.(vmrk|eeg|avg)$", "Of BrainVision pass the header, .vhdr."),
    (r"\.fdt$", "Of EEGLAB pass the header, .set."),
    (r"\.(json|tsv)$", "It is the description of a recording. Pass the recording, or the folder of the BIDS data set."),
]
_ENDING = "Its ending must tell its format (.edf, .bdf, .gdf, .vhdr, .fif, .set …); copy the file again or convert it."


def what_it_is(path: Path) -> str:
    """Advise by the name and the first line of a file, and by what MNE finds in it."""
    name = path.name.lower()
    if name.endswith((".csv", ".tsv", ".txt")) and {"onset", "duration"} <= _words(path):
        return "It holds annotations and no signal. Pass the recording they belong to."
    advice = next((text for kind, text in _KINDS if re.search(kind, name)), "")
    if not advice and name.endswith((".fif", ".fif.gz")):
        advice = _found_by_mne(path)
    return advice or _ENDING


def shortened(reason: str) -> str:
    """Put what another package says on one line."""
    return " ".join(reason.split()).rstrip(".")[:200] or "no reason given"


def _words(path: Path) -> set[str]:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            lines = [file.readline(1000) for _ in range(3)]
    except OSError:
        return set()
    return set(re.findall(r"\w+", " ".join(lines).lower()))


def _found_by_mne(path: Path) -> str:
    from mne import what

    try:
        kind = what(path)
    except Exception:
        return ""
    return next((text for pattern, text in _KINDS[:3] if re.search(pattern, f"_{kind[:3]}.fif")), "")
