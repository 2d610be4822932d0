"""Read audio manifests: tables with one recording, or segment of a recording, per row."""

import json
import warnings
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from s4signal.errors import RecordingError
from s4signal.signals.audio_file import OnError, Skipped, check_on_error, skip_or_raise
from s4signal.signals.audio_layout import Layout, Row, nfc
from s4signal.signals.checks import check_file, few, is_unknown
from s4signal.signals.labelled import LabelledSignals, assemble
from s4signal.signals.table import Table

_OPTIONAL = ("group", "split", "start", "end")


def read_audio_manifest(
    manifest: Any,
    *,
    root: str | PathLike[str] | None = None,
    path_column: str = "path",
    label_column: str = "label",
    group_column: str | None = None,
    split: str | None = None,
    sfreq: float | None = None,
    mono: bool = True,
    on_error: OnError = "raise",
) -> LabelledSignals:
    """Read labelled audio listed in a table, with one row per recording or segment of a recording.

    The optional columns "start" and "end" give the segment of the file [s], "split" the part of the data set, and
    "group" the speaker.

    Parameters
    ----------
    manifest : path, data frame or mapping
        A CSV or TSV file with a header, a JSON Lines file with an object per line, a pandas or polars data frame, or a
        mapping of columns. An empty "start" or "end" means the start or end of the file.
    root : path, optional
        The folder that paths are relative to; by default the folder of the manifest.
    path_column, label_column : str
        Columns of the file path and of the label.
    group_column : str, optional
        Column of the group, such as the speaker; by default "group" if present, else the file is the group.
    split : str, optional
        The part of the data set to read, from the column "split".
    sfreq, mono : as in `read_audio`
        The rate [Hz] to resample to, and whether to average the channels.
    on_error : {"raise", "skip"}
        Whether an unusable row raises an error or is skipped with a warning; ``skipped`` lists these rows.

    Returns
    -------
    LabelledSignals
        Unpacks into signals, y and groups, in the order of the rows; decoded on access.

    Raises
    ------
    RecordingError
        If a column, a label or a file is missing, a start is not before its end or is outside its file, or files
        differ in rate or channels; the message names the row.
    ValueError
        If `split` or `on_error` is unknown.

    Warns
    -----
    UserWarning
        If rows are skipped.

    Examples
    --------
    >>> import numpy as np
    >>> import soundfile
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     soundfile.write(f"{folder}/day.wav", np.zeros(80000), 8000)
    ...     rows = "path,label,group,start,end\\nday.wav,rain,may,0,2.5\\nday.wav,dog,may,4,5\\n"
    ...     size = Path(folder, "sounds.csv").write_text(rows)
    ...     read_audio_manifest(f"{folder}/sounds.csv")
    Signals: 2 cases × 1 channel, 8000–20000 samples, 8000 Hz (1–2.5 s)
    2 labels: dog 1, rain 1
    1 group of 2 cases
    """
    check_on_error(on_error)
    is_path = isinstance(manifest, str | PathLike)
    folder = Path(root) if root is not None else Path(manifest).parent if is_path else Path()
    columns = (path_column, label_column, group_column)
    layout = rows_of_manifest(manifest_table(manifest), folder, columns, on_error)
    return assemble(layout, split=split, sfreq=sfreq, mono=mono, on_error=on_error)


def rows_of_manifest(
    table: Table, root: Path, columns: Sequence[str | None], on_error: OnError, n_full: int = 2
) -> Layout:
    """Return the cases of a table; `columns` are path, label, group, or None; the first `n_full` have no empty cell."""
    group_column = columns[2] or ("group" if "group" in table.header else None)
    table.check(list(dict.fromkeys([*filter(None, columns), *(name for name in _OPTIONAL if name in table.header)])))
    names = (*columns[:2], group_column, "split", "start", "end")
    texts = [texts_of(table, name) if name in table.header else None for name in names]
    n = len(texts[0] or [])
    if not n:
        raise RecordingError(f"{table.name} lists no file.")
    rows, skipped = list[Row](), list[Skipped]()
    for i, cells in enumerate(zip(*(column or [""] * n for column in texts), strict=True)):
        try:
            rows.append(_row(table, i, root, cells, columns[:n_full]))
        except RecordingError as error:
            skipped.append(skip_or_raise(error, table.row(i), on_error))
    _warn_of_contradictions(rows)
    unread = [name for name in table.header if name not in names]
    return Layout(rows, skipped, [f"columns: {few(unread, 10)}"] if unread else [])


def _warn_of_contradictions(rows: Sequence[Row]) -> None:
    """Warn of a segment with several labels, as when its times are in columns that are not read."""
    seen = dict[tuple[Any, ...], Row]()
    pairs = [(seen.setdefault((row.path, row.start_s, row.end_s), row), row) for row in rows]
    if again := [(first, row) for first, row in pairs if first.label != row.label]:
        first, row = again[0]
        text = f"{row.where}: {row.path} has the label {row.label!r}, but {first.label!r} in {first.where}"
        warnings.warn(f"{text} ({len(again)} such rows). Only columns start and end select segments.", stacklevel=5)


def manifest_table(manifest: Any) -> Table:
    """Read a manifest in any supported form."""
    if not isinstance(manifest, str | PathLike):
        return Table(manifest)
    check_file(manifest)
    if Path(manifest).suffix.lower() in (".jsonl", ".ndjson", ".json"):
        return _json_lines(Path(manifest))
    with open(manifest, encoding="utf-8-sig", errors="replace") as file:
        header = file.readline()
    return Table(manifest, delimiter=max(",\t;", key=header.count))


def _json_lines(path: Path) -> Table:
    """Read one JSON object per line; missing keys become empty cells."""
    objects = list[dict[str, Any]]()
    for i, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            objects += [{**json.loads(line)}] if line.strip() else []
        except (TypeError, ValueError) as error:
            raise RecordingError(f"{path}, line {i} is not a JSON object ({error}). Write one per line.") from None
    names = list(dict.fromkeys(name for item in objects for name in item))
    table = Table({name: [item.get(name) for item in objects] for name in names})
    table.name, table.first_row = str(path), 1
    return table


def texts_of(table: Table, name: str) -> list[str]:
    """Return a column as strings, "" for empty cells."""
    items = list(table.columns[name])
    if (several := next((item for item in items if isinstance(item, list | dict)), None)) is not None:
        raise RecordingError(f"{table.name}, column {name}: {several!r} is not a single string. Pass tags as y.")
    return ["" if is_unknown(item) else str(item).strip() for item in items]


def _row(table: Table, i: int, root: Path, cells: Sequence[str], columns: Sequence[str | None]) -> Row:
    """Validate the cells path, label, group, split, start, end of a row; those in `columns` must not be empty."""
    (path, label, group, split, *times), where = cells, table.row(i)
    for name, text in zip(columns, cells, strict=False):
        if name and not text:
            raise RecordingError(f"{where}, column {name} is empty. Leave the row out.")
    if not (root / path).exists():
        raise RecordingError(f"{where}: {root / path} does not exist. Paths are relative to {root}.")
    start_s, end_s = (table.number(i, name, text) for name, text in zip(("start", "end"), times, strict=True))
    start_s, end_s = 0.0 if np.isnan(start_s) else start_s, np.inf if np.isnan(end_s) else end_s
    if not 0 <= start_s < end_s:
        raise RecordingError(
            f"{where}: start={start_s:g} s must be at least 0 and before end={end_s:g} s. Correct the row."
        )
    return Row(root / path, nfc(label), nfc(group) or str(root / path), split, start_s, end_s, where)
