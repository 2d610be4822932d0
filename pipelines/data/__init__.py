"""Sets as the recipes keep them, with an index or labels of their own, in the folder that S4SIGNAL_DATA names."""

import csv
from pathlib import Path

import numpy as np
import numpy.typing as npt

from s4signal import Signals
from s4signal.errors import RecordingError
from s4signal.signals import datasets, epochs_from_events, read_eeg

__all__ = ["load_ppg_bp", "load_speech_commands", "load_ssvep_exo", "read_index"]

Texts = npt.NDArray[np.str_]


def load_speech_commands(split: str | None = None) -> tuple[Signals, Texts, Texts]:
    """Load 1,000 clips of ten spoken commands by 162 speakers, 1 s at 16 kHz: cases, words, speakers."""
    rows = in_split(read_index("speech_commands/index.csv"), split)
    signals = Signals.from_files(datasets.data_home() / "speech_commands" / row["path"] for row in rows)
    return signals, column(rows, "label"), column(rows, "speaker")


def load_ppg_bp(split: str | None = None) -> tuple[Signals, npt.NDArray[np.float64], Texts]:
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
        tmax=5 - 1 / 256,  # the last sample is taken along
        groups=column(rows, "subject"),
    )
    # The files call millivolts volts.
    return Signals(signals.to_numpy() * 1e-3, sfreq=signals.sfreq, ch_names=signals.ch_names), y, groups


def read_index(name: str) -> list[dict[str, str]]:
    """Return the rows of an index below the folder of recordings."""
    path: Path = datasets.data_home() / name
    if not path.is_file():
        raise RecordingError(f"{path} does not exist. Set S4SIGNAL_DATA to the folder that holds {path.parent.name}/.")
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def in_split(rows: list[dict[str, str]], split: str | None) -> list[dict[str, str]]:
    """Take the rows of one split, or those of both, train first."""
    return [row for part in ("train", "test") if split in (None, part) for row in rows if row["split"] == part]


def column(rows: list[dict[str, str]], name: str) -> Texts:
    """Return one column of an index."""
    return np.array([row[name] for row in rows])
