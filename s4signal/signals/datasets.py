"""Real recordings by name: load_* finds them on this computer, nothing is downloaded."""

import numpy as np
import numpy.typing as npt

from s4signal.signals.archive_datasets import (
    load_blink,
    load_eyes_open_shut,
    load_finger_movements,
    load_hand_movement_direction,
    load_self_regulation_scp1,
    load_self_regulation_scp2,
)
from s4signal.signals.collection import Signals
from s4signal.signals.dataset_files import data_folder, data_home, index_column, index_rows, read_splits
from s4signal.signals.eeg import read_eeg
from s4signal.signals.irregular_datasets import load_physionet2012, load_welltory_ppg
from s4signal.signals.windows import epochs_from_events, windows

__all__ = [
    "data_home",
    "load_blink",
    "load_eegmat",
    "load_eyes_open_shut",
    "load_finger_movements",
    "load_hand_movement_direction",
    "load_japanese_vowels",
    "load_physionet2012",
    "load_ppg_bp",
    "load_self_regulation_scp1",
    "load_self_regulation_scp2",
    "load_speech_commands",
    "load_spoken_digits",
    "load_ssvep_exo",
    "load_welltory_ppg",
]

_Texts = npt.NDArray[np.str_]
_SSVEP_EVENTS = {"rest": 1, "13 Hz": 2, "21 Hz": 3, "17 Hz": 4}


def load_spoken_digits(split: str | None = None) -> tuple[Signals, _Texts, _Texts]:
    """Load the Free Spoken Digit Dataset: 2,000 words of 4 speakers at 8 kHz, 0.14 to 1 s.

    Shape: (n,), (n,).

    References
    ----------
    .. [1] Z. Jackson et al., "Free Spoken Digit Dataset" v1.0.8, 2018, doi:10.5281/zenodo.1342401.
    """
    root = data_folder("fsdd")
    rows = index_rows(root / "index.csv", split, "official_split")
    signals = Signals.from_files(root / row["path"] for row in rows)
    return signals, index_column(rows, "label"), index_column(rows, "speaker")


def load_speech_commands(split: str | None = None) -> tuple[Signals, _Texts, _Texts]:
    """Load 1,000 clips of ten spoken commands by 162 speakers: 1 s at 16 kHz.

    Shape: (n,), (n,).

    References
    ----------
    .. [1] P. Warden, "Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition", arXiv:1804.03209, 2018.
    """
    root = data_folder("speech_commands")
    rows = index_rows(root / "index.csv", split, "split")
    signals = Signals.from_files(root / row["path"] for row in rows)
    return signals, index_column(rows, "label"), index_column(rows, "speaker")


def load_ppg_bp(split: str | None = None) -> tuple[Signals, npt.NDArray[np.float64], _Texts]:
    """Load finger PPG with the heart rate: 480 segments of 160 subjects, 2.1 s at 1 kHz, raw counts.

    Shape: (n,), (n,).

    References
    ----------
    .. [1] Y. Liang et al., "A new, short-recorded photoplethysmogram dataset for blood pressure monitoring in China",
       Scientific Data 5:180020, 2018, doi:10.1038/sdata.2018.20.
    """
    root = data_folder("ppg_bp")
    rows = [(row, take) for row in index_rows(root / "labels.csv", split, "split") for take in (1, 2, 3)]
    paths = [root / "segments" / f"{row['subject']}_{take}.txt" for row, take in rows]
    signals = Signals([np.array(path.read_text().split(), dtype=np.float64) for path in paths], sfreq=1000)
    y = np.array([float(row["heart_rate_bpm"]) for row, _ in rows])
    return signals, y, np.array([row["subject"] for row, _ in rows])


def load_japanese_vowels(split: str | None = None) -> tuple[Signals, _Texts]:
    """Load vowels of nine men: 270 + 370 series of 12 cepstrum coefficients, 7 to 29 frames.

    Shape: (n,).

    References
    ----------
    .. [1] M. Kudo, J. Toyama, M. Shimbo, "Multidimensional curve classification using passing-through regions",
       Pattern Recognition Letters 20:1103-1111, 1999.
    """
    return read_splits(data_folder("japanese_vowels"), "JapaneseVowels", split, sfreq=156.25)  # a frame every 6.4 ms


def load_eegmat() -> tuple[Signals, _Texts, _Texts]:
    """Load EEG at rest and during mental arithmetic: 300 windows of 19 channels, 4 s at 500 Hz, volts, 10 subjects.

    Only the last 62 s of rest are taken, so that the classes are balanced. Each class is one block within a subject:
    split by subject.

    Shape: (n,), (n,).

    References
    ----------
    .. [1] I. Zyma et al., "Electroencephalograms during Mental Arithmetic Task Performance", Data 4:14, 2019,
       doi:10.3390/data4010014.
    """
    root = data_folder("eegmat")
    rows = index_rows(root / "index.csv")
    recordings = Signals(list(read_eeg([root / row["path"] for row in rows])))
    signals, y, groups = windows(
        recordings, duration_s=4, start_s=-62, y=index_column(rows, "label"), groups=index_column(rows, "subject")
    )
    return signals, np.asarray(y), groups


def load_ssvep_exo(session: int | None = None) -> tuple[Signals, _Texts, _Texts]:
    """Load steady-state visual evoked potentials: 448 trials of 8 channels, 5 s at 256 Hz, volts, 7 subjects.

    Shape: (n,), (n,).

    References
    ----------
    .. [1] E. Kalunga et al., "Online SSVEP-based BCI using Riemannian geometry", Neurocomputing 191:55-68, 2016.
    """
    if session not in (None, 1, 2):
        raise ValueError(f"session={session!r} is unknown; choose 1, 2 or None for both.")
    root = data_folder("ssvep_exo")
    rows = sorted(index_rows(root / "index.csv"), key=lambda row: row["session"])
    rows = [row for row in rows if session is None or row["session"] == str(session)]
    signals, y, groups = epochs_from_events(
        read_eeg([root / row["raw_path"] for row in rows]),
        events=[root / row["events_path"] for row in rows],
        event_id=_SSVEP_EVENTS,
        tmax=5.0,
        groups=index_column(rows, "subject"),
    )
    names = signals.ch_names
    # The files call millivolts volts.
    return Signals(signals.to_numpy() * 1e-3, sfreq=signals.sfreq, ch_names=names), y, groups
