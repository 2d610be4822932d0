"""The filter bank as a transformer."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import TransformerMixin
from sklearn.utils import check_random_state

from s4signal import nn
from s4signal.estimators.base import NamedFeaturesMixin, SignalEstimator
from s4signal.estimators.parameters import check_filter_bank_options
from s4signal.estimators.standardizer import Standardizer
from s4signal.estimators.survey import survey
from s4signal.estimators.trained.defaults import LOWEST_HZ, SPEECH_HZ
from s4signal.estimators.trained.missing import Sampling, check_times, grid_lengths, make_cases, training_rate
from s4signal.estimators.trained.precompute import extract_features
from s4signal.estimators.validation import check_observed, check_rate, check_signals, finite_outputs
from s4signal.signals import Signals
from s4signal.signals.checks import AUDIO_SFREQ
from s4signal.signals.clock import without_regular_times
from s4signal.training import TrainingOptions

_HOP_S = 0.01
MAX_SAMPLES = 2**22  # at once: a band stores little per sample


# A case becomes a matrix, which a data frame cannot hold, so there is no set_output.
class S4FilterBank(NamedFeaturesMixin, TransformerMixin, SignalEstimator, auto_wrap_output_keys=None):  # type: ignore[call-arg]
    """Filter signals into bands with state-space resonators: energies or band signals every hop.

    The filters are the torch module `s4signal.nn.FilterBank`, whose frequencies can be learned. Irregular times and
    missing samples (NaN) are exact for a signal that has between two samples the value of the second; interpolate gaps
    in a smooth signal first, with `Signals.to_grid`.

    Parameters
    ----------
    n_bands : int, >= 1, default=40
        Number of bands per channel.
    spacing : {"erb", "mel", "log", "linear", "random", "hippo"}, default="erb"
        Scale on which the bands are evenly spaced, see `s4signal.nn.space_bands`.
    lowest_hz, highest_hz : "auto" or float, > 0
        Lowest and highest centre frequency, below half the sampling rate, in Hz (cycles per sample if the rate is
        unknown). "auto" is from 60 Hz for rates of 4 kHz or more, otherwise from 1/128 of the rate, to 8 kHz or 0.475
        times the rate.
    order : int in [1, 4], default=4
        Number of resonators in cascade; 4 is the gammatone.
    hop_s : "auto" or float, > 0
        Time between two steps, in seconds (samples if the rate is unknown), rounded to a whole number of samples.
        "auto" is 10 ms, or a sample if that is longer.
    output : {"log", "power", "pcen", "linear"}, default="log"
        Mean energy over the hop, compressed by a logarithm, by the power 0.3 or by per-channel energy normalisation;
        or the real and the imaginary part of the band signal.
    smooth_s : float, > 0, optional
        Time constant of a low-pass filter on the energies, in seconds.
    standardize : bool, default=True
        Whether to centre and scale the channels with statistics of the training cases.
    sfreq : float, optional
        Sampling rate of X in Hz, if X does not carry one.
    random_state : int, RandomState or None, default=None
        Seed of the bands of spacing "random".

    Attributes
    ----------
    bank_ : s4signal.nn.FilterBank
        The filters.
    n_features_in_, n_channels_in_, ch_names_, sfreq_ : as those of `S4RidgeClassifier`
        Channels and their names, and the sampling rate in Hz.

    Examples
    --------
    >>> import numpy as np
    >>> from s4signal.estimators import S4FilterBank
    >>> X = np.sin(2 * np.pi * np.array([[10.0], [30.0]]) * np.arange(500) / 250)  # 10 Hz and 30 Hz
    >>> bank = S4FilterBank(n_bands=3, spacing="linear", lowest_hz=10, highest_hz=30, hop_s=0.1, sfreq=250)
    >>> energies = bank.fit_transform(X)
    >>> energies.shape
    (2, 3, 20)
    >>> bank.get_feature_names_out()[energies.mean(axis=2).argmax(axis=1)].tolist()
    ['channel 0 10 Hz', 'channel 0 30 Hz']
    """

    def __init__(
        self,
        *,
        n_bands: int = 40,
        spacing: str = "erb",
        lowest_hz: str | float = "auto",
        highest_hz: str | float = "auto",
        order: int = 4,
        hop_s: str | float = "auto",
        output: str = "log",
        smooth_s: float | None = None,
        standardize: bool = True,
        sfreq: float | None = None,
        random_state: Any = None,
    ) -> None:
        self.n_bands, self.spacing, self.lowest_hz, self.highest_hz = n_bands, spacing, lowest_hz, highest_hz
        self.order, self.hop_s, self.output, self.smooth_s = order, hop_s, output, smooth_s
        self.standardize, self.sfreq, self.random_state = standardize, sfreq, random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit the statistics of the channels and build the filters.

        Parameters
        ----------
        X : array-like, mne.Epochs or Signals
            Cases, as `S4Classifier.fit` takes them.
        y : None
            Ignored.

        Raises
        ------
        ValueError
            If an option is out of its range, a band lies beyond the Nyquist frequency, or a case is invalid: shorter
            than a hop, all NaN or with infinite values.
        """
        check_filter_bank_options(self)
        with self._drafted() as draft:
            signals = check_signals(draft, X, sfreq=self.sfreq, reset=True)
            signals = Signals.from_cases(without_regular_times(signals.cases))
            found = survey(signals)
            draft.sfreq_ = training_rate(found)
            draft._sampling = Sampling(times=bool(found.has_times.any()), missing="hold")
            draft.bank_ = draft._build()
            draft._check_durations(signals)
            draft._standardizer = Standardizer.fit(found, np.ones(len(signals)), identity=not self.standardize)
        return self

    def transform(self, X: Any, *, sfreq: float | None = None) -> NDArray[np.floating] | Signals:
        """Filter cases.

        Parameters
        ----------
        X : array-like, mne.Epochs or Signals
            Cases, as `fit` takes them.
        sfreq : float, optional
            Sampling rate of X, in Hz; at another rate than at training, every band keeps its frequency in Hz.

        Returns
        -------
        ndarray (n_samples, n_features, n_steps) or Signals
            An array for an array or a data frame; otherwise `Signals`, whose samples are the steps and whose channels
            are the features. Their rate is that of the steps, unknown if that of X is.

        Raises
        ------
        ValueError
            If X has other channels than at `fit`, or a case is invalid.
        """
        check_rate(self, sfreq)
        signals = check_signals(self, X, sfreq=sfreq)
        signals = check_times(signals, self.sfreq_, timed=self._sampling.times)
        self._check_durations(signals)
        cases = make_cases(
            signals,
            self._standardizer,
            sfreq=self.sfreq_,
            sampling=self._sampling,
            visit=lambda index, case: check_observed(case, index),
        )
        precision = "32" if signals[0].data.dtype == np.float32 else "64"  # that of X
        bands = extract_features(
            lambda batch: self.bank_(batch.x, batch.mask, rate=batch.rate, gaps=batch.gaps),
            cases,
            TrainingOptions(max_samples=MAX_SAMPLES, precision=precision),
        )
        steps = finite_outputs([bands.load(index).data for index in range(len(bands))])
        if getattr(X, "ndim", 1) > 1:
            return np.stack(steps)
        names = self.get_feature_names_out().tolist()
        # A hop is a whole number of samples: bands.rates are its lengths relative to hop_s.
        rates = None if self.sfreq_ is None else 1.0 / (bands.rates * self.bank_.hop_s)
        return Signals(steps, sfreq=rates, ch_names=names)

    def _names(self, channels: list[str]) -> NDArray[np.object_]:
        unit = "Hz" if self.sfreq_ is not None else "cycles per sample"
        parts = [" real", " imaginary"] if self.output == "linear" else [""]
        frequencies = self.bank_.frequencies_hz.tolist()
        names = [f"{channel} {f:.6g} {unit}{part}" for channel in channels for part in parts for f in frequencies]
        return np.array(names, dtype=object)

    def _build(self) -> nn.FilterBank:
        sfreq = self.sfreq_ or 1.0
        highest = min(SPEECH_HZ, 0.475 * sfreq) if isinstance(self.highest_hz, str) else self.highest_hz
        lowest = self.lowest_hz
        if isinstance(lowest, str):
            lowest = min(highest, LOWEST_HZ if sfreq >= AUDIO_SFREQ else sfreq / 128.0)
        hop_s = max(_HOP_S, 1.0 / sfreq) if isinstance(self.hop_s, str) else self.hop_s
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        frequencies, bandwidths = nn.space_bands(
            self.spacing, self.n_bands, lowest, highest, order=self.order, seed=seed
        )
        return nn.FilterBank(
            frequencies_hz=frequencies,
            bandwidths_hz=bandwidths,
            sfreq=sfreq,
            hop_s=hop_s,
            order=self.order,
            output=self.output,
            smooth_s=self.smooth_s,
        )

    def _check_durations(self, signals: Signals) -> None:
        rates = np.nan_to_num(signals.sfreqs, nan=self.sfreq_ or 1.0)
        lengths = grid_lengths(signals, self.sfreq_)
        # Tolerance of half a sample: a hop is a whole number of samples.
        short = np.flatnonzero(lengths + 0.5 < self.bank_.hop_s * rates)
        if len(short):
            unit = "s" if self.sfreq_ is not None else "samples"
            duration = lengths[short[0]] / rates[short[0]]
            raise ValueError(
                f"hop_s={self.bank_.hop_s:g} {unit} is longer than case {short[0]}, which lasts {duration:g} {unit}; "
                "lower hop_s or leave the case out."
            )
