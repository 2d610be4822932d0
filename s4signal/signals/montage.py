"""Channels by name: spellings of one electrode, which are EEG whatever a file calls them, and one montage for many."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from s4signal.errors import RecordingError
from s4signal.signals.audio_file import OnError, Skipped, skip_or_raise
from s4signal.signals.case import Signal, part_of
from s4signal.signals.checks import FloatArray, few, pick_rows
from s4signal.signals.edf import EdfSignal, volts_per_unit
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


# EDF calls every channel EEG. These are clinical names of others [1]_, after "EEG" or "POL" if that stands in front:
# heart, muscle and eyes; breathing; oxygen and carbon dioxide, pulse and pressure; temperature and skin; markers and
# lights; position and movement; limbs and chin; measures of an amplifier. A1 and A2 are earlobes, A2-A1 no EEG.
#
# .. [1] B. Kemp, "Standard texts and polarity rules for EDF+", edfplus.info, 2003.
_OTHERS = re.compile(
    r"""(EEG\s+|POL\s+)?(
    E[CK]G|EMG|[HV]?EOG|[LR]OC\b|ERG\b|
    RESP|AIR\s?FLOW|FLOW|NASAL|ORO|ORAL|MOUTH|THOR|ABD|CHEST|EFFORT|SNOR|MIC\b|C?PAP\b|CANNULA|THERM|
    S[PA]O2|OSAT|O2\s?SAT|SAT\b|PULSE|PLETH|PPG|HEART|[HP]R\b|RR\b|A?BP\b|ICP\b|CVP\b|(ET|TC|P)?-?CO2|
    TEMP|RECTAL|SKIN|GSR|EDA\b|
    MARK|EVENT|TRIG|STATUS|STI\b|STIM|DIG\b|ANNOT|PHOTIC|LIGHT|BUTTON|
    POS\b|POSITION|BODY|ACC|GYRO|MOTION|LEG\b|CHIN|TIB|LAT\b|RAT\b|LIMB|
    IBI|BURSTS|SUPPR|DC\s?\d|BATT|A[12]-A[12]
    )""",
    re.IGNORECASE | re.VERBOSE,
)


class Chosen(NamedTuple):
    """Rows of a recording and their names; bad ones, of those that were meant; what the file calls EEG and is not."""

    rows: list[int]
    names: tuple[str, ...]
    every: tuple[str, ...]  # names, those of bad channels among them, in the order of the file
    others: list[str]


def choose_channels(raw: Any, signals: Sequence[EdfSignal], picks: str | Sequence[str], path: Path) -> Chosen:
    """Choose the channels that are asked for: those named, in any spelling, or those of a kind that are not bad."""
    names, types, bads = raw.ch_names, raw.get_channel_types(), raw.info["bads"]
    if not isinstance(picks, str):
        rows, named = match_channels(picks, names), tuple(picks)  # called as they were asked for
        return Chosen(pick_rows(names, picks, path) if -1 in rows else rows, named, named, [])
    if picks not in ("eeg", "data", "all", *types):
        raise ValueError(f"picks={picks!r} is unknown; choose one of 'eeg', 'data', 'all', or pass a list of names.")
    if picks == "all":
        return Chosen(list(range(len(names))), tuple(names), tuple(names), [])
    data = ("eeg", "mag", "grad", "seeg", "ecog", "dbs", "fnirs_cw_amplitude", "fnirs_od", "hbo", "hbr")
    wanted = data if picks == "data" else (picks,)
    meant = [row for row, kind in enumerate(types) if kind in wanted]
    others = [row for row in meant if types[row] == "eeg" and not _is_eeg(names[row], signals, row)]
    meant = [row for row in meant if row not in others or picks != "eeg"]
    rows = [row for row in meant if names[row] not in bads]
    if not rows:
        why = " that is not marked as bad. Leave it out, or pass" if meant else ". Pass"
        raise RecordingError(f"{path} has no {picks} channel{why} picks= a list of names from: {', '.join(names)}.")
    said = [names[row] for row in others if names[row] not in bads] if picks == "eeg" else []
    return Chosen(rows, tuple(names[row] for row in rows), tuple(names[row] for row in meant), said)


def _is_eeg(name: str, signals: Sequence[EdfSignal], row: int) -> bool:
    """Whether the name is none of another sensor, and the unit, if the file tells it, is a voltage."""
    unit = signals[row].unit if signals else ""
    return not _OTHERS.match(name) and (not unit or volts_per_unit(unit) is not None)


_DONE = (
    "channels are called by one name", "channels are put in one order", "further channels are left out",
    "bad channels are missing (NaN)",
)  # fmt: skip
_Done: TypeAlias = Mapping[str, dict[str, None]]  # what was done, and to which channels or files


class OpenedFile(NamedTuple):
    """A recording without its bad channels, and what was seen on the way."""

    case: Case
    chosen: Chosen
    positions: FloatArray | None  # of all channels that were meant, bad ones among them, (n, 3)
    numbered: str  # channels of one name, numbered
    incomplete: str  # why, where that was to be no error


def make_alike(
    opened: Sequence[OpenedFile], *, standard: bool, one_rate: bool, on_error: OnError
) -> tuple[list[Case], list[Skipped], list[str]]:
    """Bring recordings to the channels of most of them; return them, what is left out, and what was done."""
    keys = [frozenset(map(channel_key, one.chosen.every)) for one in opened]
    common = Counter(keys).most_common(1)[0][0]  # the first of those that come equally often
    alike = [one for one, its in zip(opened, keys, strict=True) if its == common]
    good = {channel_key(name) for one in alike for name in one.case.ch_names or ()}
    first = [name for name in alike[0].chosen.every if channel_key(name) in good]  # not those that are bad in all
    names = [standard_name(name) for name in first] if standard else first
    names = names if len(set(names)) == len(names) else first
    rate = Counter(one.case.sfreq for one in alike).most_common(1)[0][0] if one_rate else None
    cases, skipped, done = [], [], {what: dict[str, None]() for what in _DONE}
    for one in opened:
        try:
            cases.append(_brought_to(first, names, one, rate, done))
        except RecordingError as error:
            skipped.append(skip_or_raise(error, one.case.source, on_error))
    return cases, skipped, [f"{what}: {few(list(which))}" for what, which in done.items() if which]


def _brought_to(
    reference: Sequence[str], names: Sequence[str], one: OpenedFile, rate: float | None, done: _Done
) -> Case:
    case, own = one.case, one.case.ch_names or ()
    if rate is not None and case.sfreq != rate:
        raise RecordingError(
            f"{case.source} is sampled at {case.sfreq:g} Hz and others at {rate:g} Hz. Pass sfreq= to resample them to "
            "one rate."
        )
    rows = match_channels(reference, own)
    known = match_channels(reference, one.chosen.every)
    absent = [name for name, row in zip(reference, known, strict=True) if row < 0]
    if absent:
        raise RecordingError(
            f"{case.source} has no channel {few(absent)}, as others have; it has {few(one.chosen.every)}. Pass picks= "
            "the names that all have."
        )
    if rows == list(range(len(own))) and list(own) == list(names):
        return case
    _note(done, case.source, own, rows, names)
    positions = None if one.positions is None else one.positions[known]
    return arranged(case, rows, names, positions=positions)


def _note(done: _Done, source: str, own: Sequence[str], rows: Sequence[int], names: Sequence[str]) -> None:
    there = [row for row in rows if row >= 0]
    renamed = [f"{own[row]} is {name}" for row, name in zip(rows, names, strict=True) if row >= 0 and own[row] != name]
    extra = [name for row, name in enumerate(own) if row not in there]
    bad = [name for row, name in zip(rows, names, strict=True) if row < 0]
    moved = [source] if there != sorted(there) else []
    of_file = ([f"{source} ({', '.join(channels)})"] if channels else [] for channels in (extra, bad))
    for which, said in zip(done.values(), (renamed, moved, *of_file), strict=True):
        which |= dict.fromkeys(said)
