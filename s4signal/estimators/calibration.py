"""From targets to signs that a regression predicts, and from its predictions to logits."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_expit, log_softmax


def signs(encoded: NDArray[np.int64], n_classes: int) -> NDArray[np.float64]:
    """Return 1 where a case is of a class or has a tag, else -1: (n, k), of class numbers (n,) or tags (n, k)."""
    holds = encoded > 0 if encoded.ndim == 2 else encoded[:, None] == np.arange(n_classes)
    return np.where(holds, 1.0, -1.0)


def temperature(
    scores: NDArray[np.float64], targets: NDArray[np.float64], weights: NDArray[np.float64], *, tags: bool
) -> float:
    """Return the factor from scores (n, k) to logits of the least log loss of left-out predictions.

    Platt, "Probabilistic Outputs for Support Vector Machines", 1999.
    """
    likelihoods = _tag_likelihoods if tags else _label_likelihoods
    # Platt's targets: n cases without a mistake say no more than that the next is right with odds of about n to 1.
    doubt = 1.0 / (len(scores) + 2.0)

    def loss(log_factor: float) -> float:
        right, mean = likelihoods(np.exp(log_factor) * scores, targets)
        return -float(np.average((1.0 - doubt) * right + doubt * mean, weights=weights))

    # Scores are near +-1: factors beyond say "certain" or "nothing".
    return float(np.exp(minimize_scalar(loss, bounds=(-5.0, 5.0), method="bounded").x))


def _label_likelihoods(
    logits: NDArray[np.float64], targets: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the log likelihood of the right label and the mean over all labels, each (n,)."""
    logs = log_softmax(logits, axis=1)
    return logs[np.arange(len(logs)), targets.argmax(1)], logs.mean(1)


def _tag_likelihoods(
    logits: NDArray[np.float64], targets: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the log likelihood of the right tags and the mean over tag and no tag, each (n,)."""
    right, wrong = log_expit(logits * targets), log_expit(-logits * targets)
    return right.mean(1), (right + wrong).mean(1) / 2.0
