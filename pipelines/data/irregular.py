"""Data sets with irregular sample times."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data.index import read_index
from s4signal import Signals
from s4signal.errors import RecordingError
from s4signal.signals import Signal, datasets, read_csv, read_events, windows

__all__ = ["load_physionet2012", "load_welltory_ppg", "observations"]

Texts = npt.NDArray[np.str_]
Floats = npt.NDArray[np.float64]
# fmt: off
DESCRIPTORS = ["Age", "Gender", "Height", "ICUType", "Weight"]
SERIES = [
    "ALP", "ALT", "AST", "Albumin", "BUN", "Bilirubin", "Cholesterol", "Creatinine", "DiasABP", "FiO2", "GCS",
    "Glucose", "HCO3", "HCT", "HR", "K", "Lactate", "MAP", "MechVent", "Mg", "NIDiasABP", "NIMAP", "NISysABP",
    "Na", "PaCO2", "PaO2", "Platelets", "RespRate", "SaO2", "SysABP", "Temp", "TroponinI", "TroponinT", "Urine",
    "WBC", "pH",
]
# fmt: on


def load_physionet2012(split: str | None = None) -> tuple[Signals, npt.NDArray[np.int64]]:
    """Load 48 h of intensive care: 2,000 stays of 36 series at irregular times and 5 descriptors; death in hospital.

    The first three quarters of the stays (1,500) are "train", the others "test".

    I. Silva et al., "Predicting in-hospital mortality of ICU patients: the PhysioNet/Computing in Cardiology Challenge
    2012", Computing in Cardiology 39:245-248, 2012.
    """
    outcomes = sorted(read_index("physionet2012/Outcomes-a.txt"), key=lambda row: int(row["RecordID"]))
    n_train = len(outcomes) * 3 // 4
    chosen = {"train": outcomes[:n_train], "test": outcomes[n_train:], None: outcomes}[split]
    names = [row["RecordID"] for row in chosen]
    table = observations([datasets.data_home() / "physionet2012" / "set-a" / f"{name}.txt" for name in names])
    columns = {"case": "case", "time": "time", "variable": "variable", "value": "value"}
    signals = read_events(table, **columns, picks=DESCRIPTORS + SERIES, cases=names)
    return signals, np.array([int(row["In-hospital_death"]) for row in chosen], dtype=np.int64)


def load_welltory_ppg(*, duration_s: float = 10.0, step_s: float | None = None) -> tuple[Signals, Floats, Texts]:
    """Load phone-camera PPG at its true frame times: windows of 14 recordings, heart rates, names of the recordings.

    A volunteer may have made two recordings, so a person may be on both sides of a split.

    A. Neshitov et al., "Wavelet Analysis and Self-Similarity of Photoplethysmography Signals for HRV Estimation and
    Quality Assessment", Sensors 21:6798, 2021.
    """
    root = datasets.data_home() / "welltory_ppg"
    folders = sorted(root.glob("subject_*"))
    if not folders:
        raise RecordingError(f"{root} does not exist. Set S4SIGNAL_DATA to the folder with {root.name}/.")
    recordings, _ = read_csv([folder / "PPG.csv" for folder in folders], time="time", time_unit_s=1e-3)
    cut, _, origin = windows(recordings, duration_s=duration_s, step_s=step_s, groups=np.arange(len(folders)))
    intervals_ms = [list(map(float, (folder / "RR.txt").read_text(encoding="utf-8").split())) for folder in folders]
    beats_s = [np.cumsum([0.0, *intervals]) / 1000 for intervals in intervals_ms]
    y = np.array([heart_rate(beats_s[i], window) for i, window in zip(origin, cut, strict=True)])
    return cut, y, np.array([folders[i].name for i in origin])


def observations(paths: list[Path]) -> dict[str, Any]:
    """Concatenate the rows of all stays; a descriptor of -1 is unknown."""
    cells: list[str] = []
    owners: list[str] = []
    for path in paths:
        rows = path.read_text(encoding="utf-8").split()[1:]
        cells += ",".join(rows).split(",")
        owners += [path.stem] * len(rows)
    names, values = cells[1::3], cells[2::3]
    values = ["" if v == "-1" and name in DESCRIPTORS else v for name, v in zip(names, values, strict=True)]
    return {"case": owners, "time": cells[::3], "variable": names, "value": values}


def heart_rate(beats_s: Floats, window: Signal) -> float:
    """Return the heart rate between the first and the last beat of a window, in beats per minute."""
    times = np.asarray(window.times)
    inside = beats_s[(beats_s >= times[0]) & (beats_s <= times[-1])]
    return float(60 * (len(inside) - 1) / (inside[-1] - inside[0]))
