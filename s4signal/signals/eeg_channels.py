"""Which channels of a recording are EEG, whatever its file calls them."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from s4signal.errors import RecordingError
from s4signal.signals.checks import pick_rows
from s4signal.signals.edf import EdfSignal, volts_per_unit

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


def choose_channels(
    raw: Any, signals: Sequence[EdfSignal], picks: str | Sequence[str], path: Path
) -> tuple[list[int], list[str]]:
    """Return the rows that are asked for, and the names of those that the file calls EEG and that are not."""
    names, types, bads = raw.ch_names, raw.get_channel_types(), raw.info["bads"]
    if not isinstance(picks, str):
        return pick_rows(names, picks, path), []
    if picks not in ("eeg", "data", "all", *types):
        raise ValueError(f"picks={picks!r} is unknown; choose one of 'eeg', 'data', 'all', or pass a list of names.")
    if picks == "all":
        return list(range(len(names))), []
    data = ("eeg", "mag", "grad", "seeg", "ecog", "dbs", "fnirs_cw_amplitude", "fnirs_od", "hbo", "hbr")
    wanted = data if picks == "data" else (picks,)
    rows = [row for row, kind in enumerate(types) if kind in wanted and names[row] not in bads]
    others = [row for row in rows if types[row] == "eeg" and not _is_eeg(names[row], signals, row)]
    rows = [row for row in rows if row not in others or picks != "eeg"]
    if not rows:
        raise RecordingError(f"{path} has no {picks} channel. Pass picks= a list of names from: {', '.join(names)}.")
    return rows, [names[row] for row in others] if picks == "eeg" else []


def _is_eeg(name: str, signals: Sequence[EdfSignal], row: int) -> bool:
    """Whether the name is none of another sensor, and the unit, if the file tells it, is a voltage."""
    unit = signals[row].unit if signals else ""
    return not _OTHERS.match(name) and (not unit or volts_per_unit(unit) is not None)
