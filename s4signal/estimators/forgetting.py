"""Sparse records with some of their observations left out, another choice at every load."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from s4signal.signals import Signal

__all__ = ["MOST_FORGOTTEN", "forget_observations"]

MOST_FORGOTTEN = 0.6  # of the observations of a case


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
