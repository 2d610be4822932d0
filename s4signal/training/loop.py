"""The training loop: any network, any batches."""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, Generic, NamedTuple, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from s4signal.errors import DivergenceError
from s4signal.training.batching import Cases, plan_steps, sequential_batches
from s4signal.training.checkpoint import Checkpoints, Snapshot
from s4signal.training.options import TrainingOptions
from s4signal.training.runtime import PRECISIONS, autocast, evaluating

Network = TypeVar("Network", bound=nn.Module)
Loss = Callable[[Tensor, Tensor], Tensor]  # outputs and targets to a loss per case
Score = Callable[[Tensor, Tensor, Tensor], float]  # of outputs, targets and weights
OnEpoch = Callable[[dict[str, Any], nn.Module], bool]  # line of the history and network to whether to stop


@dataclass
class TrainingResult(Generic[Network]):
    """What came of a training."""

    network: Network  # with the weights of the best epoch, in evaluation mode
    history: list[dict[str, Any]]  # per epoch: epoch, loss, validation_loss, validation_score (None without), seconds
    best_epoch: int  # from 1; the last one without validation cases
    optimizer_state: dict[str, Any]  # to go on with


class TrainingInterrupted(KeyboardInterrupt):
    """An interrupt after at least one epoch; ``result`` is that of the epochs before it."""

    def __init__(self, *args: object, result: TrainingResult[Any]) -> None:
        super().__init__(*args)
        self.result = result


def fit_network(
    network: Network,
    cases: Cases,
    *,
    loss: Loss,
    options: TrainingOptions,
    validation: Cases | None = None,
    score: Score | None = None,
    on_epoch: OnEpoch | None = None,
    optimizer_state: dict[str, Any] | None = None,
) -> TrainingResult[Network]:
    """Train a copy of a network, and return it with the weights of the epoch that did best on the validation cases.

    The network, the optimizer state and all global state (random numbers, threads, dtypes) are left as they are. An
    interrupt within the second epoch or later is a `TrainingInterrupted`.
    """
    training = _Training(network, cases, loss, options, optimizer_state)
    try:
        training.resume()
        while training.epoch < options.max_epochs and not training.finished(options.n_iter_no_change):
            line = training.run_epoch(validation, score)
            training.save()
            if on_epoch is not None and on_epoch(line, training.scored):
                break
    except KeyboardInterrupt as interrupt:
        if training.epoch == 0:
            raise
        raise TrainingInterrupted(*interrupt.args, result=training.result()) from interrupt
    return cast(TrainingResult[Network], training.result())


class _Progress(NamedTuple):
    """What the finished epochs have led to; replaced as one, so that an interrupt leaves nothing half done."""

    history: list[dict[str, Any]]
    best_epoch: int
    best_loss: float  # infinite without validation cases
    weights: dict[str, Tensor]  # of the best epoch


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
        self.network, self.cases, self.loss, self.options = copy.deepcopy(network), cases, loss, options
        self.optimizer = options.optimizer(self.network, options)
        if optimizer_state:
            self._take_up(copy.deepcopy(optimizer_state["state"]))
        per_epoch = 1 if options.batch_size is None else math.ceil(len(cases) / options.batch_size)
        self.scheduler = options.schedule and options.schedule(self.optimizer, options.max_epochs * per_epoch)
        self.averaged = copy.deepcopy(self.network) if options.averaging else None
        self.n_averaged = 0
        # Of dropout and augmentation of features; of the order of the cases and augmentation at their load.
        self.generator = torch.Generator(options.device).manual_seed(options.seed)
        self.rng = np.random.RandomState(options.seed)
        self.progress = _Progress([], 0, math.inf, {})
        folder = options.checkpoint_dir
        self.checkpoints = None if folder is None else Checkpoints(folder, options.fingerprint)

    def _take_up(self, moments: dict[int, Any]) -> None:
        """Give the optimizer the moments of another one, and keep its rates."""
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": moments})

    @property
    def epoch(self) -> int:
        """Number of finished epochs."""
        return len(self.progress.history)

    @property
    def scored(self) -> nn.Module:
        """The network itself, or the average of what it was."""
        return self.network if self.averaged is None else self.averaged

    def finished(self, patience: int | None) -> bool:
        best = self.progress.best_epoch
        return patience is not None and self.progress.best_loss < math.inf and self.epoch - best >= patience

    def run_epoch(self, validation: Cases | None, score: Score | None) -> dict[str, Any]:
        started, epoch, best = time.perf_counter(), self.epoch + 1, self.progress
        line: dict[str, Any] = dict.fromkeys(("epoch", "loss", "validation_loss", "validation_score"))
        line |= {"epoch": epoch, "loss": self._train()}
        if validation is not None and validation.targets is not None:
            outputs = evaluate_network(self.scored, validation, options=self.options)
            weights, targets = torch.from_numpy(validation.weights), validation.targets.cpu()
            losses = self.loss(outputs, targets.to(outputs.dtype) if targets.is_floating_point() else targets)
            line["validation_loss"] = self._finite("validation loss", float((losses * weights).sum() / weights.sum()))
            line["validation_score"] = None if score is None else score(outputs, targets, weights)
        line["seconds"] = time.perf_counter() - started
        loss = line["validation_loss"]
        if loss is None or loss < best.best_loss:
            now = {name: x.detach().clone() for name, x in self.scored.state_dict().items()}
            best = _Progress([], epoch, math.inf if loss is None else loss, now)
        self.progress = best._replace(history=[*self.progress.history, line])
        return line

    def _train(self) -> float:
        """Run one epoch; return the mean loss per case."""
        options = self.options
        self.network.train()
        steps = plan_steps(self.cases, batch_size=options.batch_size, max_samples=options.max_samples, rng=self.rng)
        # One synchronisation per epoch: losses and norms of the gradients stay on the device until here.
        losses = torch.stack([self._step(pieces) for pieces in steps]).tolist()
        for batch, (loss, norm) in enumerate(losses, start=1):
            where = f" in batch {batch} of {len(steps)}"
            self._finite("loss", loss, where)
            self._finite("norm of the gradient", norm, where)
        return float(sum(loss for loss, _ in losses) / self.cases.weights.sum())

    def _step(self, pieces: list[NDArray[np.intp]]) -> Tensor:
        """Take one optimizer step; return its summed loss and the norm of its gradient, without waiting for them."""
        options = self.options
        total_weight = float(sum(self.cases.weights[piece].sum() for piece in pieces))
        summed = torch.zeros((), device=options.device, dtype=PRECISIONS[options.precision])
        self.optimizer.zero_grad(set_to_none=True)
        load = partial(self.cases.batches, dtype=summed.dtype, device=options.device, rng=self.rng)
        for _, batch in chain.from_iterable(map(load, pieces)):
            with autocast(options.device, options.precision):
                outputs = options.forward(self.network, batch, self.generator)
            losses = (self.loss(outputs.to(summed.dtype), _required(batch.target)) * batch.weight).sum()
            (losses / total_weight).backward()
            summed += losses.detach()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        if self.scheduler is not None:
            self.scheduler.step()
        self._average()
        return torch.stack([summed, norm.to(summed.dtype)])

    @torch.no_grad()
    def _average(self) -> None:
        """Follow the weights: by the mean of all of them at first, then by one that keeps a share of what it was."""
        if self.averaged is None:
            return
        self.n_averaged += 1
        share = max(1.0 - self.options.averaging, 1.0 / self.n_averaged)
        for mean, parameter in zip(self.averaged.parameters(), self.network.parameters(), strict=True):
            mean.lerp_(parameter, share)
        for copied, buffer in zip(self.averaged.buffers(), self.network.buffers(), strict=True):
            copied.copy_(buffer)

    def _finite(self, what: str, value: float, where: str = "") -> float:
        if math.isfinite(value):
            return value
        raise DivergenceError(
            f"the {what} is {value}{where} of epoch {self.epoch + 1}: training has diverged. Lower learning_rate (now "
            f"{self.options.learning_rate:g}), or look for values in X or y that are far from all others."
        )

    def save(self) -> None:
        if self.checkpoints is None:
            return
        moments = self.optimizer.state_dict()["state"].items()
        plain = {
            **self.progress._replace(weights={})._asdict(),
            "n_averaged": self.n_averaged,
            "n_scheduled": None if self.scheduler is None else self.scheduler.last_epoch,
            "learning_rates": [group["lr"] for group in self.optimizer.param_groups],
            "rng": [part.tolist() if isinstance(part, np.ndarray) else part for part in self.rng.get_state()],
        }
        snapshot = Snapshot.of(
            plain,
            network=self.network.state_dict(),
            averaged={} if self.averaged is None else self.averaged.state_dict(),
            best=self.progress.weights,
            optimizer={f"{i}/{key}": torch.as_tensor(x) for i, entry in moments for key, x in entry.items()},
            generator={"state": self.generator.get_state()},
        )
        self.checkpoints.save(self.epoch, snapshot)

    def resume(self) -> None:
        """Take up the newest checkpoint; if there is none, write one now: better no work is lost than all of it."""
        snapshot = None if self.checkpoints is None else self.checkpoints.load()
        if snapshot is None:
            self.save()
            return
        plain = snapshot.plain
        self.network.load_state_dict(snapshot.part("network"))
        if self.averaged is not None:
            self.averaged.load_state_dict(snapshot.part("averaged"))
        moments: dict[int, dict[str, Tensor]] = {}
        for name, x in snapshot.part("optimizer").items():
            index, _, key = name.partition("/")
            moments.setdefault(int(index), {})[key] = x
        self._take_up(moments)
        for group, rate in zip(self.optimizer.param_groups, plain["learning_rates"], strict=True):
            group["lr"] = rate
        if self.scheduler is not None:
            self.scheduler.last_epoch = plain["n_scheduled"]
        self.n_averaged = plain["n_averaged"]
        self.generator.set_state(snapshot.part("generator")["state"])
        name, keys, *rest = plain["rng"]
        self.rng.set_state((name, np.array(keys, dtype=np.uint32), *rest))
        self.progress = _Progress(plain["history"], plain["best_epoch"], plain["best_loss"], snapshot.part("best"))

    def result(self) -> TrainingResult[Any]:
        if self.progress.weights:
            self.network.load_state_dict(self.progress.weights)
        moments = self.optimizer.state_dict()
        return TrainingResult(self.network.eval(), self.progress.history, self.progress.best_epoch, moments)


@torch.no_grad()
def evaluate_network(network: nn.Module, cases: Cases, *, options: TrainingOptions) -> Tensor:
    """Score cases without training, (n, n_outputs) in float64 on the CPU; the network stays in its mode."""
    dtype = PRECISIONS[options.precision]
    batches = sequential_batches(cases, max_samples=4 * options.max_samples, dtype=dtype, device=options.device)
    outputs: Tensor | None = None
    with evaluating(network):
        for indices, batch in batches:
            with autocast(options.device, options.precision):
                scores = options.forward(network, batch, None).cpu().double()
            if outputs is None:
                outputs = scores.new_empty(len(cases), scores.shape[1])
            outputs[torch.from_numpy(indices)] = scores
    return _required(outputs)


def _required(tensor: Tensor | None) -> Tensor:
    if tensor is None:
        raise ValueError("there are no cases or no targets; pass at least one case with its target.")
    return tensor
