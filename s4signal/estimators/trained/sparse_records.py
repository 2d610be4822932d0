"""Which records are sparse."""

from __future__ import annotations

from s4signal.signals import Signals

__all__ = ["SPARSE", "is_sparse"]

SPARSE = 0.5  # of the values missing: from there on more is made up than was observed


def is_sparse(signals: Signals) -> bool:
    """Whether most values of cases are missing, of the samples at which any channel is there."""
    if signals.n_channels == 1:
        return False
    n_there = n_values = 0
    for case in signals:
        there = case.observed
        n_there += int(there.sum())
        n_values += there.any(0).sum() * len(there)
    return bool(n_values - n_there > SPARSE * n_values)
