"""Channels by name: spellings that mean the same electrode, and cases whose channels are put in another order."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from s4signal.signals.case import Signal, part_of
from s4signal.signals.checks import FloatArray
from s4signal.signals.lazy import Case, with_known

_SENSOR = re.compile(r"^(EEG|POL)[\s_-]+(?=.)", re.IGNORECASE)
_REFERENCE = re.compile(r"(?<=.)[\s_-]+(REF|LE|AR|AVG|CAR)$", re.IGNORECASE)
# The 10-10 system renamed four electrodes of the 10-20 system.
_RENAMED = {"t3": "t7", "t4": "t8", "t5": "p7", "t6": "p8"}
_REGIONS = "Fp AF F FC FT C T CP TP P PO O I N A M AFp AFF FFC FFT FTT FCC TTP TPP CCP CPP PPO POO OI"
_STANDARD = {region.lower(): region for region in _REGIONS.split()}


def channel_key(name: str) -> str:
    """Say which electrode a name means: ``EEG FP1-REF`` and ``Fp1`` one, ``T3`` and ``T7`` one."""
    plain = _REFERENCE.sub("", _SENSOR.sub("", name.strip())).strip(" .").lower().replace(" ", "")
    return "-".join(_RENAMED.get(part, part) for part in plain.split("-")) or name


def standard_name(name: str) -> str:
    """Write an electrode as the 10-10 system does, ``Fp1`` or ``T7-M1``; any other channel as it is."""
    parts = [re.fullmatch(r"([a-z]+?)(z|\d{1,2})(h?)", part) for part in channel_key(name).split("-")]
    known = [part and part[1] in _STANDARD and _STANDARD[part[1]] + part[2] + part[3] for part in parts]
    return "-".join(map(str, known)) if all(known) else name


def match_channels(wanted: Sequence[str], there: Sequence[str]) -> list[int]:
    """Find each channel among others, by its very name, else by its electrode; -1 where there is none, or are two."""
    place = {name: row for row, name in enumerate(there)}
    rows = [place.get(name, -1) for name in wanted]
    free = [row for row in range(len(there)) if row not in set(rows)]
    keys = [channel_key(name) if row < 0 else "" for name, row in zip(wanted, rows, strict=True)]
    offered = [channel_key(there[row]) for row in free]
    wanted_by, offered_by = Counter(keys), Counter(offered)
    by_key = {key: row for key, row in zip(offered, free, strict=True) if offered_by[key] == 1}
    return [
        by_key.get(key, -1) if row < 0 and wanted_by[key] == 1 else row for row, key in zip(rows, keys, strict=True)
    ]


def arranged(case: Case, rows: Sequence[int], names: Sequence[str], *, positions: FloatArray | None = None) -> Case:
    """Take these rows of a case as its channels, NaN for -1, and name them; what lies on disk is read later.

    Positions (n_channels, 3) are those of the rows, if they are not given.
    """
    if list(rows) == list(range(case.n_channels)):
        return with_known(case, ch_names=tuple(names))
    if positions is None and case.positions is not None:
        positions = _rows(case.positions, rows)
    known = with_known(case, ch_names=tuple(names), positions=positions)
    if isinstance(known, Signal):
        return part_of(known, data=_rows(known.data, rows))
    return replace(known, read=partial(_read_rows, known.read, rows), n_channels=len(rows))


def _read_rows(read: Any, rows: Sequence[int], start: int, stop: int) -> FloatArray | Signal:
    data = read(start, stop)
    return part_of(data, data=_rows(data.data, rows)) if isinstance(data, Signal) else _rows(data, rows)


def _rows(data: FloatArray, rows: Sequence[int]) -> FloatArray:
    chosen = data[np.maximum(rows, 0)]
    chosen[np.asarray(rows) < 0] = np.nan
    return chosen
