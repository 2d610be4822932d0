"""Sparse records: which are, and how they are with some of their observations left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from s4signal.signals import Signal, Signals

__all__ = ["MOST_FORGOTTEN", "SPARSE", "forget_observations", "is_sparse"]

SPARSE = 0.5  # of the values missing: from there on more is made up than was observed
MOST_FORGOTTEN = 0.6  # of the observations of a case


def is_sparse(signals: Signals) -> bool:
    """Whether most values of cases are missing, of the samples at which any channel is there.

    Parameters
    ----------
    signals : Signals
        The cases.

    Returns
    -------
    bool
        Never true of a single channel.
    """
    if signals.n_channels == 1:
        return False
    n_there = n_values = 0
    for case in signals:
        there = case.observed
        n_there += int(there.sum())
        n_values += there.any(0).sum() * len(there)
    return bool(n_values - n_there > SPARSE * n_values)


def forget_observations(case: Signal) -> Signal:
    """Leave out a share of the observations, each channel's apart; the share is as likely to be small as large.

    What is charted, and when, is half habit: a network that sees every case with other observations each time learns
    the course of the values, and not the cases by heart.

    Parameters
    ----------
    case : Signal
        A training case.

    Returns
    -------
    Signal
        The same case with more NaN, chosen by torch's random state; the case itself if nothing would be left.
    """
    share = MOST_FORGOTTEN * float(torch.rand(()))
    kept = torch.rand(case.data.shape).numpy() >= share
    if not (kept & case.observed).any():
        return case
    return replace(case, data=np.where(kept, case.data, np.nan))
