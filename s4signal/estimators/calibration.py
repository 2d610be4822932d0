"""From targets to signs that a regression predicts, and from its predictions to logits."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_expit, log_softmax

Floats = NDArray[np.float64]


def signs(encoded: NDArray[np.int64], n_classes: int) -> Floats:
    """Return 1 where a case is of a class or has a tag, else -1: (n, k), of class numbers (n,) or tags (n, k)."""
    holds = encoded > 0 if encoded.ndim == 2 else encoded[:, None] == np.arange(n_classes)
    return np.where(holds, 1.0, -1.0)


def temperature(scores: Floats, targets: Floats, weights: Floats, *, tags: bool) -> float:
    """Return the factor from scores (n, k) to logits of the least log loss of left-out predictions.

    Platt, "Probabilistic Outputs for Support Vector Machines", 1999.
    """

    def loss(log_factor: float) -> float:
        return float(np.average(_log_losses(np.exp(log_factor) * scores, targets, tags=tags), weights=weights))

    # Scores are near +-1: factors beyond say "certain" or "nothing".
    return float(np.exp(minimize_scalar(loss, bounds=(-5.0, 5.0), method="bounded").x))


def calibrated_losses(targets: Floats, scores: Floats, weights: Floats, *, tags: bool) -> Floats:
    """Return the log loss of each case, (n,), with the temperature of these scores (n, k)."""
    # Squared errors prefer a regression that says nearly nothing, where each person is off by something of his own.
    return _log_losses(temperature(scores, targets, weights, tags=tags) * scores, targets, tags=tags)


def _log_losses(logits: Floats, targets: Floats, *, tags: bool) -> Floats:
    right, mean = (_tag_likelihoods if tags else _label_likelihoods)(logits, targets)
    # Platt's targets: n cases without a mistake say no more than that the next is right with odds of about n to 1.
    doubt = 1.0 / (len(logits) + 2.0)
    return np.asarray((doubt - 1.0) * right - doubt * mean)


def _label_likelihoods(logits: Floats, targets: Floats) -> tuple[Floats, Floats]:
    """Return the log likelihood of the right label and the mean over all labels, each (n,)."""
    logs = log_softmax(logits, axis=1)
    return logs[np.arange(len(logs)), targets.argmax(1)], logs.mean(1)


def _tag_likelihoods(logits: Floats, targets: Floats) -> tuple[Floats, Floats]:
    """Return the log likelihood of the right tags and the mean over tag and no tag, each (n,)."""
    right, wrong = log_expit(logits * targets), log_expit(-logits * targets)
    return right.mean(1), (right + wrong).mean(1) / 2.0
