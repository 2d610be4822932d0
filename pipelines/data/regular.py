"""Data sets with regular sampling."""

import numpy as np
import numpy.typing as npt

from data.index import column, in_split, read_index
from s4signal import Signals
from s4signal.signals import datasets, epochs_from_events, read_eeg, windows

__all__ = ["load_eegmat", "load_ppg_bp", "load_speech_commands", "load_ssvep_exo"]

Texts = npt.NDArray[np.str_]
Floats = npt.NDArray[np.float64]
# fmt: off
SCALP = [
    "Fp1", "Fp2", "F3", "F4", "F7", "F8", "T3", "T4", "C3", "C4", "T5", "T6", "P3", "P4", "O1", "O2", "Fz", "Cz",
    "Pz",
]
# fmt: on


def load_speech_commands(split: str | None = None) -> tuple[Signals, Texts, Texts]:
    """Load 1,000 clips of ten spoken commands by 162 speakers, 1 s at 16 kHz: cases, words, speakers."""
    rows = in_split(read_index("speech_commands/index.csv"), split)
    signals = Signals.from_files(datasets.data_home() / "speech_commands" / row["path"] for row in rows)
    return signals, column(rows, "label"), column(rows, "speaker")


def load_ppg_bp(split: str | None = None) -> tuple[Signals, Floats, Texts]:
    """Load finger PPG: 480 segments of 160 subjects, 2.1 s at 1 kHz, raw counts; heart rates, subjects.

    Y. Liang et al., "A new, short-recorded photoplethysmogram dataset for blood pressure monitoring in China",
    Scientific Data 5:180020, 2018, doi:10.1038/sdata.2018.20.
    """
    rows = in_split(read_index("ppg_bp/labels.csv"), split)
    segments = [(row, f"{row['subject']}_{take}.txt") for row in rows for take in (1, 2, 3)]
    folder = datasets.data_home() / "ppg_bp" / "segments"
    signals = Signals(
        [np.array((folder / name).read_text().split(), dtype=np.float64) for _, name in segments], sfreq=1000
    )
    rows = [row for row, _ in segments]
    return signals, np.array([float(row["heart_rate_bpm"]) for row in rows]), column(rows, "subject")


def load_ssvep_exo(session: int | None = None) -> tuple[Signals, Texts, Texts]:
    """Load steady-state visual evoked potentials: 448 trials of 8 channels, 5 s at 256 Hz, volts; classes, subjects.

    E. Kalunga et al., "Online SSVEP-based BCI using Riemannian geometry", Neurocomputing 191:55-68, 2016.
    """
    rows = sorted(read_index("ssvep_exo/index.csv"), key=lambda row: row["session"])
    rows = [row for row in rows if session is None or row["session"] == str(session)]
    root = datasets.data_home() / "ssvep_exo"
    signals, y, groups = epochs_from_events(
        read_eeg([root / row["raw_path"] for row in rows]),
        events=[root / row["events_path"] for row in rows],
        event_id={"rest": 1, "13 Hz": 2, "21 Hz": 3, "17 Hz": 4},
        tmax=5 - 1 / 256,  # tmax is inclusive
        groups=column(rows, "subject"),
    )
    # The files contain millivolts, declared as volts.
    return Signals(signals.to_numpy() * 1e-3, sfreq=signals.sfreq, ch_names=signals.ch_names), y, groups


def load_eegmat() -> tuple[Signals, Texts, Texts]:
    """Load EEG at rest and during mental arithmetic: 4 s windows of 19 channels at 500 Hz, volts; classes, subjects.

    Only the last 62 s of rest are used, so that the classes are balanced. Each class is one block within a subject, so
    split by subject.

    I. Zyma et al., "Electroencephalograms during Mental Arithmetic Task Performance", Data 4:14, 2019,
    doi:10.3390/data4010014.
    """
    rows = read_index("eegmat/index.csv")
    paths = [datasets.data_home() / "eegmat" / row["path"] for row in rows]
    recordings = Signals(list(read_eeg(paths, picks=[f"EEG {name}" for name in SCALP])))
    signals, y, groups = windows(
        recordings, duration_s=4, start_s=-62, y=column(rows, "label"), groups=column(rows, "subject")
    )
    return signals, np.asarray(y), groups
