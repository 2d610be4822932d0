"""Which files a folder or a manifest holds, of which kind, and what is known of each."""

import csv
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from s4signal.cli.options import Reading
from s4signal.errors import RecordingError
from s4signal.signals.audio_layout import ENDINGS, Layout, Row, files_below, rows_of_folders, rows_of_pattern
from s4signal.signals.audio_manifest import manifest_table, rows_of_manifest
from s4signal.signals.checks import few

KINDS = {
    "audio": tuple(sorted(ENDINGS)),
    "EEG": (".edf", ".bdf", ".gdf", ".vhdr", ".fif", ".set", ".cnt"),
    "CSV": (".csv",),
    "ts": (".ts",),
}


class Listing(NamedTuple):
    """The recordings of a folder; a label is "" and a group the path of its file where they are not known."""

    kind: str
    layout: Layout
    by: str  # where labels come from, for a person


def kind_of(path: Path) -> str | None:
    """Return the kind of a file by its ending, None if it is no recording."""
    return next((kind for kind, endings in KINDS.items() if path.suffix.lower() in endings), None)


def list_recordings(root: Path, how: Reading) -> Listing:
    """List the recordings of a folder: by a manifest, a pattern of names, or a folder per class."""
    if how.manifest is not None and how.pattern is not None:
        raise ValueError("--manifest and --pattern were both given; choose one.")
    if how.manifest is not None:
        below = root / how.manifest  # else named as the shell completes it
        return list_manifest(below if below.exists() else how.manifest, root, how)
    files = [path for path in files_below(root)[0] if kind_of(path)]
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
        layout = rows_of_pattern(root, how.pattern, how.on_error, KINDS[kind], ("label", "group"))
        odd = [Path(left.path).name for left in layout.skipped if "does not follow" in left.reason]
        if odd and how.on_error == "raise":
            said = f"{len(odd)} of {len(chosen)} recordings do not follow --pattern {how.pattern!r}: {few(odd)}."
            raise RecordingError(f"{said} Move them away, write another pattern, or pass --on-error skip.")
        return Listing(kind, layout, "the pattern")
    if all(path.parent == root for path in chosen):
        return unlabelled(kind, chosen)
    layout = rows_of_folders(root, how.on_error, KINDS[kind])
    if how.tmax is None:
        return Listing(kind, layout, "class folders")
    one = len({row.label for row in layout.rows}) == 1  # events are the labels: folders are of subjects
    rows = [row._replace(label="", group=row.group if one else row.label) for row in layout.rows]
    return Listing(kind, layout._replace(rows=rows), "folders")


def unlabelled(kind: str, paths: Sequence[Path]) -> Listing:
    """List recordings of which nothing else is known."""
    return Listing(kind, Layout([Row(path, "", str(path)) for path in paths], [], []), "")


def list_manifest(path: Path, root: Path, how: Reading) -> Listing:
    """List the recordings that a table names, one a row; its paths are below ``root``."""
    table = manifest_table(path)
    label = how.label_column if how.label_column in table.header else None
    group = how.group_column or next((n for n in ("group", "subject", "speaker") if n in table.header), None)
    try:
        table.check([name for name in (how.path_column, group) if name])
    except RecordingError as error:
        advice = "Name the columns by --path-column, --label-column and --group-column."
        raise RecordingError(f"{error} {advice}") from None
    layout = rows_of_manifest(table, root, (how.path_column, label, group), how.on_error)
    kinds = {kind_of(row.path) for row in layout.rows}
    if len(kinds) > 1 or None in kinds:
        endings = ", ".join(sorted({row.path.suffix or "no ending" for row in layout.rows}))
        raise RecordingError(f"{path} must list recordings of one kind, audio, EEG or CSV; its files end in {endings}.")
    if kinds - {"audio"} and {"start", "end"} & set(table.header):
        raise RecordingError(f"{path} has a column start or end, which cut audio alone; cut other files by --window.")
    by = f"column {label} of {path.name}" if label else ""
    return Listing(str(next(iter(kinds), "audio")), layout, by + (f", groups in column {group}" if group else ""))


def is_manifest(path: Path, how: Reading) -> bool:
    """Whether a file lists recordings: of a CSV file, by a column of paths, or whatever the column is called."""
    if kind_of(path) != "CSV":
        return path.suffix.lower() in (".tsv", ".jsonl", ".ndjson")
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
