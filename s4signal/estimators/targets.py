"""What every regressor of signals does with targets: from their units to a scale of one, and back."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score

from s4signal.estimators.validation import check_targets
from s4signal.signals import Signals

__all__ = ["SignalRegressorMixin"]


class SignalRegressorMixin(RegressorMixin):  # type: ignore[misc]
    """Targets of a regressor whose ``_outputs`` are standardised."""

    _learned: ClassVar[tuple[str, ...]] = ("_flat", "_target_mean", "_target_scale")

    def predict(self, X: Any, *, sfreq: float | None = None, times: Any = None) -> NDArray[np.float64]:
        """Predict the targets of cases.

        Parameters
        ----------
        X : array-like, mne.Epochs or Signals
            Cases, as `fit` takes them.
        sfreq : float, optional
            Sampling rate of X, in Hz; another one than at training rescales the model, and low-passes nothing.
        times : list of array-like (n_times_i,), optional
            Seconds of every sample, one array a case, where X does not carry them.

        Returns
        -------
        ndarray (n_samples,) or (n_samples, n_outputs)
            Targets, in their own units.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If X has other channels, infinity, a case without an observation or one whose times cannot be used, or has
            no times where the model was fitted with them.
        """
        targets = self._finish(self._outputs(X, sfreq, times))
        return targets[:, 0] if self._flat else targets

    def score(self, X: Any, y: Any, sample_weight: Any = None, *, times: Any = None) -> float:
        """Return the coefficient of determination.

        Parameters
        ----------
        X : array-like, mne.Epochs or Signals
            Cases, as `fit` takes them.
        y : array-like (n_samples,) or (n_samples, n_outputs)
            Targets.
        sample_weight : array-like (n_samples,), optional
            Weights of the cases.
        times : list of array-like (n_times_i,), optional
            Seconds of every sample, one array a case, where X does not carry them.

        Returns
        -------
        float
            At most 1.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            As `predict`.
        """
        return float(r2_score(y, self.predict(X, times=times), sample_weight=sample_weight))

    def _encode_targets(self, y: Any, signals: Signals, *, classes: Any, reset: bool) -> NDArray[np.float64]:
        """Return targets (n_samples, n_outputs), in their own units."""
        targets = check_targets(y, signals)
        if reset:
            self._flat = targets.ndim == 1
        return targets.reshape(len(targets), -1)

    def _case_weights(self, targets: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.ones(len(targets))

    def _measure_targets(self, targets: NDArray[np.float64], weights: NDArray[np.float64]) -> None:
        """Note mean and spread of the training targets."""
        self._target_mean = np.average(targets, axis=0, weights=weights)
        spread = np.sqrt(np.average((targets - self._target_mean) ** 2, axis=0, weights=weights))
        self._target_scale = np.where(spread > 1e-12 * np.abs(self._target_mean), spread, 1.0)

    def _standardised(self, targets: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray((targets - self._target_mean) / self._target_scale)

    def _finish(self, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(outputs * self._target_scale + self._target_mean)

    def __sklearn_tags__(self) -> Any:
        """Say to scikit-learn what the estimator takes."""
        tags = super().__sklearn_tags__()
        tags.target_tags.single_output = True
        tags.target_tags.multi_output = True
        return tags
