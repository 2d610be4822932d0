"""Estimators that fit within a tenth of a second, and signals for them."""

import numpy as np

from s4signal import S4Classifier, S4Regressor

__all__ = ["REFERENCE", "SMALL", "classifier", "regressor", "same_weights", "waves"]

SMALL = {"d_model": 8, "d_state": 8, "n_layers": 1, "pooling": "mean", "max_epochs": 2, "learning_rate": 1e-2}
SMALL |= {"readout": "pooled", "random_state": 0}
REFERENCE = {**SMALL, "precision": "64", "batch_size": None}


def classifier(**changes):
    return S4Classifier(**{**SMALL, **changes})


def regressor(**changes):
    return S4Regressor(**{**SMALL, **changes})


def waves(n=24, n_channels=2, n_times=60, seed=0):
    """Return alternating slow and fast noisy waves, (n, n_channels, n_times), and their classes 0 and 1."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    phase = np.linspace(0, 6.28, n_times) * np.array([3, 9])[y][:, None, None] + rng.uniform(0, 6, (n, 1, 1))
    return np.sin(phase) + 0.3 * rng.standard_normal((n, n_channels, n_times)), y


def same_weights(one, other):
    weights = other.network_.state_dict()
    return all(np.array_equal(value, weights[name]) for name, value in one.network_.state_dict().items())
