"""Read .ts files of the UEA, UCR and TSER archives: a header of @ lines, then one case per line."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from s4signal.errors import RecordingError
from s4signal.signals.case import Signal
from s4signal.signals.checks import FloatArray, PathOrText, check_file
from s4signal.signals.clock import without_regular_times
from s4signal.signals.collection import Signals
from s4signal.signals.table import as_seconds, as_time_array, parse_time

Targets = npt.NDArray[np.str_] | npt.NDArray[np.float64] | None
_PAIR = re.compile(r"\(([^()]*),([^(),]*)\)")


@dataclass
class _Header:
    timestamps: bool = False
    dimensions: int | None = None
    classes: frozenset[str] | None = None
    labelled: bool = False
    regression: bool = False


def read_ts(path: PathOrText, *, sfreq: float | None = None) -> tuple[Signals, Targets]:
    """Read a .ts file of the UEA, UCR or TSER archive.

    Parameters
    ----------
    path : path
        The file; series can have unequal lengths, several dimensions, missing values and timestamps.
    sfreq : float, optional
        Samples per second [Hz], which these files do not contain.

    Returns
    -------
    signals : Signals
        Channels are the dimensions; "?" is NaN. Timestamps become times: numbers are seconds, dates are relative to the
        first of the case. Different timestamps of dimensions are merged to their union. A regular grid becomes a rate.
    y : ndarray of shape (n,) or None
        Class labels as strings, or targets as floats; None if the file has neither.

    Raises
    ------
    RecordingError
        If the file is missing, empty or malformed; the message names the line.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "vowels.ts"
    ...     _ = path.write_text("@classLabel true a e\\n@data\\n1,2,3:4,5,?:a\\n6,7:8,9:e\\n")
    ...     read_ts(path, sfreq=100)
    (Signals: 2 cases × 2 channels, 2–3 samples, 100 Hz (0.02–0.03 s), array(['a', 'e'], dtype='<U1'))
    """
    cases, y = _parse(Path(path))
    return Signals(without_regular_times(cases), sfreq=sfreq), y


def _parse(path: Path) -> tuple[list[Signal], Targets]:
    check_file(path)
    header = _Header()
    cases: list[Signal] = []
    labels: list[str] = []
    in_data = False
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            text = line.strip()
            if not text or text.startswith(("#", "%")):
                continue
            try:
                if in_data:
                    case, label = _parse_case(text, header)
                    cases.append(case)
                    labels.append(label)
                elif text.lower() == "@data":
                    in_data = True
                else:
                    _parse_header_line(text, header)
            except ValueError as error:
                raise RecordingError(f"{path}, line {number}: {error}") from None
    if not cases:
        raise RecordingError(f"{path} holds no {'case' if in_data else '@data line'}. Is it a complete .ts file?")
    if not header.labelled:
        return cases, None
    try:
        return cases, np.array(labels, dtype=np.float64) if header.regression else np.array(labels)
    except ValueError as error:
        raise RecordingError(f"{path}: {error}; with @targetlabel, targets must be numbers.") from None


def _parse_header_line(text: str, header: _Header) -> None:
    if not text.startswith("@"):
        raise RecordingError(f"{text[:40]!r} is before @data, where lines must start with @. Is it a .ts file?")
    key, *values = text.split()
    key, flag = key.lower(), bool(values) and values[0].lower() == "true"
    if key == "@timestamps":
        header.timestamps = flag
    elif key in ("@dimensions", "@dimension"):
        if not (values and values[0].isdigit()):
            raise RecordingError(f"{text[:40]!r} needs a whole number.")
        header.dimensions = int(values[0])
    elif key == "@classlabel" and flag:
        header.labelled = True
        header.classes = frozenset(values[1:]) or None
    elif key == "@targetlabel" and flag:
        header.labelled = header.regression = True


def _parse_case(text: str, header: _Header) -> tuple[Signal, str]:
    body, label = text, ""
    if header.labelled:
        body, _, label = text.rpartition(":")
        label = label.strip()
        if not body or (header.classes is not None and label not in header.classes):
            expected = "a number" if header.classes is None else ", ".join(sorted(header.classes))
            raise RecordingError(
                f"it ends with {label[:40]!r}, which is not a label ({expected}). The line may be truncated."
            )
    if header.timestamps:
        times, data = _timed(body)
    else:
        times, channels = None, [_numbers(part) for part in body.split(":")]
        lengths = sorted(map(len, channels))
        if lengths[0] < lengths[-1]:
            raise RecordingError(f"its dimensions have {lengths[0]} to {lengths[-1]} values; one length is needed.")
        data = np.stack(channels)
    if header.dimensions is not None and len(data) != header.dimensions:
        raise RecordingError(f"it has {len(data)} dimensions, but @dimensions is {header.dimensions}.")
    return Signal(data, times), label


def _numbers(part: str) -> npt.NDArray[np.float64]:
    try:
        return np.array(list(map(float, part.replace("?", "nan").split(","))))
    except ValueError as error:
        raise RecordingError(f"{error}. Values are numbers or '?', separated by commas.") from None


def _timed(body: str) -> tuple[FloatArray, FloatArray]:
    """Merge dimensions with different timestamps on the union of all times."""
    # Dates contain colons too; a colon between dimensions follows a parenthesis.
    parts = re.split(r"(?<=\))\s*:", body)
    if any(not _PAIR.search(part) or _PAIR.sub("", part).strip(", \t") for part in parts):
        raise RecordingError("with timestamps, a dimension is written (time,value),(time,value),…")
    triples = [(row, time, value) for row, part in enumerate(parts) for time, value in _PAIR.findall(part)]
    row, stamps, values = zip(*triples, strict=True)
    parsed = [parse_time(stamp.strip(), 1.0) for stamp in stamps]
    if None in parsed:
        raise RecordingError(f"{stamps[parsed.index(None)]!r} is neither a number of seconds nor a date.")
    times, column = np.unique(as_time_array(parsed, "it"), return_inverse=True)
    if len({*zip(row, column.tolist(), strict=True)}) < len(triples):
        raise RecordingError("a dimension has a time twice.")
    data = np.full((len(parts), len(times)), np.nan)
    data[row, column] = _numbers(",".join(values))
    return as_seconds(times), data
