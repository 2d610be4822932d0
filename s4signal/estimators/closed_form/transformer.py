"""Frozen random oscillators and their pooled statistics, as a transformer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from s4signal.estimators.closed_form.channel_mixes import draw_mixes, principal_channels
from s4signal.estimators.closed_form.feature_names import feature_names, feature_owners
from s4signal.estimators.closed_form.narrow_bands import hears_neighbours, narrow_bands, stand_out
from s4signal.estimators.closed_form.regular import fill_case, fill_signals, regular_signals
from s4signal.estimators.closed_form.streaming import InstantStream
from s4signal.estimators.closed_form.summaries import ObservationLevels
from s4signal.estimators.parameters import check_instant_options
from s4signal.estimators.standardizer import Standardizer
from s4signal.estimators.survey import relative_periods, survey
from s4signal.estimators.validation import check_rate, check_weights
from s4signal.random_features.combinations import draw_chords
from s4signal.random_features.filters import draw_oscillators, oscillator_hops
from s4signal.random_features.pooled_features import PooledFeatures
from s4signal.random_features.statistics import OscillatorStatistics
from s4signal.random_features.thresholds import spread_levels
from s4signal.signals import Signals
from s4signal.training import PRECISIONS

__all__ = ["S4RandomFeatures"]

_CALIBRATION = 64  # cases that thresholds and covariance components are drawn from
_BATCH_SAMPLES = 2**21  # numbers in a batch of cases
_BATCH_OUTPUTS = 2**16  # cases x channels x oscillators in a batch
_OUTPUTS = 1536  # channels x oscillators, if these are not given


class S4RandomFeatures(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Describe cases by frozen random state-space oscillators; nothing is learned but levels.

    Every oscillator is a damped complex pole, or a cascade of them, of random frequency and decay, exact at any
    sampling rate. It runs over each channel; its outputs, and random mixes of them over channels, are pooled over the
    whole case and over equal parts of it: their mean (over the parts, of those that are slower than these), the share
    of time that they spend above a threshold, and log energy, for several channels as the matrix logarithm of their
    covariance (at every second oscillator, or 32 to 48 of them). Random sums of three outputs at a time answer to
    shapes: the share of the whole case that they spend above four thresholds. Several channels have up to 40 narrow
    bands more, evenly spaced up to where 99 % of their power lies, with covariances alone, each beside those of its
    neighbours.

    Missing samples (NaN) are a line between their neighbours, a channel that is missing altogether is its training
    mean. Cases with times are put on a grid in the same way. Where more than half of the training values are missing,
    running means of the observations alone, and their numbers, come as further features.

    Parameters
    ----------
    n_oscillators : "auto" or int, default="auto"
        Oscillators; "auto" takes 256 for up to 6 channels, 1536 over their number for up to 24, then 64.
    orders : tuple of int, default=(1, 2)
        Poles in a cascade, taken in turn; more fall off faster beside the band.
    n_mixes : int, default=4
        Random mixes of up to nine channels, drawn for each oscillator; one channel needs none.
    n_windows : int, default=4
        Equal parts of a case that are pooled over, beside the whole.
    sfreq : float, optional
        Sampling rate of X in Hz, where X does not know it; of the grid, where X has times.
    precision : {"32", "64"}, default="32"
        Of the arithmetic; "64" does not differ with the company of a case by more than rounding in float64.
    random_state : int, RandomState or None, default=None
        Seed.

    Attributes
    ----------
    n_features_in_ : int
        Columns of a 2-D X, channels of any other.
    n_channels_in_ : int
        Channels.
    ch_names_ : list of str or None
        Their names, where X knows them.
    sfreq_ : float or None
        Sampling rate at training, in Hz.
    frequencies_, decays_ : ndarray (n_oscillators,), for several channels (n_oscillators + n_bands,)
        Frequencies in Hz and decay times in seconds; in cycles a sample and in samples where there is no rate.
    oscillators_ : ndarray (n_features,)
        Number of the oscillator that each feature is of, the highest of a chord; -1 for levels of the observations.

    References
    ----------
    Dempster, Schmidt, Webb, "MiniRocket", KDD 2021, doi:10.1145/3447548.3467231 (random filters, shares above
    thresholds); Barachant, Bonnet, Congedo, Jutten, "Classification of covariance matrices using a Riemannian-based
    kernel for BCI applications", 2013, doi:10.1016/j.neucom.2012.12.039 (logarithms of covariances).

    Examples
    --------
    >>> import numpy as np
    >>> from s4signal.estimators import S4RandomFeatures
    >>> X = np.random.default_rng(0).standard_normal((5, 2, 100))
    >>> features = S4RandomFeatures(n_oscillators=8, sfreq=50, random_state=0)
    >>> features.fit_transform(X).shape
    (5, 1036)
    >>> features.transform(X[:, :, ::2], sfreq=25).shape
    (5, 1036)
    """

    _timed: bool
    _levels: ObservationLevels | None
    _bands: OscillatorStatistics | None

    def __init__(
        self,
        *,
        n_oscillators: str | int = "auto",
        orders: tuple[int, ...] = (1, 2),
        n_mixes: int = 4,
        n_windows: int = 4,
        sfreq: float | None = None,
        precision: str = "32",
        random_state: Any = None,
    ) -> None:
        self.n_oscillators = n_oscillators
        self.orders = orders
        self.n_mixes = n_mixes
        self.n_windows = n_windows
        self.sfreq = sfreq
        self.precision = precision
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Draw oscillators for the rate, duration and channels of X, and thresholds from their outputs.

        Parameters
        ----------
        X : array-like, mne.Epochs or Signals
            Cases, as `S4Classifier.fit` takes them.
        y : object, optional
            Not used.
        sample_weight : array-like (n_samples,), optional
            Weight of each case: 2 is the case twice, 0 is the case left out.

        Returns
        -------
        self
            The fitted transformer.

        Raises
        ------
        ValueError
            If an option or a signal cannot be used; `ShapeError` and `RecordingError` are such errors.
        """
        check_instant_options(self)
        signals, recorded = regular_signals(self, X, sfreq=self.sfreq, reset=True)
        weights = check_weights(sample_weight, signals)
        signals = fill_signals(signals)
        used = np.flatnonzero(weights > 0)
        self.sfreq_ = signals.sfreq
        some = self._draw_checked(signals[used], weights[used], recorded[used])
        few = used[some]
        self._remember(self._families(signals[few], recorded[few]), weights[few])
        return self

    def transform(self, X: Any, *, sfreq: float | None = None) -> NDArray[np.floating]:
        """Describe cases.

        Parameters
        ----------
        X : array-like, mne.Epochs or Signals
            Cases, as `fit` takes them.
        sfreq : float, optional
            Sampling rate of X, in Hz; the oscillators keep their frequencies in Hz at any rate. A feature whose
            frequency lies above the Nyquist frequency is its mean in the training cases.

        Returns
        -------
        ndarray (n_samples, n_features)
            Features, named by `get_feature_names_out`.

        Raises
        ------
        NotFittedError
            If the transformer is not fitted.
        ValueError
            If X has other channels, infinity, or a case of nothing but NaN.
        """
        check_is_fitted(self, "statistics_")
        check_rate(self, sfreq)
        return self._filled(np.concatenate(self._families(*regular_signals(self, X, sfreq=sfreq)), axis=1))

    def stream(self, *, sfreq: float | None = None) -> InstantStream:
        """Describe while the signal arrives.

        Parameters
        ----------
        sfreq : float, optional
            Sampling rate of the stream, in Hz; that of the training by default.

        Returns
        -------
        InstantStream
            With ``push(chunk)`` and ``reset()``.

        Raises
        ------
        NotFittedError
            If the transformer is not fitted.
        ValueError
            If sfreq is given and the transformer was fitted without one, or is not given and it was fitted with times.
        """
        check_is_fitted(self, "statistics_")
        return InstantStream(self, lambda features, rate: self._filled(features), sfreq=sfreq)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Name the features: frequency in Hz, decay in seconds, statistic, channels, part of the case.

        Parameters
        ----------
        input_features : array-like of str, optional
            Names of the channels, where X did not know them.

        Returns
        -------
        ndarray (n_features,) of str
            Names.

        Raises
        ------
        NotFittedError
            If the transformer is not fitted.
        ValueError
            If the number of names is not that of the channels.
        """
        check_is_fitted(self, "statistics_")
        return feature_names(self, input_features)

    @property
    def frequencies_(self) -> NDArray[np.float64]:
        """Frequencies of the oscillators, in Hz."""
        return np.concatenate([bank.frequencies_hz.numpy() for bank in self._banks])

    @property
    def decays_(self) -> NDArray[np.float64]:
        """Decay times of the oscillators, in seconds."""
        return np.concatenate([1.0 / (2.0 * np.pi * bank.bandwidths_hz.numpy()) for bank in self._banks])

    @property
    def oscillators_(self) -> NDArray[np.intp]:
        """Number of the oscillator that each feature is of, (n_features,); -1 for levels of the observations."""
        return feature_owners(self)

    @property
    def _banks(self) -> list[OscillatorStatistics]:
        return [self.statistics_] if self._bands is None else [self.statistics_, self._bands]

    def _families(
        self, signals: Signals, recorded: Signals, *, wanted: Sequence[bool] = (True,) * 6
    ) -> tuple[NDArray[np.floating], ...]:
        """Return the features of checked signals by family, NaN where an oscillator cannot be heard.

        Means, shares, shares of chords, energies, narrow bands (none for one channel) and levels of observations (none
        if not sparse), each (n_samples, ...); what is not ``wanted`` is NaN.
        """
        rows: tuple[NDArray[np.floating], ...] = ()
        asked = (tuple(wanted[:4]), (False, False, False, wanted[4]))
        for indices, x, lengths, rate in self._batches(signals):
            heard = zip(self._banks, self._inputs(x), asked, strict=False)
            parts = self._by_family([bank(part, lengths, rate=rate, wanted=each) for bank, part, each in heard])
            rows = rows or tuple(np.empty((len(signals), part.shape[1]), part.dtype) for part in parts)
            for whole, part in zip(rows, parts, strict=True):
                whole[indices] = part
        levels = np.empty((len(signals), 0)) if self._levels is None else self._levels(recorded, self.sfreq_)
        return (*rows, levels.astype(rows[0].dtype))

    def _inputs(self, x: Tensor) -> list[Tensor]:
        """What each bank hears of (C, ...): the channels, and their components."""
        components = self.statistics_.projection
        return [x, x if len(components) == len(x) else torch.tensordot(components, x, dims=1)]

    def _by_family(self, pooled: Sequence[PooledFeatures]) -> list[NDArray[np.floating]]:
        """Put what each bank says (n, ...) in families (n, p_i), all but the last."""
        drawn, *narrow = pooled
        last = stand_out(narrow[0].energy) if narrow else drawn.energy[:, :0]
        return [part.flatten(1).numpy() for part in (*drawn.families, last)]

    def _filled(self, features: NDArray[np.floating]) -> NDArray[np.floating]:
        return np.where(np.isnan(features), self._fill, features)

    def _audible(self, rate: float) -> NDArray[np.bool_]:
        """Which features exist, (n_features,), at ``rate`` training sample periods a sample."""
        drawn, *narrow = (bank.audible(rate).numpy() for bank in self._banks)
        heard = np.concatenate([drawn, *(hears_neighbours(bands) for bands in narrow), [True]])  # last: levels
        return np.asarray(heard[self.oscillators_])

    def _fit_families(
        self, signals: Signals, weights: NDArray[np.float64], recorded: Signals
    ) -> list[NDArray[np.floating]]:
        """Fit on checked cases of positive weight, and describe them by family."""
        regular_signals(self, signals, sfreq=None, reset=True)
        self.sfreq_ = signals.sfreq
        self._draw_checked(signals, weights, recorded)
        families = self._families(signals, recorded)
        self._remember(families, weights)
        return list(families)

    def _draw_checked(self, signals: Signals, weights: NDArray[np.float64], recorded: Signals) -> NDArray[np.intp]:
        """Draw oscillators and thresholds for cases of positive weight; return which cases the thresholds are of."""
        rng = check_random_state(self.random_state)
        self._standardizer = Standardizer.fit(survey(signals), weights)
        self._levels = ObservationLevels.fit(recorded, weights)
        n = len(signals)
        some = np.arange(n) if n <= _CALIBRATION else np.sort(rng.permutation(n)[:_CALIBRATION])
        few, few_weights = signals[some], weights[some]
        components = principal_channels(few, few_weights, self._standardizer)
        self.statistics_ = self._draw(signals, components, rng)
        shortest, self._bands = float(signals.lengths.min()), None
        if signals.n_channels > 1:
            self._bands = narrow_bands(
                few,
                self._standardizer,
                len(components),
                sfreq=self.sfreq_ or 1.0,
                shortest=shortest,
                longest_hop=shortest / (8 * self.n_windows),
                dtype=PRECISIONS[self.precision],
            )
        self.statistics_.calibrate(
            (x, lengths, rate, torch.from_numpy(few_weights[indices]).to(x.dtype))
            for indices, x, lengths, rate in self._batches(few)
        )
        return np.asarray(some)

    def _remember(self, families: tuple[NDArray[np.floating], ...], weights: NDArray[np.float64]) -> None:
        """Note how many features each family has, and their means."""
        self._sizes = tuple(part.shape[1] for part in families)
        self._fill = np.concatenate([np.average(part, axis=0, weights=weights) for part in families])

    def _draw(
        self, signals: Signals, components: NDArray[np.float64], rng: np.random.RandomState
    ) -> OscillatorStatistics:
        C, sfreq, shortest = signals.n_channels, self.sfreq_ or 1.0, float(signals.lengths.min())
        J = 1 if C == 1 else self.n_mixes
        F = min(max(_OUTPUTS // C, 64), 256) if isinstance(self.n_oscillators, str) else self.n_oscillators
        frequencies, bandwidths = draw_oscillators(F, sfreq=sfreq, duration_s=shortest / sfreq, rng=rng)
        # Eight readings at least in each part of the shortest case.
        hops = oscillator_hops(frequencies, bandwidths, sfreq=sfreq, longest=shortest / (8 * self.n_windows))
        dtype = PRECISIONS[self.precision]
        bank = OscillatorStatistics(
            frequencies_hz=torch.from_numpy(frequencies),
            bandwidths_hz=torch.from_numpy(bandwidths),
            orders=torch.from_numpy(np.resize(self.orders, F).astype(np.int64)),
            hops=torch.from_numpy(hops),
            mixes=torch.from_numpy(draw_mixes(F, J, C, rng)).to(dtype),
            levels=spread_levels(F, J, 2).to(dtype),
            projection=torch.from_numpy(components).to(dtype),
            sfreq=sfreq,
            n_windows=self.n_windows,
            # A part that is shorter than a period knows where in it the oscillator is.
            slow=torch.from_numpy(frequencies * shortest <= self.n_windows * sfreq),
        )
        groups = (index.numpy() for index, _ in bank.groups(1.0))
        bank.chords = draw_chords(groups, frequencies, J, rng=rng, dtype=dtype)
        return bank

    def _batches(self, signals: Signals) -> Iterator[tuple[NDArray[np.intp], Tensor, Tensor, float]]:
        """Standardised cases of one rate and similar length: indices, (C, n, n_times), (n,), rate."""
        stored, lengths, rates = signals.cases, signals.lengths, relative_periods(signals, self.sfreq_)
        dtype, n_oscillators = PRECISIONS[self.precision], len(self.statistics_.hops)
        order, first = np.lexsort((lengths, rates)), 0
        while first < len(order):
            rate = rates[order[first]]
            shortest = signals.n_channels * int(lengths[order[first]])
            fitting = min(_BATCH_SAMPLES // shortest, _BATCH_OUTPUTS // (signals.n_channels * n_oscillators))
            indices = order[first : first + max(1, fitting)]
            indices = indices[rates[indices] == rate]
            first += len(indices)
            x = torch.zeros(signals.n_channels, len(indices), int(lengths[indices].max()), dtype=dtype)
            for column, index in enumerate(indices):
                case = stored[index].load()
                data = self._standardizer(fill_case(case, int(index), self._standardizer.mean))
                x[:, column, : data.shape[1]] = torch.from_numpy(np.ascontiguousarray(data))
            yield indices, x, torch.from_numpy(lengths[indices]), float(rate)

    def __sklearn_tags__(self) -> Any:
        """Say to scikit-learn what the transformer takes."""
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = True
        tags.non_deterministic = False
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        """Say whether there are oscillators."""
        return hasattr(self, "statistics_")
