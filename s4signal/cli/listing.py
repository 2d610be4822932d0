"""List the recordings of a folder or manifest, with their kind, labels and groups."""

import csv
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from s4signal.cli.options import Reading
from s4signal.errors import RecordingError
from s4signal.signals.audio_layout import ENDINGS, GROUPS, Layout, Row, files_below, rows_of_folders, rows_of_pattern
from s4signal.signals.audio_manifest import manifest_table, rows_of_manifest
from s4signal.signals.checks import few

KINDS = {
    "audio": tuple(sorted(ENDINGS)),
    "EEG": (".edf", ".bdf", ".gdf", ".vhdr", ".fif", ".set", ".cnt"),
    "CSV": (".csv",),
    "ts": (".ts",),
}


class Listing(NamedTuple):
    """Recordings of a folder; by default a label is "" and a group is the path of the file."""

    kind: str
    layout: Layout
    by: str  # description of the source of labels


def kind_of(path: Path) -> str | None:
    """Return the kind of a file by its extension, None if it is not a recording."""
    return next((kind for kind, endings in KINDS.items() if path.suffix.lower() in endings), None)


def list_recordings(root: Path, how: Reading) -> Listing:
    """List the recordings of a folder, with labels from a manifest, a name pattern or class folders."""
    if how.manifest is not None and how.pattern is not None:
        raise ValueError("--manifest and --pattern were both given; choose one.")
    if how.manifest is not None:
        below = root / how.manifest  # else relative to the working directory
        return list_manifest(below if below.exists() else how.manifest, root, how)
    if (root / "dataset_description.json").exists() and how.pattern is None:
        return Listing("EEG", Layout([Row(root, "", "")], [], []), "groups in the names of BIDS")
    files = [path for path in files_below(root)[0] if kind_of(path)]
    kinds = Counter(str(kind_of(path)) for path in files)
    recordings = {kind for kind in kinds if kind in ("audio", "EEG")}
    manifests = [p for p in files if p.parent == root and kind_of(p) == "CSV" and how.path_column in header_of(p)]
    if len(manifests) == 1 and how.pattern is None and (recordings or len(kinds) == 1):
        return list_manifest(manifests[0], root, how)
    if not files:
        endings = " ".join(ending for kind in KINDS.values() for ending in kind)
        raise RecordingError(f"{root} holds no recording ({endings}). Check the path.")
    if len(recordings) > 1 or (not recordings and len(kinds) > 1):
        found = ", ".join(f"{n} {kind}" for kind, n in kinds.items())
        raise RecordingError(f"{root} holds several kinds of recordings ({found}); pass a folder with one kind.")
    kind = str(next(iter(recordings or set(kinds))))
    chosen = [path for path in files if kind_of(path) == kind]
    if how.pattern is not None:
        layout = rows_of_pattern(root, how.pattern, how.on_error, KINDS[kind], ("label", *GROUPS))
        names = [Path(file.path).name for file in layout.skipped if "does not follow" in file.reason]
        if names and how.on_error == "raise":
            text = f"{len(names)} of {len(chosen)} recordings do not follow --pattern {how.pattern!r}: {few(names)}."
            raise RecordingError(f"{text} Move them away, change the pattern, or pass --on-error skip.")
        return Listing(kind, layout, "the pattern")
    if all(path.parent == root for path in chosen):
        return unlabelled(kind, chosen)
    layout = rows_of_folders(root, how.on_error, KINDS[kind])
    if how.tmax is None:
        return Listing(kind, layout, "class folders")
    one = len({row.label for row in layout.rows}) == 1  # labels are events, so folders are subjects
    rows = [row._replace(label="", group=row.group if one else row.label) for row in layout.rows]
    return Listing(kind, layout._replace(rows=rows), "folders")


def unlabelled(kind: str, paths: Sequence[Path]) -> Listing:
    """List recordings without labels and groups."""
    return Listing(kind, Layout([Row(path, "", str(path)) for path in paths], [], []), "")


def list_manifest(path: Path, root: Path, how: Reading) -> Listing:
    """List the recordings of a table, one per row, with paths relative to ``root``."""
    table = manifest_table(path)
    label = how.label_column if how.label_column in table.header else None
    group = how.group_column or next((n for n in GROUPS if n in table.header), None)
    try:
        table.check([name for name in (how.path_column, group) if name])
    except RecordingError as error:
        advice = "Pass the columns as --path-column, --label-column and --group-column."
        raise RecordingError(f"{error} {advice}") from None
    layout = rows_of_manifest(table, root, (how.path_column, label, group), how.on_error, 1 if how.tags else 2)
    kinds = {kind_of(row.path) for row in layout.rows}
    if len(kinds) > 1 or None in kinds:
        endings = ", ".join(sorted({row.path.suffix or "no ending" for row in layout.rows}))
        raise RecordingError(f"{path} must list recordings of one kind, audio, EEG or CSV; its files end in {endings}.")
    if kinds - {"audio"} and {"start", "end"} & set(table.header):
        raise RecordingError(f"{path} has a column start or end, for audio only; cut other files with --window.")
    by = f"column {label} of {path.name}" if label else ""
    return Listing(str(next(iter(kinds), "audio")), layout, by + (f", groups in column {group}" if group else ""))


def is_manifest(path: Path, how: Reading) -> bool:
    """Return whether a file lists recordings; a CSV does with a path column, or paths in its first row."""
    if kind_of(path) != "CSV":
        return path.suffix.lower() in (".tsv", ".jsonl", ".ndjson")
    return how.path_column in header_of(path) or any(kind_of(Path(cell)) for cell in header_of(path, row=1))


def header_of(path: Path, *, row: int = 0) -> list[str]:
    """Return the header of a CSV file, or a row below it; empty if it cannot be read."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = list(islice(file, row + 1))
            rows = [*csv.reader(lines, delimiter=max(",\t;", key="".join(lines[:1]).count))]
            return [cell.strip() for cell in rows[row]] if row < len(rows) else []
    except (OSError, UnicodeDecodeError, csv.Error):
        return []
