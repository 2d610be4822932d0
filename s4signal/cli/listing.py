"""Which files a folder or a manifest holds, of which kind, and what is known of each."""

import csv
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from s4signal.cli.options import Reading
from s4signal.errors import RecordingError
from s4signal.signals.audio_manifest import manifest_table, texts_of
from s4signal.signals.checks import compile_pattern

KINDS = {
    "audio": (".wav", ".flac", ".ogg", ".mp3", ".opus", ".aif", ".aiff"),
    "EEG": (".edf", ".bdf", ".gdf", ".vhdr", ".fif", ".set", ".cnt"),
    "CSV": (".csv",),
    "ts": (".ts",),
}
_SHOWN = 5


class Row(NamedTuple):
    """One recording: its file, and its label and group where they are known."""

    path: Path
    label: str | None = None
    group: str | None = None


class Listing(NamedTuple):
    """The recordings of a folder."""

    kind: str
    rows: list[Row]
    by: str  # where labels come from, for a person


def kind_of(path: Path) -> str | None:
    """Return the kind of a file by its ending, None if it is no recording."""
    return next((kind for kind, endings in KINDS.items() if path.suffix.lower() in endings), None)


def list_recordings(root: Path, how: Reading) -> Listing:
    """List the recordings of a folder: by a manifest, a pattern of names, or a folder per class."""
    if how.manifest is not None and how.pattern is not None:
        raise ValueError("--manifest and --pattern were both given; choose one.")
    if how.manifest is not None:
        return list_manifest(root / how.manifest, root, how)
    shown = (p for p in root.rglob("*") if not any(part.startswith(".") for part in p.relative_to(root).parts))
    files = sorted(p for p in shown if p.is_file() and kind_of(p))
    kinds = Counter(str(kind_of(path)) for path in files)
    recordings = {kind for kind in kinds if kind in ("audio", "EEG")}
    manifests = [p for p in files if p.parent == root and kind_of(p) == "CSV" and how.path_column in header_of(p)]
    if len(manifests) == 1 and how.pattern is None and (recordings or len(kinds) == 1):
        return list_manifest(manifests[0], root, how)
    if not files:
        known = " ".join(ending for endings in KINDS.values() for ending in endings)
        raise RecordingError(f"{root} holds no recording ({known}). Check the path.")
    if len(recordings) > 1 or (not recordings and len(kinds) > 1):
        found = ", ".join(f"{n} {kind}" for kind, n in kinds.items())
        raise RecordingError(f"{root} holds several kinds of recordings ({found}); name a folder of one kind.")
    kind = str(next(iter(recordings or set(kinds))))
    chosen = [path for path in files if kind_of(path) == kind]
    if how.pattern is not None:
        return Listing(kind, _rows_of_pattern(chosen, root, how.pattern), "the pattern")
    return Listing(kind, *_rows_of_folders(chosen, root))


def list_manifest(path: Path, root: Path, how: Reading) -> Listing:
    """List the recordings that a table names, one a row; its paths are below ``root``."""
    table = manifest_table(path)
    try:
        table.check([how.path_column, *([how.group_column] if how.group_column else [])])
    except RecordingError as error:
        advice = "Name the columns by --path-column, --label-column and --group-column."
        raise RecordingError(f"{error} {advice}") from None
    files = texts_of(table, how.path_column)
    if not files:
        raise RecordingError(f"{path} lists no recording.")
    group = how.group_column or next((n for n in ("group", "subject", "speaker") if n in table.header), None)
    labels = texts_of(table, how.label_column) if how.label_column in table.header else [None] * len(files)
    owners = texts_of(table, group) if group else [""] * len(files)
    rows = [Row(root / f, label, owner or None) for f, label, owner in zip(files, labels, owners, strict=True)]
    for i, (file, row) in enumerate(zip(files, rows, strict=True)):
        if not file or row.label == "":
            raise RecordingError(f"{table.row(i)}: {how.label_column if file else how.path_column} is empty.")
        if not row.path.exists():
            raise RecordingError(f"{table.row(i)}: {row.path} does not exist. Paths are below {root}.")
    kinds = {kind_of(row.path) for row in rows}
    if len(kinds) != 1 or None in kinds:
        endings = ", ".join(sorted({row.path.suffix or "no ending" for row in rows}))
        raise RecordingError(f"{path} must list recordings of one kind, audio, EEG or CSV; its files end in {endings}.")
    by = f"column {how.label_column} of {path.name}" if how.label_column in table.header else ""
    return Listing(str(kinds.pop()), rows, by + (f", groups in column {group}" if group else ""))


def is_manifest(path: Path, how: Reading) -> bool:
    """Whether a CSV file lists recordings: by a column of paths, or whatever the column is called."""
    return how.path_column in header_of(path) or any(kind_of(Path(cell)) for cell in header_of(path, row=1))


def header_of(path: Path, *, row: int = 0) -> list[str]:
    """Return the names of the columns of a CSV file, or a row below them; none if it cannot be read."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = list(islice(file, row + 1))
            rows = [*csv.reader(lines, delimiter=max(",\t;", key="".join(lines[:1]).count))]
            return [cell.strip() for cell in rows[row]] if row < len(rows) else []
    except (OSError, UnicodeDecodeError, csv.Error):
        return []


def _rows_of_folders(files: Sequence[Path], root: Path) -> tuple[list[Row], str]:
    parts = [path.relative_to(root).parts for path in files]
    loose = [path for path, below in zip(files, parts, strict=True) if len(below) == 1]
    if len(loose) == len(files):
        return [Row(path) for path in files], ""
    if loose:
        raise RecordingError(
            f"{loose[0]} lies in no class folder, {len(files) - len(loose)} other recordings do. Sort all of them as "
            f"{root.name}/<class>/<file>, or pass --pattern or --manifest."
        )
    return [Row(path, below[0]) for path, below in zip(files, parts, strict=True)], "class folders"


def _rows_of_pattern(files: Sequence[Path], root: Path, pattern: str) -> list[Row]:
    expression = compile_pattern(pattern)
    if not {"label", "group"} & set(expression.groupindex):
        raise ValueError(f"--pattern {pattern!r} has no {{label}} and no {{group}}; write '{{label}}_{{group}}.wav'.")
    rows, others = [], []
    for path in files:
        found = expression.fullmatch(path.relative_to(root).as_posix() if "/" in pattern else path.name)
        if found is None:
            others.append(path.name)
        else:
            named = found.groupdict()
            rows.append(Row(path, named.get("label"), named.get("group")))
    if others:
        raise RecordingError(
            f"{len(others)} of {len(files)} recordings below {root} do not follow --pattern {pattern!r}: "
            f"{', '.join(others[:_SHOWN])}. Move them away, or write another pattern."
        )
    return rows
