"""Labels, tags (several of which may apply to a case) and probabilities of all classifiers."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.sparse import issparse
from scipy.special import expit, log_expit, log_softmax, softmax
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils import assert_all_finite, column_or_1d
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets

from s4signal.errors import ModelFileError, ShapeError
from s4signal.estimators.mixins import PredictionMixin
from s4signal.estimators.model_file import State, array_from_plain
from s4signal.estimators.segments import SegmentsMixin
from s4signal.estimators.validation import check_length, known_targets
from s4signal.signals import Signals


class SignalClassifierMixin(SegmentsMixin, PredictionMixin, ClassifierMixin):  # type: ignore[misc]
    """Labels of a classifier with ``class_weight``, whose ``_outputs`` are the logits of the classes."""

    _metric = staticmethod(accuracy_score)
    classes_: NDArray[Any]
    multilabel_: bool = False  # whether it was fitted with tags

    def predict_proba(self, X: Any, *, sfreq: float | None = None, times: Any = None) -> NDArray[np.float64]:
        """Predict the probabilities of the classes.

        Parameters
        ----------
        X, sfreq, times : as `predict` takes them
            Cases, their rate and their times.

        Returns
        -------
        ndarray (n_samples, n_classes)
            Probabilities; rows sum to one, except those of tags, where each value is the probability of one tag.
        """
        return self._finish(self._finite_outputs(X, sfreq, times))

    def predict_log_proba(self, X: Any, *, sfreq: float | None = None, times: Any = None) -> NDArray[np.float64]:
        """Predict the logarithms of the probabilities.

        Parameters
        ----------
        X, sfreq, times : as `predict` takes them
            Cases, their rate and their times.

        Returns
        -------
        ndarray (n_samples, n_classes)
            Natural logarithms.
        """
        outputs = self._finite_outputs(X, sfreq, times)
        return np.asarray(log_expit(outputs) if self.multilabel_ else log_softmax(outputs, axis=1))

    def decision_function(self, X: Any, *, sfreq: float | None = None, times: Any = None) -> NDArray[np.float64]:
        """Return the logits.

        Parameters
        ----------
        X, sfreq, times : as `predict` takes them
            Cases, their rate and their times.

        Returns
        -------
        ndarray (n_samples, n_classes), or (n_samples,) for two classes
            Logits; (n_samples, n_tags) for tags; for two classes their difference, positive for ``classes_[1]``.
        """
        logits = self._finite_outputs(X, sfreq, times)
        return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 and not self.multilabel_ else logits

    def _predicted(self, outputs: NDArray[np.float64]) -> NDArray[Any]:
        if self.multilabel_:
            return (outputs > 0).astype(np.int64)
        return np.asarray(self.classes_[outputs.argmax(1)])

    def _encode_targets(self, y: Any, signals: Signals, *, classes: Any, reset: bool) -> NDArray[Any]:
        """Return the index of each label in ``classes_``, (n_samples,); for tags 0.0 or 1.0, (n_samples, n_tags)."""
        if reset:
            self.multilabel_ = are_tags(y)
        if self.multilabel_:
            return self._encode_tags(y, signals, classes=classes, reset=reset)
        given = None if classes is None else np.unique(classes)
        if not reset and given is not None and not np.array_equal(given, self.classes_):
            raise ValueError(f"classes={list(classes)} differ from those of the first call, {self.classes_.tolist()}.")
        self.classes_, indices = check_labels(y, signals, classes=given if reset else self.classes_)
        return indices

    def _encode_tags(self, y: Any, signals: Signals, *, classes: Any, reset: bool) -> NDArray[np.float64]:
        tags = check_tags(y, signals, n_tags=None if reset else len(self.classes_), class_weight=self.class_weight)
        self.classes_ = np.arange(tags.shape[1])
        if classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ValueError(
                f"classes={list(classes)} must be None, or the positions 0 to {len(self.classes_) - 1} of tags."
            )
        return tags

    def _case_weights(self, targets: NDArray[Any]) -> NDArray[np.float64]:
        if self.class_weight is None:
            return np.ones(len(targets))
        return np.asarray(compute_sample_weight(self.class_weight, self.classes_[targets]), dtype=np.float64)

    def _targets_state(self) -> State:
        return State({"classes": self.classes_, **({"multilabel": True} if self.multilabel_ else {})}, {})

    def _restore_targets(self, state: State, *, n_outputs: int) -> None:
        classes = array_from_plain(state.value("classes", dict))
        if not 2 <= len(classes) == n_outputs or not (classes[:-1] < classes[1:]).all():
            raise ModelFileError(f"classes must be {n_outputs} labels in ascending order, got {classes.tolist()[:20]}.")
        self.classes_ = classes
        self.multilabel_ = "multilabel" in state.plain and state.value("multilabel", bool)

    def _measure_targets(self, targets: NDArray[Any], weights: NDArray[np.float64]) -> None:
        """Do nothing: labels have no mean and no spread."""

    def _standardised(self, targets: NDArray[Any]) -> NDArray[Any]:
        return targets

    def _finish(self, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(expit(outputs) if self.multilabel_ else softmax(outputs, axis=1))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def check_labels(y: Any, X: Signals, *, classes: NDArray[Any] | None = None) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Check class labels; return the classes, and the index of each label among them."""
    y = column_or_1d(known_targets(y), warn=True)
    assert_all_finite(y, input_name="y")
    check_length(y, X)
    try:
        check_classification_targets(y)
    except TypeError:
        kinds = ", ".join(sorted({type(label).__name__ for label in y.tolist()}))
        raise ValueError(f"y holds labels of type {kinds}; all of them must be texts, or all numbers.") from None
    if classes is not None:
        if len(unknown := np.setdiff1d(y, classes).tolist()):
            raise ValueError(f"y holds the label {unknown[0]!r}, which is not among the classes {classes.tolist()}.")
        return classes, np.searchsorted(classes, y).astype(np.int64)
    classes, indices = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(
            f"y has 1 class ({classes.tolist()[0]!r}); a classifier needs at least 2 classes. If this is a fold of a "
            "cross-validation, use StratifiedKFold or StratifiedGroupKFold."
        )
    return classes, indices.astype(np.int64)


def are_tags(y: Any) -> bool:
    """Whether targets are a table of at least two columns."""
    return len(shape := _shape(y)) == 2 and shape[1] > 1


def check_tags(y: Any, X: Signals, *, n_tags: int | None, class_weight: Any) -> NDArray[np.float64]:
    """Check tags: (n_samples, n_tags) of 0 and 1, `n_tags` as in training."""
    if n_tags is not None and not are_tags(y):
        raise ShapeError(f"y has shape {_shape(y)}, but the model was fitted with {n_tags} tags, 0 or 1 each.")
    if class_weight is not None:
        raise ValueError(
            f"class_weight={class_weight!r} weights the classes of one label, but y holds tags; pass class_weight=None "
            "and sample_weight if cases count differently."
        )
    tags = np.asarray(y.toarray() if issparse(known_targets(y)) else y)
    if tags.dtype.kind in "biuf":
        assert_all_finite(tags, input_name="y")
    wrong = [] if tags.dtype.kind in "b" else [value for value in np.unique(tags).tolist() if value not in (0, 1)]
    if wrong:
        raise ValueError(
            f"y of shape {tags.shape} must hold tags, 0 or 1 each, but it holds {wrong[0]!r}. If a case has one label, "
            "pass y of shape (n_samples,)."
        )
    check_length(tags, X)
    if n_tags is not None and tags.shape[1] != n_tags:
        raise ShapeError(f"y has {tags.shape[1]} tags, the model was fitted with {n_tags}.")
    return tags.astype(np.float64)


def _shape(y: Any) -> tuple[int, ...]:
    try:
        return tuple(y.shape) if hasattr(y, "shape") else np.asarray(y).shape
    except ValueError:  # rows of unequal length
        return (len(y),)


Floats = NDArray[np.float64]


def signs(encoded: NDArray[np.int64], n_classes: int) -> Floats:
    """Return 1 where a case is of a class or has a tag, else -1, (n, k), from class indices (n,) or tags (n, k)."""
    holds = encoded > 0 if encoded.ndim == 2 else encoded[:, None] == np.arange(n_classes)
    return np.where(holds, 1.0, -1.0)


def temperature(scores: Floats, targets: Floats, weights: Floats, *, tags: bool) -> float:
    """Return the factor from scores (n, k) to logits that minimises the log loss of left-out predictions.

    Platt, "Probabilistic Outputs for Support Vector Machines", 1999.
    """

    def loss(log_factor: float) -> float:
        return float(np.average(_log_losses(np.exp(log_factor) * scores, targets, tags=tags), weights=weights))

    # Scores are near +-1: factors out of these bounds only give probabilities of 0 and 1, or equal ones.
    return float(np.exp(minimize_scalar(loss, bounds=(-5.0, 5.0), method="bounded").x))


def calibrated_losses(targets: Floats, scores: Floats, weights: Floats, *, tags: bool) -> Floats:
    """Return the log loss of each case, (n,), with the temperature of these scores (n, k)."""
    # Squared errors prefer a nearly constant regression if each person has an offset of their own.
    return _log_losses(temperature(scores, targets, weights, tags=tags) * scores, targets, tags=tags)


def _log_losses(logits: Floats, targets: Floats, *, tags: bool) -> Floats:
    if tags:
        held, not_held = log_expit(logits * targets), log_expit(-logits * targets)
        correct, mean = held.mean(1), (held + not_held).mean(1) / 2.0
    else:
        logs = log_softmax(logits, axis=1)
        correct, mean = logs[np.arange(len(logs)), targets.argmax(1)], logs.mean(1)
    # Platt's targets: n cases without an error only show that the next is correct with odds of about n to 1.
    doubt = 1.0 / (len(logits) + 2.0)
    return np.asarray((doubt - 1.0) * correct - doubt * mean)
