"""ECG, PPG and other biosignals in the WFDB format of PhysioNet."""

import warnings
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from s4signal.errors import MissingDependencyError, RecordingError
from s4signal.signals.case import Annotation, Signal
from s4signal.signals.checks import as_paths, pick_rows
from s4signal.signals.collection import Signals

__all__ = ["read_wfdb"]

_VOLTS = {"V": 1.0, "mV": 1e-3, "uV": 1e-6, "µV": 1e-6, "nV": 1e-9}


def read_wfdb(
    record: str | PathLike[str] | Iterable[str | PathLike[str]],
    *,
    picks: Sequence[str] | None = None,
    annotator: str | None = None,
) -> Signals:
    """Read WFDB records, one case per record.

    Parameters
    ----------
    record : path or iterable of paths
        The record, with or without ".hea".
    picks : sequence of str, optional
        Names of the signals, in the order wanted; all if missing.
    annotator : str, optional
        Ending of the annotation file, such as "atr"; its marks become annotations.

    Returns
    -------
    Signals
        Voltages in volts, other units as they are; invalid samples are NaN.

    Raises
    ------
    RecordingError
        If a record is missing or damaged, or has no such channel.
    MissingDependencyError
        If wfdb is not installed.

    Examples
    --------
    >>> read_wfdb("mitdb/100", picks=["MLII"], annotator="atr")  # doctest: +SKIP
    Signals: 1 case × 1 channel, 650000 samples, 360 Hz (1806 s)
    """
    try:
        import wfdb
    except ImportError:
        raise MissingDependencyError('Reading WFDB needs wfdb: pip install "s4signal[biosignal]".') from None
    records = as_paths(record, "record")
    return Signals([_read_record(wfdb, Path(path), picks, annotator) for path in records])


def _read_record(wfdb: Any, path: Path, picks: Sequence[str] | None, annotator: str | None) -> Signal:
    stem = path.with_suffix("") if path.suffix == ".hea" else path
    header = stem.with_name(stem.name + ".hea")
    if not header.is_file():
        raise RecordingError(f"{header} does not exist. Check the path; a record is a .hea file and its .dat.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # wfdb uses parts of pandas that will go
            read = wfdb.rdrecord(str(stem), physical=True)
            marks = wfdb.rdann(str(stem), annotator) if annotator else None
    except Exception as error:
        raise RecordingError(
            f"{header} cannot be read as a WFDB record ({error}). Copy it and its .dat again."
        ) from error
    if read.p_signal is None or not read.p_signal.size:
        raise RecordingError(f"{header} holds no samples. Leave it out.")
    rows = pick_rows(read.sig_name, picks, header)
    scale = np.array([_VOLTS.get(read.units[row], 1.0) for row in rows])
    beats = () if marks is None else zip(marks.sample, marks.symbol, strict=True)
    return Signal(
        (read.p_signal[:, rows] * scale).T,
        sfreq=float(read.fs),
        ch_names=tuple(read.sig_name[row] for row in rows),
        annotations=tuple(Annotation(float(sample / read.fs), 0.0, str(symbol)) for sample, symbol in beats),
        source=str(header),
    )
