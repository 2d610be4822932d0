"""Frozen random oscillators and their pooled statistics, as a transformer."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import TransformerMixin
from sklearn.utils import check_random_state

from s4signal.estimators.base import NamedFeaturesMixin, SignalEstimator
from s4signal.estimators.closed_form.feature_names import feature_names
from s4signal.estimators.features.drawing import draw_feature_map
from s4signal.estimators.features.feature_map import FeatureMap
from s4signal.estimators.features.recordings import prepare_recordings
from s4signal.estimators.features.streaming import FeatureStream, stream_period
from s4signal.estimators.parameters import check_closed_form_options
from s4signal.estimators.streams import StreamMixin
from s4signal.estimators.validation import check_rate, check_weights


class S4RandomFeatures(StreamMixin, NamedFeaturesMixin, TransformerMixin, SignalEstimator):  # type: ignore[misc]
    r"""Extract features with frozen random state-space oscillators and pooled statistics of their outputs.

    As in ROCKET, only scales and thresholds are learned. The features are exact at any sampling rate.

    Parameters
    ----------
    n_oscillators, orders, n_spatial_filters, n_windows, band_hz, sfreq : as `S4RidgeClassifier` takes them
        Parameters of the random draw and of pooling, and the sampling rate in Hz of an X that does not carry one.
    precision : {"32", "64"}, default="32"
        Precision of the arithmetic; with "64" the features of a case depend on its batch by no more than 1e-9.
    random_state : int, RandomState or None, default=None
        Seed.

    Attributes
    ----------
    n_features_in_, n_channels_in_, ch_names_, sfreq_ : as those of `S4RidgeClassifier`
        Channels and their names, and the sampling rate in Hz.
    frequencies_, time_constants_ : ndarray (n_oscillators,), for several channels (n_oscillators + n_bands + n_lines,)
        Centre frequencies in Hz and time constants in seconds; in cycles per sample and samples if no rate is known.
    oscillators_ : ndarray (n_features,)
        Index of the oscillator of each feature (the highest frequency of a combination); -1 for observation summaries.
    feature_map_ : FeatureMap
        Everything that was drawn and fitted.

    Notes
    -----
    Channels are standardised with statistics of the training cases. Oscillator i has the frequency :math:`f_i`, the
    bandwidth :math:`b_i` and the impulse response :math:`h_i(t) \propto t^{m-1} e^{2 \pi (i f_i - b_i) t}` of order m.
    Spatial filters :math:`v_{ij}` weight the channels: :math:`z_{ij} = h_i * (v_{ij}^T x)`. Let u be the real and
    imaginary parts, and :math:`\langle\cdot\rangle` the mean over a case or one of its windows. The features are

    - means :math:`\langle u \rangle`, also per window for oscillators slower than a window;
    - PPV, the proportion of positive values :math:`\langle [u > \theta] \rangle`, with :math:`\theta` at a random
      normal quantile of the training frames and a soft edge of 0.1 standard deviations;
    - combinations: the PPV of random sums of the u of three filters, at four thresholds, over the whole case;
    - energies: :math:`\log \langle |z|^2 \rangle` for one channel; for several, the matrix logarithm of the covariance
      :math:`\mathrm{Re} \langle (h_i * x) (h_i * x)^* \rangle` of the channels or of 12 principal components;
    - narrow bands, for several channels: the same in up to 40 evenly spaced bands below the frequency that bounds 99 %
      of the power, minus half the mean of eight neighbours on either side;
    - spectral lines, for several channels: :math:`\mathrm{tr}(N^{-1} S) / C` for the covariance S in each of up to 320
      bands, as narrow as the shortest case allows, and N in the bands around it. These are the power of constant
      frequencies, such as flicker, relative to the noise around them, whatever the mixture of the channels;
    - observation summaries, if most values are missing: mean, recency-weighted mean, last value and number of
      observations per channel.

    Missing samples (NaN) are linearly interpolated, and a channel without observations takes its training mean. Cases
    with times are interpolated onto a grid in the same way.

    References
    ----------
    Dempster, Schmidt, Webb, "MiniRocket", KDD 2021, doi:10.1145/3447548.3467231 (random filters, PPV); Barachant,
    Bonnet, Congedo, Jutten, "Classification of covariance matrices using a Riemannian-based kernel for BCI
    applications", 2013, doi:10.1016/j.neucom.2012.12.039 (logarithms of covariances).

    Examples
    --------
    >>> import numpy as np
    >>> from s4signal.estimators import S4RandomFeatures
    >>> X = np.random.default_rng(0).standard_normal((5, 2, 100))
    >>> features = S4RandomFeatures(n_oscillators=8, sfreq=50, random_state=0)
    >>> features.fit_transform(X).shape
    (5, 1081)
    >>> features.transform(X[:, :, ::2], sfreq=25).shape
    (5, 1081)
    """

    feature_map_: FeatureMap

    def __init__(
        self,
        *,
        n_oscillators: str | int = "auto",
        orders: tuple[int, ...] = (1, 2),
        n_spatial_filters: int = 4,
        n_windows: int = 4,
        band_hz: tuple[float, float] | None = None,
        sfreq: float | None = None,
        precision: str = "32",
        random_state: Any = None,
    ) -> None:
        self.n_oscillators, self.orders = n_oscillators, orders
        self.n_spatial_filters, self.n_windows, self.band_hz = n_spatial_filters, n_windows, band_hz
        self.sfreq, self.precision, self.random_state = sfreq, precision, random_state

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, *, times: Any = None) -> Self:
        """Draw oscillators for the rate, duration and channels of X, and compute thresholds from their outputs.

        Parameters
        ----------
        X : array-like, mne.Epochs or Signals
            Cases, as `S4Classifier.fit` takes them.
        y : None
            Ignored.
        sample_weight : array-like (n_samples,), optional
            Weight of each case: weight 2 equals duplicating the case, weight 0 equals removing it.
        times : list of array-like (n_times_i,), optional
            Time of every sample in seconds, one array per case, if X does not carry times.

        Raises
        ------
        ValueError
            If an option or a signal is invalid; `ShapeError` and `RecordingError` are subclasses.
        """
        check_closed_form_options(self)
        with self._drafted() as draft:
            recordings = prepare_recordings(draft, X, sfreq=self.sfreq, times=times, reset=True)
            weights = check_weights(sample_weight, recordings.signals)
            drawn = draw_feature_map(self, recordings, weights, check_random_state(self.random_state))
            blocks = drawn.feature_map.blocks(drawn.calibration)
            draft.feature_map_ = drawn.feature_map.with_fill(blocks, drawn.calibration_weights)
            draft.sfreq_ = draft.feature_map_.sfreq
        return self

    def transform(self, X: Any, *, sfreq: float | None = None, times: Any = None) -> NDArray[np.floating]:
        """Compute the features of cases.

        Parameters
        ----------
        X : array-like, mne.Epochs or Signals
            Cases, as `fit` takes them.
        sfreq : float, optional
            Sampling rate of X, in Hz; the oscillators keep their frequencies in Hz at any rate. A feature whose
            frequency lies above the Nyquist frequency takes its training mean.
        times : as `fit` takes them
            Time of every sample in seconds.

        Returns
        -------
        ndarray (n_samples, n_features)
            Features, named by `get_feature_names_out`.

        Raises
        ------
        ValueError
            If X has other channels or infinite values, or if a case is all NaN or has invalid times.
        """
        check_rate(self, sfreq)
        features = self.feature_map_
        recordings = prepare_recordings(self, X, sfreq=sfreq, times=times, fitted=features)
        return features.filled(np.concatenate(list(features.blocks(recordings, warn=True).values()), axis=1))

    @property
    def frequencies_(self) -> NDArray[np.float64]:
        """Centre frequencies of the oscillators, in Hz."""
        return self.feature_map_.frequencies

    @property
    def time_constants_(self) -> NDArray[np.float64]:
        """Time constants of the oscillators, in seconds."""
        return self.feature_map_.time_constants

    @property
    def oscillators_(self) -> NDArray[np.intp]:
        """Index of the oscillator of each feature, (n_features,); -1 for observation summaries."""
        return self.feature_map_.owners

    def _names(self, channels: list[str]) -> NDArray[np.object_]:
        return feature_names(self.feature_map_, channels)

    def _open_stream(self, sfreq: float | None) -> FeatureStream:
        period = stream_period(self, self.feature_map_, sfreq)
        return FeatureStream(self.feature_map_, self.feature_map_.filled, period=period)
