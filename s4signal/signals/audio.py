"""Read audio: files, or a labelled folder."""

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
        wav, flac, ogg, mp3 and other formats of libsndfile; m4a, aac, webm and similar formats if torchcodec or ffmpeg
        is installed.
    sfreq : float, optional
        Rate to resample to [Hz].
    mono : bool
        Whether to average the channels.
    on_error : {"raise", "skip"}
        Whether an unusable file raises an error or is skipped with a warning; ``signals.sources`` lists the files
        that were read.

    Returns
    -------
    Signals
        float32 in -1…1, decoded on access.

    Raises
    ------
    RecordingError
        If a file is missing, empty or not audio; on decoding, if the channels cancel in their average.
    MissingDependencyError
        If soundfile is not installed, or no decoder of the format.
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
    """Read a folder of labelled audio, with labels from class folders, a name pattern or a manifest.

    Folders can be links. Folders of parts (train, test, dev, …) can be above the class folders or inside each of them.
    ``_background_noise_`` is not a class; ``validation_list.txt``, ``testing_list.txt`` and names like
    ``bae55a_nohash_0.wav`` have the same meaning as in Speech Commands.

    Parameters
    ----------
    root : path
        The folder, which is searched recursively.
    pattern : str, optional
        Pattern of names, such as ``"{label}_{group}_{take}.wav"``, or a regular expression with the group ``label`` and
        optionally ``group`` (or ``subject``, ``speaker``) and ``split``. It must match the file name or, if it contains
        "/", the path relative to `root`.
    manifest : path, optional
        A table as in `read_audio_manifest`, absolute or relative to `root`; its paths are relative to `root`.
    path_column, label_column, group_column : as in `read_audio_manifest`
        Columns of the manifest.
    split : str, optional
        The part of the data set to read, such as "train", from the lists, the folders or the manifest.
    sfreq, mono : as in `read_audio`
        The rate [Hz] to resample to, and whether to average the channels.
    on_error : {"raise", "skip"}
        Whether files that are not audio, empty, damaged, not finite or without a label raise an error or are skipped
        with a warning. With "skip", files in formats that can hide damage are decoded once.

    Returns
    -------
    LabelledSignals
        Unpacks into signals (float32 in -1…1, in the order of the manifest or sorted by path; decoded on access), y
        (labels) and groups (such as speakers; by default the file). Printing summarises what was read, ignored and
        skipped; ``splits`` and ``skipped`` have the details.

    Raises
    ------
    RecordingError
        If no file is found, one is unreadable, a label is missing, or files differ in rate or channels.
    ValueError
        If `pattern` has no label, both `pattern` and `manifest` are given, or `split` or `on_error` is unknown.

    Warns
    -----
    UserWarning
        If files are left out: names that do not follow `pattern`, folders without audio files, links to files already
        read, and skipped files.

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
        table = manifest_table(root / manifest)
        layout = rows_of_manifest(table, root, (path_column, label_column, group_column), on_error)
    else:
        layout = rows_of_folders(root, on_error) if pattern is None else rows_of_pattern(root, pattern, on_error)
    return assemble(layout, split=split, sfreq=sfreq, mono=mono, on_error=on_error)
