"""Predictions of all estimators, and targets of regressors."""

import inspect
import re
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score

from s4signal.errors import ModelFileError
from s4signal.estimators.leakage import Spans, warn_of_overlap
from s4signal.estimators.model_file import State
from s4signal.estimators.validation import check_targets, finite_outputs
from s4signal.signals import Signals
from s4signal.signals.mne_objects import is_epochs


class PredictionMixin:
    """Predictions from ``_outputs``, and the score."""

    _metric: ClassVar[Callable[..., float]]
    _predicted: Callable[[NDArray[np.float64]], NDArray[Any]]
    _outputs: Callable[..., NDArray[np.float64]]  # (X, sfreq, times) -> (n_samples, n_outputs)
    _trained_on: Spans = MappingProxyType({})  # not saved: a loaded model has no record of its training cases

    def predict(self, X: Any, *, sfreq: float | None = None, times: Any = None) -> NDArray[Any]:
        """Predict the labels or the targets of cases.

        Parameters
        ----------
        X : array-like, mne.Epochs or Signals
            Cases, as `fit` takes them.
        sfreq : float, optional
            Sampling rate of X, in Hz; another rate than at training rescales the model, without a low-pass filter on X.
        times : list of array-like (n_times_i,), optional
            Time of every sample in seconds, one array per case, if X does not carry times.

        Returns
        -------
        ndarray (n_samples,), of a regressor also (n_samples, n_outputs), of tags (n_samples, n_tags)
            Labels in their original dtype; tags, 0 or 1; or targets in their original units.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If X has other channels or infinite values, or if a case has no observation or invalid times.
        """
        return self._predicted(self._finite_outputs(X, sfreq, times))

    def score(self, X: Any, y: Any, sample_weight: Any = None, *, times: Any = None) -> float:
        """Return the accuracy of a classifier (for tags the subset accuracy) or the R² of a regressor.

        Parameters
        ----------
        X : as `predict` takes it
            Cases.
        y : as `fit` takes it
            Labels, tags or targets.
        sample_weight : array-like (n_samples,), optional
            Weights of the cases.
        times : as `predict` takes them
            Time of every sample in seconds.
        """
        return float(self._metric(y, self.predict(X, times=times), sample_weight=sample_weight))

    def _finite_outputs(self, X: Any, sfreq: float | None, times: Any) -> NDArray[np.float64]:
        if is_epochs(X[0] if isinstance(X, list) and X else X):  # epochs carry their position in the recording
            X = Signals(X)
        outputs = finite_outputs(self._outputs(X, sfreq, times))
        warn_of_overlap(X, self._trained_on)
        return outputs


class SignalRegressorMixin(PredictionMixin, RegressorMixin):  # type: ignore[misc]
    """Targets of a regressor with standardised ``_outputs``."""

    _metric = staticmethod(r2_score)

    def _predicted(self, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        targets = self._finish(outputs)
        return targets[:, 0] if self._flat else targets

    def _encode_targets(self, y: Any, signals: Signals, *, classes: Any, reset: bool) -> NDArray[np.float64]:
        """Return targets (n_samples, n_outputs), in their original units."""
        targets = check_targets(y, signals)
        if reset:
            self._flat = targets.ndim == 1
        return targets.reshape(len(targets), -1)

    def _case_weights(self, targets: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.ones(len(targets))

    def _measure_targets(self, targets: NDArray[np.float64], weights: NDArray[np.float64]) -> None:
        """Store the mean and spread of the training targets."""
        unit = np.abs(targets).max(axis=0)
        unit[unit == 0] = 1.0
        mean = np.average(targets / unit, axis=0, weights=weights)
        spread = unit * np.sqrt(np.average((targets / unit - mean) ** 2, axis=0, weights=weights))
        self._target_mean = unit * mean
        self._target_scale = np.where(spread > 1e-12 * np.abs(self._target_mean), spread, 1.0)

    def _standardised(self, targets: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray((targets - self._target_mean) / self._target_scale)

    def _targets_state(self) -> State:
        return State({"flat": self._flat}, {"mean": self._target_mean, "scale": self._target_scale})

    def _restore_targets(self, state: State, *, n_outputs: int) -> None:
        self._flat = state.value("flat", bool)
        if self._flat and n_outputs != 1:
            raise ModelFileError(f"one-dimensional targets have one output, not {n_outputs}.")
        self._target_mean = state.array("mean", n_outputs)
        self._target_scale = state.array("scale", n_outputs, positive=True)

    def _finish(self, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(outputs * self._target_scale + self._target_mean)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def describe_regressor(kind: type, classifier: type, **changed: str) -> None:
    """Insert parameters, attributes and references of the classifier before the example of a regressor.

    ``changed`` are entries with a text of their own, by name; "" removes an entry.
    """
    own, shared = inspect.getdoc(kind) or "", inspect.getdoc(classifier) or ""
    sections = shared[shared.index("Parameters\n") : shared.index("Examples\n")]
    for name, text in changed.items():
        sections = re.sub(rf"^{name} : .*\n( .*\n)+", text, sections, flags=re.MULTILINE)
    kind.__doc__ = own.replace("Examples\n", f"{sections}Examples\n")
