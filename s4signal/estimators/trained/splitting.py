"""Split of the cases into training and validation cases."""

import math
import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupShuffleSplit, train_test_split

from s4signal.signals.checks import few

FEWEST_TO_SPLIT = 100  # cases for which early_stopping="auto" holds out some
_DRAWS = 100  # of groups; the draw with the best proportions of the classes is used

Indices = NDArray[np.intp]


class Split(NamedTuple):
    """Training cases, held-out cases (None if there are none), and the reason."""

    train: Indices
    held_out: Indices | None
    why: str


def split_cases(
    labels: NDArray[np.int64] | None,
    groups: NDArray[Any] | None,
    *,
    n: int,
    early_stopping: str | bool,
    to_the_end: str,
    fraction: float,
    seed: int,
) -> Split:
    """Hold out validation cases as ``early_stopping`` requires, with whole groups and every class on both sides.

    ``to_the_end`` is a reason for "auto" to train on all cases, "" if there is none; ``labels`` (n,) are those of a
    classifier.
    """
    everything = np.arange(n)
    if early_stopping == "auto":
        why = to_the_end or _too_few(labels, n, fraction)
        if why:
            return Split(everything, None, f"auto, {why}")
    elif not early_stopping:
        return Split(everything, None, "early_stopping=False")
    try:
        if groups is None:
            train, held_out = _split_each(labels, n, fraction, seed)
            return Split(train, held_out, f"{len(held_out)} of {n} cases are held out to choose the epoch")
        found = _split_groups(labels, groups, fraction, seed)
        if found is None and early_stopping == "auto":
            return Split(everything, None, "auto, no split keeps groups whole and every class on both sides")
        train, held_out = found or _split_within(labels, groups, fraction, seed)
    except ValueError as error:
        raise ValueError(
            f"validation_fraction={fraction} of {n} cases cannot be held out: {error} Change it, pass X_val and "
            "y_val, or early_stopping=False."
        ) from None
    count = f"{len(np.unique(groups[held_out]))} of {len(np.unique(groups))} groups"
    return Split(train, held_out, f"{len(held_out)} cases of {count} are held out to choose the epoch")


def _too_few(labels: NDArray[np.int64] | None, n: int, fraction: float) -> str:
    if n < FEWEST_TO_SPLIT:
        return f"none is held out of fewer than {FEWEST_TO_SPLIT} cases"
    if labels is not None:
        counts = np.unique(labels, return_counts=True)[1]
        if counts.min() < 2 or math.ceil(fraction * n) < len(counts):
            return "a class has too few cases to hold out some"
    return ""


def _split_each(labels: NDArray[np.int64] | None, n: int, fraction: float, seed: int) -> tuple[Indices, Indices]:
    train, held_out = train_test_split(np.arange(n), test_size=fraction, random_state=seed, stratify=labels)
    return train, held_out


def _split_groups(
    labels: NDArray[np.int64] | None, groups: NDArray[Any], fraction: float, seed: int
) -> tuple[Indices, Indices] | None:
    """Draw groups many times; return the draw with the most classes, in proportions nearest to those of all cases.

    None if each draw removes a class from training, or holds out only one class.
    """
    if len(np.unique(groups)) < 2:
        return None
    draws = GroupShuffleSplit(n_splits=_DRAWS, test_size=fraction, random_state=seed).split(groups, groups=groups)
    if labels is None:
        return next(draws)  # type: ignore[no-any-return]
    labels = np.unique(labels, return_inverse=True)[1]
    counts = np.bincount(labels)
    best, least = None, (math.inf, math.inf)
    for train, held_out in draws:
        held = np.bincount(labels[held_out], minlength=len(counts))
        if (held == counts).any() or (held > 0).sum() < 2:
            continue
        shares_off = np.abs(held / held.sum() - counts / counts.sum()).sum()
        rank = (float((held == 0).sum()), float(shares_off + abs(held.sum() / len(labels) - fraction)))
        if rank < least:
            best, least = (train, held_out), rank
    return best


def _split_within(
    labels: NDArray[np.int64] | None, groups: NDArray[Any], fraction: float, seed: int
) -> tuple[Indices, Indices]:
    train, held_out = _split_each(labels, len(groups), fraction, seed)
    both = np.intersect1d(groups[train], groups[held_out]).tolist()
    warnings.warn(
        f"the groups {few(both, 5)} have cases in training and in validation, because with whole groups one of them "
        "would lack a class. Validation scores are too high then; pass X_val and y_val, or early_stopping=False.",
        stacklevel=2,
    )
    return train, held_out
