"""Real recordings by name: ``load_*`` finds them on this computer, ``fetch_*`` downloads them first if need be.

They lie in the folder that S4SIGNAL_DATA names, or in the user's cache, each laid out as it is published;
`dataset_table` says where. The sets without ``fetch_*`` are published without a checksum: download them by hand.
"""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from s4signal.errors import RecordingError
from s4signal.signals.audio import read_audio_folder
from s4signal.signals.case import Signal
from s4signal.signals.checks import FloatArray
from s4signal.signals.collection import Signals
from s4signal.signals.dataset_table import DATASETS, check_complete, data_home, fetch, find, find_archive
from s4signal.signals.eeg import read_eeg
from s4signal.signals.tabular import read_csv, read_events
from s4signal.signals.ts import read_ts
from s4signal.signals.windows import windows

__all__ = [
    "data_home",
    "fetch_speech_commands",
    "fetch_spoken_digits",
    "load_blink",
    "load_eegmat",
    "load_eyes_open_shut",
    "load_finger_movements",
    "load_hand_movement_direction",
    "load_japanese_vowels",
    "load_physionet2012",
    "load_self_regulation_scp1",
    "load_self_regulation_scp2",
    "load_speech_commands",
    "load_spoken_digits",
    "load_welltory_ppg",
]

_Texts = npt.NDArray[np.str_]
# fmt: off
_EEGMAT = [
    "Fp1", "Fp2", "F3", "F4", "F7", "F8", "T3", "T4", "C3", "C4", "T5", "T6", "P3", "P4", "O1", "O2", "Fz", "Cz",
    "Pz",
]
_FINGER_MOVEMENTS = [
    "F3", "F1", "Fz", "F2", "F4", "FC5", "FC3", "FC1", "FCz", "FC2", "FC4", "FC6", "C5", "C3", "C1", "Cz", "C2",
    "C4", "C6", "CP5", "CP3", "CP1", "CPz", "CP2", "CP4", "CP6", "O1", "O2",
]
_STAY_DESCRIPTORS = ["Age", "Gender", "Height", "ICUType", "Weight"]
_STAY_SERIES = [
    "ALP", "ALT", "AST", "Albumin", "BUN", "Bilirubin", "Cholesterol", "Creatinine", "DiasABP", "FiO2", "GCS",
    "Glucose", "HCO3", "HCT", "HR", "K", "Lactate", "MAP", "MechVent", "Mg", "NIDiasABP", "NIMAP", "NISysABP",
    "Na", "PaCO2", "PaO2", "Platelets", "RespRate", "SaO2", "SysABP", "Temp", "TroponinI", "TroponinT", "Urine",
    "WBC", "pH",
]
# fmt: on


def load_self_regulation_scp1(split: str | None = None) -> tuple[Signals, _Texts]:
    """Load slow cortical potentials of a healthy subject [1]_: 268 + 293 trials of 6 channels, 3.5 s at 256 Hz.

    References
    ----------
    .. [1] N. Birbaumer et al., "A spelling device for the paralysed", Nature 398:297-298, 1999.
    """
    return _read_ts("SelfRegulationSCP1", split)


def load_self_regulation_scp2(split: str | None = None) -> tuple[Signals, _Texts]:
    """Load slow cortical potentials of a paralysed patient [1]_: 200 + 180 trials of 7 channels, 4.5 s at 256 Hz.

    References
    ----------
    .. [1] N. Birbaumer et al., "A spelling device for the paralysed", Nature 398:297-298, 1999.
    """
    return _read_ts("SelfRegulationSCP2", split)


def load_finger_movements(split: str | None = None) -> tuple[Signals, _Texts]:
    """Load EEG before a key press [1]_: 316 + 100 trials of 28 channels, 0.5 s at 100 Hz.

    References
    ----------
    .. [1] B. Blankertz, G. Curio, K.-R. Müller, "Classifying Single Trial EEG: Towards Brain Computer Interfacing",
       NIPS 14, 2002.
    """
    signals, y = _read_ts("FingerMovements", split)
    return Signals(signals, ch_names=_FINGER_MOVEMENTS), y


def load_hand_movement_direction(split: str | None = None) -> tuple[Signals, _Texts]:
    """Load MEG of wrist movements [1]_: 160 + 74 trials of 10 channels, 1 s at 400 Hz.

    References
    ----------
    .. [1] S. Waldert et al., "Hand Movement Direction Decoded from MEG and EEG", J. Neurosci. 28:1000-1008, 2008.
    """
    return _read_ts("HandMovementDirection", split)


def load_eyes_open_shut(split: str | None = None) -> tuple[Signals, _Texts]:
    """Load EEG with eyes open or shut: 56 + 42 trials of 14 channels, 1 s at 128 Hz."""
    return _read_ts("EyesOpenShut", split)


def load_blink(split: str | None = None) -> tuple[Signals, _Texts]:
    """Load EEG of short and long blinks: 500 + 450 trials of 4 channels, 2 s at 255 Hz."""
    return _read_ts("Blink", split)


def load_japanese_vowels(split: str | None = None) -> tuple[Signals, _Texts]:
    """Load vowels of nine men [1]_: 270 + 370 series of 12 cepstrum coefficients, 7 to 29 frames.

    References
    ----------
    .. [1] M. Kudo, J. Toyama, M. Shimbo, "Multidimensional curve classification using passing-through regions",
       Pattern Recognition Letters 20:1103-1111, 1999.
    """
    return _read_ts("JapaneseVowels", split)


def load_spoken_digits(split: str | None = None) -> tuple[Signals, _Texts, _Texts]:
    """Load spoken digits [1]_ and their speakers: 500 words per speaker at 8 kHz, 0.14 to 1 s; takes 0 to 4 are "test".

    References
    ----------
    .. [1] Z. Jackson et al., "Free Spoken Digit Dataset", 2018, doi:10.5281/zenodo.1342401.
    """
    _check_split(split)
    signals, y, speakers = read_audio_folder(find("spoken_digits") / "recordings", pattern="{label}_{group}_{take}.wav")
    test = np.array([int(Path(source).stem.split("_")[-1]) < 5 for source in signals.sources])
    rows = {"train": np.flatnonzero(~test), "test": np.flatnonzero(test)}
    chosen = np.concatenate([rows[part] for part in _parts(split)])
    return signals[chosen], y[chosen], speakers[chosen]


def fetch_spoken_digits(split: str | None = None) -> tuple[Signals, _Texts, _Texts]:
    """Fetch the 2,500 spoken digits of version 1.0.9 (12 MB, CC BY-SA 4.0) if need be, and load them."""
    fetch("spoken_digits")
    return load_spoken_digits(split)


def load_speech_commands(split: str | None = None) -> tuple[Signals, _Texts, _Texts]:
    """Load spoken commands [1]_ and their speakers, up to 1 s at 16 kHz.

    `split` is "train", "validation" or "test", as the lists of the set say, or None for everything.

    References
    ----------
    .. [1] P. Warden, "Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition", arXiv:1804.03209, 2018.
    """
    lists = {"validation": "validation_list.txt", "test": "testing_list.txt"}
    if split not in (None, "train", *lists):
        raise ValueError(f"split={split!r} is unknown; choose 'train', 'validation', 'test' or None for all.")
    root = find("speech_commands")
    names = sorted(path.relative_to(root).as_posix() for path in root.glob("[!_]*/*_nohash_*.wav"))
    if split is not None:
        listed = {part: set(_words(root / file)) for part, file in lists.items()}
        others = listed["validation"] | listed["test"]
        names = [name for name in names if (name not in others if split == "train" else name in listed[split])]
    words, files = zip(*(name.split("/") for name in names), strict=True) if names else ((), ())
    signals = Signals.from_files(root / name for name in names)
    return signals, np.array(words), np.array([file.split("_")[0] for file in files])


def fetch_speech_commands(split: str | None = None) -> tuple[Signals, _Texts, _Texts]:
    """Fetch the 105,829 spoken commands of version 0.02 (2.4 GB, CC BY 4.0) if need be, and load them."""
    fetch("speech_commands")
    return load_speech_commands(split)


def load_eegmat() -> tuple[Signals, _Texts, _Texts]:
    """Load EEG at rest and during mental arithmetic [1]_: 4 s windows of 19 channels at 500 Hz, in volts; subjects.

    Only the last 62 s of rest are taken, so that the classes are balanced. Each class is one block within a subject:
    split by subject.

    References
    ----------
    .. [1] I. Zyma et al., "Electroencephalograms during Mental Arithmetic Task Performance", Data 4:14, 2019,
       doi:10.3390/data4010014.
    """
    paths = sorted(find("eegmat").glob("Subject*_[12].edf"))
    recordings = Signals(list(read_eeg(paths, picks=[f"EEG {name}" for name in _EEGMAT])))
    labels = ["rest" if path.stem.endswith("_1") else "arithmetic" for path in paths]
    subjects = [path.stem.split("_")[0] for path in paths]
    signals, y, groups = windows(recordings, duration_s=4, start_s=-62, y=labels, groups=subjects)
    return signals, np.asarray(y), groups


def load_physionet2012(split: str | None = None) -> tuple[Signals, npt.NDArray[np.int64]]:
    """Load 48 hours of intensive care [1]_: stays of 36 series at irregular hours and 5 descriptors; death in hospital.

    The first 1,500 stays of set A are "train", the others "test".

    References
    ----------
    .. [1] I. Silva et al., "Predicting in-hospital mortality of ICU patients: the PhysioNet/Computing in Cardiology
       Challenge 2012", Computing in Cardiology 39:245-248, 2012.
    """
    _check_split(split)
    root = find("physionet2012")
    check_complete(root / "Outcomes-a.txt")
    with (root / "Outcomes-a.txt").open(newline="", encoding="utf-8") as file:
        outcomes = sorted(csv.DictReader(file), key=lambda row: int(row["RecordID"]))
    chosen = {"train": outcomes[:1500], "test": outcomes[1500:], None: outcomes}[split]
    names = [row["RecordID"] for row in chosen]
    table = _observations([root / "set-a" / f"{name}.txt" for name in names])
    picks = _STAY_DESCRIPTORS + _STAY_SERIES
    signals = read_events(table, case="case", time="time", variable="variable", value="value", picks=picks, cases=names)
    return signals, np.array([int(row["In-hospital_death"]) for row in chosen], dtype=np.int64)


def load_welltory_ppg(
    split: str | None = None, *, duration_s: float = 10.0, step_s: float | None = None
) -> tuple[Signals, npt.NDArray[np.float64], _Texts]:
    """Load phone-camera PPG [1]_ at its true frame times: windows of 14 recordings, the heart rate, the recordings.

    The first 10 recordings are "train". A volunteer may have made two, so one may be on both sides of a split.

    References
    ----------
    .. [1] A. Neshitov et al., "Wavelet Analysis and Self-Similarity of Photoplethysmography Signals for HRV Estimation
       and Quality Assessment", Sensors 21:6798, 2021.
    """
    _check_split(split)
    folders = sorted(find("welltory_ppg").glob("subject_*"))
    chosen = {"train": folders[:10], "test": folders[10:], None: folders}[split]
    recordings, _ = read_csv([folder / "PPG.csv" for folder in chosen], time="time", time_unit_s=1e-3)
    cut, _, origin = windows(recordings, duration_s=duration_s, step_s=step_s, groups=np.arange(len(chosen)))
    beats = [np.cumsum([0.0, *map(float, _words(folder / "RR.txt"))]) / 1000 for folder in chosen]
    y = np.array([_heart_rate(beats[i], window) for i, window in zip(origin, cut, strict=True)])
    return cut, y, np.array([chosen[i].name for i in origin])


def _check_split(split: str | None) -> None:
    if split not in (None, "train", "test"):
        raise ValueError(f"split={split!r} is unknown; choose 'train', 'test' or None for both.")


def _parts(split: str | None) -> tuple[str, ...]:
    return ("train", "test") if split is None else (split,)


def _read_ts(name: str, split: str | None) -> tuple[Signals, _Texts]:
    """Read ``{name}_TRAIN.ts`` and ``{name}_TEST.ts``, or one of them."""
    _check_split(split)
    row = DATASETS[name]
    root = find_archive(name) if row.folder == name else find(name)
    read = [read_ts(root / f"{name}_{part.upper()}.ts", sfreq=row.sfreq) for part in _parts(split)]
    return Signals.concatenate(signals for signals, _ in read), np.concatenate([np.asarray(y, str) for _, y in read])


def _words(path: Path) -> list[str]:
    check_complete(path)
    return path.read_text(encoding="utf-8").split()


def _observations(paths: list[Path]) -> dict[str, Any]:
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
    what, values = cells[1::3], cells[2::3]
    known = ["" if v == "-1" and name in _STAY_DESCRIPTORS else v for name, v in zip(what, values, strict=True)]
    return {"case": owners, "time": cells[::3], "variable": what, "value": known}


def _heart_rate(beats_s: FloatArray, window: Signal) -> float:
    """Return beats per minute between the first and the last beat in a window."""
    times = np.asarray(window.times)
    inside = beats_s[(beats_s >= times[0]) & (beats_s <= times[-1])]
    if len(inside) < 2:
        raise RecordingError(
            f"{window.source}: the window from {times[0]:.1f} s holds no whole beat. Raise duration_s."
        )
    return float(60 * (len(inside) - 1) / (inside[-1] - inside[0]))
