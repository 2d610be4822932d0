"""Sets whose samples carry their own times."""

from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from s4signal.errors import RecordingError
from s4signal.signals.case import Signal
from s4signal.signals.checks import FloatArray
from s4signal.signals.collection import Signals
from s4signal.signals.dataset_files import check_complete, check_split, data_folder, index_rows
from s4signal.signals.events import read_events
from s4signal.signals.tabular import read_csv
from s4signal.signals.windows import windows

__all__ = ["load_physionet2012", "load_welltory_ppg"]

_Row = TypeVar("_Row")
_Texts = npt.NDArray[np.str_]
_N_TRAIN_STAYS, _N_TRAIN_RECORDINGS = 1500, 10
# fmt: off
_DESCRIPTORS = ("Age", "Gender", "Height", "ICUType", "Weight")
_VARIABLES = (
    "Age", "Gender", "Height", "ICUType", "Weight",
    "ALP", "ALT", "AST", "Albumin", "BUN", "Bilirubin", "Cholesterol", "Creatinine", "DiasABP", "FiO2", "GCS",
    "Glucose", "HCO3", "HCT", "HR", "K", "Lactate", "MAP", "MechVent", "Mg", "NIDiasABP", "NIMAP", "NISysABP", "Na",
    "PaCO2", "PaO2", "Platelets", "RespRate", "SaO2", "SysABP", "Temp", "TroponinI", "TroponinT", "Urine", "WBC", "pH",
)
# fmt: on


def load_physionet2012(split: str | None = None) -> tuple[Signals, npt.NDArray[np.int64]]:
    """Load 48 hours of intensive care: 2,000 stays, 36 series at irregular hours and 5 descriptors of the patient.

    Shape: (n,).

    References
    ----------
    .. [1] I. Silva et al., "Predicting in-hospital mortality of ICU patients: the PhysioNet/Computing in Cardiology
       Challenge 2012", Computing in Cardiology 39:245-248, 2012.
    """
    check_split(split)
    root = data_folder("physionet2012")
    rows = sorted(index_rows(root / "Outcomes-a.txt"), key=lambda row: int(row["RecordID"]))
    chosen = _part(rows, split, _N_TRAIN_STAYS)
    names = [row["RecordID"] for row in chosen]
    table = _observations([root / "set-a" / f"{name}.txt" for name in names])
    signals = read_events(
        table, case="case", time="time", variable="variable", value="value", variables=_VARIABLES, cases=names
    )
    return signals, np.array([int(row["In-hospital_death"]) for row in chosen], dtype=np.int64)


def load_welltory_ppg(
    split: str | None = None, *, duration_s: float = 10.0, step_s: float | None = None
) -> tuple[Signals, npt.NDArray[np.float64], _Texts]:
    """Load phone-camera PPG with the heart rate: 14 recordings of 68 to 112 s, cut into windows, true frame times.

    A volunteer may have made two recordings, so one may be on both sides of a split.

    Shape: (n,), (n,).

    References
    ----------
    .. [1] A. Neshitov et al., "Wavelet Analysis and Self-Similarity of Photoplethysmography Signals for HRV Estimation
       and Quality Assessment", Sensors 21:6798, 2021.
    """
    check_split(split)
    root = data_folder("welltory_ppg")
    chosen = _part(sorted(root.glob("subject_*")), split, _N_TRAIN_RECORDINGS)
    recordings, _ = read_csv([folder / "PPG.csv" for folder in chosen], time="time", time_unit_s=1e-3)
    cut, _, origin = windows(recordings, duration_s=duration_s, step_s=step_s, groups=np.arange(len(chosen)))
    beats = [_beats(folder / "RR.txt") for folder in chosen]
    y = np.array([_heart_rate(beats[i], window) for i, window in zip(origin, cut, strict=True)])
    return cut, y, np.array([chosen[i].name for i in origin])


def _part(rows: list[_Row], split: str | None, n_train: int) -> list[_Row]:
    return {"train": rows[:n_train], "test": rows[n_train:], None: rows}[split]


def _observations(paths: list[Path]) -> dict[str, list[str]]:
    """Put the rows of all files below each other; a descriptor of -1 is unknown."""
    cells: list[str] = []
    owners: list[str] = []
    for path in paths:
        check_complete(path)
        rows = path.read_text(encoding="utf-8").split()[1:]
        found = ",".join(rows).split(",")
        if len(found) != 3 * len(rows):
            raise RecordingError(f"{path} is damaged: a row is not time, variable and value. Copy it again.")
        cells += found
        owners += [path.stem] * len(rows)
    variables, values = cells[1::3], cells[2::3]
    known = ["" if v == "-1" and name in _DESCRIPTORS else v for name, v in zip(variables, values, strict=True)]
    return {"case": owners, "time": cells[::3], "variable": variables, "value": known}


def _beats(path: Path) -> FloatArray:
    check_complete(path)
    intervals_ms = np.array(path.read_text(encoding="utf-8").split(), dtype=np.float64)
    return np.concatenate([[0.0], np.cumsum(intervals_ms) / 1000])


def _heart_rate(beats_s: FloatArray, window: Signal) -> float:
    """Return beats per minute between the first and the last beat in a window."""
    times = np.asarray(window.times)
    inside = beats_s[(beats_s >= times[0]) & (beats_s <= times[-1])]
    if len(inside) < 2:
        raise RecordingError(
            f"{window.source}: the window from {times[0]:.1f} s holds no whole beat. Raise duration_s."
        )
    return float(60 * (len(inside) - 1) / (inside[-1] - inside[0]))
