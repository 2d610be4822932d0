"""The .ts files of the UEA, UCR and TSER archives: a header of @ lines, then one case per line."""

import re
from dataclasses import dataclass
from datetime import datetime
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from s4signal.errors import RecordingError
from s4signal.signals.case import Signal
from s4signal.signals.checks import FloatArray, check_file
from s4signal.signals.collection import Signals
from s4signal.signals.table import as_seconds, parse_moment, without_regular_times

_PAIR = re.compile(r"\(([^()]*),([^(),]*)\)")


@dataclass
class _Header:
    timestamps: bool = False
    dimensions: int | None = None
    classes: frozenset[str] | None = None
    labelled: bool = False
    regression: bool = False


class _BadLine(Exception):
    """What is wrong with a line."""


def read_ts(
    path: str | PathLike[str], *, sfreq: float | None = None
) -> tuple[Signals, npt.NDArray[np.str_] | npt.NDArray[np.float64] | None]:
    """Read a .ts file of the UEA, UCR or TSER archive.

    Parameters
    ----------
    path : path
        The file; series may be unequal in length, have several dimensions, missing values and timestamps.
    sfreq : float, optional
        Samples per second [Hz]; such files do not tell.

    Returns
    -------
    signals : Signals
        Channels are the dimensions; "?" is NaN. Timestamps become times: numbers are seconds, dates count
        from the first of the case; dimensions with other timestamps meet on the union of them; a
            regular grid becomes a rate.
    y : ndarray of shape (n,) or None
        Class labels as strings, targets as floats, None if the file has neither.

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
    check_file(path)
    cases, y = _parse(Path(path))
    return Signals(without_regular_times(cases), sfreq=sfreq), y


def _parse(path: Path) -> tuple[list[Signal], npt.NDArray[np.str_] | npt.NDArray[np.float64] | None]:
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
            except (_BadLine, ValueError) as error:
                raise RecordingError(f"{path}, line {number}: {error}") from None
    if not cases:
        raise RecordingError(f"{path} holds no {'case' if in_data else '@data line'}. Is it a complete .ts file?")
    if not header.labelled:
        return cases, None
    return cases, _targets(path, labels) if header.regression else np.array(labels)


def _parse_header_line(text: str, header: _Header) -> None:
    if not text.startswith("@"):
        raise _BadLine(f"{text[:40]!r} stands before @data, where a line starts with @. Is it a .ts file?")
    key, *values = text.split()
    key, flag = key.lower(), bool(values) and values[0].lower() == "true"
    if key == "@timestamps":
        header.timestamps = flag
    elif key in ("@dimensions", "@dimension"):
        if not (values and values[0].isdigit()):
            raise _BadLine(f"{text[:40]!r} needs a whole number.")
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
            known = "a number" if header.classes is None else ", ".join(sorted(header.classes))
            raise _BadLine(f"it ends with {label[:40]!r}, which is not its label ({known}). The line may be cut off.")
    if header.timestamps:
        times, data = _timed(body)
    else:
        times, data = None, _stacked([_numbers(part) for part in body.split(":")])
    if header.dimensions is not None and len(data) != header.dimensions:
        raise _BadLine(f"it has {len(data)} dimensions, but @dimensions says {header.dimensions}.")
    return Signal(data, times), label


def _numbers(part: str) -> npt.NDArray[np.float64]:
    try:
        return np.array(list(map(float, part.replace("?", "nan").split(","))))
    except ValueError as error:
        raise _BadLine(f"{error}. Values are numbers or '?', separated by commas.") from None


def _stacked(channels: list[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    lengths = {len(channel) for channel in channels}
    if len(lengths) != 1:
        raise _BadLine(f"its dimensions have {min(lengths)} to {max(lengths)} values; one length is needed.")
    return np.stack(channels)


def _timed(body: str) -> tuple[FloatArray, FloatArray]:
    """Put dimensions that were sampled at their own times on the union of all times."""
    # Dates hold colons too: a colon between dimensions stands after a parenthesis.
    parts = re.split(r"(?<=\))\s*:", body)
    dimensions = [_PAIR.findall(part) for part in parts]
    if not all(dimensions) or any(_PAIR.sub("", part).strip(", \t") for part in parts):
        raise _BadLine("with timestamps, a dimension is written (time,value),(time,value),…")
    moments = [_moments([time for time, _ in pairs]) for pairs in dimensions]
    if len({at.dtype.kind for at in moments}) > 1:
        raise _BadLine("it mixes dates with numbers. Write all times alike.")
    times = np.unique(np.concatenate(moments))
    data = np.full((len(dimensions), len(times)), np.nan)
    for channel, at, pairs in zip(data, moments, dimensions, strict=True):
        if len(np.unique(at)) != len(at):
            raise _BadLine("a time stands twice in one dimension.")
        channel[np.searchsorted(times, at)] = _numbers(",".join(value for _, value in pairs))
    return as_seconds(times), data


def _moments(texts: list[str]) -> npt.NDArray[Any]:
    """Understand numbers of seconds, or dates."""
    known = [parse_moment(text.strip(), 1.0) for text in texts]
    if None in known:
        raise _BadLine(f"{texts[known.index(None)]!r} is neither a number of seconds nor a date.")
    dates = {isinstance(moment, datetime) for moment in known}
    if len(dates) > 1:
        raise _BadLine("it mixes dates with numbers. Write all times alike.")
    return np.array(known, dtype="M8[us]" if dates == {True} else np.float64)


def _targets(path: Path, labels: list[str]) -> npt.NDArray[np.float64]:
    try:
        return np.array([float(label) for label in labels])
    except ValueError as error:
        raise RecordingError(f"{path}: {error}; @targetlabel promises numbers.") from None
