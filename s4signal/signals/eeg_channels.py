"""Which channels of a recording are EEG, whatever its file calls them."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from s4signal.errors import RecordingError
from s4signal.signals.checks import pick_rows
from s4signal.signals.edf import EdfSignal, volts_per_unit
from s4signal.signals.montage import match_channels

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
    """Choose the channels that are asked for: those named, or those of a kind that are not bad."""
    names, types, bads = raw.ch_names, raw.get_channel_types(), raw.info["bads"]
    if not isinstance(picks, str):
        return _named_channels(names, picks, path)
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
    if meant and not rows:
        raise RecordingError(
            f"{path} has no {picks} channel that is not marked as bad. Leave it out, or pass picks= a list of names "
            f"from: {', '.join(names)}."
        )
    if not rows:
        raise RecordingError(f"{path} has no {picks} channel. Pass picks= a list of names from: {', '.join(names)}.")
    said = [names[row] for row in others if names[row] not in bads] if picks == "eeg" else []
    return Chosen(rows, tuple(names[row] for row in rows), tuple(names[row] for row in meant), said)


def _named_channels(names: Sequence[str], picks: Sequence[str], path: Path) -> Chosen:
    """Find channels by name, or by another spelling of it; they are called as they were asked for."""
    wanted = list(picks)
    rows = match_channels(wanted, names)
    if -1 in rows:
        rows = pick_rows(names, wanted, path)  # says which is not there
    return Chosen(rows, tuple(wanted), tuple(wanted), [])


def _is_eeg(name: str, signals: Sequence[EdfSignal], row: int) -> bool:
    """Whether the name is none of another sensor, and the unit, if the file tells it, is a voltage."""
    unit = signals[row].unit if signals else ""
    return not _OTHERS.match(name) and (not unit or volts_per_unit(unit) is not None)
