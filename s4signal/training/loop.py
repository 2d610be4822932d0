"""The training loop: any network, any batches."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from os import PathLike
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from s4signal.training.batching import Batch, Cases, plan_steps, sequential_batches
from s4signal.training.checkpoint import load_checkpoint, save_checkpoint
from s4signal.training.optimizer import build_optimizer, cosine_with_warmup
from s4signal.training.runtime import PRECISIONS, autocast, isolated_seed, reused_memory

__all__ = ["TrainingOptions", "TrainingResult", "evaluate_network", "fit_network"]

Loss = Callable[[Tensor, Tensor], Tensor]
Score = Callable[[Tensor, Tensor, Tensor], float]
Forward = Callable[[nn.Module, Batch], Tensor]


def call_network(network: nn.Module, batch: Batch) -> Tensor:
    """Run a network on a batch.

    Shape: (batch, n_outputs).
    """
    irregular = {} if batch.gaps is None else {"gaps": batch.gaps}
    outputs: Tensor = network(batch.x, batch.mask, rate=batch.rate, **irregular)
    return outputs


@dataclass(frozen=True)
class TrainingOptions:
    """How to train."""

    max_epochs: int
    batch_size: int | None
    learning_rate: float
    ssm_learning_rate: float
    weight_decay: float
    n_iter_no_change: int | None
    max_samples: int
    device: torch.device
    precision: str
    seed: int
    state_space: Collection[str] = ()
    schedule: bool = True
    checkpoint_dir: str | PathLike[str] | None = None
    fingerprint: str = ""
    forward: Forward = call_network
    averaging: float = 0.0


@dataclass
class TrainingResult:
    """What came of it; the network holds the best weights."""

    history: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    optimizer_state: dict[str, Any] = field(default_factory=dict)


def fit_network(
    network: nn.Module,
    cases: Cases,
    *,
    loss: Loss,
    options: TrainingOptions,
    validation: Cases | None = None,
    score: Score | None = None,
    on_epoch: Callable[[dict[str, Any], nn.Module], bool] | None = None,
    optimizer_state: dict[str, Any] | None = None,
) -> TrainingResult:
    """Train a network, and leave it with the weights of the epoch that did best on the validation cases."""
    training = _Training(network, cases, loss, options, optimizer_state)
    with isolated_seed(options.seed, options.device), reused_memory():
        training.resume()
        while training.epoch < options.max_epochs and not training.finished(options.n_iter_no_change):
            line = training.run_epoch(validation, score)
            training.save()
            if on_epoch is not None and on_epoch(line, training.scored):
                break
        return training.result()


class _Training:
    """The state of a training between two epochs."""

    def __init__(
        self,
        network: nn.Module,
        cases: Cases,
        loss: Loss,
        options: TrainingOptions,
        optimizer_state: dict[str, Any] | None,
    ) -> None:
        self.network, self.cases, self.loss, self.options = network, cases, loss, options
        self.optimizer = build_optimizer(
            network,
            state_space=options.state_space,
            learning_rate=options.learning_rate,
            ssm_learning_rate=options.ssm_learning_rate,
            weight_decay=options.weight_decay,
        )
        if optimizer_state:
            groups = self.optimizer.state_dict()["param_groups"]
            self.optimizer.load_state_dict({"state": optimizer_state["state"], "param_groups": groups})
        per_epoch = 1 if options.batch_size is None else math.ceil(len(cases) / options.batch_size)
        self.scheduler = (
            cosine_with_warmup(self.optimizer, options.max_epochs * per_epoch) if options.schedule else None
        )
        self.averaged = (
            AveragedModel(network, avg_fn=partial(_running_mean, options.averaging)) if options.averaging else None
        )
        self.rng = np.random.RandomState(options.seed)
        self.epoch = self.best_epoch = 0
        self.best_loss = math.inf
        self.best_weights: dict[str, Tensor] = {}
        self.history: list[dict[str, Any]] = []

    @property
    def scored(self) -> nn.Module:
        """The network itself, or the average of what it was."""
        return self.network if self.averaged is None else self.averaged.module

    def finished(self, patience: int | None) -> bool:
        return patience is not None and self.best_epoch > 0 and self.epoch - self.best_epoch >= patience

    def run_epoch(self, validation: Cases | None, score: Score | None) -> dict[str, Any]:
        started = time.perf_counter()
        self.epoch += 1
        train_loss = self._train()
        line: dict[str, Any] = {
            "epoch": self.epoch,
            "loss": train_loss,
            "validation_loss": None,
            "validation_score": None,
        }
        if validation is not None and validation.targets is not None:
            outputs = evaluate_network(self.scored, validation, options=self.options)
            weights = torch.from_numpy(validation.weights)
            targets = validation.targets.cpu()
            losses = self.loss(outputs, targets.to(outputs.dtype) if targets.is_floating_point() else targets)
            line["validation_loss"] = float((losses * weights).sum() / weights.sum())
            line["validation_score"] = None if score is None else score(outputs, targets, weights)
            if line["validation_loss"] < self.best_loss:
                self.best_loss, self.best_epoch = line["validation_loss"], self.epoch
                self.best_weights = {k: v.detach().clone() for k, v in self.scored.state_dict().items()}
        line["seconds"] = time.perf_counter() - started
        self.history.append(line)
        return line

    def _train(self) -> float:
        """Run one epoch; return the mean loss a case."""
        options = self.options
        self.network.train()
        steps = plan_steps(self.cases, batch_size=options.batch_size, max_samples=options.max_samples, rng=self.rng)
        losses = [self._step(pieces) for pieces in steps]
        # One synchronisation an epoch: the losses stay on the device until here.
        return float(torch.stack(losses).sum()) / float(self.cases.weights.sum())

    def _step(self, pieces: list[np.ndarray[Any, np.dtype[np.intp]]]) -> Tensor:
        """Take one optimizer step; return the summed loss of its cases."""
        options = self.options
        total_weight = float(sum(self.cases.weights[piece].sum() for piece in pieces))
        summed = torch.zeros((), device=options.device, dtype=PRECISIONS[options.precision])
        self.optimizer.zero_grad(set_to_none=True)
        load = partial(self.cases.batches, dtype=summed.dtype, device=options.device)
        for _, batch in chain.from_iterable(map(load, pieces)):
            with autocast(options.device, options.precision):
                outputs = options.forward(self.network, batch)
            losses = (self.loss(outputs.to(summed.dtype), _required(batch.target)) * batch.weight).sum()
            (losses / total_weight).backward()
            summed += losses.detach()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        if self.scheduler is not None:
            self.scheduler.step()
        if self.averaged is not None:
            self.averaged.update_parameters(self.network)
        return summed

    def save(self) -> None:
        if self.options.checkpoint_dir is None:
            return
        state = {
            "fingerprint": self.options.fingerprint,
            "network": self.network.state_dict(),
            "averaged": None if self.averaged is None else self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": None if self.scheduler is None else self.scheduler.last_epoch,
            "counters": [self.epoch, self.best_epoch],
            "best_loss": self.best_loss,
            "best_weights": self.best_weights,
            "history": self.history,
            "torch_rng": torch.get_rng_state(),
            "device_rng": torch.cuda.get_rng_state(self.options.device) if self._on_cuda() else None,
            "order_rng": [part.tolist() if isinstance(part, np.ndarray) else part for part in self.rng.get_state()],
        }
        save_checkpoint(self.options.checkpoint_dir, state)

    def resume(self) -> None:
        options = self.options
        if options.checkpoint_dir is None:
            return
        state = load_checkpoint(options.checkpoint_dir, options.fingerprint)
        if state is None:
            return
        self.network.load_state_dict(state["network"])
        if self.averaged is not None:
            self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scheduler is not None:
            self.scheduler.last_epoch = state["scheduler"]
        self.epoch, self.best_epoch = state["counters"]
        self.best_loss, self.best_weights, self.history = state["best_loss"], state["best_weights"], state["history"]
        torch.set_rng_state(state["torch_rng"])
        if self._on_cuda() and state["device_rng"] is not None:
            torch.cuda.set_rng_state(state["device_rng"], options.device)
        name, keys, *rest = state["order_rng"]
        self.rng.set_state((name, np.array(keys, dtype=np.uint32), *rest))

    def _on_cuda(self) -> bool:
        return self.options.device.type == "cuda"

    def result(self) -> TrainingResult:
        weights = self.best_weights or self.scored.state_dict()
        self.network.load_state_dict(weights)
        self.network.eval()
        return TrainingResult(self.history, self.best_epoch or self.epoch, self.optimizer.state_dict())


@torch.no_grad()
def evaluate_network(network: nn.Module, cases: Cases, *, options: TrainingOptions) -> Tensor:
    """Score cases without training.

    Shape: (n, n_outputs).
    """
    network.eval()
    dtype = PRECISIONS[options.precision]
    outputs: Tensor | None = None
    for indices, batch in sequential_batches(
        cases, max_samples=4 * options.max_samples, dtype=dtype, device=options.device
    ):
        with autocast(options.device, options.precision):
            scores = options.forward(network, batch).double().cpu()
        if outputs is None:
            outputs = scores.new_empty(len(cases), scores.shape[1])
        outputs[torch.from_numpy(indices)] = scores
    return _required(outputs)


def _running_mean(share: float, mean: Tensor, value: Tensor, n_before: Tensor | int) -> Tensor:
    """The mean of all values at first, then one that keeps a share of what it was."""
    return mean.lerp(value, max(1.0 - share, 1.0 / (float(n_before) + 1.0)))


def _required(tensor: Tensor | None) -> Tensor:
    if tensor is None:
        raise ValueError("there are no cases or no targets; pass at least one case with its target.")
    return tensor
