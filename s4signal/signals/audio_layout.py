"""Derive labels, groups and parts of a data set from folders and names of files, and list ignored files."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from s4signal.errors import RecordingError
from s4signal.signals.audio_file import COMPRESSED, OnError, Skipped, skip_or_raise
from s4signal.signals.checks import compile_pattern

_BY_LIBSNDFILE = {".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".rf64", ".snd"}
ENDINGS = COMPRESSED | _BY_LIBSNDFILE | {".voc", ".w64", ".wav"}
GROUPS = ("group", "subject", "speaker")  # names of the same thing
PARTS = {"train", "training", "test", "testing", "val", "valid", "validation", "dev", "eval", "evaluation"}
NOISE = "_background_noise_"  # long noise recordings of Speech Commands, not a class
LISTS = {"validation": "validation_list.txt", "test": "testing_list.txt"}
_SPEAKER = re.compile(r"(.+)_nohash_\d+")


class Row(NamedTuple):
    """One case: a file, or a segment of it."""

    path: Path
    label: str
    group: str
    split: str = ""
    start_s: float = 0.0
    end_s: float = float("inf")
    where: str = ""  # the row of a manifest


class Layout(NamedTuple):
    """Cases of a folder or manifest; `aside` has descriptions of other files, which are ignored."""

    rows: list[Row]
    skipped: list[Skipped]
    aside: list[str]


def rows_of_folders(root: Path, on_error: OnError, endings: Collection[str] = ENDINGS) -> Layout:
    """Return cases with class folders as labels, and folders above or inside them as parts of the data set."""
    audio, others, links, aside = _listing(root, endings)
    folders = _folders(belows := [path.relative_to(root).parts for path in audio])
    depth, at = len(folders), folders.index("<class>")
    listed = _listed(root) if depth == 1 else {}
    rows, skipped = [], [*links, *_lists_without_files(root, listed, audio)]
    for path, below in zip(audio, belows, strict=True):
        is_sorted = len(below) > depth and (depth == 1 or below[1 - at].lower() in PARTS)
        if not is_sorted or not (label := nfc(below[at]).strip()):
            missing = "class folder" if is_sorted or at == depth - 1 else "part of the data set"
            error = RecordingError(
                f"{path} is in no {missing}{' with a name' * is_sorted}. Sort the files as "
                f"{'/'.join([str(root), *folders])}/<file>, or pass pattern= or manifest=."
            )
            skipped.append(skip_or_raise(error, path, on_error))
            continue
        speaker = _SPEAKER.fullmatch(path.stem)
        split = below[1 - at] if depth == 2 else listed.get(nfc("/".join(below)), "train" if listed else "")
        rows.append(Row(path, label, speaker[1] if speaker else str(path), split))
    skipped += _folders_without_audio(root, others, {below[:depth] for below in belows}, depth)
    return Layout(_each_file_once(rows, skipped, on_error), skipped, aside)


def _folders(belows: Sequence[tuple[str, ...]]) -> list[str]:
    """Return the folder levels: the class, and a part above or inside it if all, or at least two, have such names."""
    holding = {below[0] for below in belows if len(below) == 2}
    for at in (0, 1):
        names = {below[at] for below in belows if len(below) > at + 1}
        parts = {name for name in names if name.lower() in PARTS}
        if parts and (parts == names or len(parts - holding) > 1):
            return ["<class>", min(parts)] if at else [min(parts), "<class>"]
    return ["<class>"]


def rows_of_pattern(
    root: Path, pattern: str, on_error: OnError, endings: Collection[str] = ENDINGS, needed: Sequence[str] = ("label",)
) -> Layout:
    """Parse label and group from file names, or from paths relative to `root` if the pattern has a slash."""
    expression = compile_pattern(pattern)
    if not set(needed) & set(expression.groupindex):
        missing = " and no ".join(needed[:2]) + ". Write it like '{label}_{group}_{take}.wav'."
        raise ValueError(f"pattern={pattern!r} has no {missing}")
    audio, _, skipped, aside = _listing(root, endings)
    rows = []
    for path in audio:
        match = expression.fullmatch(nfc(path.relative_to(root).as_posix() if "/" in pattern else path.name))
        if match is None:
            skipped.append(Skipped(str(path), f"{path} does not follow pattern={pattern!r}."))
            continue
        fields = {name: (text or "").strip() for name, text in match.groupdict().items()}
        if fields.get("label", "unknown"):
            group = next(filter(None, map(fields.get, GROUPS)), str(path))
            rows.append(Row(path, fields.get("label", ""), group, fields.get("split", "")))
        else:
            error = RecordingError(f"{path} has an empty label with pattern={pattern!r}. Rename it, or leave it out.")
            skipped.append(skip_or_raise(error, path, on_error))
    if not rows:
        raise RecordingError(f"no file below {root} follows pattern={pattern!r}; one of them is {audio[0].name}.")
    return Layout(_each_file_once(rows, skipped, on_error), skipped, aside)


def files_below(root: Path) -> tuple[list[Path], list[Skipped]]:
    """List all files below `root`, also through links to folders; each folder is read only once."""
    files: list[Path] = []
    skipped: list[Skipped] = []
    seen: dict[str, Path] = {}
    pending = [root]  # links come after all real folders, whose paths take precedence
    while pending:
        start = pending.pop(0)
        if (real := os.path.realpath(start)) in seen:
            target = seen[real]
            skipped.append(Skipped(str(start), f"{start} is a link to {target}, whose files are read there."))
            continue
        for name, folders, names in os.walk(start):
            folder = Path(name)
            seen[os.path.realpath(folder)] = folder
            again = {n for n in folders if os.path.realpath(folder / n) in seen and not (folder / n).is_symlink()}
            folders[:] = sorted(n for n in folders if n[0] != "." and n != "__MACOSX" and n not in again)
            pending += [folder / n for n in folders if (folder / n).is_symlink()]
            files += [folder / n for n in names if n[0] != "."]
    return sorted(files), skipped


def _listing(root: Path, endings: Collection[str]) -> tuple[list[Path], list[Path], list[Skipped], list[str]]:
    """List cases, other files, skipped links, and descriptions of ignored files."""
    files, skipped = files_below(root)
    audio = [path for path in files if path.suffix.lower() in endings]
    others = [path for path in files if path.suffix.lower() not in endings]
    if not audio:
        raise RecordingError(f"{root} holds no audio file ({', '.join(sorted(endings))}). Check the path.")
    cases = [path for path in audio if NOISE not in path.relative_to(root).parts]
    if not cases:
        raise RecordingError(f"{root} holds no audio except in {NOISE}/. Check the path.")
    aside = [f"{NOISE}: {len(audio) - len(cases)} files of noise"] if len(cases) < len(audio) else []
    if others:
        counts = Counter(path.suffix.lower() or "no ending" for path in others)
        aside.append(f"other files: {', '.join(f'{n} {ending}' for ending, n in sorted(counts.items()))}")
    return cases, others, skipped, aside


def _listed(root: Path) -> dict[str, str]:
    """Return the part of each listed file, by its path relative to `root`."""
    found: dict[str, str] = {}
    for part, name in LISTS.items():
        if (root / name).is_file():
            found |= {nfc(line.strip()): part for line in (root / name).read_text("utf-8-sig").splitlines() if line}
    return found


def _lists_without_files(root: Path, listed: dict[str, str], audio: Sequence[Path]) -> Iterator[Skipped]:
    present = {nfc(path.relative_to(root).as_posix()) for path in audio}
    for part, name in LISTS.items():
        if gone := [path for path, of in listed.items() if of == part and path not in present]:
            yield Skipped(gone[0], f"{root / name} lists {len(gone)} files that do not exist, such as {gone[0]}.")


def _folders_without_audio(
    root: Path, others: Sequence[Path], with_audio: set[tuple[str, ...]], depth: int
) -> Iterator[Skipped]:
    """Report class folders that contain files, but no audio."""
    folders = Counter(parts[:depth] for path in others if len(parts := path.relative_to(root).parts) > depth)
    for parts, n in folders.items():
        if parts not in with_audio:
            folder = root.joinpath(*parts)
            ending = next(path.suffix for path in others if path.is_relative_to(folder)) or "no ending"
            yield Skipped(str(folder), f"{folder} holds no recording of a known kind, only {n} other files ({ending}).")


def _each_file_once(rows: Sequence[Row], skipped: list[Skipped], on_error: OnError) -> list[Row]:
    """Skip files that links lead to a second time; refuse them if the labels differ."""
    kept: dict[str, Row] = {}
    for row in sorted(rows, key=lambda row: row.path.is_symlink()):
        first = kept.setdefault(os.path.realpath(row.path), row)
        if first is row:
            continue
        if first.label != row.label:
            text = f"{row.path} is the same file as {first.path}, but labels differ ({row.label}, {first.label})."
            skipped.append(skip_or_raise(RecordingError(f"{text} Remove one."), row.path, on_error))
        else:
            skipped.append(Skipped(str(row.path), f"{row.path} is the same file as {first.path}."))
    return sorted(kept.values(), key=lambda row: row.path)


def nfc(text: str) -> str:
    """Normalise accented characters, which file systems encode differently."""
    return unicodedata.normalize("NFC", text)
