"""What every classifier of signals does with labels: from them to numbers, and from logits back to them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils.class_weight import compute_sample_weight

from s4signal.estimators.validation import check_labels
from s4signal.signals import Signals

__all__ = ["SignalClassifierMixin"]


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
            If X has other channels, infinity, a case without an observation or one whose times cannot be used, or has
            no times where the model was fitted with them.
        """
        outputs = self._outputs(X, sfreq, times)
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
            If X has other channels, infinity, a case without an observation or one whose times cannot be used, or has
            no times where the model was fitted with them.
        """
        return self._finish(self._outputs(X, sfreq, times))

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
            If X has other channels, infinity, a case without an observation or one whose times cannot be used, or has
            no times where the model was fitted with them.
        """
        return np.asarray(log_softmax(self._outputs(X, sfreq, times), axis=1))

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
            If X has other channels, infinity, a case without an observation or one whose times cannot be used, or has
            no times where the model was fitted with them.
        """
        outputs: NDArray[np.float64] = self._outputs(X, sfreq, times)
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

    @staticmethod
    def _finish(outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(softmax(outputs, axis=1))
