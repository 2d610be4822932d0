"""Calibration of scores to probabilities."""

from functools import partial

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import log_loss

from s4signal.estimators.classification import calibrated_losses, signs, temperature
from s4signal.random_features.left_out import squared_errors

__all__: list[str] = []


def test_calibrated_loss_prefers_informative_scores_despite_subject_offsets():
    rng, labels, subjects = np.random.default_rng(0), np.tile(np.arange(4), 30), np.repeat(np.arange(3), 40)
    targets = signs(labels, 4)
    informative = targets + 1.5 * rng.standard_normal((3, 4))[subjects] + 0.5 * rng.standard_normal((120, 4))
    uninformative = targets.mean(0) + 0.01 * rng.standard_normal((120, 4))
    squared, calibrated = (
        [float(loss(targets, scores, np.ones(120)).mean()) for scores in (informative, uninformative)]
        for loss in (squared_errors, partial(calibrated_losses, tags=False))
    )
    assert squared[0] > squared[1]
    assert calibrated[0] < 0.9 * calibrated[1] < 1.3
    logits = temperature(informative, targets, np.ones(120), tags=False) * informative
    assert calibrated[0] == pytest.approx(log_loss(labels, softmax(logits, axis=1)), abs=0.05)
    tags = calibrated_losses(targets, informative, np.ones(120), tags=True)
    assert tags.shape == (120,)
    assert tags.mean() < np.log(2)
