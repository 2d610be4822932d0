"""Alignment of recordings to one mean covariance, without labels."""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import TransformerMixin
from sklearn.utils.validation import check_is_fitted

from s4signal.errors import RecordingError
from s4signal.estimators.base import SavedMixin, SignalEstimator
from s4signal.estimators.model_file import State, estimator_state
from s4signal.estimators.preprocessing.base import ChunkStream
from s4signal.estimators.validation import check_signals
from s4signal.signals import Signal, Signals
from s4signal.signals.lazy import Case, transformed
from s4signal.signals.summary import one_group_each, text_of

SMALLEST = 1e-9  # eigenvalue, relative to the largest, of an empty direction (a common reference leaves one)
_ROUNDING = 1e-14  # the same for no direction
_FLAT = 1e-13  # change of a flat channel, relative to its level
OTHER_UNIT = 1000.0  # ratio of a channel to the next weaker one that has another unit
UPDATED = 32  # samples between two updates of a stream
PRIOR_SAMPLES = 10  # per channel: after these, a stream has the same weight as the training recordings

Floats = NDArray[np.float64]


# A case stays a matrix, which a data frame cannot hold, so there is no set_output.
class AlignRecordings(SavedMixin, TransformerMixin, SignalEstimator, auto_wrap_output_keys=None):  # type: ignore[call-arg]
    r"""Align recordings to one mean covariance, the identity, without labels: Euclidean alignment.

    Recordings of different persons and sessions differ in the mixture and strength of channels. A case x of a recording
    becomes :math:`R^{-1/2} x`, where :math:`R` is the mean covariance of all cases of this recording. Training and test
    recordings are aligned separately: nothing is learned from one for another, so a new recording needs no calibration,
    but all of its cases at once. If a whole recording is of one class, this would remove the class: then group by
    subject. Channels of another unit, such as teslas (MEG) beside volts (EEG), are first scaled like the strongest.

    Parameters
    ----------
    sfreq : float, optional
        Sampling rate of X in Hz, if X does not carry one; cases keep their own.

    Attributes
    ----------
    n_features_in_, n_channels_in_, ch_names_, sfreq_ : as those of `S4RidgeClassifier`
        Channels and their names, and the sampling rate in Hz of the first case.
    covariance_ : ndarray (n_channels, n_channels)
        Mean covariance of the recordings at `fit`, with equal weights; only the initial value of a `stream`.

    References
    ----------
    He, Wu, "Transfer Learning for Brain-Computer Interfaces: A Euclidean Space Data Alignment Approach", 2020,
    doi:10.1109/TBME.2019.2913914.

    Examples
    --------
    >>> import numpy as np
    >>> from s4signal.estimators import AlignRecordings
    >>> rng = np.random.default_rng(0)
    >>> X, subjects = rng.standard_normal((6, 2, 500)), np.array(["a", "a", "a", "b", "b", "b"])
    >>> X[subjects == "b"] *= np.array([[5.0], [0.1]])
    >>> aligned = AlignRecordings().fit_transform(X, groups=subjects)
    >>> np.abs(np.mean([np.cov(x) for x in aligned[subjects == "b"]], axis=0)).round(2)
    array([[1., 0.],
           [0., 1.]])

    In a pipeline, pass groups by scikit-learn's metadata routing:

    >>> import sklearn
    >>> from sklearn.pipeline import make_pipeline
    >>> from s4signal import S4RidgeClassifier
    >>> with sklearn.config_context(enable_metadata_routing=True):
    ...     align = AlignRecordings().set_fit_request(groups=True).set_transform_request(groups=True)
    ...     ridge = S4RidgeClassifier(random_state=0).set_fit_request(groups=True)
    ...     model = make_pipeline(align, ridge).fit(X, [0, 1] * 3, groups=subjects)
    ...     model.predict(X[3:], groups=subjects[3:]).shape
    (3,)
    """

    def __init__(self, *, sfreq: float | None = None) -> None:
        self.sfreq = sfreq

    def fit(self, X: Any, y: Any = None, *, groups: Any = None) -> Self:
        """Store the channels, and the initial covariance of a stream.

        Parameters
        ----------
        X : array-like, mne.Epochs or Signals
            Cases, as `S4Classifier.fit` takes them.
        y : None
            Ignored.
        groups : array-like (n_samples,), optional
            As `transform` takes them.

        Raises
        ------
        ValueError
            As `transform`.
        """
        with self._drafted() as draft:
            signals = check_signals(draft, X, sfreq=self.sfreq, reset=True)
            draft.covariance_ = np.mean([C for _, C in _recordings(signals, groups)], axis=0)
            draft.sfreq_ = None if np.isnan(signals.sfreqs).any() else float(signals.sfreqs[0])
        return self

    def transform(self, X: Any, *, groups: Any = None) -> NDArray[np.floating] | Signals:
        """Align each recording by the covariance of its own cases.

        Parameters
        ----------
        X : array-like, mne.Epochs or Signals
            Cases, as `fit` takes them; all cases of a recording together.
        groups : array-like (n_samples,), optional
            Recording, or subject, of each case. By default the subject, else the recording, if `Signals` carry them;
            the cases without both are one recording.

        Returns
        -------
        ndarray, of the shape of X, or Signals
            An array for an array; otherwise `Signals`, whose channels keep their names. If one channel misses a sample,
            all outputs do, because each is a mixture of all channels. A channel that is missing in a whole case stays
            missing, and the others are mixed without it.

        Raises
        ------
        NotFittedError
            If the transformer is not fitted.
        ShapeError
            If X has other channels than at `fit`, or groups another length.
        RecordingError
            If a recording has fewer samples with all channels observed than channels, or does not vary.
        ValueError
            If X has infinite values, or values whose squares overflow.
        """
        check_is_fitted(self)
        signals = check_signals(self, X, sfreq=self.sfreq)
        aligned: list[Case] = list(signals.cases)
        for rows, covariance in _recordings(signals, groups):
            mix = partial(_mixed, covariance=covariance, whitener=inverse_root(covariance))
            for row in rows.tolist():
                aligned[row] = transformed(aligned[row], mix)
        whole = Signals.from_cases(aligned)
        if getattr(X, "ndim", 1) < 2:  # those of MNE have none
            return whole
        return whole.to_numpy().reshape(np.shape(X))

    def fit_transform(self, X: Any, y: Any = None, *, groups: Any = None) -> NDArray[np.floating] | Signals:
        """Fit, and align the same cases.

        Parameters
        ----------
        X, y, groups : as `fit` takes them
            Cases, and their groups.

        Returns
        -------
        ndarray, of the shape of X, or Signals
            As `transform`, which raises the same errors.
        """
        return self.fit(X, y, groups=groups).transform(X, groups=groups)

    def stream(self, *, sfreq: float | None = None) -> ChunkStream:
        """Return a stream that aligns a recording by its samples so far, with ``push(chunk)`` and ``reset()``.

        Parameters
        ----------
        sfreq : float, optional
            Sampling rate of the stream; it has no effect.

        Raises
        ------
        NotFittedError
            If the transformer is not fitted.
        """
        check_is_fitted(self)
        return ChunkStream(partial(_aligned, prior=self.covariance_), self.n_channels_in_, None, missing="refused")

    def _to_state(self) -> State:
        return State(estimator_state(self).plain, {"covariance": self.covariance_})

    def _restore(self, state: State) -> None:
        self.covariance_ = state.array("covariance", self.n_channels_in_, self.n_channels_in_)


def _recordings(signals: Signals, groups: Any) -> Iterable[tuple[NDArray[np.intp], Floats]]:
    """Yield the rows of each recording, and the mean covariance of its cases."""
    if groups is None:
        groups = [text_of(c, "subject") or name for c, name in zip(signals.cases, signals.recordings, strict=True)]
    names = [str(group) for group in one_group_each(groups, len(signals))]
    for name in dict.fromkeys(names):
        rows = np.flatnonzero(np.array(names) == name)
        found = [_covariance(signals[int(row)], int(row)) for row in rows]
        n_both, products = (np.sum(part, axis=0) for part in zip(*found, strict=True))
        which, n_observed = f"the recording {name!r}" if name else "the recording", int(n_both.max())
        n_channels = int((n_both.diagonal() > 0).sum()) or signals.n_channels
        if n_observed < n_channels:
            raise RecordingError(
                f"{which} has {n_observed} samples at which all {n_channels} channels are observed, fewer than "
                "channels. Leave channels out that are mostly missing, or interpolate with Signals.to_grid."
            )
        covariance = products / np.maximum(n_both, 1)
        if not np.trace(covariance) > 0:
            raise RecordingError(f"{which} does not vary in any channel; leave it out.")
        yield rows, covariance


def _covariance(case: Signal, index: int) -> tuple[NDArray[np.intp], Floats]:
    """Return counts of samples and sums of products of channels, where all channels of the case are observed."""
    present: Any = case.observed.any(1)
    x = np.where(present[:, None], case.data, 0.0)
    x = x[:, ~np.isnan(x).any(0)].astype(np.float64)
    x = _above(x, x.mean(1, keepdims=True)) if x.shape[1] else x
    with np.errstate(over="ignore", invalid="ignore"):
        products = x @ x.T
    if not np.isfinite(products).all():
        raise ValueError(f"case {index} has values up to {np.abs(x).max():.1g}, whose squares overflow; scale X.")
    return x.shape[1] * np.outer(present, present), products


def _mixed(case: Signal, covariance: Floats, whitener: Floats) -> Signal:
    """Mix the channels of a case; a channel without observations stays missing, and the others are mixed without it."""
    present: Any = case.observed.any(1)
    if not present.all():
        whitener = inverse_root(covariance * np.outer(present, present))
    mixed = whitener @ np.where(present[:, None], case.data, 0.0)
    mixed[~present] = np.nan
    return replace(case, data=mixed.astype(case.data.dtype, copy=False))


def _aligned(rest: NDArray[np.floating], state: Any, *, prior: Floats) -> tuple[Floats, Any]:
    """Whiten each sample of a chunk by the covariance of the samples before it, in bounded memory.

    The covariance starts as the mean of the training recordings, whose weight decreases during the recording.
    """
    C, aligned = len(prior), []
    initial = (0, np.zeros(C), np.zeros((C, C)), np.zeros((C, 0)), inverse_root(prior)) if state is None else state
    n, mean, scatter, waiting, whitener = initial
    while rest.shape[1]:
        piece, rest = np.split(rest, [UPDATED - waiting.shape[1]], axis=1)
        aligned.append(whitener @ piece)
        waiting = np.concatenate([waiting, piece], axis=1)
        if (more := waiting.shape[1]) == UPDATED:
            step, centred = _above(waiting.mean(1), mean), _above(waiting, waiting.mean(1, keepdims=True))
            scatter = scatter + centred @ centred.T + np.outer(step, step) * n * more / (n + more)
            mean, n, waiting = mean + step * more / (n + more), n + more, waiting[:, :0]
            whitener = inverse_root((PRIOR_SAMPLES * C * prior + scatter) / (PRIOR_SAMPLES * C + n))
    return np.concatenate(aligned, axis=1), (n, mean, scatter, waiting, whitener)


def inverse_root(C: Floats) -> Floats:
    """Return C^(-1/2), bounded in empty directions, without those that are constant; (n_channels, n_channels).

    Channels of another unit, such as teslas beside volts, are first scaled like the strongest: else they were empty.
    """
    order = np.argsort(-C.diagonal())
    deviation = np.sqrt(C.diagonal()[order])
    weaker = np.r_[False, deviation[1:] * OTHER_UNIT < deviation[:-1]]
    unit = np.empty(len(C))
    unit[order] = deviation[np.maximum.accumulate(np.where(weaker, np.arange(len(C)), 0))] / (deviation[0] or 1.0)
    unit[unit == 0.0] = 1.0
    values, vectors = np.linalg.eigh(C / np.outer(unit, unit))
    gains = (values > _ROUNDING * values[-1]) / np.sqrt(np.maximum(values, SMALLEST * values[-1]))
    return np.asarray((vectors * gains) @ vectors.T / unit)


def _above(x: Floats, mean: Floats) -> Floats:
    """Subtract a mean; what rounding leaves of a constant is 0."""
    above = x - mean
    return np.asarray(np.where(np.abs(above) > _FLAT * np.abs(mean), above, 0.0))
