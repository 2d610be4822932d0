"""Speech and other sound: one file, many, or a labelled folder."""

import re
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from s4signal.errors import RecordingError
from s4signal.signals.audio_file import open_audio
from s4signal.signals.checks import PathOrText
from s4signal.signals.collection import Signals
from s4signal.signals.table import Table

_ENDINGS = {".wav", ".flac", ".ogg", ".mp3", ".opus", ".aif", ".aiff"}

_Row = tuple[Path, str, str]  # file, label, group


def read_audio(path: PathOrText | Iterable[PathOrText], *, sfreq: float | None = None, mono: bool = True) -> Signals:
    """Read audio files, one case per file.

    Parameters
    ----------
    path : path or iterable of paths
        wav, flac, ogg or mp3.
    sfreq : float, optional
        Resample to this rate [Hz].
    mono : bool
        Whether to average the channels.

    Returns
    -------
    Signals
        float32 in -1…1; decoded when asked for.

    Raises
    ------
    RecordingError
        If a file is missing, empty or not audio.
    MissingDependencyError
        If soundfile is not installed.

    Examples
    --------
    >>> import soundfile
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     soundfile.write(f"{folder}/yes.wav", np.zeros(8000), 16000)
    ...     read_audio(f"{folder}/yes.wav", sfreq=8000)
    Signals: 1 case × 1 channel, 4000 samples, 8000 Hz (0.5 s)
    """
    return Signals.from_files(path, sfreq=sfreq, mono=mono)


def read_audio_folder(
    root: PathOrText,
    *,
    pattern: str | None = None,
    manifest: PathOrText | None = None,
    path_column: str = "path",
    label_column: str = "label",
    group_column: str | None = None,
    sfreq: float | None = None,
    mono: bool = True,
    unreadable: Literal["error", "skip"] = "error",
) -> tuple[Signals, npt.NDArray[np.str_], npt.NDArray[np.str_]]:
    """Read a folder of labelled audio: a folder per class, or names that follow a pattern, or a CSV manifest.

    Parameters
    ----------
    root : path
        The folder; searched with everything below it.
    pattern : str, optional
        How the names are built, such as ``"{label}_{group}_{take}.wav"``, or a regular expression with the groups
        ``label`` and, if there is one, ``group``. Held against the file name, or against the path below `root` if it
        contains "/".
    manifest : path, optional
        A CSV file, absolute or below `root`, with one row per recording; its paths are below `root`.
    path_column, label_column : str
        Columns of the manifest.
    group_column : str, optional
        Column of the manifest that tells the speaker; "group" if there is one.
    sfreq : float, optional
        Resample to this rate [Hz].
    mono : bool
        Whether to average the channels.
    unreadable : {"error", "skip"}
        What to do with files that are no audio, empty or cut short: refuse the folder, or leave them out and warn.

    Returns
    -------
    signals : Signals
        float32 in -1…1, in the order of the manifest or sorted by path; decoded when asked for.
    y : ndarray of shape (n,)
        The labels.
    groups : ndarray of shape (n,)
        The groups, such as the speaker; the file itself where none is known.

    Raises
    ------
    RecordingError
        If no file is found, one is unreadable, a label is missing, or files differ in rate or channels.
    ValueError
        If `pattern` has no label, both `pattern` and `manifest` are given, or `unreadable` is unknown.

    Warns
    -----
    UserWarning
        If names do not follow `pattern`, or files are skipped: those files are left out.

    Examples
    --------
    >>> import soundfile
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     for name in ("yes_ann_0", "no_bob_0"):
    ...         soundfile.write(f"{folder}/{name}.wav", np.zeros(8000), 16000)
    ...     signals, y, groups = read_audio_folder(folder, pattern="{label}_{group}_{take}.wav")
    >>> y, groups
    (array(['no', 'yes'], dtype='<U3'), array(['bob', 'ann'], dtype='<U3'))
    """
    root = Path(root)
    if not root.is_dir():
        raise RecordingError(f"{root} is not a folder. Check the path.")
    if pattern is not None and manifest is not None:
        raise ValueError("pattern and manifest were both passed; choose one.")
    if unreadable not in ("error", "skip"):
        raise ValueError(f"unreadable={unreadable!r} is unknown; choose one of 'error', 'skip'.")
    if manifest is not None:
        rows = _rows_of_manifest(root, root / manifest, path_column, label_column, group_column)
    elif pattern is not None:
        rows = _rows_of_pattern(root, pattern)
    else:
        rows = _rows_of_folders(root)
    rows, signals = _opened(rows, mono=mono, skip=unreadable == "skip")
    _check_alike(signals, resampled=sfreq is not None)
    labels, groups = np.array([label for _, label, _ in rows]), np.array([group for _, _, group in rows])
    return signals if sfreq is None else signals.resample(sfreq), labels, groups


def _opened(rows: Sequence[_Row], *, mono: bool, skip: bool) -> tuple[list[_Row], Signals]:
    """Open the files; what cannot be opened is left out, if that is asked for, and said."""
    kept, cases, errors = [], [], []
    for row in rows:
        try:
            cases.append(open_audio(row[0], mono=mono))
            kept.append(row)
        except RecordingError as error:
            if not skip:
                raise RecordingError(f'{error} unreadable="skip" leaves such files out.') from None
            errors.append(error)
    if not kept:
        raise errors[0]
    if errors:
        warnings.warn(f"{len(errors)} of {len(rows)} files are left out, the first: {errors[0]}", stacklevel=3)
    return kept, Signals.from_cases(cases)


def _audio_below(root: Path) -> list[Path]:
    paths = sorted(
        path for path in root.rglob("*") if path.suffix.lower() in _ENDINGS and not path.name.startswith(".")
    )
    if not paths:
        raise RecordingError(f"{root} holds no audio file ({', '.join(sorted(_ENDINGS))}). Check the path.")
    return paths


def _rows_of_folders(root: Path) -> list[_Row]:
    rows = []
    for path in _audio_below(root):
        below = path.relative_to(root)
        if len(below.parts) < 2:
            raise RecordingError(
                f"{path} lies in no class folder. Sort the files as {root.name}/<class>/<file>, "
                "or pass pattern= or manifest=."
            )
        rows.append((path, below.parts[0], str(path)))
    return rows


def _rows_of_pattern(root: Path, pattern: str) -> list[_Row]:
    expression = _compile(pattern)
    rows, left_out = [], []
    for path in _audio_below(root):
        match = expression.fullmatch(path.relative_to(root).as_posix() if "/" in pattern else path.name)
        if match is None:
            left_out.append(path)
        else:
            rows.append((path, match["label"], match.groupdict().get("group") or str(path)))
    if not rows:
        raise RecordingError(f"no file below {root} follows pattern={pattern!r}; one of them is {left_out[0].name}.")
    if left_out:
        warnings.warn(
            f"{len(left_out)} files below {root} do not follow pattern={pattern!r} and are left out, "
            f"the first is {left_out[0].name}.",
            stacklevel=3,
        )
    return rows


def _compile(pattern: str) -> re.Pattern[str]:
    expression = pattern
    if "(?P<" not in pattern:
        parts = re.split(r"\{(\w+)\}", pattern)
        names = parts[1::2]
        fields = [f"(?P<{name}>[^/]+?)" if name not in names[:i] else f"(?P={name})" for i, name in enumerate(names)]
        expression = "".join(re.escape(part) if i % 2 == 0 else fields[i // 2] for i, part in enumerate(parts))
    try:
        compiled = re.compile(expression)
    except re.error as error:
        raise ValueError(f"pattern={pattern!r} is no regular expression: {error}.") from None
    if "label" not in compiled.groupindex:
        raise ValueError(f"pattern={pattern!r} has no label. Write it like '{{label}}_{{group}}_{{take}}.wav'.")
    return compiled


def _rows_of_manifest(
    root: Path, manifest: Path, path_column: str, label_column: str, group_column: str | None
) -> list[_Row]:
    table = Table(manifest)
    if group_column is None and "group" in table.header:
        group_column = "group"
    table.check([name for name in (path_column, label_column, group_column) if name is not None])
    paths, labels = table.names(path_column), table.names(label_column)
    if not paths:
        raise RecordingError(f"{manifest} lists no file.")
    groups = [""] * len(paths) if group_column is None else table.columns[group_column]
    files = [root / path for path in paths]
    return [(f, label, who.strip() or str(f)) for f, label, who in zip(files, labels, groups, strict=True)]


def _check_alike(signals: Signals, *, resampled: bool) -> None:
    """Refuse files that differ: a model would take another rate for another voice."""
    first = signals.cases[0]
    for case in signals.cases:
        if case.sfreq != first.sfreq and not resampled:
            raise RecordingError(
                f"{first.source} is sampled at {first.sfreq:g} Hz and {case.source} at {case.sfreq:g} Hz. "
                "Pass sfreq= to resample them to one rate."
            )
        if case.n_channels != first.n_channels:
            raise RecordingError(
                f"{first.source} has {first.n_channels} channels and {case.source} has {case.n_channels}. "
                "Pass mono=True to average them."
            )
