"""The training loop, for any network and any batches."""

import copy
import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from s4signal.errors import DivergenceError
from s4signal.training.batching import Cases, Indices, pieces, plan_steps
from s4signal.training.checkpoint import Checkpoints, Snapshot, flat_moments, moments_of
from s4signal.training.distributed import Ranks, digests, joined
from s4signal.training.evaluation import evaluate_network, validated
from s4signal.training.loading import Loaded, LoadedAhead, free_memory, half_the_samples, is_out_of_memory
from s4signal.training.options import TrainingOptions, checked_step
from s4signal.training.result import Network, OnEpoch, Progress, Score, TrainingInterrupted, TrainingResult
from s4signal.training.runtime import PRECISIONS
from s4signal.training.step import Gradients, Loss, RunningMean


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
    """Train a copy of a network, and return it with the weights of the epoch with the lowest validation loss.

    Arguments and global state (random numbers, threads, dtypes) are not changed. An interrupt after the first epoch
    raises `TrainingInterrupted`. Processes of a torchrun job train together; only the first one writes files.

    Parameters
    ----------
    network : Module
        Any module that ``options.forward`` can run.
    cases : Cases
        Training cases, with targets.
    loss : function
        Takes outputs (batch, n_outputs) and targets, returns the loss of each case (batch,).
    options : TrainingOptions
        Options of the loop.
    validation : Cases, optional
        Cases to select the best epoch; without them the last epoch is used.
    score : function, optional
        Takes all outputs, targets and weights of the validation cases, returns a number for the history.
    on_epoch : function, optional
        Called after each epoch with the entry of the history and the network; returns True to stop the training.
    optimizer_state : dict, optional
        Initial moments, from an earlier result.

    Returns
    -------
    TrainingResult
        The trained network and its history.

    Raises
    ------
    DivergenceError
        If a loss or a gradient is not finite; the message names epoch and batch.
    ShapeError
        If a loss is not one number per case.
    DistributedError
        If the processes of a distributed training have different inputs, or one of them has stopped.
    MemoryError
        If a single case does not fit into memory; a batch that does not fit is computed in halves.

    Examples
    --------
    >>> from s4signal.training import Cases, TrainingOptions  # its example has custom functions
    >>> cases = Cases.of([np.ones((1, 30)), np.zeros((1, 40))], torch.tensor([[1.0], [0.0]]))
    >>> options = TrainingOptions(max_epochs=2, forward=lambda network, batch, _: network(batch.x.mean(-1).t()))
    >>> loss = lambda outputs, targets: (outputs - targets).square().sum(1)
    >>> len(fit_network(nn.Linear(1, 1), cases, loss=loss, options=options).history)
    2
    """
    with joined(options.device) as ranks:
        training = _Training(network, cases, loss, options, optimizer_state, ranks=ranks)
        try:
            training.resume()
            while training.epoch < options.max_epochs and not training.finished(options.n_iter_no_change):
                line = training.run_epoch(validation, score)
                training.save()
                if ranks.from_first(lambda line=line: on_epoch is not None and on_epoch(line, training.scored)):  # type: ignore[misc]
                    break
            result = training.result()
            result.seconds = ranks.from_first(lambda: result.seconds)
            ranks.copy_first(result.network)
        except KeyboardInterrupt as interrupt:
            if training.epoch == 0:
                raise
            raise TrainingInterrupted(*interrupt.args, result=training.result()) from interrupt
    return cast(TrainingResult[Network], result)


class _Training:
    """The state of a training between two epochs."""

    def __init__(
        self,
        network: nn.Module,
        cases: Cases,
        loss: Loss,
        options: TrainingOptions,
        optimizer_state: dict[str, Any] | None,
        *,
        ranks: Ranks | None = None,
    ) -> None:
        self.started = time.perf_counter()
        self.network, self.cases, self.loss, self.options = copy.deepcopy(network), cases, loss, options
        self.ranks = ranks or Ranks()
        self.ranks.check_alike(partial(digests, self.network, cases, options))
        self.ranks.copy_first(self.network)
        self.parameters = [p for p in self.network.parameters() if p.requires_grad]
        self.optimizer = checked_step(options.optimizer(self.network, options), "optimizer", "AdamW")
        if optimizer_state:
            self._load_moments(copy.deepcopy(optimizer_state["state"]))
        per_epoch = len(self._plan(np.random.RandomState(options.seed)))
        self.scheduler = options.schedule and checked_step(
            options.schedule(self.optimizer, options.max_epochs * per_epoch), "schedule", "LambdaLR"
        )
        self.averaged = RunningMean(self.network, options.averaging) if options.averaging else None
        self.generator = torch.Generator(options.device).manual_seed(options.seed)  # for dropout and random features
        self.gradients = Gradients(self.network, loss=loss, options=options, generator=self.generator)
        self.rng = np.random.RandomState(options.seed)  # for the order of the cases
        self.chances: NDArray[np.float64] | None = None  # per case and epoch, independent of the batches
        self.load: Callable[[Indices], Loaded] = self._load
        self.max_samples = options.max_samples  # reduced if memory was too small
        self.progress = Progress([], 0, math.inf, {})
        self.checkpoints: Checkpoints | None = None  # in the first process only

    def _load_moments(self, moments: dict[int, Any]) -> None:
        """Load moments into the optimizer, and keep its learning rates."""
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": moments})

    @property
    def epoch(self) -> int:
        """Number of finished epochs."""
        return len(self.progress.history)

    @property
    def scored(self) -> nn.Module:
        """The network, or the running mean of its weights."""
        return self.network if self.averaged is None else self.averaged.module

    def finished(self, patience: int | None) -> bool:
        best = self.progress.best_epoch
        return patience is not None and self.progress.best_loss < math.inf and self.epoch - best >= patience

    def run_epoch(self, validation: Cases | None, score: Score | None) -> dict[str, Any]:
        started, epoch, best = time.perf_counter(), self.epoch + 1, self.progress
        line: dict[str, Any] = dict.fromkeys(("epoch", "loss", "validation_loss", "validation_score"))
        line |= {"epoch": epoch, "loss": self._train()}
        if any(True for _ in self.network.buffers()):
            self.ranks.copy_first(self.network)
            self.ranks.copy_first(self.scored)
        if validation is not None and validation.targets is not None:
            outputs = self.ranks.score(validation, partial(evaluate_network, self.scored, options=self.options))
            line |= self.ranks.from_first(partial(validated, outputs, validation, self.loss, score))
            self._finite("validation loss", line["validation_loss"])
        line["seconds"] = self.ranks.from_first(lambda: time.perf_counter() - started)
        loss = line["validation_loss"]
        if loss is None or loss < best.best_loss:
            now = {name: x.detach().clone() for name, x in self.scored.state_dict().items()}
            best = Progress([], epoch, math.inf if loss is None else loss, now)
        self.progress = best._replace(history=[*self.progress.history, line])
        return line

    def _train(self) -> float:
        """Run one epoch; return the mean loss per case."""
        options = self.options
        self.network.train()
        if options.batch_size is not None:  # else, all processes draw the same dropout masks
            self.ranks.spread(self.generator, options.seed, self.epoch)
        if self.cases.augment is not None:
            self.chances = np.random.default_rng((options.seed, 1 + self.epoch)).random(len(self.cases))
        steps = self._plan(self.rng)
        # One synchronisation per epoch: losses and gradient norms stay on the device until the end.
        with LoadedAhead(self._load, (part for step in steps for part in self._own(step))) as self.load:
            losses = torch.stack([value for step in steps for value in self._step(step)]).view(-1, 2).tolist()
        for batch, values in enumerate(losses, start=1):
            for what, value in zip(("loss", "norm of the gradient"), values, strict=True):
                self._finite(what, value, f" in batch {batch} of {len(steps)}")
        return float(sum(loss for loss, _ in losses) / self.cases.weights.sum())

    def _plan(self, rng: np.random.RandomState) -> list[list[Indices]]:
        """Draw the steps of an epoch; each is a list of parts that should fit into memory."""
        cases, options = self.cases, self.options
        if options.sampler is None:
            return plan_steps(cases, batch_size=options.batch_size, max_samples=options.max_samples, rng=rng)
        return [pieces(cases, np.asarray(step), options.max_samples) for step in options.sampler(cases, rng)]

    def _step(self, planned: list[Indices]) -> tuple[Tensor, Tensor]:
        """Take one optimizer step; return the summed loss and the gradient norm, without synchronisation."""
        summed = self._gradients(planned)
        self.ranks.add_up(self.parameters, summed)
        norm = nn.utils.clip_grad_norm_(self.parameters, self.options.max_norm or math.inf)
        self.optimizer.step()
        if self.scheduler is not None:
            self.scheduler.step()
        if self.averaged is not None:
            self.averaged.follow()
        return summed, norm

    def _gradients(self, planned: list[Indices]) -> Tensor:
        """Compute the gradients of this process's share, in smaller passes if memory is too small."""
        total_weight = float(sum(self.cases.weights[piece].sum() for piece in planned))
        while True:
            own = self._own(planned)
            self.optimizer.zero_grad(set_to_none=True)
            try:
                return self.gradients(own, self.load, total_weight=total_weight)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                fewer = half_the_samples(self.cases, own, error)
            # Outside of the handler, whose traceback keeps the tensors of the failed attempt alive.
            free_memory(self.options.device, warned=self.max_samples < self.options.max_samples)
            self.max_samples = fewer

    def _own(self, planned: list[Indices]) -> list[Indices]:
        """Return this process's share of a step, in parts that fit into memory."""
        if self.ranks.size == 1 and self.max_samples == self.options.max_samples:
            return planned
        return pieces(self.cases, self.ranks.share(np.concatenate(planned)), self.max_samples)  # in the same order

    def _load(self, indices: Indices) -> Loaded:
        drawn, dtype = None if self.chances is None else self.chances[indices], PRECISIONS[self.options.precision]
        return list(self.cases.batches(indices, dtype=dtype, device=self.options.device, chances=drawn))

    def _finite(self, what: str, value: float, where: str = "") -> None:
        if not math.isfinite(value):
            raise DivergenceError(
                f"the {what} is {value}{where} of epoch {self.epoch + 1}: training has diverged. Lower learning_rate "
                f"(now {self.options.learning_rate:g}), or look for outliers in X or y."
            )

    def save(self) -> None:
        if self.options.checkpoint_dir is not None:
            self.ranks.from_first(self._write)

    def _write(self) -> None:
        plain = {
            **self.progress._replace(weights={})._asdict(),
            "n_averaged": 0 if self.averaged is None else self.averaged.n_steps,
            "n_scheduled": None if self.scheduler is None else self.scheduler.last_epoch,
            "rng": [part.tolist() if isinstance(part, np.ndarray) else part for part in self.rng.get_state()],
        }
        parts = {
            "network": self.network.state_dict(),
            "averaged": {} if self.averaged is None else self.averaged.module.state_dict(),
            "best": self.progress.weights,
            "optimizer": flat_moments(self.optimizer),
            "generator": {"state": self.generator.get_state()},
        }
        cast(Checkpoints, self.checkpoints).save(self.epoch, Snapshot(plain, parts))

    def _read(self) -> Snapshot | None:
        if self.options.checkpoint_dir is None:
            return None
        self.checkpoints = Checkpoints(self.options.checkpoint_dir, self.options.fingerprint)
        return self.checkpoints.load()

    def resume(self) -> None:
        """Load the newest checkpoint; if there is none, write one now, so that errors of writing show early."""
        snapshot = self.ranks.from_first(self._read)
        if snapshot is None:
            self.save()
            return
        plain, parts = snapshot
        self.network.load_state_dict(parts["network"])
        if self.averaged is not None:
            self.averaged.module.load_state_dict(parts["averaged"])
            self.averaged.n_steps = plain["n_averaged"]
        self._load_moments(moments_of(parts["optimizer"]))
        if self.scheduler is not None:
            vars(self.optimizer)["_opt_called"] = True  # else torch warns about the order of calls
            for _ in range(plain["n_scheduled"]):  # some schedules change more than rates, or have a state
                self.scheduler.step()
        self.generator.set_state(parts["generator"]["state"])
        name, keys, *rest = plain["rng"]
        self.rng.set_state((name, np.array(keys, dtype=np.uint32), *rest))
        self.progress = Progress(plain["history"], plain["best_epoch"], plain["best_loss"], parts["best"])

    def result(self) -> TrainingResult[Any]:
        if self.progress.weights:
            self.network.load_state_dict(self.progress.weights)
        seconds, (history, best_epoch, *_) = time.perf_counter() - self.started, self.progress
        return TrainingResult(self.network.eval(), history, best_epoch, self.optimizer.state_dict(), seconds)
