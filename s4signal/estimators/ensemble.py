"""Instant and trained models together: the mean of their probabilities."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.metrics import accuracy_score
from sklearn.utils.validation import check_is_fitted

from s4signal.estimators.classifier import S4Classifier
from s4signal.estimators.ensemble_persistence import pack_ensemble, unpack_ensemble
from s4signal.estimators.instant import S4RidgeClassifier
from s4signal.estimators.model_file import read_model, write_model

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
            If a classifier has no ``predict_proba``, or takes no weights or times where they are given, the weights of
            the classifiers do not fit, or as the classifiers say.
        """
        members = self._members()
        self._check_weights(len(members))
        given = {"sample_weight": sample_weight, "times": times}
        options = [_accepted(member, "fit", given) for member in members]
        self.estimators_ = [clone(member).fit(X, y, **own) for member, own in zip(members, options, strict=True)]
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
            If a classifier takes no rate or times where they are given, or as the classifiers say.
        """
        check_is_fitted(self, "estimators_")
        given = {"sfreq": sfreq, "times": times}
        options = [_accepted(member, "predict_proba", given) for member in self.estimators_]
        votes = [member.predict_proba(X, **own) for member, own in zip(self.estimators_, options, strict=True)]
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
            As `predict_proba`.
        """
        labels: NDArray[Any] = self.predict_proba(X, sfreq=sfreq, times=times).argmax(1)
        return np.asarray(self.classes_[labels])

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
            Seconds of every sample, where X does not carry them.

        Returns
        -------
        float
            At most 1.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            As `predict_proba`.
        """
        return float(accuracy_score(y, self.predict(X, times=times), sample_weight=sample_weight))

    def save(self, path: Any) -> None:
        """Write the fitted ensemble, with its members, to one safetensors file, without pickle.

        Parameters
        ----------
        path : path
            The file, by custom ``*.s4``.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If a member is neither `S4Classifier` nor `S4RidgeClassifier`, or a parameter has no plain form.
        """
        check_is_fitted(self, "estimators_")
        write_model(path, *pack_ensemble(self))

    @classmethod
    def load(cls, path: Any) -> Self:
        """Read an ensemble that `save` wrote; nothing the file contains is executed.

        Parameters
        ----------
        path : path
            The file.

        Returns
        -------
        ensemble
            On the CPU.

        Raises
        ------
        ModelFileError
            If the file is not such a file, is damaged, or holds another estimator.
        """
        ensemble: Self = read_model(path, partial(unpack_ensemble, cls))
        return ensemble

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

    def _check_weights(self, n: int) -> None:
        if self.weights is None:
            return
        values = np.asarray(self.weights, dtype=np.float64)
        if values.shape != (n,) or not (values >= 0).all() or not 0 < values.sum() < np.inf:
            raise ValueError(f"weights={self.weights!r} must be {n} numbers >= 0, one a classifier and not all zero.")

    def __sklearn_tags__(self) -> Any:
        """Say to scikit-learn what the estimator takes."""
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = True
        return tags


def _accepted(member: Any, method: str, options: dict[str, Any]) -> dict[str, Any]:
    """Only what was given: other classifiers need not know the rest. What is given changes answers: none is dropped."""
    given = {name: value for name, value in options.items() if value is not None}
    known = inspect.signature(getattr(member, method)).parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values()):
        for name in given.keys() - known.keys():
            raise ValueError(
                f"{name} is given, but estimators holds {member!r}, whose {method} takes none; leave {name} out, or "
                "let X carry it, as Signals do times and rates."
            )
    return given
