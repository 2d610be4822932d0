"""Pretraining without labels: a network learns to tell what is hidden from it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from s4signal.estimators.parameters import check_options
from s4signal.estimators.trained.plan import Schedule
from s4signal.estimators.trained.regressor import S4Regressor
from s4signal.estimators.trained.training import training_options
from s4signal.nn import Frames, S4Network
from s4signal.nn.backbone import state_space_parameters
from s4signal.nn.block import ChannelLinear
from s4signal.nn.network import network_steps
from s4signal.nn.randomness import draws_from
from s4signal.signals import Signals
from s4signal.training import Batch, Cases, TrainingResult, fit_network

SPAN, STARTS = 8, 0.06  # steps of a hidden stretch, and the share of steps that begin one: 39 % are hidden
TEMPERATURE = 0.1  # of the cosines
MOST = 1024  # hidden steps at once, of which one is to be told from all others
POOLING = ("legs", 4)


class ContrastiveTask(nn.Module):
    """A network, and what it learns by: to tell what was heard at a hidden step from what was heard at others.

    On spoken digits of a new speaker with a tenth of the labels this was worth 5 points more than to reconstruct the
    hidden steps.

    References
    ----------
    van den Oord, Li, Vinyals, "Representation Learning with Contrastive Predictive Coding", 2018,
    doi:10.48550/arXiv.1807.03748, equation 4.
    """

    def __init__(self, network: S4Network, n_features: int) -> None:
        super().__init__()
        self.network = network
        self.said = ChannelLinear(network.head.in_features // network.pooling.order, n_features)
        self.heard = ChannelLinear(n_features, n_features)

    def losses(self, batch: Batch, generator: torch.Generator | None) -> Tensor:
        """Hide stretches; return the mean cross entropy of the hidden steps of each case, (batch,)."""
        frames = Frames(batch.x, batch.mask, batch.rate, batch.gaps)
        valid = torch.ones_like(batch.x[0]) if batch.mask is None else batch.mask
        hidden = valid * _stretches(valid, generator)
        steps = network_steps(self.network, frames, keep=1.0 - hidden, generator=generator)
        case, step = hidden.nonzero(as_tuple=True)
        some = torch.randperm(len(case), generator=generator, device=valid.device)[:MOST]
        case, step = case[some], step[some]
        said = F.normalize(self.said(steps)[:, case, step], dim=0)
        heard = F.normalize(self.heard(_standardised(frames.features, valid))[:, case, step], dim=0)
        each = F.cross_entropy(
            said.mT @ heard / TEMPERATURE, torch.arange(len(case), device=valid.device), reduction="none"
        )
        count = torch.bincount(case, minlength=len(valid)).clamp_min(1)
        return torch.zeros_like(valid[:, 0]).index_add(0, case, each.to(valid.dtype)) / count


def _stretches(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw 1 where a step is hidden, else 0."""
    begins = torch.empty_like(like).bernoulli_(STARTS, generator=generator)
    return F.max_pool1d(F.pad(begins, (SPAN - 1, 0)).unsqueeze(1), SPAN, 1).squeeze(1)


def _standardised(features: Tensor, valid: Tensor) -> Tensor:
    """Take out the mean of each feature over a case, so that loudness and channel count for nothing; one scale."""
    count = valid.sum(-1)
    centered = (features - ((features * valid).sum(-1) / count)[..., None]) * valid
    power = centered.square().sum(-1).mean(0) / count
    return centered * torch.rsqrt(power.clamp_min(1e-12))[:, None]


class PretrainedNetwork(S4Regressor):
    """A network that has learned from cases without targets."""

    @classmethod
    def like(cls, settings: Any) -> Self:
        """Take over the parameters of an estimator that is not fitted."""
        given = {k: v for k, v in settings.get_params(deep=False).items() if k != "class_weight"}
        given |= {"readout": "pooled", "early_stopping": False, "callbacks": None, "checkpoint_dir": None}
        return cls(**given | ({"pooling": POOLING} if given["pooling"] == "auto" else {}))

    def pretrain(self, X: Any, *, times: Any = None) -> Self:
        """Learn from cases, as `fit` takes them."""
        check_options(self)
        return self._learn(X, None, None, times=times, groups=None, X_val=None, y_val=None)

    def _encode_targets(self, y: Any, signals: Signals, *, classes: Any, reset: bool) -> NDArray[np.float64]:
        return super()._encode_targets(np.zeros(len(signals)), signals, classes=classes, reset=reset)

    def _train(
        self, cases: Cases, validation: Any, seed: int, device: torch.device, *, schedule: Schedule, **_: Any
    ) -> None:
        if self.network_.frontend.learned:
            raise ValueError(
                "the front end learns its features, and would learn such as are easy to tell; pretrain with "
                "frontend='auto', or with a module without parameters."
            )
        with draws_from(torch.Generator().manual_seed(seed)):
            task = ContrastiveTask(self.network_, len(cases.load(0).data)).to(self.network_.head.weight)
        options = replace(
            training_options(self, self._plan, schedule, self.network_, seed=seed, device=device),
            losses=lambda task, batch, generator: cast(ContrastiveTask, task).losses(batch, generator),
            cuda_graphs=False,  # how many steps are hidden is chance
            state_space=state_space_parameters(task),
        )
        result = fit_network(task, cases, loss=self._loss, options=options)
        network = result.network.network
        self._take(TrainingResult(network, result.history, result.best_epoch, {"state": {}}, result.seconds))
