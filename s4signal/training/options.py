"""How to train: the options of the loop, and the optimizer and the schedule that it takes by default."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from os import PathLike

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from s4signal.training.batching import Batch, Cases


def call_network(network: nn.Module, batch: Batch, generator: torch.Generator | None) -> Tensor:
    """Run a network on a batch, (batch, n_outputs); gaps, offsets and, in training, a generator are passed if any."""
    given = {"gaps": batch.gaps, "offset": batch.offset, "generator": generator}
    outputs: Tensor = network(batch.x, batch.mask, rate=batch.rate, **{k: v for k, v in given.items() if v is not None})
    return outputs


def cosine_with_warmup(optimizer: Optimizer, n_steps: int) -> LambdaLR:
    """Rise over the first tenth of the steps, then fall along a cosine to a hundredth of the peak."""
    warmup = max(1, n_steps // 10)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        progress = min(1.0, (step - warmup) / max(1, n_steps - warmup))
        return 0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * progress))

    return LambdaLR(optimizer, factor)


def adamw(network: nn.Module, options: TrainingOptions) -> Optimizer:
    """Group the parameters by name: matrices decay, vectors and systems do not, poles and steps move slowly."""
    named = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    poles = [p for name, p in named if name in options.state_space]
    matrices = [p for name, p in named if name not in options.state_space and name.endswith("weight")]
    rest = [p for name, p in named if name not in options.state_space and not name.endswith("weight")]
    slow = min(options.ssm_learning_rate, options.learning_rate)
    return torch.optim.AdamW(
        [
            {"params": matrices, "lr": options.learning_rate, "weight_decay": options.weight_decay},
            {"params": rest, "lr": options.learning_rate, "weight_decay": 0.0},
            {"params": poles, "lr": slow, "weight_decay": 0.0},
        ],
        fused=True,  # its count of steps stays on the device; the others read it at each step
    )


@dataclass(frozen=True)
class TrainingOptions:
    """How to train; functions of one's own may take the place of forward, optimizer and schedule."""

    max_epochs: int
    batch_size: int | None  # cases per step; None takes all of them
    learning_rate: float  # the peak
    ssm_learning_rate: float  # the peak for the parameters in `state_space`, if it is lower
    weight_decay: float  # of the matrices
    n_iter_no_change: int | None  # epochs without a better validation loss before stopping; None never stops
    max_samples: int  # at most, of all cases together, in one forward pass; a step adds the gradients of several
    device: torch.device
    precision: str  # a name in `PRECISIONS`
    seed: int  # of the order of the cases, of dropout and of augmentation
    state_space: Collection[str] = ()  # names of the parameters with the small learning rate
    checkpoint_dir: str | PathLike[str] | None = None  # for the state after each epoch, in a subfolder per fingerprint
    fingerprint: str = ""  # of data and settings: a checkpoint of another is not taken up
    averaging: float = 0.0  # of the running mean of the weights, the share that a step keeps; the mean is what is kept
    forward: Callable[[nn.Module, Batch, torch.Generator | None], Tensor] = call_network
    optimizer: Callable[[nn.Module, TrainingOptions], Optimizer] = adamw
    schedule: Callable[[Optimizer, int], LambdaLR] | None = cosine_with_warmup  # by the number of steps; None: constant
    losses: Callable[[nn.Module, Batch, torch.Generator | None], Tensor] | None = None
    sampler: Callable[[Cases, np.random.RandomState], Iterable[NDArray[np.intp]]] | None = None
    max_norm: float | None = 1.0
