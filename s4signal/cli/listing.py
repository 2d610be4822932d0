"""Which files a folder or a manifest holds, of which kind, and what is known of each."""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from s4signal.cli.options import Reading
from s4signal.errors import RecordingError

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
    files = sorted(p for p in root.rglob("*") if p.is_file() and kind_of(p) and not _hidden(p, root))
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
    """List the recordings that a CSV file names, one a row; its paths are below ``root``."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        lines = list(csv.DictReader(file))
    header = list(header_of(path))
    wanted = [how.path_column, *([how.group_column] if how.group_column else [])]
    missing = [name for name in wanted if name not in header]
    if missing:
        raise RecordingError(
            f"{path} has no column {', '.join(missing)}; it has {', '.join(header) or 'none'}. Name the columns by "
            "--path-column, --label-column and --group-column."
        )
    if not lines:
        raise RecordingError(f"{path} lists no recording.")
    group = how.group_column or next((n for n in ("group", "subject", "speaker") if n in header), None)
    rows = [_row_of_line(i, line, path, root, how, group) for i, line in enumerate(lines, start=2)]
    kinds = {kind_of(row.path) for row in rows}
    if len(kinds) != 1 or None in kinds:
        endings = ", ".join(sorted({row.path.suffix or "no ending" for row in rows}))
        raise RecordingError(f"{path} must list recordings of one kind, audio, EEG or CSV; its files end in {endings}.")
    by = f"column {how.label_column} of {path.name}" if how.label_column in header else ""
    return Listing(str(kinds.pop()), rows, by + (f", groups in column {group}" if group else ""))


def _row_of_line(i: int, line: dict[str, str], path: Path, root: Path, how: Reading, group: str | None) -> Row:
    cells = {name: (value or "").strip() for name, value in line.items() if isinstance(name, str)}
    label, file = cells.get(how.label_column), cells[how.path_column]
    if not file or label == "":
        raise RecordingError(f"{path}, row {i}: {how.path_column if not file else how.label_column} is empty.")
    if not (root / file).exists():
        raise RecordingError(f"{path}, row {i}: {root / file} does not exist. Paths are below {root}.")
    return Row(root / file, label, (cells[group] or None) if group else None)


def header_of(path: Path) -> list[str]:
    """Return the names of the columns of a CSV file; none if it cannot be read."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return [name.strip() for name in next(csv.reader(file), [])]
    except (OSError, UnicodeDecodeError, csv.Error):
        return []


def _hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


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
    expression = _compiled(pattern)
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


def _compiled(pattern: str) -> re.Pattern[str]:
    """Turn "{label}_{group}.wav" into an expression with named groups."""
    parts = re.split(r"\{(\w+)\}", pattern)
    names = parts[1::2]
    if not {"label", "group"} & set(names):
        raise ValueError(f"--pattern {pattern!r} has no {{label}} and no {{group}}; write '{{label}}_{{group}}.wav'.")
    fields = [f"(?P<{n}>[^/]+?)" if n not in names[:i] else f"(?P={n})" for i, n in enumerate(names)]
    return re.compile("".join(fields[i // 2] if i % 2 else re.escape(part) for i, part in enumerate(parts)))
