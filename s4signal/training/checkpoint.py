"""Checkpoints of a training on disk: the last two states, in files with checksums, in a folder per training."""

import hashlib
import json
import os
import secrets
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

from s4signal.errors import CheckpointError, ModelFileError
from s4signal.training.tensor_file import read_tensor_file, write_tensor_file

try:
    import fcntl
except ImportError:  # Windows: files are still replaced atomically, but a stale partial file may remain
    fcntl = None  # type: ignore[assignment]


class Snapshot(NamedTuple):
    """The state of a training, from which it can be resumed."""

    plain: dict[str, Any]  # JSON values
    parts: Mapping[str, dict[str, Tensor]]


class Checkpoints:
    """The newest snapshots of a training, identified by its fingerprint.

    Each fingerprint has its own folder. Several trainings with the same fingerprint, which are identical, may run at
    the same time.
    """

    def __init__(self, folder: str | os.PathLike[str], fingerprint: str) -> None:
        self.folder = Path(folder) / hashlib.sha256(fingerprint.encode()).hexdigest()[:32]
        with _clear_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            if self.folder.is_symlink():
                raise OSError(None, "it is a link")
        with self._locked():
            # Files left by a process that was killed.
            for stale in (*self.folder.glob(".*.partial"), *self._files()[2:]):
                stale.unlink(missing_ok=True)

    def load(self) -> Snapshot | None:
        """Return the newest intact snapshot, with a warning if a newer one is damaged; None if there is none."""
        damaged: list[Path] = []
        with self._locked():
            for path in self._files():
                try:
                    arrays, text = read_tensor_file(path, kind="checkpoint")
                except ModelFileError:
                    damaged.append(path)
                    continue
                if damaged:
                    warnings.warn(f"{damaged[0]} is damaged; resuming from the previous one, {path}.", stacklevel=2)
                parts: dict[str, dict[str, Tensor]] = defaultdict(dict)  # parts without tensors are not in the file
                for name, x in arrays.items():
                    part, _, key = name.partition("/")
                    parts[part][key] = torch.from_numpy(x)
                return Snapshot(json.loads(text), parts)
        if damaged:
            raise ModelFileError(f"{damaged[0]} is damaged, and no earlier checkpoint is intact; delete {self.folder}.")
        return None

    def save(self, epoch: int, snapshot: Snapshot) -> None:
        """Write a snapshot, and keep the one before it."""
        named = ((f"{part}/{name}", x) for part, tensors in snapshot.parts.items() for name, x in tensors.items())
        arrays = {name: x.detach().cpu().numpy() for name, x in named}
        # A random name, so that nobody can create a link with this name beforehand.
        path = self.folder / f"{epoch:08d}-{secrets.token_hex(8)}.checkpoint"
        with self._locked():
            write_tensor_file(path, arrays, json.dumps(snapshot.plain), kind="checkpoint")
            for old in self._files()[2:]:
                old.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        """Return the snapshot files, latest epochs first."""
        return sorted(self.folder.glob("*.checkpoint"), reverse=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Lock the folder against other threads and processes; the lock is released even if its holder is killed."""
        with _clear_errors(self.folder):
            lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
            try:
                if fcntl is not None:
                    fcntl.flock(lock, fcntl.LOCK_EX)
                yield
            finally:
                os.close(lock)


def check_folder(folder: str | os.PathLike[str]) -> None:
    """Create a folder for checkpoints, and check that it is writable, before any work could be lost."""
    with _clear_errors(Path(folder)):
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"written")


def flat_moments(optimizer: Optimizer) -> dict[str, Tensor]:
    """Return the state of an optimizer for each parameter, with keys such as "3/exp_avg"."""
    state = optimizer.state_dict()["state"].items()
    return {f"{index}/{key}": torch.as_tensor(x) for index, entry in state for key, x in entry.items()}


def moments_of(flat: Mapping[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    """Undo `flat_moments`."""
    moments: dict[int, dict[str, Tensor]] = {}
    for name, x in flat.items():
        index, _, key = name.partition("/")
        moments.setdefault(int(index), {})[key] = x
    return moments


@contextmanager
def _clear_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"checkpoint_dir cannot be used: {folder}: {error.strerror or error}. Free space or choose another folder; "
            "existing checkpoints are unchanged, and the training can resume from them."
        ) from error
