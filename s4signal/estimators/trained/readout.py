"""The power readout: whether band powers say more of the training cases than slow waves do, and its linear layer.

Both are ridge regressions whose penalty has the least error of cases that are left out, one by one or group by group.
With H the hat matrix of all cases, those of a group g, left out together, have the errors
:math:`(I - H_{gg})^{-1} (y - H y)_g`; rows are multiplied by the roots of the case weights.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax
from torch import Tensor, nn
from torch.nn import functional as F

from s4signal.estimators.survey import Survey
from s4signal.estimators.trained.defaults import case_durations
from s4signal.nn import S4Network
from s4signal.nn.pooling import LegendrePooling
from s4signal.nn.readout import LOWEST_HZ, PowerReadout, highest_hz
from s4signal.training import Batch

PENALTIES = 10.0 ** np.arange(-3.0, 3.1, 0.5)  # relative to the mean squared norm of a case
MARGIN = 0.05  # of R2, by which powers must say more than slow waves do, and slow waves more than nothing
MOST_CASES = 2000  # that a ridge is solved for: its time grows with their cube

MOST_OSCILLATORS = 40
MOST_COVARIANCES = 2**25  # numbers, of all training cases: an eighth of a gigabyte

Floats = NDArray[np.float64]


def choose_oscillators(readout: str, frontend: str, kind: str, found: Survey, sfreq: float | None) -> int:
    """Return how many oscillators the cases resolve, 4 Hz apart in a second; 0 for the pooled readout.

    For "auto", which asks the training cases later, only behind plain front ends and where ``kind`` is "epochs".
    """
    if readout == "pooled" or (readout == "auto" and (kind != "epochs" or frontend not in ("linear", "hop_means"))):
        return 0
    n_channels = int(found.n_observed.shape[1])
    most = min(MOST_OSCILLATORS, MOST_COVARIANCES // (len(found) * n_channels * (n_channels + 1) // 2))
    if sfreq is not None and sfreq >= 4 * LOWEST_HZ and most >= 2:
        duration_s = float(np.median(case_durations(found, sfreq)))
        return min(max(2, round((highest_hz(sfreq) - LOWEST_HZ) * duration_s / 4.0)), most)
    if readout == "auto":
        return 0
    raise ValueError(
        f"readout='power' needs a sampling rate of at least {4 * LOWEST_HZ:g} Hz (got {sfreq}) and few enough "
        f"channels (got {n_channels}, of {len(found)} cases) to keep their covariances. Pass sfreq or fewer channels, "
        "or use readout='pooled'."
    )


class FittedReadout(NamedTuple):
    """Whether powers say more than slow waves do, why, and scores (n, n_outputs) of the cases when they're left out."""

    better: bool
    why: str
    offsets: Floats


class CaseStatistics:
    """What is kept of each case for the readout, batch by batch: slow waves and covariances, in single precision."""

    def __init__(self, readout: PowerReadout, n_inputs: int) -> None:
        self._readout, self._pooling = readout, LegendrePooling(n_inputs)
        self._waves: dict[int, Tensor] = {}
        self._covariances: dict[int, Tensor] = {}

    def look(self, indices: NDArray[np.intp], batch: Batch) -> None:
        """Keep what is wanted of the cases of a batch."""
        waves = self._pooling(batch.x, batch.mask, batch.gaps).cpu().float()
        covariances = self._readout.covariances(batch.x, batch.mask, rate=batch.rate, gaps=batch.gaps).float()
        self._waves.update(zip(indices.tolist(), waves, strict=True))
        self._covariances.update(zip(indices.tolist(), covariances, strict=True))

    def fit(self, targets: Tensor, weights: Floats, groups: NDArray[Any] | None) -> FittedReadout:
        """Fit the readout to training cases, and compare what powers and slow waves say of those left out.

        Shapes: targets (n,) of classes or (n, n_outputs), weights, groups (n,).
        """
        readout, covariances = self._readout, _in_order(self._covariances)
        readout.fit_center(covariances, torch.from_numpy(weights))
        rows = np.arange(0, len(weights), -(-len(weights) // MOST_CASES))
        some, weights = torch.from_numpy(rows), weights[rows]
        numbers = _as_numbers(targets[some], len(readout.bias))
        numbered = None if groups is None else np.unique(groups[rows], return_inverse=True)[1]
        slow = left_out_ridge(_in_order(self._waves)[some].double().numpy(), numbers, weights, numbered)
        power = left_out_ridge(readout.vectors(covariances[some]).numpy(), numbers, weights, numbered)
        scale = 1.0 if targets.is_floating_point() else logit_scale(power.predictions, targets[some].numpy(), weights)
        # The layers learn what is left: noise, where slow waves say nothing of cases left out.
        share = min(1.0, max(0.0, slow.r2 - MARGIN) / max(power.r2, 1e-9))
        weight, bias = (torch.from_numpy(scale * part.T) for part in (power.coef, power.intercept))
        readout.set_weights(weight, bias, share=share)
        offsets = self.scores()
        offsets[rows] = scale * power.predictions  # what a case has helped to fit says too much of it
        together = "one by one" if numbered is None else "group by group"
        why = f"R2 of ridge, cases left out {together}: power {power.r2:.2f}, slow waves {slow.r2:.2f}"
        return FittedReadout(power.r2 > max(0.0, slow.r2) + MARGIN, why, offsets)

    def scores(self) -> Floats:
        """Score the cases by the fitted readout, (n, n_outputs)."""
        vectors = self._readout.vectors(_in_order(self._covariances))
        return np.asarray(self._readout.scores(vectors).double().cpu().numpy())


class LeftOutRidge(NamedTuple):
    """A ridge regression by the penalty of the least left-out error.

    Shapes: predictions of left-out cases (n, k), coef (n_features, k), intercept (k,).
    """

    r2: float
    predictions: Floats
    coef: Floats
    intercept: Floats


def left_out_ridge(
    features: Floats, targets: Floats, weights: Floats, groups: NDArray[np.int64] | None = None
) -> LeftOutRidge:
    """Fit standardised features (n, p) to targets (n, k); groups (n,) are left out as one."""
    share = weights / weights.sum()
    root = np.sqrt(share * len(share))[:, None]
    intercept, mean = share @ targets, share @ features
    spread = np.sqrt(share @ (features - mean) ** 2)
    V = root * (features - mean) / np.where(spread > 0, spread, np.inf)
    Y, s = root * (targets - intercept), np.sqrt(share)[:, None]
    values, vectors = np.linalg.eigh(V @ V.T)
    values = np.maximum(values, 0.0)
    level = max(values.sum() / len(values), 1e-300)
    members = _members(groups, len(share))
    mean_of_others = (_left_out_errors(s @ s.T, Y, members) ** 2).sum()
    best_error, best, best_errors = np.inf, PENALTIES[-1], Y
    for penalty in PENALTIES:
        errors = _left_out_errors((vectors * (values / (values + penalty * level))) @ vectors.T + s @ s.T, Y, members)
        if (errors**2).sum() < best_error:
            best_error, best, best_errors = (errors**2).sum(), penalty, errors
    dual = (vectors / (values + best * level)) @ (vectors.T @ Y)
    coef = V.T @ dual / np.where(spread > 0, spread, np.inf)[:, None]
    r2 = float(1.0 - best_error / max(mean_of_others, 1e-300))
    return LeftOutRidge(r2, targets - best_errors / root, coef, intercept - mean @ coef)


def _as_numbers(targets: Tensor, n_outputs: int) -> Floats:
    """Return targets (n, n_outputs); of classes one where a case is of it, else zero."""
    return (targets if targets.is_floating_point() else F.one_hot(targets, n_outputs)).double().numpy()


def logit_scale(predictions: Floats, classes: NDArray[np.int64], weights: Floats) -> float:
    """Return the factor that makes logits of left-out predictions (n, k), by the least log loss.

    One case of each class counts as wrong, as in Platt's scaling: n cases make nobody surer than that.
    """
    factors, (n, k) = 10.0 ** np.arange(-1.0, 2.01, 0.05), predictions.shape
    wanted = (n * np.eye(k)[classes] + 1.0) / (n + k)
    losses = [-(weights @ (wanted * log_softmax(factor * predictions, axis=1))).sum() for factor in factors]
    return float(factors[int(np.argmin(losses))])


def _left_out_errors(H: Floats, Y: Floats, members: list[NDArray[np.intp]] | None) -> Floats:
    residuals = Y - H @ Y
    if members is None:
        return np.asarray(residuals / np.maximum(1.0 - np.diag(H), 1e-9)[:, None])
    for rows in members:
        residuals[rows] = np.linalg.lstsq(np.eye(len(rows)) - H[np.ix_(rows, rows)], residuals[rows], rcond=1e-9)[0]
    return residuals


def _members(groups: NDArray[np.int64] | None, n: int) -> list[NDArray[np.intp]] | None:
    if groups is None or len(np.unique(groups)) in (1, n):
        return None
    return [np.flatnonzero(groups == group) for group in np.unique(groups)]


def _in_order(rows: dict[int, Tensor]) -> Tensor:
    return torch.stack([rows[index] for index in range(len(rows))])


@torch.no_grad()
def start_at_zero(head: nn.Linear) -> None:
    """Let a head begin with nothing to add."""
    head.weight.zero_()
    if head.bias is not None:
        head.bias.zero_()


def is_silent(network: S4Network) -> bool:
    """Whether the layers of a network count for nothing beside its power readout."""
    return network.readout is not None and not float(network.readout.share) > 0
