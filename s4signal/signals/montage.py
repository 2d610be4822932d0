"""Channel names: spellings of an electrode, which channels are EEG, and one montage for several recordings."""

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
from s4signal.signals.lazy import Case, with_fields

_SENSOR = re.compile(r"^(EEG|POL)[\s_-]+(?=.)", re.IGNORECASE)
_REFERENCE = re.compile(r"(?<=.)[\s_-]+(REF|LE|AR|AVG|CAR)$", re.IGNORECASE)
# The 10-10 system renamed four electrodes of the 10-20 system.
_RENAMED = {"t3": "t7", "t4": "t8", "t5": "p7", "t6": "p8"}
_REGIONS = "Fp AF F FC FT C T CP TP P PO O I N A M AFp AFF FFC FFT FTT FCC TTP TPP CCP CPP PPO POO OI"
_STANDARD = {region.lower(): region for region in _REGIONS.split()}


def channel_key(name: str) -> str:
    """Return a key equal for all spellings of an electrode: ``EEG FP1-REF`` and ``Fp1``, ``T3`` and ``T7``."""
    plain = _REFERENCE.sub("", _SENSOR.sub("", name.strip())).strip(" .").lower().replace(" ", "")
    return "-".join(_RENAMED.get(part, part) for part in plain.split("-")) or name


def standard_name(name: str) -> str:
    """Return the 10-10 name of an electrode, ``Fp1`` or ``T7-M1``; any other name unchanged."""
    parts = [re.fullmatch(r"([a-z]+?)(z|\d{1,2})(h?)", part) for part in channel_key(name).split("-")]
    standard = [part and part[1] in _STANDARD and _STANDARD[part[1]] + part[2] + part[3] for part in parts]
    return "-".join(map(str, standard)) if all(standard) else name


def match_channels(picks: Sequence[str], names: Sequence[str]) -> list[int]:
    """Return the index in `names` of each pick, by exact name, else by electrode; -1 if missing or ambiguous."""
    index = {name: row for row, name in enumerate(names)}
    rows = [index.get(name, -1) for name in picks]
    free = [row for row in range(len(names)) if row not in set(rows)]
    keys = [channel_key(name) if row < 0 else "" for name, row in zip(picks, rows, strict=True)]
    free_keys = [channel_key(names[row]) for row in free]
    n_picks, n_free = Counter(keys), Counter(free_keys)
    by_key = {key: row for key, row in zip(free_keys, free, strict=True) if n_free[key] == 1}
    return [by_key.get(key, -1) if row < 0 and n_picks[key] == 1 else row for row, key in zip(rows, keys, strict=True)]


def arranged(case: Case, rows: Sequence[int], names: Sequence[str], *, positions: FloatArray | None = None) -> Case:
    """Select rows of a case as channels, NaN for -1, and rename them, without reading a case on disk.

    By default the positions (n_channels, 3) are taken from the rows.
    """
    if list(rows) == list(range(case.n_channels)):
        return with_fields(case, ch_names=tuple(names))
    if positions is None and case.positions is not None:
        positions = _rows(case.positions, rows)
    renamed = with_fields(case, ch_names=tuple(names), positions=positions)
    if isinstance(renamed, Signal):
        return part_of(renamed, data=_rows(renamed.data, rows))
    return replace(renamed, read=partial(_read_rows, renamed.read, rows), n_channels=len(rows))


def _read_rows(read: Any, rows: Sequence[int], start: int, stop: int) -> FloatArray | Signal:
    data = read(start, stop)
    return part_of(data, data=_rows(data.data, rows)) if isinstance(data, Signal) else _rows(data, rows)


def _rows(data: FloatArray, rows: Sequence[int]) -> FloatArray:
    selected = data[np.maximum(rows, 0)]
    selected[np.asarray(rows) < 0] = np.nan
    return selected


# EDF labels every channel as EEG. These are clinical names of other sensors [1]_, after an optional "EEG" or "POL":
# heart, muscle and eyes; breathing; oxygen and carbon dioxide, pulse and pressure; temperature and skin; markers and
# lights; position and movement; limbs and chin; measures of an amplifier. A1 and A2 are earlobes; A2-A1 is not EEG.
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
    """Selected channels of a recording, also with bad ones, and channels that the file wrongly calls EEG."""

    rows: list[int]
    names: tuple[str, ...]
    every: tuple[str, ...]  # names including bad channels, in the order of the file
    others: list[str]


def choose_channels(raw: Any, signals: Sequence[EdfSignal], picks: str | Sequence[str], path: Path) -> Chosen:
    """Select channels by name, in any spelling, or all channels of a type that are not bad."""
    names, types, bads = raw.ch_names, raw.get_channel_types(), raw.info["bads"]
    if not isinstance(picks, str):
        rows, named = match_channels(picks, names), tuple(picks)  # with the names passed by the user
        return Chosen(pick_rows(names, picks, path) if -1 in rows else rows, named, named, [])
    if picks not in ("eeg", "data", "all", *types):
        raise ValueError(f"picks={picks!r} is unknown; choose one of 'eeg', 'data', 'all', or pass a list of names.")
    if picks == "all":
        return Chosen(list(range(len(names))), tuple(names), tuple(names), [])
    data = ("eeg", "mag", "grad", "seeg", "ecog", "dbs", "fnirs_cw_amplitude", "fnirs_od", "hbo", "hbr")
    kinds = data if picks == "data" else (picks,)
    every = [row for row, kind in enumerate(types) if kind in kinds]
    others = [row for row in every if types[row] == "eeg" and not _is_eeg(names[row], signals, row)]
    every = [row for row in every if row not in others or picks != "eeg"]
    rows = [row for row in every if names[row] not in bads]
    if not rows:
        why = " that is not marked as bad. Leave it out, or pass" if every else ". Pass"
        raise RecordingError(f"{path} has no {picks} channel{why} picks= a list of names from: {', '.join(names)}.")
    dropped = [names[row] for row in others if names[row] not in bads] if picks == "eeg" else []
    return Chosen(rows, tuple(names[row] for row in rows), tuple(names[row] for row in every), dropped)


def _is_eeg(name: str, signals: Sequence[EdfSignal], row: int) -> bool:
    """Return whether the name is not that of another sensor and the unit, if known, is a voltage."""
    unit = signals[row].unit if signals else ""
    return not _OTHERS.match(name) and (not unit or volts_per_unit(unit) is not None)


_CHANGES = (
    "channels are renamed", "channels are reordered", "extra channels are left out",
    "bad channels are missing (NaN)",
)  # fmt: skip
_Changes: TypeAlias = Mapping[str, dict[str, None]]  # each change, and the channels or files


class OpenedFile(NamedTuple):
    """A recording without its bad channels, and notes from opening it."""

    case: Case
    chosen: Chosen
    positions: FloatArray | None  # of all selected channels, with bad ones, (n, 3)
    numbered: str  # message about duplicate channel names
    incomplete: str  # the reason, if tolerated


def make_alike(
    opened: Sequence[OpenedFile], *, standard: bool, one_rate: bool, on_error: OnError
) -> tuple[list[Case], list[Skipped], list[str]]:
    """Give recordings the channels that most of them have; return them, skipped ones, and the changes."""
    keys = [frozenset(map(channel_key, one.chosen.every)) for one in opened]
    common = Counter(keys).most_common(1)[0][0]  # the first of several equally frequent
    alike = [one for one, key in zip(opened, keys, strict=True) if key == common]
    good = {channel_key(name) for one in alike for name in one.case.ch_names or ()}
    first = [name for name in alike[0].chosen.every if channel_key(name) in good]  # except channels that are bad in all
    names = [standard_name(name) for name in first] if standard else first
    names = names if len(set(names)) == len(names) else first
    rate = Counter(one.case.sfreq for one in alike).most_common(1)[0][0] if one_rate else None
    cases, skipped, changes = [], [], {change: dict[str, None]() for change in _CHANGES}
    for one in opened:
        try:
            cases.append(_with_montage(first, names, one, rate, changes))
        except RecordingError as error:
            skipped.append(skip_or_raise(error, one.case.source, on_error))
    return cases, skipped, [f"{change}: {few(list(which))}" for change, which in changes.items() if which]


def _with_montage(
    reference: Sequence[str], names: Sequence[str], one: OpenedFile, rate: float | None, changes: _Changes
) -> Case:
    case, own = one.case, one.case.ch_names or ()
    if rate is not None and case.sfreq != rate:
        raise RecordingError(
            f"{case.source} is sampled at {case.sfreq:g} Hz and others at {rate:g} Hz. Pass sfreq= to resample them to "
            "one rate."
        )
    rows = match_channels(reference, own)
    in_file = match_channels(reference, one.chosen.every)
    if absent := [name for name, row in zip(reference, in_file, strict=True) if row < 0]:
        raise RecordingError(
            f"{case.source} has no channel {few(absent)}, which others have; it has {few(one.chosen.every)}. Pass "
            "picks= a list of the channels that all recordings have."
        )
    if rows == list(range(len(own))) and list(own) == list(names):
        return case
    _record(changes, case.source, own, rows, names)
    positions = None if one.positions is None else one.positions[in_file]
    return arranged(case, rows, names, positions=positions)


def _record(changes: _Changes, source: str, own: Sequence[str], rows: Sequence[int], names: Sequence[str]) -> None:
    present = [row for row in rows if row >= 0]
    renamed = [f"{own[row]} to {name}" for row, name in zip(rows, names, strict=True) if row >= 0 and own[row] != name]
    extra = [name for row, name in enumerate(own) if row not in present]
    bad = [name for row, name in zip(rows, names, strict=True) if row < 0]
    reordered = [source] if present != sorted(present) else []
    of_file = ([f"{source} ({', '.join(channels)})"] if channels else [] for channels in (extra, bad))
    for which, new in zip(changes.values(), (renamed, reordered, *of_file), strict=True):
        which |= dict.fromkeys(new)
