"""Sets as the recipes keep them, with an index or labels of their own, in the folder that S4SIGNAL_DATA names."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from s4signal import Signals
from s4signal.errors import RecordingError
from s4signal.signals import Signal, datasets, epochs_from_events, read_csv, read_eeg, read_events, windows

__all__ = [
    "load_eegmat",
    "load_physionet2012",
    "load_ppg_bp",
    "load_speech_commands",
    "load_ssvep_exo",
    "load_welltory_ppg",
    "read_index",
]

Texts = npt.NDArray[np.str_]
Floats = npt.NDArray[np.float64]
# fmt: off
SCALP = [
    "Fp1", "Fp2", "F3", "F4", "F7", "F8", "T3", "T4", "C3", "C4", "T5", "T6", "P3", "P4", "O1", "O2", "Fz", "Cz",
    "Pz",
]
DESCRIPTORS = ["Age", "Gender", "Height", "ICUType", "Weight"]
SERIES = [
    "ALP", "ALT", "AST", "Albumin", "BUN", "Bilirubin", "Cholesterol", "Creatinine", "DiasABP", "FiO2", "GCS",
    "Glucose", "HCO3", "HCT", "HR", "K", "Lactate", "MAP", "MechVent", "Mg", "NIDiasABP", "NIMAP", "NISysABP",
    "Na", "PaCO2", "PaO2", "Platelets", "RespRate", "SaO2", "SysABP", "Temp", "TroponinI", "TroponinT", "Urine",
    "WBC", "pH",
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
        tmax=5 - 1 / 256,  # the last sample is taken along
        groups=column(rows, "subject"),
    )
    # The files call millivolts volts.
    return Signals(signals.to_numpy() * 1e-3, sfreq=signals.sfreq, ch_names=signals.ch_names), y, groups


def load_eegmat() -> tuple[Signals, Texts, Texts]:
    """Load EEG at rest and during mental arithmetic: 4 s windows of 19 channels at 500 Hz, volts; classes, subjects.

    Only the last 62 s of rest are taken, so that the classes are balanced. Each class is one block within a subject:
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


def load_physionet2012(split: str | None = None) -> tuple[Signals, npt.NDArray[np.int64]]:
    """Load 48 h of intensive care: 2,000 stays of 36 series at irregular hours and 5 descriptors; death in hospital.

    The first 1,500 stays are "train", the others "test".

    I. Silva et al., "Predicting in-hospital mortality of ICU patients: the PhysioNet/Computing in Cardiology Challenge
    2012", Computing in Cardiology 39:245-248, 2012.
    """
    outcomes = sorted(read_index("physionet2012/Outcomes-a.txt"), key=lambda row: int(row["RecordID"]))
    chosen = {"train": outcomes[:1500], "test": outcomes[1500:], None: outcomes}[split]
    names = [row["RecordID"] for row in chosen]
    table = observations([datasets.data_home() / "physionet2012" / "set-a" / f"{name}.txt" for name in names])
    columns = {"case": "case", "time": "time", "variable": "variable", "value": "value"}
    signals = read_events(table, **columns, picks=DESCRIPTORS + SERIES, cases=names)
    return signals, np.array([int(row["In-hospital_death"]) for row in chosen], dtype=np.int64)


def load_welltory_ppg(*, duration_s: float = 10.0, step_s: float | None = None) -> tuple[Signals, Floats, Texts]:
    """Load phone-camera PPG at its true frame times: windows of 14 recordings, the heart rate, the recordings.

    A volunteer may have made two recordings, so one may be on both sides of a split.

    A. Neshitov et al., "Wavelet Analysis and Self-Similarity of Photoplethysmography Signals for HRV Estimation and
    Quality Assessment", Sensors 21:6798, 2021.
    """
    root = datasets.data_home() / "welltory_ppg"
    folders = sorted(root.glob("subject_*"))
    if not folders:
        raise RecordingError(f"{root} does not exist. Set S4SIGNAL_DATA to the folder that holds {root.name}/.")
    recordings, _ = read_csv([folder / "PPG.csv" for folder in folders], time="time", time_unit_s=1e-3)
    cut, _, origin = windows(recordings, duration_s=duration_s, step_s=step_s, groups=np.arange(len(folders)))
    intervals_ms = [list(map(float, (folder / "RR.txt").read_text(encoding="utf-8").split())) for folder in folders]
    beats_s = [np.cumsum([0.0, *intervals]) / 1000 for intervals in intervals_ms]
    y = np.array([heart_rate(beats_s[i], window) for i, window in zip(origin, cut, strict=True)])
    return cut, y, np.array([folders[i].name for i in origin])


def observations(paths: list[Path]) -> dict[str, Any]:
    """Put the rows of all stays below each other; a descriptor of -1 is unknown."""
    cells: list[str] = []
    owners: list[str] = []
    for path in paths:
        rows = path.read_text(encoding="utf-8").split()[1:]
        cells += ",".join(rows).split(",")
        owners += [path.stem] * len(rows)
    what, values = cells[1::3], cells[2::3]
    known = ["" if v == "-1" and name in DESCRIPTORS else v for name, v in zip(what, values, strict=True)]
    return {"case": owners, "time": cells[::3], "variable": what, "value": known}


def heart_rate(beats_s: Floats, window: Signal) -> float:
    """Return beats per minute between the first and the last beat in a window."""
    times = np.asarray(window.times)
    inside = beats_s[(beats_s >= times[0]) & (beats_s <= times[-1])]
    return float(60 * (len(inside) - 1) / (inside[-1] - inside[0]))


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
