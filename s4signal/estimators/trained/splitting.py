"""Validation cases, set aside from the training cases."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit, StratifiedShuffleSplit

from s4signal.estimators.trained.plan import trains_to_the_end
from s4signal.signals import Signals

if TYPE_CHECKING:
    from s4signal.estimators.trained.base import S4Estimator

__all__ = ["split_cases", "wants_split"]

_FEWEST_TO_SPLIT = 100  # cases from which early_stopping="auto" sets a validation set aside


def wants_split(estimator: S4Estimator, signals: Signals, targets: NDArray[Any]) -> bool:
    """Whether ``early_stopping`` asks for validation cases.

    Shapes: targets (n_samples, ...).
    """
    n = len(targets)
    if estimator.early_stopping != "auto":
        return bool(estimator.early_stopping)
    if n < _FEWEST_TO_SPLIT:
        return False
    if estimator._stratified:
        counts = np.unique(targets, return_counts=True)[1]
        if counts.min() < 2 or math.ceil(estimator.validation_fraction * n) < len(counts):
            return False
    # Last, as it may read all cases.
    return estimator.max_epochs != "auto" or not trains_to_the_end(estimator, signals)


def split_cases(
    estimator: S4Estimator, signals: Signals, targets: NDArray[Any], seed: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Set validation cases aside: by recording where several cases come from one, else by class.

    Shapes: targets (n_samples, ...).
    """
    options = {"n_splits": 1, "test_size": estimator.validation_fraction, "random_state": seed}
    sources = np.array(signals.sources)
    n_sources = len(np.unique(sources))
    if 1 < n_sources < len(sources):
        splits = GroupShuffleSplit(**options).split(targets, groups=sources)
    elif estimator._stratified:
        splits = StratifiedShuffleSplit(**options).split(targets, targets)
    else:
        splits = ShuffleSplit(**options).split(targets)
    try:
        train, held_out = next(iter(splits))
    except ValueError as error:
        raise ValueError(
            f"validation_fraction={estimator.validation_fraction} of {len(targets)} cases cannot be set aside: {error} "
            "Change it, pass X_val and y_val, or early_stopping=False."
        ) from None
    return train, held_out
