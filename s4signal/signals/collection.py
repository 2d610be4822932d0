"""Signals, the collection of cases that every estimator takes."""

from collections.abc import Iterable, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt

from s4signal.errors import check_choice
from s4signal.signals.audio_file import OnError, open_audio_files, warn_of_skipped
from s4signal.signals.case import Signal
from s4signal.signals.checks import FloatArray, as_paths, as_rate, check_positive, object_array
from s4signal.signals.forms import cases_from, describe_cases
from s4signal.signals.lazy import Case, cached
from s4signal.signals.mne_objects import epochs_from
from s4signal.signals.resampling import grid_signal, resample_case
from s4signal.signals.summary import CaseList, each_case


class Signals(CaseList):
    """Collection of cases of any length, each with its rate, times and names, in memory or on disk.

    scikit-learn slices it like an array of shape ``(n,)``: ``train_test_split``, ``cross_val_score``,
    ``GridSearchCV`` and ``Pipeline`` take it as it is. Slicing copies no data.

    Parameters
    ----------
    data : array-like, mne.Epochs, mne.io.Raw, Signals, or list
        A 2-D array (n_samples, n_times) of one channel; a 3-D array (n_samples, n_channels, n_times); a list or
        object array of (n_times_i,) or (n_channels, n_times_i); ``mne.Epochs`` (one case per trial), ``mne.io.Raw``
        (one case per recording), or a list of either; a list of `Signal`; another `Signals`. MNE objects provide volts,
        rate, channel names and positions, annotations, events, metadata and subject; a channel that is bad in only
        some objects of a list is missing in these. NaN and masked values are missing samples. Integer audio (8, 16 or
        32 bits, at most two channels) is scaled to -1…1, as in audio files, if `sfreq` is passed and at least 4 kHz;
        without a rate the integers stay unscaled, even if a rate is set later.
    sfreq : float or sequence of float, optional
        Samples per second [Hz], one for all cases or one per case.
    times : sequence of array-like of shape (n_times_i,), optional
        Time of every sample in seconds, non-decreasing, one array per case; `sfreq` is then the nominal rate. Models
        take times that are regular up to rounding, in all cases of a fit, as a rate.
    ch_names : sequence of str, optional
        Channel names.

    Raises
    ------
    ShapeError
        If an array has another number of dimensions, or a case is empty.
    TypeError
        If `data` is not real numbers.
    ValueError
        If `data` is complex or has infinite values, or `times` decrease or are not seconds; the message names the case.
    RecordingError
        If `data` already has a rate, times or names, and they differ from those passed.

    Examples
    --------
    >>> import numpy as np
    >>> from s4signal.signals import Signals
    >>> signals = Signals(np.zeros((268, 6, 896)), sfreq=256)
    >>> signals
    Signals: 268 cases × 6 channels, 896 samples, 256 Hz (3.5 s)
    >>> signals[[0, 2]].shape, signals[0].data.shape
    ((2,), (6, 896))
    """

    def __init__(
        self,
        data: Any,
        *,
        sfreq: float | Sequence[float] | npt.NDArray[Any] | None = None,
        times: Sequence[Any] | npt.NDArray[Any] | None = None,
        ch_names: Sequence[str] | None = None,
    ) -> None:
        cases = list(data._cases) if isinstance(data, Signals) else cases_from(data, sfreq)
        if sfreq is not None or times is not None or ch_names is not None:
            cases = describe_cases(cases, sfreq=sfreq, times=times, ch_names=ch_names)
        self._cases = object_array(cases)

    @classmethod
    def from_cases(cls, cases: Iterable[Case]) -> "Signals":
        """Collect cases, which may be on disk, without reading them.

        Parameters
        ----------
        cases : iterable of Case
            `Signal` objects or lazy cases; can be empty.
        """
        signals = Signals.__new__(Signals)  # plain also from a subclass
        signals._cases = object_array(list(cases))
        return signals

    @classmethod
    def from_files(
        cls,
        paths: Iterable[str | PathLike[str]] | str | PathLike[str],
        *,
        sfreq: float | None = None,
        mono: bool = True,
        cache: str | PathLike[str] | None = None,
        on_error: OnError = "raise",
    ) -> "Signals":
        """Return audio files as cases that are decoded on access, so the collection can be larger than memory.

        Parameters
        ----------
        paths : path or iterable of paths
            wav, flac, ogg or mp3 files, one per case.
        sfreq, mono : as `read_audio` takes them
            The rate [Hz] to resample to on reading, and whether to average the channels.
        cache : path, optional
            Folder that stores the decoded and resampled samples as plain arrays, for the next pass or run. A file that
            has changed is decoded again. Arrays are never removed: delete the folder to free space.
        on_error : {"raise", "skip"}
            Whether an unusable file raises an error or is skipped with a warning; `sources` lists the files kept.

        Raises
        ------
        RecordingError
            If a file is missing, empty or not audio, or if `cache` cannot be written when a case is read.
        """
        if cache is not None and not isinstance(cache, str | PathLike):
            raise TypeError(f"cache must be the path of a folder, got {cache!r}.")
        files = as_paths(paths, "paths")
        cases, skipped = open_audio_files(files, mono=mono, on_error=on_error)
        warn_of_skipped(skipped, len(files), stacklevel=2)
        signals = cls.from_cases(cases)
        if sfreq is not None:
            signals = signals.resample(sfreq)
        return signals if cache is None else cls.from_cases(cached(case, Path(cache)) for case in signals._cases)

    @classmethod
    def concatenate(cls, parts: Iterable["Signals"]) -> "Signals":
        """Concatenate collections, without copying or reading.

        Parameters
        ----------
        parts : iterable of Signals
            Collections, which can differ in rate, length and channels.
        """
        return cls.from_cases(case for part in parts for case in part._cases)

    def resample(self, sfreq: float) -> "Signals":
        """Resample every case to one rate, with an anti-aliasing filter; cases on disk are resampled on reading.

        Missing samples stay missing. Events given as sample numbers of the recording keep their times.

        Parameters
        ----------
        sfreq : float, positive
            Samples per second [Hz].

        Raises
        ------
        RecordingError
            If a rate is unknown or times are irregular; use `to_grid` for irregular times.
        ValueError
            If `sfreq` is not positive.

        Examples
        --------
        >>> Signals(np.ones((2, 400)), sfreq=100).resample(50)
        Signals: 2 cases × 1 channel, 200 samples, 50 Hz (4 s)
        """
        rate = as_rate(sfreq)
        return self.from_cases(each_case(self._cases, partial(resample_case, sfreq=rate)))

    def to_grid(
        self, sfreq: float, *, method: Literal["linear", "previous"] = "linear", longest_gap_s: float | None = None
    ) -> "Signals":
        """Interpolate irregular or missing samples on a regular grid, channel by channel, in memory.

        The result is NaN before the first observation of a channel and, with "linear", after the last. There is no
        low-pass filter: choose a grid as fine as the times, then call `resample`.

        Parameters
        ----------
        sfreq : float, positive
            Rate of the grid [Hz]; the grid begins at the first time of a case.
        method : {"linear", "previous"}
            Interpolate linearly between observations, or hold each until the next.
        longest_gap_s : float, positive, optional
            Leave NaN between observations that are further apart than this [s].

        Raises
        ------
        RecordingError
            If neither times nor a rate is known.
        ValueError
            If `sfreq` or `longest_gap_s` is not positive, or `method` is unknown.

        Examples
        --------
        >>> signals = Signals([[0.0, 2.0, 8.0]], times=[[0.0, 1.0, 4.0]])
        >>> signals.to_grid(1)[0].data
        array([[0., 2., 4., 6., 8.]])
        >>> signals.to_grid(1, method="previous")[0].data
        array([[0., 2., 2., 2., 8.]])
        """
        check_choice("method", method, ("linear", "previous"))
        if longest_gap_s is not None:
            check_positive("longest_gap_s", longest_gap_s)
        interpolate = partial(grid_signal, sfreq=as_rate(sfreq), method=method, longest_gap_s=longest_gap_s)
        return self.from_cases(each_case(self._cases, lambda case: interpolate(case.load())))

    def to_numpy(self) -> FloatArray:
        """Return the cases as a new array of shape (n_samples, n_channels, n_times).

        Raises
        ------
        ShapeError
            If the cases differ in length or channels, or there are none.
        """
        self._check_one_shape()
        stacked: FloatArray = np.empty(0, np.float32)
        for i, data in enumerate(case.data for case in self):  # one at a time: cases may be on disk
            if np.promote_types(stacked.dtype, data.dtype) != stacked.dtype:
                stacked = stacked.astype(data.dtype)
            stacked = stacked if i else np.empty((len(self), *data.shape), data.dtype)
            stacked[i] = data
        return stacked

    def to_epochs(self, *, ch_types: str | Sequence[str] | None = None) -> Any:
        """Return an `mne.EpochsArray`; `Signals` made from `mne.Epochs` convert back, with missing samples as NaN.

        Parameters
        ----------
        ch_types : str or sequence of str, optional
            MNE's channel type, one for all channels or one each, if the cases have none; "eeg" by default.

        Returns
        -------
        mne.EpochsArray
            Events are named by "event" of the metadata. If pandas is installed, the epochs have the metadata table.

        Raises
        ------
        RecordingError
            If the rate is unknown, or rates or channel names differ.
        ShapeError
            If the cases differ in length or channels, or there are none.
        MissingDependencyError
            If MNE is not installed.

        Examples
        --------
        >>> Signals(np.zeros((4, 2, 500)), sfreq=250, ch_names=["Oz", "O1"]).to_epochs().get_data().shape
        (4, 2, 500)
        """
        self._check_one_shape()
        self.ch_names  # noqa: B018  raises if they differ
        return epochs_from(list(self), self.sfreq, ch_types)

    @overload
    def __getitem__(self, key: int) -> Signal: ...
    @overload
    def __getitem__(self, key: Any) -> "Signals": ...
    def __getitem__(self, key: Any) -> "Signal | Signals":
        """Return one case as a `Signal`, or several as `Signals`; ``[key, ...]`` is ``[key]``."""
        if isinstance(key, tuple) and len(key) == 2 and key[1] is Ellipsis:
            key = key[0]
        if key is None or isinstance(key, tuple) or np.ndim(key) > 1:
            raise IndexError("Signals has one axis, the case. Index channels and times in signal.data.")
        selected: Any = self._cases[key]
        return self.from_cases(selected) if isinstance(selected, np.ndarray) else selected.load()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """Stack the cases like `to_numpy`: (n_samples, n_channels, n_times)."""
        if copy is False:
            raise ValueError("cases are stacked by copying them; copy=False is not possible.")
        return np.asarray(self.to_numpy(), dtype=dtype)
