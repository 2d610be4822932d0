"""Features of many cases: in memory, or in a file without a name where they would take more than a budget."""

from __future__ import annotations

import errno
import shutil
import tempfile
import weakref
from io import FileIO

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


class FeatureStore:
    """Arrays (n_features, n_steps) of cases, whose sizes go with their ``durations`` (n,), in whatever unit.

    The file is read, not mapped: mapped pages count as memory of the process. It has no name, so that it is gone
    whenever the store or the process is, however that ends.
    """

    def __init__(self, durations: NDArray[np.float64], budget_gb: float) -> None:
        self.n_steps = np.zeros(len(durations), dtype=np.int64)
        self._durations, self._budget_gb = durations, budget_gb
        self._kept: dict[int, Floats] = {}
        self._file: FileIO | None = None
        self._end, self._offsets = 0, np.zeros(len(durations), dtype=np.int64)
        self._like: Floats | None = None  # (n_features, 0)

    def put(self, index: int, features: Floats) -> None:
        """Keep a copy of the features of a case; the first one tells what all will take."""
        if self._like is None:
            self._like = features[:, :0].copy()
            size_gb = features.nbytes / 1e9 * float(self._durations.sum() / self._durations[index])
            if size_gb > self._budget_gb:
                self._file = self._open(size_gb)
        self.n_steps[index] = features.shape[1]
        if self._file is None:
            self._kept[index] = features.copy()  # a view would keep its whole batch
            return
        self._offsets[index] = self._end
        data = np.ascontiguousarray(features)
        try:
            if self._file.write(data.data) < data.nbytes:
                raise OSError(errno.ENOSPC, "no space left")
        except OSError as error:
            raise self._no_room(f"{self._end / 1e9:.3g} GB in: {error.strerror}") from error
        self._end += data.nbytes

    def get(self, index: int) -> Floats:
        """Return the features of a case."""
        if self._file is None or self._like is None:
            return self._kept[index]
        features = np.empty((len(self._like), int(self.n_steps[index])), dtype=self._like.dtype)
        self._file.seek(int(self._offsets[index]))
        if self._file.readinto(features.data) < features.nbytes:
            raise OSError("the temporary file of features has been cut short by something else; fit again.")
        return features

    def _open(self, size_gb: float) -> FileIO:
        try:
            free_gb = shutil.disk_usage(tempfile.gettempdir()).free / 1e9
            if free_gb < size_gb:
                raise self._no_room(f"{free_gb:.3g} GB are free, {size_gb:.3g} GB are needed")
            file = tempfile.TemporaryFile(prefix="s4signal-", buffering=0)  # noqa: SIM115 - closed with the store
        except FileNotFoundError as error:  # no folder that can be written
            raise self._no_room(str(error)) from error
        weakref.finalize(self, file.close)
        return file

    def _no_room(self, why: str) -> OSError:
        return OSError(
            f"the features of {len(self.n_steps)} cases take more than memory_budget_gb={self._budget_gb:g} and do not "
            f"fit into the temporary folder, {tempfile.gettempdir()!r} ({why}). Free space there, set TMPDIR to "
            "another folder, or raise memory_budget_gb."
        )
