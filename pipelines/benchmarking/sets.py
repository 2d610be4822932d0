"""Data sets, and their splits into training and test cases."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from data import load_eegmat, load_ppg_bp, load_speech_commands, load_ssvep_exo
from scipy.signal import butter, sosfiltfilt
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold

from s4signal import Signals
from s4signal.signals import datasets

__all__ = ["EEG_SETS", "OTHER_SETS", "SETS", "SPEECH_SETS", "Fold", "bandpass", "folds"]

Array = npt.NDArray[Any]
# From name to kind of recording, the smallest sets first.
EEG_SETS = dict.fromkeys(
    (
        "eyes_open_shut",
        "hand_movement_direction",
        "finger_movements",
        "self_regulation_scp1",
        "self_regulation_scp2",
        "blink",
        "ssvep_new_session",
        "ssvep_new_subject",
        "eegmat",
    ),
    "EEG",
)
SPEECH_SETS = dict.fromkeys(("spoken_digits", "digits_new_speaker", "speech_commands"), "speech")
OTHER_SETS = {"japanese_vowels": "vowels", "ppg_bp": "PPG", **SPEECH_SETS}
SETS = EEG_SETS | OTHER_SETS

OWN = {  # loaders with other names, or defined with the recipes
    "ppg_bp": load_ppg_bp,
    "speech_commands": load_speech_commands,
    "digits_new_speaker": datasets.load_spoken_digits,
}
BY_GROUP = ("ssvep_new_subject", "eegmat", "digits_new_speaker")  # leave subjects out
BY_SUBJECT = ("ssvep_new_session",)  # one model per subject
GROUPED = ("ppg_bp", "speech_commands")  # the split is by person
MOST_FOLDS = 5  # except for ALL_GROUPS
ALL_GROUPS = ("ssvep_new_subject", "digits_new_speaker")


class Fold(NamedTuple):
    """Training and test cases."""

    name: str
    X_train: Signals
    y_train: Array
    X_test: Signals
    y_test: Array
    groups: Array | None = None  # of the training cases, if the test is on other groups

    @property
    def sfreq(self) -> float:
        """Return the sampling rate in Hz."""
        return float(self.X_train.sfreq or 1.0)

    @property
    def n_times(self) -> int:
        """Return the length of the longest case in samples."""
        return int(max(self.X_train.lengths.max(), self.X_test.lengths.max()))


def folds(name: str, data: str = "test") -> Iterator[Fold]:
    """Yield the folds of a set for its table (``data="test"``), or of its training half only (``"cv"``).

    The training half is that of the archive; session 1 of SSVEP, takes 5 to 49 of the digits, and five of the ten
    subjects of mental arithmetic, of which the table tests every subject.
    """
    X, y, groups, train = load(name)
    if data == "cv":
        X, y, groups, train = X[train], y[train], groups[train], None
    for label, fit, test in splits(name, y, groups, train):
        fit_groups = groups[fit] if name in (*BY_GROUP, *GROUPED) else None
        yield Fold(label, X[fit], y[fit], X[test], y[test], fit_groups)


def load(name: str) -> tuple[Signals, Array, Array, Array]:
    """Return cases, targets, groups, and a mask of the training half."""
    if name.startswith("ssvep"):
        X, y, groups = load_ssvep_exo()
        trials = bandpass(X.to_numpy(), 5, 45, X.sfreq)[..., round(0.5 * X.sfreq) : round(4.5 * X.sfreq)]
        first = np.arange(len(y)) < len(y) // 2  # session 1 of every subject comes before any session 2
        return Signals(trials, sfreq=X.sfreq, ch_names=X.ch_names), y, groups, first
    if name == "eegmat":
        X, y, groups = load_eegmat()
        return X, y, groups, np.isin(groups, np.unique(groups)[:5])
    reader = OWN.get(name) or getattr(datasets, f"load_{name}")
    (X, y, *groups), (X_test, y_test, *groups_test) = reader("train"), reader("test")
    both = np.concatenate([y, y_test])
    people = np.concatenate([*groups, *groups_test]) if groups else np.arange(len(both))
    return Signals.concatenate([X, X_test]), both, people, np.arange(len(both)) < len(y)


def splits(name: str, y: Array, groups: Array, train: Array | None) -> Iterator[tuple[str, Array, Array]]:
    """Yield name, training rows and test rows of each fold; without ``train`` all rows are cross-validated."""
    rows = np.arange(len(y))
    if name in BY_SUBJECT:
        for group in np.unique(groups):
            own = rows[groups == group]
            own_splits = folded(own, y, None) if train is None else [(own[train[own]], own[~train[own]])]
            yield from ((f"{group} {i}".removesuffix(" 0"), *split) for i, split in enumerate(own_splits))
    elif name in BY_GROUP:
        most = len(np.unique(groups)) if name in ALL_GROUPS else MOST_FOLDS
        for fit, test in folded(rows, y, groups, most):
            yield " ".join(np.unique(groups[test])), fit, test
    elif train is None:
        for i, split in enumerate(folded(rows, y, groups if name in GROUPED else None)):
            yield f"fold {i}", *split
    else:
        yield "archive", rows[train], rows[~train]


def folded(rows: Array, y: Array, groups: Array | None, n_folds: int = MOST_FOLDS) -> list[tuple[Array, Array]]:
    """Split rows into folds: by group if given, otherwise stratified by class."""
    if groups is not None:
        splitter = GroupKFold(n_folds)
    else:
        splitter = (KFold if y.dtype.kind == "f" else StratifiedKFold)(n_folds, shuffle=True, random_state=0)
    split = splitter.split(rows, y[rows], None if groups is None else groups[rows])
    return [(rows[fit], rows[test]) for fit, test in split]


def bandpass(X: Array, low: float, high: float, sfreq: float) -> npt.NDArray[np.float64]:
    """Band-pass (n_samples, n_channels, n_times) to a band [Hz], without phase shift."""
    return np.asarray(sosfiltfilt(butter(2, (low, high), "bandpass", fs=sfreq, output="sos"), X))
