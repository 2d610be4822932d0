"""Instant and trained models together: the mean of their probabilities."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils.validation import check_is_fitted

from s4signal.estimators.classifier import S4Classifier
from s4signal.estimators.instant import S4RidgeClassifier

__all__ = ["S4Ensemble"]


class S4Ensemble(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Classify signals by the mean of what several classifiers hold likely.

    Parameters
    ----------
    estimators : list of classifiers, optional
        Any that have ``predict_proba``; by default `S4RidgeClassifier` and `S4Classifier`.
    weights : array-like (n_estimators,), optional
        Weights of the classifiers, one each by default.
    sfreq : float, optional
        Sampling rate of X in Hz, for the default classifiers.
    random_state : int, RandomState or None, default=None
        Seed of the default classifiers.

    Attributes
    ----------
    n_features_in_ : int
        Columns of a 2-D X, channels of any other.
    classes_ : ndarray (n_classes,)
        Labels, sorted.
    estimators_ : list of classifiers
        Fitted.

    References
    ----------
    Kittler, Hatef, Duin, Matas, "On Combining Classifiers", IEEE Transactions on Pattern Analysis and Machine
    Intelligence 20, 1998, doi:10.1109/34.667881 (the sum rule).

    Examples
    --------
    >>> import numpy as np
    >>> from s4signal.estimators import S4Ensemble, S4RidgeClassifier
    >>> rng = np.random.default_rng(0)
    >>> y = ["slow", "fast"] * 10
    >>> X = np.stack([np.sin(np.linspace(0, turns * 6.28, 100)) for turns in (3, 9)] * 10)
    >>> X += 0.3 * rng.standard_normal((20, 100))
    >>> model = S4Ensemble([S4RidgeClassifier(random_state=seed) for seed in range(3)]).fit(X, y)
    >>> model.predict(X[:2]).tolist()
    ['slow', 'fast']
    """

    def __init__(
        self, estimators: Any = None, *, weights: Any = None, sfreq: float | None = None, random_state: Any = None
    ) -> None:
        self.estimators = estimators
        self.weights = weights
        self.sfreq = sfreq
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, times: Any = None) -> Self:
        """Fit every classifier on all cases.

        Parameters
        ----------
        X : array-like, mne.Epochs or Signals
            Cases; every classifier gets them as they are.
        y : array-like (n_samples,)
            Labels.
        sample_weight : array-like (n_samples,), optional
            Weights of the cases.
        times : list of array-like (n_times_i,), optional
            Seconds of every sample, where X does not carry them.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        ValueError
            If a classifier has no ``predict_proba``, the weights do not fit, or as the classifiers say.
        """
        members = self._members()
        _check_weights(self.weights, len(members))
        given = _given(sample_weight=sample_weight, times=times)
        self.estimators_ = [clone(member).fit(X, y, **given) for member in members]
        self.classes_ = self.estimators_[0].classes_
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(self.estimators_[0], name):
                setattr(self, name, getattr(self.estimators_[0], name))
        return self

    def predict_proba(self, X: Any, *, sfreq: float | None = None, times: Any = None) -> NDArray[np.float64]:
        """Predict the probabilities of the classes.

        Parameters
        ----------
        X : array-like, mne.Epochs or Signals
            Cases, as `fit` takes them.
        sfreq : float, optional
            Sampling rate of X, in Hz.
        times : list of array-like (n_times_i,), optional
            Seconds of every sample, where X does not carry them.

        Returns
        -------
        ndarray (n_samples, n_classes)
            Rows sum to one.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            As the classifiers say.
        """
        check_is_fitted(self, "estimators_")
        given = _given(sfreq=sfreq, times=times)
        votes = [member.predict_proba(X, **given) for member in self.estimators_]
        return np.asarray(np.average(votes, axis=0, weights=self.weights))

    def predict(self, X: Any, *, sfreq: float | None = None, times: Any = None) -> NDArray[Any]:
        """Predict the labels of cases.

        Parameters
        ----------
        X : array-like, mne.Epochs or Signals
            Cases, as `fit` takes them.
        sfreq : float, optional
            Sampling rate of X, in Hz.
        times : list of array-like (n_times_i,), optional
            Seconds of every sample, where X does not carry them.

        Returns
        -------
        ndarray (n_samples,)
            Labels, of the dtype they came in.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            As the classifiers say.
        """
        labels: NDArray[Any] = self.predict_proba(X, sfreq=sfreq, times=times).argmax(1)
        return np.asarray(self.classes_[labels])

    def _members(self) -> list[Any]:
        if self.estimators is None:
            options = {"sfreq": self.sfreq, "random_state": self.random_state}
            return [S4RidgeClassifier(**options), S4Classifier(**options)]
        members = list(self.estimators)
        if not members:
            raise ValueError("estimators is empty; give one classifier at least, or None for the default ones.")
        for member in members:
            if not hasattr(member, "predict_proba"):
                raise ValueError(
                    f"estimators holds {member!r}, which has no predict_proba; give classifiers that have it."
                )
        return members

    def __sklearn_tags__(self) -> Any:
        """Say to scikit-learn what the estimator takes."""
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = True
        return tags


def _given(**options: Any) -> dict[str, Any]:
    """Only what was given: other classifiers need not know the rest."""
    return {name: value for name, value in options.items() if value is not None}


def _check_weights(weights: Any, n: int) -> None:
    if weights is None:
        return
    values = np.asarray(weights, dtype=np.float64)
    if values.shape != (n,) or not (values >= 0).all() or not 0 < values.sum() < np.inf:
        raise ValueError(f"weights={weights!r} must be {n} numbers >= 0, one a classifier and not all zero.")
