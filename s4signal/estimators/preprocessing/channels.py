"""Steps across channels: rereferencing, and interpolation of bad channels."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from s4signal.errors import RecordingError
from s4signal.estimators.preprocessing.base import Advance, Floats, PointwiseStep, Step, observed_mean
from s4signal.signals import Signal, Signals
from s4signal.signals.checks import optional
from s4signal.signals.lazy import Case
from s4signal.signals.mne_objects import montage_positions
from s4signal.signals.montage import match_channels

_FEWEST = 4  # good channels that an interpolation needs
Rows = NDArray[np.intp]


class Rereference(PointwiseStep):
    """Rereference every channel to the average of all channels, or of some.

    Parameters
    ----------
    ref_channels : "average" or sequence of str or int, default="average"
        The average of all channels, or of the given ones, by name or number.
    sfreq : float, optional
        Sampling rate of X in Hz, if X does not carry one; for the steps that follow.

    Notes
    -----
    Missing channels (NaN) are left out of the average. Where no channel of the reference is observed, all channels are
    missing in the result. No channel is removed.

    Examples
    --------
    >>> from s4signal import Signals
    >>> from s4signal.estimators import Rereference
    >>> X = Signals([[[1.0, 2.0], [3.0, 6.0]]], ch_names=["Cz", "M1"])
    >>> Rereference().fit_transform(X)[0].data
    array([[-1., -2.],
           [ 1.,  2.]])
    >>> Rereference(["M1"]).fit_transform(X)[0].data
    array([[-2., -4.],
           [ 0.,  0.]])
    """

    _TUPLES: ClassVar[Sequence[str]] = ("ref_channels",)

    def __init__(self, ref_channels: str | Sequence[str | int] = "average", *, sfreq: float | None = None) -> None:
        self.ref_channels = ref_channels
        self.sfreq = sfreq

    def _rows(self) -> Rows:
        if isinstance(self.ref_channels, str) and self.ref_channels == "average":
            return np.arange(self.n_channels_in_)
        return _rows_of(self, self.ref_channels, "ref_channels")

    def _measure(self, signals: Signals) -> None:
        _refuse_mixed(self, signals)
        if not len(self._rows()) or self.n_channels_in_ == 1:
            raise ValueError(
                f"ref_channels={self.ref_channels!r} of {self.n_channels_in_} channels leaves nothing; a reference "
                "needs a channel, and another one to be measured against it."
            )

    def _change_of_samples(self) -> Callable[[Floats], Floats]:
        return partial(_rereferenced, rows=self._rows())


class InterpolateBads(Step):
    """Interpolate bad channels from the good ones around them, with MNE's spherical splines.

    A channel is bad in a case if all of its samples are missing, or if it is named in `bads`. `Signals` represents a
    channel that is bad in only some recordings of a list by missing samples.

    Parameters
    ----------
    bads : sequence of str or int, default=()
        Channels that are bad in every case.
    montage : str, optional
        A montage of MNE, such as ``"biosemi64"``, with positions of channels by name, if X does not carry positions.
    sfreq : float, optional
        Sampling rate of X in Hz, if X does not carry one; for the steps that follow.

    Attributes
    ----------
    positions_ : ndarray (n_channels, 3)
        Positions of the electrodes, in metres.

    Notes
    -----
    A case with fewer than four good channels is not changed, and neither is a missing sample of a good channel, because
    models accept missing samples. A stream interpolates only the named channels.

    References
    ----------
    .. [1] F. Perrin et al., "Spherical splines for scalp potential and current density mapping",
       Electroencephalography and Clinical Neurophysiology 72, 1989.

    Examples
    --------
    >>> import numpy as np
    >>> from s4signal import Signals
    >>> from s4signal.estimators import InterpolateBads
    >>> X = np.ones((1, 6, 100))
    >>> X[0, 2] = np.nan
    >>> signals = Signals(X, sfreq=250, ch_names=["Fp1", "Fp2", "Cz", "Pz", "O1", "O2"])
    >>> filled = InterpolateBads(montage="biosemi64").fit_transform(signals)
    >>> filled[0].data[2, :3].round(3)
    array([1., 1., 1.])
    """

    _ARRAYS: ClassVar[Any] = {"positions_": (3,)}
    _TUPLES: ClassVar[Sequence[str]] = ("bads",)

    def __init__(
        self, bads: Sequence[str | int] = (), *, montage: str | None = None, sfreq: float | None = None
    ) -> None:
        self.bads, self.montage, self.sfreq = bads, montage, sfreq

    def _measure(self, signals: Signals) -> None:
        _refuse_mixed(self, signals)
        positions = next((case.positions for case in signals.cases if case.positions is not None), None)
        if self.montage is not None:
            positions = _montage_positions(self.montage, self.ch_names_)
        if positions is None:
            raise RecordingError(
                "X has no electrode positions. Pass montage=, such as InterpolateBads(montage='biosemi64'), or "
                "set_montage on the Raw or the Epochs."
            )
        self.positions_ = np.asarray(positions, dtype=np.float64)
        self._weights()

    def _named(self) -> Rows:
        return _rows_of(self, self.bads, "bads")

    def _weights(self) -> NDArray[np.float64]:
        """Return the weights that compute the named channels from the others, (n_channels, n_channels)."""
        bad = np.zeros(self.n_channels_in_, dtype=bool)
        bad[self._named()] = True
        return _spline_weights(self.positions_, bad)

    def _change(self, case: Case) -> Callable[[Signal], Signal]:
        return partial(_interpolated, positions=self.positions_, named=self._named())

    def _advance(self, sfreq: float | None) -> Advance:
        return partial(_interpolated_chunk, weights=self._weights(), named=self._named())


def _refuse_mixed(step: Step, signals: Signals) -> None:
    if any(case.modality == "mixed" for case in signals.cases):
        raise RecordingError(f"X has channels of several types, which {type(step).__name__} would mix; pick one type.")


def _rereferenced(data: Floats, *, rows: Rows) -> Floats:
    return np.asarray(data - observed_mean(data[rows], axis=0))


def _interpolated(signal: Signal, *, positions: NDArray[np.float64], named: Rows) -> Signal:
    bad: NDArray[np.bool_] = np.atleast_1d(np.isnan(signal.data).all(axis=1))
    bad[named] = True
    if not bad.any() or (~bad).sum() < _FEWEST:
        return signal
    weights = _spline_weights(positions, bad)
    filled = np.where(bad[:, None], weights @ np.where(bad[:, None], 0.0, signal.data), signal.data)
    return replace(signal, data=filled.astype(signal.data.dtype, copy=False))


def _interpolated_chunk(data: Floats, state: Any, *, weights: NDArray[np.float64], named: Rows) -> tuple[Floats, Any]:
    filled, good = data.copy(), data.copy()
    good[named] = 0.0
    filled[named] = weights[named] @ good
    return filled, state


def _spline_weights(positions: NDArray[np.float64], bad: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the weights of all channels in each one, (n_channels, n_channels); a good channel is kept.

    MNE's interpolation is linear in the good channels, so that unit vectors as input give the weights.
    """
    weights = np.eye(len(bad))
    if not bad.any():
        return weights
    unknown = np.flatnonzero(np.isnan(positions).any(1))
    if len(unknown):
        raise RecordingError(f"channel {unknown[0]} has no position. Pass a montage with all channels.")
    mne = optional("mne", "InterpolateBads", "eeg")
    names = [str(row) for row in range(len(bad))]
    info = mne.create_info(names, 1000.0, "eeg", verbose="error")
    where = dict(zip(names, positions, strict=True))
    info.set_montage(mne.channels.make_dig_montage(where, coord_frame="head"), verbose="error")
    info["bads"] = [names[row] for row in np.flatnonzero(bad)]
    weights[bad] = 0.0
    evoked = mne.EvokedArray(weights, info, verbose="error")
    return np.asarray(evoked.interpolate_bads(verbose="error").data)


def _montage_positions(montage: str, names: Sequence[str] | None) -> Floats:
    if names is None:
        raise RecordingError("X has no channel names, which montage= needs. Pass Signals(X, ch_names=...).")
    try:
        places = montage_positions(montage, names)
    except ValueError as error:
        raise RecordingError(f"montage={montage!r} is not in MNE: {' '.join(str(error).split())[:200]}") from None
    if unknown := [name for name, place in zip(names, places, strict=True) if np.isnan(place).any()]:
        raise RecordingError(f"montage={montage!r} does not contain channels of X: {', '.join(unknown)}.")
    return places


def _rows_of(step: Any, given: str | Sequence[str | int], parameter: str) -> Rows:
    """Find channels by name or number."""
    names, given = step.ch_names_ or [], [given] if isinstance(given, str) else given
    rows = [int(c) if isinstance(c, Integral) else match_channels([str(c)], names)[0] for c in given]
    for channel, row in zip(given, rows, strict=True):
        if not 0 <= row < step.n_channels_in_:
            available = ", ".join(names) if names else f"{step.n_channels_in_} channels without names; pass numbers"
            raise RecordingError(f"{parameter}: X has no channel {channel!r}. It has: {available}.")
    return np.array(rows, dtype=np.intp)
