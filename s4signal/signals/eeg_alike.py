"""Recordings of one montage, whatever each file calls its channels, in whatever order, and which it marks as bad."""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias, TypeVar

from s4signal.errors import RecordingError
from s4signal.signals.audio_file import OnError, Skipped, skip_or_raise
from s4signal.signals.checks import FloatArray, few
from s4signal.signals.lazy import Case
from s4signal.signals.montage import arranged, channel_key, match_channels, standard_name

_Value = TypeVar("_Value", bound=Hashable)
_DONE = (
    "channels are called by one name", "channels are put in one order", "further channels are left out",
    "bad channels are missing (NaN)",
)  # fmt: skip
_Done: TypeAlias = Mapping[str, dict[str, None]]  # what was done, and to which channels or files


class Montage(NamedTuple):
    """A recording without its bad channels; names and positions (n, 3) of all that were meant, bad ones among them."""

    case: Case
    every: tuple[str, ...]
    positions: FloatArray | None


def make_alike(
    opened: Sequence[Montage], *, standard: bool, one_rate: bool, on_error: OnError
) -> tuple[list[Case], list[Skipped], list[str]]:
    """Bring recordings to the channels of most of them; return them, what is left out, and what was done."""
    common = _most_common(_keys(one.every) for one in opened)
    alike = [one for one in opened if _keys(one.every) == common]
    first = _reference(alike)
    names = _names(first, standard)
    rate = _most_common(one.case.sfreq for one in alike) if one_rate else None
    cases, skipped, done = [], [], {what: dict[str, None]() for what in _DONE}
    for one in opened:
        try:
            cases.append(_brought_to(first, names, one, rate, done))
        except RecordingError as error:
            skipped.append(skip_or_raise(error, one.case.source, on_error))
    return cases, skipped, [f"{what}: {few(list(which))}" for what, which in done.items() if which]


def _reference(alike: Sequence[Montage]) -> list[str]:
    """Take the channels of these recordings, in the order of the first; not those that are bad in all."""
    good = {channel_key(name) for one in alike for name in one.case.ch_names or ()}
    return [name for name in alike[0].every if channel_key(name) in good]


def _keys(names: Sequence[str]) -> frozenset[str]:
    return frozenset(map(channel_key, names))


def _names(reference: Sequence[str], standard: bool) -> list[str]:
    names = [standard_name(name) for name in reference] if standard else list(reference)
    return names if len(set(names)) == len(names) else list(reference)


def _brought_to(reference: Sequence[str], names: Sequence[str], one: Montage, rate: float | None, done: _Done) -> Case:
    case, own = one.case, one.case.ch_names or ()
    if rate is not None and case.sfreq != rate:
        raise RecordingError(
            f"{case.source} is sampled at {case.sfreq:g} Hz and others at {rate:g} Hz. Pass sfreq= to resample them to "
            "one rate."
        )
    rows = match_channels(reference, own)
    known = match_channels(reference, one.every)
    absent = [name for name, row in zip(reference, known, strict=True) if row < 0]
    if absent:
        raise RecordingError(
            f"{case.source} has no channel {few(absent)}, as others have; it has {few(one.every)}. Pass picks= the "
            "names that all have."
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


def _most_common(values: Iterable[_Value]) -> _Value:
    return Counter(values).most_common(1)[0][0]  # the first of those that come equally often
