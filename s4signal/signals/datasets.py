"""Data sets by name: ``load_*`` finds them on this computer, ``fetch_*`` downloads them first if needed.

They are in the folder given by S4SIGNAL_DATA, or in the user's cache, with the files as published. Data sets without
``fetch_*`` have no known checksum: download them manually.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from s4signal.signals.audio import read_audio_folder
from s4signal.signals.audio_layout import LISTS
from s4signal.signals.audio_manifest import read_audio_manifest
from s4signal.signals.collection import Signals
from s4signal.signals.dataset_table import DATASETS, data_home, documented, fetch, find
from s4signal.signals.labelled import LabelledSignals
from s4signal.signals.ts import read_ts

__all__ = [
    "data_home",
    "fetch_esc50",
    "fetch_speech_commands",
    "fetch_spoken_digits",
    "load_blink",
    "load_esc50",
    "load_eyes_open_shut",
    "load_finger_movements",
    "load_hand_movement_direction",
    "load_japanese_vowels",
    "load_self_regulation_scp1",
    "load_self_regulation_scp2",
    "load_speech_commands",
    "load_spoken_digits",
]

_Texts = npt.NDArray[np.str_]
# fmt: off
_FINGER_MOVEMENTS = [
    "F3", "F1", "Fz", "F2", "F4", "FC5", "FC3", "FC1", "FCz", "FC2", "FC4", "FC6", "C5", "C3", "C1", "Cz", "C2",
    "C4", "C6", "CP5", "CP3", "CP1", "CPz", "CP2", "CP4", "CP6", "O1", "O2",
]
# fmt: on
_FOLDS = '"1", "2", "3", "4", "5"'
_COMMANDS = '"train", "validation", "test"'


@documented("SelfRegulationSCP1")
def load_self_regulation_scp1(split: str | None = None) -> tuple[Signals, _Texts]:
    """Load slow cortical potentials of a healthy subject [1]_: 268 + 293 trials of 6 channels, 3.5 s at 256 Hz."""
    return _read_ts("SelfRegulationSCP1", split)


@documented("SelfRegulationSCP2")
def load_self_regulation_scp2(split: str | None = None) -> tuple[Signals, _Texts]:
    """Load slow cortical potentials of a paralysed patient [1]_: 200 + 180 trials of 7 channels, 4.5 s at 256 Hz."""
    return _read_ts("SelfRegulationSCP2", split)


@documented("FingerMovements")
def load_finger_movements(split: str | None = None) -> tuple[Signals, _Texts]:
    """Load EEG before a key press [1]_: 316 + 100 trials of 28 channels, 0.5 s at 100 Hz."""
    signals, y = _read_ts("FingerMovements", split)
    return Signals(signals, ch_names=_FINGER_MOVEMENTS), y


@documented("HandMovementDirection")
def load_hand_movement_direction(split: str | None = None) -> tuple[Signals, _Texts]:
    """Load MEG of wrist movements [1]_: 160 + 74 trials of 10 channels, 1 s at 400 Hz."""
    return _read_ts("HandMovementDirection", split)


@documented("EyesOpenShut")
def load_eyes_open_shut(split: str | None = None) -> tuple[Signals, _Texts]:
    """Load EEG with eyes open or shut: 56 + 42 trials of 14 channels, 1 s at 128 Hz."""
    return _read_ts("EyesOpenShut", split)


@documented("Blink")
def load_blink(split: str | None = None) -> tuple[Signals, _Texts]:
    """Load EEG of short and long blinks: 500 + 450 trials of 4 channels, 2 s at 255 Hz."""
    return _read_ts("Blink", split)


@documented("JapaneseVowels")
def load_japanese_vowels(split: str | None = None) -> tuple[Signals, _Texts]:
    """Load vowels of nine men [1]_: 270 + 370 series of 12 cepstrum coefficients, 7 to 29 frames."""
    return _read_ts("JapaneseVowels", split)


@documented("spoken_digits", groups="speakers")
def load_spoken_digits(split: str | None = None) -> tuple[Signals, _Texts, _Texts]:
    """Load spoken digits [1]_: 500 words of each speaker at 8 kHz, 0.14 to 1 s; takes 0 to 4 are "test"."""
    parts = _parts(split)
    data = read_audio_folder(find("spoken_digits") / "recordings", pattern="{label}_{group}_{take}.wav")
    takes = [int(Path(source).stem.split("_")[-1]) for source in data.signals.sources]
    return _in_order(data, ["test" if take < 5 else "train" for take in takes], parts)


@documented("spoken_digits", groups="speakers")
def fetch_spoken_digits(split: str | None = None) -> tuple[Signals, _Texts, _Texts]:
    """Fetch the 2,500 spoken digits of version 1.0.9, 12 MB, unless already present, and load them."""
    fetch("spoken_digits")
    return load_spoken_digits(split)


@documented("speech_commands", splits=_COMMANDS, groups="speakers")
def load_speech_commands(split: str | None = None) -> tuple[Signals, _Texts, _Texts]:
    """Load spoken commands [1]_, up to 1 s at 16 kHz, in the official split."""
    parts = _parts(split, ("train", *LISTS))
    data = read_audio_folder(find("speech_commands"), split=split)
    return _in_order(data, ["train"] * len(data.y) if data.splits is None else data.splits.tolist(), parts)


@documented("speech_commands", splits=_COMMANDS, groups="speakers")
def fetch_speech_commands(split: str | None = None) -> tuple[Signals, _Texts, _Texts]:
    """Fetch the 105,829 spoken commands of version 0.02, 2.4 GB, unless already present, and load them."""
    fetch("speech_commands")
    return load_speech_commands(split)


@documented("esc50", splits=_FOLDS, groups="recordings that clips are cut from; each is in one fold")
def load_esc50(split: str | None = None) -> tuple[Signals, _Texts, _Texts]:
    """Load environmental sounds [1]_: 2,000 clips of 50 classes, 5 s at 44.1 kHz, in the five folds of the set."""
    parts, root = _parts(split, tuple("12345")), find("esc50")
    columns: Any = {"path_column": "filename", "label_column": "category", "group_column": "src_file"}
    data = read_audio_manifest(root / "meta" / "esc50.csv", root=root / "audio", **columns)
    folds = [Path(source).name[0] for source in data.signals.sources]  # "fold-recording-take-class.wav"
    return _in_order(data, folds, parts)


@documented("esc50", splits=_FOLDS, groups="recordings that clips are cut from; each is in one fold")
def fetch_esc50(split: str | None = None) -> tuple[Signals, _Texts, _Texts]:
    """Fetch the 2,000 environmental sounds, 646 MB, unless already present, and load them; see `load_esc50`."""
    fetch("esc50")
    return load_esc50(split)


def _parts(split: str | None, names: tuple[str, ...] = ("train", "test")) -> tuple[str, ...]:
    """Return the requested parts; ValueError lists the valid ones."""
    if split not in (None, *names):
        raise ValueError(f"split={split!r} is unknown; choose {', '.join(map(repr, names))} or None for all.")
    return names if split is None else (split,)


def _in_order(data: LabelledSignals, own: Sequence[str], parts: Sequence[str]) -> tuple[Signals, _Texts, _Texts]:
    """Return the cases of some parts, part by part, given the part of each case."""
    rows = [i for part in parts for i, name in enumerate(own) if name == part]
    return data.signals[rows], data.y[rows], data.groups[rows]


def _read_ts(name: str, split: str | None) -> tuple[Signals, _Texts]:
    """Read ``{name}_TRAIN.ts`` and ``{name}_TEST.ts``, or one of them."""
    parts, root = _parts(split), find(name)
    read = [read_ts(root / f"{name}_{part.upper()}.ts", sfreq=DATASETS[name].sfreq) for part in parts]
    return Signals.concatenate(signals for signals, _ in read), np.concatenate([np.asarray(y, str) for _, y in read])
