"""What the header of an EDF or BDF file says of each signal, and MNE does not: its unit and its own rate."""

from dataclasses import dataclass
from pathlib import Path

_VOLTS = {"v": 1.0, "volt": 1.0, "mv": 1e-3, "millivolt": 1e-3, "uv": 1e-6, "microvolt": 1e-6, "nv": 1e-9}


@dataclass(frozen=True, slots=True)
class EdfSignal:
    """One signal of the file: its unit, and its samples per data record."""

    unit: str
    n_samples: int


def volts_per_unit(unit: str) -> float | None:
    """Return the volts in one unit, however it is written; None if it is no voltage."""
    name = unit.strip().replace("\u00b5", "u").replace("\u03bc", "u").replace("\x83\xca", "u").lower().rstrip("s")
    return _VOLTS.get(name)


def read_edf_signals(path: Path) -> list[EdfSignal]:
    """Read the fixed part of the header, annotations left out as MNE leaves them out; nothing of other formats."""
    if path.suffix.lower() not in (".edf", ".bdf"):
        return []
    with path.open("rb") as file:
        n = int(file.read(256)[252:])
        fields = file.read(256 * n)
    labels = _column(fields, n, 0, 16)
    units, counts = _column(fields, n, 96, 8), _column(fields, n, 216, 8)
    signals = [EdfSignal(unit, int(count)) for unit, count in zip(units, counts, strict=True)]
    return [
        signal
        for signal, label in zip(signals, labels, strict=True)
        if label not in ("EDF Annotations", "BDF Annotations")
    ]


def _column(fields: bytes, n: int, start: int, width: int) -> list[str]:
    """Return one field of all n signals; `start` counts the bytes of the fields before it."""
    texts = fields[n * start : n * (start + width)].decode("latin-1")
    return [texts[i * width : (i + 1) * width].strip() for i in range(n)]
