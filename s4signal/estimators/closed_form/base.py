"""What the instant classifier and regressor share: frozen features, and a ridge regression on them."""

from __future__ import annotations

import time
from functools import partial
from itertools import compress
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from s4signal.estimators.closed_form.persistence import pack_instant, unpack_instant
from s4signal.estimators.closed_form.regular import fill_signals, regular_signals
from s4signal.estimators.closed_form.streaming import InstantStream
from s4signal.estimators.closed_form.transformer import S4RandomFeatures
from s4signal.estimators.model_file import read_model, write_model
from s4signal.estimators.parameters import check_instant_options
from s4signal.estimators.survey import relative_periods
from s4signal.estimators.units import readable_units
from s4signal.estimators.validation import check_rate, check_weights
from s4signal.random_features.ridge import FAMILIES, Ridge, fit_ridge
from s4signal.random_features.ridge_sums import RidgeSums
from s4signal.signals import Signals

__all__ = ["InstantEstimator"]

_OCTAVES = 2
_FEATURE_OPTIONS = ("n_oscillators", "orders", "n_mixes", "n_windows", "precision")


class InstantEstimator(BaseEstimator):  # type: ignore[misc]
    """Base of the estimators in closed form; see `S4RidgeClassifier` for the parameters.

    A subclass says what its targets are, by `SignalClassifierMixin` or `SignalRegressorMixin`.
    """

    _learned: ClassVar[tuple[str, ...]] = ()  # attributes that a file keeps beside those of every estimator
    features_: S4RandomFeatures
    ridge_: Ridge
    _timed: bool
    _sums: RidgeSums | None = None

    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, times: Any = None) -> Self:
        """Draw the oscillators and solve the regression.

        Parameters
        ----------
        X : array-like, mne.Epochs or Signals
            Cases: (n_samples, n_times), (n_samples, n_channels, n_times), a list of (n_channels, n_times_i), epochs,
            or `Signals`.
        y : array-like (n_samples,)
            Targets; the regressor takes (n_samples, n_outputs) too.
        sample_weight : array-like (n_samples,), optional
            Weight of each case: 2 is the case twice, 0 is the case left out.
        times : list of array-like (n_times_i,), optional
            Seconds of every sample, where X does not carry them; the cases are then put on a grid.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        ValueError
            If an option, a signal or a target cannot be used; `ShapeError` and `RecordingError` are such errors.
        """
        started = time.perf_counter()
        check_instant_options(self)
        signals, recorded, targets, weights = self._training_data(X, y, sample_weight, times, None, reset=True)
        self._sums = None
        self._solve(signals, recorded, targets, weights)
        self.fit_seconds_ = time.perf_counter() - started
        return self

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, *, classes: Any = None, times: Any = None) -> Self:
        """Fit on cases that come in batches, each of which is read once.

        Oscillators and families of features are those that the first batch asks for; the coefficients are those of
        all batches together, and so are the penalty and the scale of probabilities up to a thousand cases. `fit` and
        files keep no sums to add to: after them, `partial_fit` begins anew.

        Parameters
        ----------
        X : array-like, mne.Epochs or Signals
            Cases, as `fit` takes them; the first batch shows what the others are like.
        y : array-like (n_samples,)
            Targets; the regressor takes (n_samples, n_outputs) too.
        sample_weight : array-like (n_samples,), optional
            Weights of the cases.
        classes : array-like, optional
            All labels that will ever come to a classifier, at its first call; by default those of that call.
        times : list of array-like (n_times_i,), optional
            Seconds of every sample, where X does not carry them.

        Returns
        -------
        self
            The estimator.

        Raises
        ------
        ValueError
            As `fit`; if the rate is another than that of the first batch.
        """
        started = time.perf_counter()
        check_instant_options(self)
        first = self._sums is None
        signals, recorded, targets, weights = self._training_data(X, y, sample_weight, times, classes, reset=first)
        if first:
            families = self._solve(signals, recorded, targets, weights)
            self._sums = RidgeSums(self.ridge_)
            self.fit_seconds_ = 0.0
        else:
            if not np.allclose(relative_periods(signals, self.sfreq_), 1.0):
                raise ValueError(f"X must have {self.sfreq_:g} Hz, as the first batch; use Signals.resample.")
            families = list(self.features_._families(signals, recorded))
        assert self._sums is not None  # noqa: S101 - seen above
        self._sums.add(np.concatenate(families, axis=1), self._scaled_targets(targets, weights, reset=False), weights)
        if not first:
            self.ridge_ = self._sums.solve(self._subsets())
            if self._sums.chooses:
                self._finish_fit(self._sums.targets, self._sums.weights)
        self.fit_seconds_ += time.perf_counter() - started
        return self

    def describe(self) -> str:
        """Say what the model covers: oscillators, band in Hz, memory in seconds, which families of features decide.

        Returns
        -------
        str
            A few lines to print.
        """
        check_is_fitted(self, "ridge_")
        f, decays = self.features_.frequencies_, self.features_.decays_
        drawn = f[: len(self.features_.statistics_.hops)]
        low, units = (drawn == 0).sum(), readable_units(self.sfreq_, float(f.max()))
        return "\n".join(
            [
                f"{type(self).__name__}: {self.n_channels_in_} channels, {len(self.ridge_.mean):,} features",
                f"  sampling rate  {units.rate(self.sfreq_)}",
                f"  oscillators    {len(drawn)} of orders {self.features_.orders}, {low} of them low-passes",
                f"  band           {units.band(f[f > 0].min(initial=np.inf), f.max())}",
                f"  memory         {units.memory(decays.min(), decays.max())}",
                f"  decided by     {', '.join(compress(FAMILIES, self.ridge_.used))}",
            ]
        )

    def stream(self, *, sfreq: float | None = None) -> InstantStream:
        """Predict while the signal arrives.

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
            If the estimator is not fitted.
        ValueError
            If sfreq is given and the model was fitted without one, or is not given and it was fitted with times.
        """
        check_is_fitted(self, "ridge_")

        def finish(features: NDArray[np.float64], rate: float) -> NDArray[np.float64]:
            return np.asarray(self._finish(self._scores(features, np.array([rate]))))

        return InstantStream(self.features_, finish, sfreq=sfreq)

    def save(self, path: Any) -> None:
        """Write the fitted estimator to one safetensors file, without pickle.

        Parameters
        ----------
        path : path
            The file, by custom ``*.s4``.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If a parameter has no plain form.
        """
        check_is_fitted(self, "ridge_")
        write_model(path, *pack_instant(self))

    @classmethod
    def load(cls, path: Any) -> Self:
        """Read an estimator that `save` wrote; nothing the file contains is executed.

        Parameters
        ----------
        path : path
            The file.

        Returns
        -------
        estimator
            As it was.

        Raises
        ------
        ModelFileError
            If the file is not such a file, is damaged, or holds another estimator.
        """
        estimator: Self = read_model(path, partial(unpack_instant, cls))
        return estimator

    def _training_data(
        self, X: Any, y: Any, sample_weight: Any, times: Any, classes: Any, *, reset: bool
    ) -> tuple[Signals, Signals, NDArray[np.float64], NDArray[np.float64]]:
        """Return the cases of positive weight, regular and as they were recorded, their targets and weights."""
        signals, recorded = regular_signals(self, X, sfreq=self.sfreq, times=times, reset=reset)
        targets = self._encode_targets(y, signals, classes=classes, reset=reset)
        weights = check_weights(sample_weight, signals, class_weights=self._case_weights(targets))
        signals = fill_signals(signals)
        used = np.flatnonzero(weights > 0)
        if reset:
            self.sfreq_ = signals.sfreq
        return signals[used], recorded[used], targets[used], weights[used]

    def _solve(
        self, signals: Signals, recorded: Signals, targets: NDArray[np.float64], weights: NDArray[np.float64]
    ) -> list[NDArray[np.floating]]:
        """Draw, describe and fit; return the features by family."""
        rng = check_random_state(self.random_state)
        options = {name: getattr(self, name) for name in _FEATURE_OPTIONS}
        self.features_ = S4RandomFeatures(**options, random_state=int(rng.randint(2**31 - 1)))
        families = self.features_._fit_families(signals, weights, recorded)
        self.features_._timed = self._timed
        scaled = self._scaled_targets(targets, weights, reset=True)
        self.ridge_ = fit_ridge(families, scaled, weights, rng, subsets=self._subsets())
        self._finish_fit(targets, weights)
        return families

    def _subsets(self) -> list[NDArray[np.bool_]]:
        """Which features are there at half the rate, and at half of that."""
        return [self.features_._audible(2.0**i) for i in range(1, self._octaves() + 1)]

    def _outputs(self, X: Any, sfreq: float | None, times: Any) -> NDArray[np.float64]:
        """Return the outputs of the regression (n_samples, n_outputs)."""
        check_is_fitted(self, "ridge_")
        check_rate(self, sfreq)
        signals, recorded = regular_signals(self, X, sfreq=sfreq, times=times)
        families = self.features_._families(signals, recorded, wanted=self.ridge_.used)
        features = np.concatenate(families, axis=1)
        return self._scores(features, relative_periods(signals, self.sfreq_))

    def _scores(self, features: NDArray[np.floating], periods: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the outputs for features of cases with these periods, over that of the training."""
        octaves = np.ceil(np.log2(periods) - 1e-6)
        return self.ridge_.predict(features, np.clip(octaves, 0, self._octaves()).astype(np.int64))

    def _octaves(self) -> int:
        """How many halvings of the sampling rate have coefficients of their own."""
        return 0 if self.sfreq_ is None else _OCTAVES

    def _scaled_targets(
        self, targets: NDArray[np.float64], weights: NDArray[np.float64], *, reset: bool
    ) -> NDArray[np.float64]:
        return targets

    def _finish_fit(self, targets: NDArray[np.float64], weights: NDArray[np.float64]) -> None:
        """Learn what comes after the regression."""

    def __sklearn_tags__(self) -> Any:
        """Say to scikit-learn what the estimator takes."""
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = True
        tags.non_deterministic = False
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        """Say to scikit-learn whether there are coefficients."""
        return hasattr(self, "ridge_")
