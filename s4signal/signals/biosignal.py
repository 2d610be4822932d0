"""ECG, PPG and other biosignals in the WFDB format of PhysioNet."""

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from s4signal.errors import RecordingError
from s4signal.signals.case import Annotation, Signal
from s4signal.signals.checks import PathOrText, as_paths, optional, pick_rows
from s4signal.signals.collection import Signals
from s4signal.signals.edf import volts_per_unit


def read_wfdb(
    record: PathOrText | Iterable[PathOrText], *, picks: Sequence[str] | None = None, annotator: str | None = None
) -> Signals:
    """Read WFDB records, one case per record.

    Parameters
    ----------
    record : path or iterable of paths
        Path of the record, with or without ".hea".
    picks : sequence of str, optional
        Names of the signals, in this order; by default all. Duplicate names are numbered, "ECG-0", "ECG-1".
    annotator : str, optional
        Extension of the annotation file, such as "atr", whose entries become annotations in seconds.

    Returns
    -------
    Signals
        Voltages ("mV", "uV", "microvolts" …) are in volts, other units unchanged; invalid samples are NaN.

    Raises
    ------
    RecordingError
        If a record is missing or damaged, lacks a picked signal, or its signals have several rates.
    MissingDependencyError
        If wfdb is not installed.

    Examples
    --------
    >>> read_wfdb("mitdb/100", picks=["MLII"], annotator="atr")  # doctest: +SKIP
    Signals: 1 case × 1 channel, 650000 samples, 360 Hz (1806 s)
    """
    wfdb = optional("wfdb", "Reading WFDB", "biosignal")
    return Signals([_read_record(wfdb, path, picks, annotator) for path in as_paths(record, "record")])


def _read_record(wfdb: Any, path: Path, picks: Sequence[str] | None, annotator: str | None) -> Signal:
    stem = path.with_suffix("") if path.suffix == ".hea" else path
    header = stem.with_name(stem.name + ".hea")
    if not header.is_file():
        raise RecordingError(f"{header} does not exist. Check the path; a record is a .hea file and its .dat.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # wfdb uses deprecated parts of pandas
            read = wfdb.rdrecord(str(stem), physical=True, smooth_frames=False)
            marks = wfdb.rdann(str(stem), annotator) if annotator else None
    except Exception as error:
        raise RecordingError(
            f"{header} cannot be read as a WFDB record ({error}). Copy it and its .dat again."
        ) from error
    samples = read.p_signal.T if read.e_p_signal is None else read.e_p_signal
    if not len(samples) or not len(samples[0]):
        raise RecordingError(f"{header} holds no samples. Leave it out.")
    names: list[str] = read.sig_name
    names = [f"{name}-{names[:i].count(name)}" if names.count(name) > 1 else name for i, name in enumerate(names)]
    rows = pick_rows(names, picks, header)
    sfreq, units = _common_rate(read, names, rows, header), _units(header)
    data = np.array([samples[row] * (volts_per_unit(units[row]) or 1.0) for row in rows])
    ch_names, spans = tuple(names[row] for row in rows), () if marks is None else _annotations(marks, float(read.fs))
    return Signal(data, None, sfreq, ch_names, spans, source=str(header), modality="biosignal")


def _units(header: Path) -> list[str]:
    """Return the unit of every signal from the header, "mV" by default; wfdb only reads ASCII, so µV as V."""
    content = header.read_bytes()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    record, *lines = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if "/" in record[0]:  # segments, whose headers have the units; the first lists all signals
        return _units(header.with_name(f"{next(name for name, *_ in lines if name != '~')}.hea"))
    # A line is: file, format, gain(zero)/unit, …
    return [line[2].partition("/")[2] or "mV" if len(line) > 2 else "mV" for line in lines]


def _common_rate(read: Any, names: Sequence[str], rows: Sequence[int], header: Path) -> float:
    """Return the common rate of the channels; `fs` counts frames, which can have several samples per channel."""
    per_frame = read.samps_per_frame or [1] * len(names)
    rates = {names[row]: float(read.fs) * (per_frame[row] or 1) for row in rows}
    if len(set(rates.values())) > 1:
        text = ", ".join(f"{name} {rate:g} Hz" for name, rate in rates.items())
        raise RecordingError(f"{header} has channels of several rates ({text}). Select those of one rate with picks=.")
    return rates[names[rows[0]]]


def _annotations(marks: Any, sfreq: float) -> tuple[Annotation, ...]:
    """Convert annotations to seconds, at the rate of their own file if it has one."""
    onsets_s = (np.asarray(marks.sample) / float(marks.fs or sfreq)).tolist()
    return tuple(Annotation(onset_s, 0.0, str(symbol)) for onset_s, symbol in zip(onsets_s, marks.symbol, strict=True))
