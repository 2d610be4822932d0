"""What every classifier does with labels, and every regressor with targets."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.class_weight import compute_sample_weight

from s4signal.errors import ModelFileError
from s4signal.estimators.model_file import State, array_from_plain
from s4signal.estimators.validation import check_labels, check_targets, finite_outputs
from s4signal.signals import Signals


class SignalClassifierMixin(ClassifierMixin):  # type: ignore[misc]
    """Labels of a classifier that has ``class_weight``, and whose ``_outputs`` are the logits of the classes."""

    classes_: NDArray[Any]

    def predict(self, X: Any, *, sfreq: float | None = None, times: Any = None) -> NDArray[Any]:
        """Predict the labels of cases.

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
        ndarray (n_samples,)
            Labels, of the dtype they came in.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If X has other channels, infinity, a case without an observation, or times that cannot be used.
        """
        outputs = finite_outputs(self._outputs(X, sfreq, times))
        labels: NDArray[Any] = self.classes_[outputs.argmax(1)]
        return labels

    def predict_proba(self, X: Any, *, sfreq: float | None = None, times: Any = None) -> NDArray[np.float64]:
        """Predict the probabilities of the classes.

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
        ndarray (n_samples, n_classes)
            Rows sum to one.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If X has other channels, infinity, a case without an observation, or times that cannot be used.
        """
        return self._finish(finite_outputs(self._outputs(X, sfreq, times)))

    def predict_log_proba(self, X: Any, *, sfreq: float | None = None, times: Any = None) -> NDArray[np.float64]:
        """Predict the logarithms of the probabilities.

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
        ndarray (n_samples, n_classes)
            Natural logarithms.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If X has other channels, infinity, a case without an observation, or times that cannot be used.
        """
        return np.asarray(log_softmax(finite_outputs(self._outputs(X, sfreq, times)), axis=1))

    def decision_function(self, X: Any, *, sfreq: float | None = None, times: Any = None) -> NDArray[np.float64]:
        """Return the logits.

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
        ndarray (n_samples, n_classes), or (n_samples,) for two classes
            Logits; for two classes their difference, positive for ``classes_[1]``.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If X has other channels, infinity, a case without an observation, or times that cannot be used.
        """
        outputs: NDArray[np.float64] = finite_outputs(self._outputs(X, sfreq, times))
        return outputs[:, 1] - outputs[:, 0] if outputs.shape[1] == 2 else outputs

    def score(self, X: Any, y: Any, sample_weight: Any = None, *, times: Any = None) -> float:
        """Return the accuracy.

        Parameters
        ----------
        X : array-like, mne.Epochs or Signals
            Cases, as `fit` takes them.
        y : array-like (n_samples,)
            Labels.
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
        return float(accuracy_score(y, self.predict(X, times=times), sample_weight=sample_weight))

    def _encode_targets(self, y: Any, signals: Signals, *, classes: Any, reset: bool) -> NDArray[Any]:
        """Return the position of each label in ``classes_``, (n_samples,)."""
        if reset and classes is None:
            self.classes_, indices = check_labels(y, signals)
            return indices
        if reset:
            self.classes_ = np.unique(classes)
        elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ValueError(f"classes={list(classes)} differ from those of the first call, {self.classes_.tolist()}.")
        return check_labels(y, signals, classes=self.classes_)[1]

    def _case_weights(self, targets: NDArray[Any]) -> NDArray[np.float64]:
        if self.class_weight is None:
            return np.ones(len(targets))
        return np.asarray(compute_sample_weight(self.class_weight, self.classes_[targets]), dtype=np.float64)

    def _targets_state(self) -> State:
        return State({"classes": self.classes_}, {})

    def _restore_targets(self, state: State, *, n_outputs: int) -> None:
        classes = array_from_plain(state.value("classes", dict))
        if not 2 <= len(classes) == n_outputs or not (classes[:-1] < classes[1:]).all():
            raise ModelFileError(f"classes must be {n_outputs} labels in ascending order, got {classes.tolist()[:20]}.")
        self.classes_ = classes

    @staticmethod
    def _finish(outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(softmax(outputs, axis=1))


class SignalRegressorMixin(RegressorMixin):  # type: ignore[misc]
    """Targets of a regressor whose ``_outputs`` are standardised."""

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
            If X has other channels, infinity, a case without an observation, or times that cannot be used.
        """
        targets = self._finish(finite_outputs(self._outputs(X, sfreq, times)))
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
            raise ModelFileError(f"targets of one dimension have one output, not {n_outputs}.")
        self._target_mean = state.array("mean", n_outputs)
        self._target_scale = state.array("scale", n_outputs, positive=True)

    def _finish(self, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(outputs * self._target_scale + self._target_mean)

    def __sklearn_tags__(self) -> Any:
        """Say to scikit-learn what the estimator takes."""
        tags = super().__sklearn_tags__()
        tags.target_tags.single_output = True
        tags.target_tags.multi_output = True
        return tags
