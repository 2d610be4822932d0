"""Speech and other sound: one file, many, or a labelled folder."""

from collections.abc import Iterable
from pathlib import Path

from s4signal.errors import RecordingError
from s4signal.signals.audio_file import OnError, check_on_error
from s4signal.signals.audio_layout import rows_of_folders, rows_of_pattern
from s4signal.signals.audio_manifest import manifest_table, rows_of_manifest
from s4signal.signals.checks import PathOrText
from s4signal.signals.collection import Signals
from s4signal.signals.labelled import LabelledSignals, assemble


def read_audio(
    path: PathOrText | Iterable[PathOrText],
    *,
    sfreq: float | None = None,
    mono: bool = True,
    on_error: OnError = "raise",
) -> Signals:
    """Read audio files, one case per file.

    Parameters
    ----------
    path : path or iterable of paths
        wav, flac, ogg, mp3 and whatever else libsndfile reads; m4a, aac, webm and their like where torchcodec or ffmpeg
        is installed.
    sfreq : float, optional
        Resample to this rate [Hz].
    mono : bool
        Whether to average the channels.
    on_error : {"raise", "skip"}
        Whether a file that cannot be used is an error, or is left out with a warning; ``signals.sources`` then names
        the files that are there.

    Returns
    -------
    Signals
        float32 in -1…1; decoded when asked for.

    Raises
    ------
    RecordingError
        If a file is missing, empty or not audio; when it is decoded, if channels cancel each other in their average.
    MissingDependencyError
        If soundfile is not installed, or nothing that reads the format.
    ValueError
        If `on_error` is unknown.

    Warns
    -----
    UserWarning
        If files are skipped.

    Examples
    --------
    >>> import numpy as np
    >>> import soundfile
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     soundfile.write(f"{folder}/yes.wav", np.zeros(8000), 16000)
    ...     read_audio(f"{folder}/yes.wav", sfreq=8000)
    Signals: 1 case × 1 channel, 4000 samples, 8000 Hz (0.5 s)
    """
    return Signals.from_files(path, sfreq=sfreq, mono=mono, on_error=on_error)


def read_audio_folder(
    root: PathOrText,
    *,
    pattern: str | None = None,
    manifest: PathOrText | None = None,
    path_column: str = "path",
    label_column: str = "label",
    group_column: str | None = None,
    split: str | None = None,
    sfreq: float | None = None,
    mono: bool = True,
    on_error: OnError = "raise",
) -> LabelledSignals:
    """Read a folder of labelled audio: a folder per class, or names that follow a pattern, or a manifest.

    Folders may be links. Parts of a data set (train, test, dev, …) may stand above the classes, or below each of them.
    ``_background_noise_`` is no class; ``validation_list.txt``, ``testing_list.txt`` and names like
    ``bae55a_nohash_0.wav`` are read as Speech Commands means them.

    Parameters
    ----------
    root : path
        The folder; searched with everything below it.
    pattern : str, optional
        How the names are built, such as ``"{label}_{group}_{take}.wav"``, or a regular expression with the groups
        ``label`` and, if there are such, ``group`` and ``split``. Held against the file name, or against the path below
        `root` if it contains "/".
    manifest : path, optional
        A table as `read_audio_manifest` takes it, absolute or below `root`; its paths are below `root`.
    path_column, label_column, group_column : as `read_audio_manifest` takes them
        Columns of the manifest.
    split : str, optional
        Read this part of the data set alone, such as "train": by the lists, the folders at the top or the manifest.
    sfreq, mono : as `read_audio` takes them
        A rate [Hz] to resample to, and whether to average the channels.
    on_error : {"raise", "skip"}
        What to do with files that are no audio, empty, damaged, infinite somewhere or without a label: refuse the
        folder, or leave them out and warn. "skip" decodes once what may be damaged inside.

    Returns
    -------
    LabelledSignals
        Unpacks into signals (float32 in -1…1, in the order of the manifest or sorted by path; decoded when asked for),
        y (labels) and groups (such as speakers; the file itself where none is known). Printed, it says what was
        understood and what was left out; ``splits`` and ``skipped`` say it case by case.

    Raises
    ------
    RecordingError
        If no file is found, one is unreadable, a label is missing, or files differ in rate or channels.
    ValueError
        If `pattern` has no label, both `pattern` and `manifest` are given, or `split` or `on_error` is unknown.

    Warns
    -----
    UserWarning
        If anything is left out: names that do not follow `pattern`, folders without a file that is known as audio,
        links to what is read already, and files that are skipped.

    Examples
    --------
    >>> import numpy as np
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
    check_on_error(on_error)
    if manifest is not None:
        columns = (path_column, label_column, group_column)
        layout = rows_of_manifest(manifest_table(root / manifest), root, columns, on_error)
    elif pattern is not None:
        layout = rows_of_pattern(root, pattern, on_error)
    else:
        layout = rows_of_folders(root, on_error)
    return assemble(layout, split=split, sfreq=sfreq, mono=mono, on_error=on_error)
