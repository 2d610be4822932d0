"""Find the EEG recordings of a folder, glob, list or BIDS data set, and parse attributes from their names."""

import re
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from glob import glob
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from s4signal.errors import RecordingError
from s4signal.signals.audio_file import Skipped
from s4signal.signals.checks import PathOrText, as_paths, compile_pattern, optional

_FOLDERS = (".mff", ".ds", ".mefd")  # recordings that are folders
_FILES = (
    ".edf", ".bdf", ".gdf", ".vhdr", ".ahdr", ".fif", ".fif.gz", ".set", ".cnt", ".cdt", ".nedf", ".nxe", ".lay",
    ".snirf", ".con", ".sqd", ".rs3",
)  # fmt: skip
# Other FIF files of MNE, and the later parts of split recordings, which are read with the first.
_NO_RECORDING = re.compile(
    r"[-_](epo|ave|evoked|eve|ica|cov|fwd|inv|src|trans|annot|proj|sol|bem|csd|psd|spectrum|tfr|head)(-\d+)?\.fif(\.gz)?$"
    r"|[-_](raw|eeg|meg|sss|tsss)-\d+\.fif(\.gz)?$|_split-(0[2-9]|[1-9]\d)_"
)
_ENTITIES = {"sub": "subject", "ses": "session", "task": "task", "acq": "acquisition", "run": "run"}


class Found(NamedTuple):
    """Path of a recording, its attributes from the name or the data set, and its BIDS path."""

    path: Path
    known: Mapping[str, str]
    bids: Any = None


class Listing(NamedTuple):
    """Recordings, sorted by name; files that do not match the pattern; whether the path was a single file."""

    found: list[Found]
    skipped: list[Skipped]
    single: bool


def find_recordings(path: PathOrText | Iterable[PathOrText], pattern: str | None) -> Listing:
    """List the recordings of a path; in folders and globs, other files are ignored."""
    single = False
    if isinstance(path, str | PathLike):
        root = Path(path)
        if (root / "dataset_description.json").is_file():
            found = _of_bids(root)
        elif root.is_dir() and root.suffix.lower() not in _FOLDERS:
            found = [_named(p) for p in _below(root)]
        elif not root.exists() and any(sign in str(path) for sign in "*?["):
            matches = [Path(p) for p in sorted(glob(str(path), recursive=True))]
            if not matches:
                raise RecordingError(f"no file matches {path}. Check the path; ** matches any folders.")
            found = [_named(p) for p in [p for p in matches if is_recording(p)] or matches]
        else:
            found, single = [_named(root)], True
    else:
        found = [_named(p) for p in as_paths(path, "path")]
    return Listing(found, [], single) if pattern is None else _by_pattern(found, pattern, single)


def is_recording(path: Path) -> bool:
    """Return whether the name is that of a recording, or of the first part of a split one."""
    name = path.name.lower()
    return not name.startswith(".") and name.endswith((*_FILES, *_FOLDERS)) and not _NO_RECORDING.search(name)


def _below(root: Path) -> list[Path]:
    paths = sorted(root.rglob("*"))
    found = [p for p in paths if is_recording(p) and not any(q.suffix.lower() in _FOLDERS for q in p.parents)]
    if not found:
        others = Counter(p.suffix or p.name for p in paths if p.is_file())
        holds = ", ".join(f"{n} {ending}" for ending, n in others.most_common(5)) or "no file"
        raise RecordingError(
            f"{root} holds no EEG recording (.edf, .bdf, .gdf, .vhdr, .fif, .set …), only {holds}. Check the path, or "
            "pass a list of files."
        )
    return found


def _of_bids(root: Path) -> list[Found]:
    bids = optional("mne_bids", "Reading a BIDS data set", "bids")
    endings = [*_FILES, *_FOLDERS]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        paths = bids.find_matching_paths(root, datatypes=["eeg", "ieeg", "meg"], extensions=endings)
    paths = [p for p in paths if Path(p.fpath).relative_to(root).parts[0].startswith("sub-")]  # no derivatives
    eeg = [p for p in paths if p.datatype == "eeg"] or paths
    if not eeg:
        raise RecordingError(f"{root} is a BIDS data set without a recording below sub-…/eeg. Check the path.")
    found = []
    for path in sorted(eeg, key=lambda p: str(p.fpath)):
        attributes = {name: str(getattr(path, name)) for name in _ENTITIES.values() if getattr(path, name) is not None}
        if not _NO_RECORDING.search(Path(path.fpath).name):
            found.append(Found(Path(path.fpath), attributes, path))
    return found


def _named(path: Path) -> Found:
    """Parse a BIDS name such as ``sub-01_ses-2_task-rest_run-1_eeg.edf``."""
    if not path.name.startswith("sub-"):
        return Found(path, {})
    entities = dict(re.findall(r"(?:^|_)([a-z]+)-([A-Za-z0-9]+)(?=_)", path.name))
    return Found(path, {name: entities[key] for key, name in _ENTITIES.items() if key in entities})


def _by_pattern(found: list[Found], pattern: str, single: bool) -> Listing:
    compiled = compile_pattern(pattern)
    if not compiled.groupindex:
        raise ValueError(f"pattern={pattern!r} has no field. Write it like '{{subject}}_{{session}}.edf'.")
    expression = re.compile(f"(?:.*/)?{compiled.pattern}")
    kept, skipped = [], []
    for one in found:
        match = expression.fullmatch(one.path.as_posix())
        if match is None:
            skipped.append(Skipped(str(one.path), f"{one.path} does not follow pattern={pattern!r}."))
        else:
            kept.append(one._replace(known={**one.known, **match.groupdict("")}))
    if not kept and not found[0].path.exists():
        raise RecordingError(f"{found[0].path} does not exist. Check the path.")
    if not kept:
        raise RecordingError(f"no recording follows pattern={pattern!r}; one of them is {found[0].path.name}.")
    return Listing(kept, skipped, single)
