"""Unit and rate of each signal of an EDF or BDF file, which MNE does not return."""

from pathlib import Path
from typing import NamedTuple

_ENDINGS = (".edf", ".bdf")
_VOLTS = {"v": 1.0, "volt": 1.0, "mv": 1e-3, "millivolt": 1e-3, "uv": 1e-6, "microvolt": 1e-6, "nv": 1e-9}


class EdfSignal(NamedTuple):
    """Unit of a signal, and its number of samples per data record."""

    unit: str
    n_samples: int


def volts_per_unit(unit: str) -> float | None:
    """Return the volts per unit, in any spelling; None if it is not a voltage."""
    name = unit.strip().replace("\u00b5", "u").replace("\u03bc", "u").replace("\x83\xca", "u").lower().rstrip("s")
    return _VOLTS.get(name)


def read_edf_signals(path: Path) -> list[EdfSignal]:
    """Read the signals from the header, without annotations, as in MNE; empty for other formats."""
    if path.suffix.lower() not in _ENDINGS:
        return []
    with path.open("rb") as file:
        n = int(file.read(256)[252:])
        fields = file.read(256 * n)

    def column(start: int, width: int) -> list[str]:  # a field is stored for all signals in a row
        text = fields[n * start : n * (start + width)].decode("latin-1")
        return [text[i * width : (i + 1) * width].strip() for i in range(n)]

    rows = zip(column(0, 16), column(96, 8), column(216, 8), strict=True)
    annotations = ("EDF Annotations", "BDF Annotations")
    return [EdfSignal(unit, int(count)) for label, unit, count in rows if label not in annotations]


def holds_no_signal(path: Path) -> bool:
    """Return whether an EDF or BDF file has only annotations, such as a hypnogram."""
    if path.suffix.lower() not in _ENDINGS:
        return False
    try:
        with path.open("rb") as file:
            return int(file.read(256)[252:]) > 0 and not read_edf_signals(path)
    except ValueError:  # invalid header
        return False


def other_format(path: Path) -> str:
    """Return "EDF" or "BDF" if the content of a file differs from its extension, else ""."""
    if (ending := path.suffix.lower()) not in _ENDINGS:
        return ""
    start, other = {".edf": (b"\xffBIOSEMI", "BDF"), ".bdf": (b"0       ", "EDF")}[ending]
    with path.open("rb") as file:
        return other if file.read(8) == start else ""
