"""Options of the training loop, and its default optimizer and schedule."""

import inspect
import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from os import PathLike
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from s4signal.errors import check_choice
from s4signal.training.batching import Batch, Cases
from s4signal.training.runtime import PRECISIONS, resolve_device

Stepper = TypeVar("Stepper", bound=Any)


def call_network(network: nn.Module, batch: Batch, generator: torch.Generator | None) -> Tensor:
    """Run a network on a batch; gaps, offset and generator are passed only if they are not None."""
    extra = {"gaps": batch.gaps, "offset": batch.offset, "generator": generator}
    outputs: Tensor = network(batch.x, batch.mask, rate=batch.rate, **{k: v for k, v in extra.items() if v is not None})
    return outputs


def cosine_with_warmup(optimizer: Optimizer, n_steps: int) -> LambdaLR:
    """Warm up linearly over the first tenth of the steps, then decay by a cosine to a hundredth of the peak."""
    warmup = max(1, n_steps // 10)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        progress = min(1.0, (step - warmup) / max(1, n_steps - warmup))
        return 0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * progress))

    return LambdaLR(optimizer, factor)


def adamw(network: nn.Module, options: "TrainingOptions") -> Optimizer:
    """Build AdamW with groups: weight decay for matrices only, a small learning rate for state-space parameters."""
    named = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    poles = [p for name, p in named if name in options.state_space]
    matrices = [p for name, p in named if name not in options.state_space and name.endswith("weight")]
    rest = [p for name, p in named if name not in options.state_space and not name.endswith("weight")]
    slow = min(options.ssm_learning_rate, options.learning_rate)
    lr, decay = options.learning_rate, options.weight_decay
    settings = [(matrices, lr, decay), (rest, lr, 0.0), (poles, slow, 0.0)]
    # Fused: the step count stays on the device; other variants read it at each step. Empty groups would cost time.
    groups = [{"params": p, "lr": rate, "weight_decay": share} for p, rate, share in settings if p]
    return torch.optim.AdamW(groups, fused=True)


def checked_step(made: Stepper, option: str, other: str) -> Stepper:
    """Return what an option has made; refuse an optimizer that needs a closure, and a scheduler that needs a loss."""
    try:
        inspect.signature(made.step).bind()
    except (AttributeError, TypeError) as error:
        raise ValueError(
            f"{option} returned a {type(made).__name__}, whose step() cannot be called without arguments ({error}); "
            f"return another, such as {other}."
        ) from None
    return made


@dataclass(frozen=True)
class TrainingOptions:
    """Options of the training loop; custom functions may replace each level of it.

    The levels: `fit_network` > epoch (``sampler``) > step (``optimizer``, ``schedule``, ``max_norm``) > losses of a
    batch (``losses``) > ``forward`` and the ``loss`` of `fit_network`.

    Parameters
    ----------
    max_epochs : int, default=20
        Number of passes over the cases.
    batch_size : int or None, default=32
        Cases per step, summed over all processes; None for all cases.
    learning_rate : float, default=4e-3
        Peak learning rate.
    ssm_learning_rate : float, default=1e-3
        Peak learning rate of the parameters in ``state_space``, if lower than ``learning_rate``.
    weight_decay : float, default=0.05
        Weight decay of the matrices.
    n_iter_no_change : int or None, default=None
        Epochs without a better validation loss before early stopping; None for no early stopping.
    max_samples : int, default=2**20
        Largest number of samples, over all cases, in one forward pass; a step sums the gradients of several passes.
    device : torch.device or str, default=torch.device("cpu")
        Device; "auto" uses a GPU if there is one.
    precision : {"32", "64", "bf16"}, default="32"
        Precision of the arithmetic.
    cuda_graphs : bool, default=False
        On CUDA, record the kernels of a batch and replay them for batches of the same shapes. ``forward`` and the
        losses must then depend on network, batch and generator only, and must not synchronise with the device.
    seed : int, default=0
        Seed for the order of the cases, dropout and augmentation.
    state_space : collection of str, default=()
        Names of the parameters with the small learning rate.
    checkpoint_dir : path, optional
        Folder for the state after each epoch, in a subfolder per fingerprint.
    fingerprint : str, default=""
        Identifies data and settings: checkpoints with another fingerprint are ignored.
    averaging : float in [0, 1), default=0.0
        Decay of a running mean of the weights, per step. The mean is then evaluated and returned, in place of the
        weights; 0 for no mean.
    forward : function, default=call_network
        Takes the network, a `Batch` and a generator (None in evaluation), returns the outputs (batch, n_outputs), or
        in training what the loss takes.
    optimizer : function, default=adamw
        Takes the network and these options, returns a torch optimizer whose ``step()`` needs no closure.
    schedule : function or None, default=cosine_with_warmup
        Takes the optimizer and the number of steps, returns a torch scheduler, whose ``step()`` is called after each
        step; None for constant learning rates.
    losses : function, optional
        Takes the network, a `Batch` and a generator, returns the loss of each case (batch,) in training; replaces
        ``forward`` and the loss.
    sampler : function, optional
        Takes the `Cases` and a numpy ``RandomState``, returns the steps of an epoch, an array of indices each; by
        default, cases of similar length share a step of ``batch_size``.
    max_norm : float or None, default=1.0
        Largest norm of the gradient, for clipping; None for no clipping.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from s4signal.training import Cases, TrainingOptions, fit_network
    >>> rng = np.random.default_rng(0)
    >>> labels = torch.arange(40) % 2
    >>> cases = Cases.of([rng.standard_normal((1, 50)) + 2.0 * (i % 2) for i in range(40)], labels)
    >>> network = torch.nn.Sequential(torch.nn.Conv1d(1, 4, 5), torch.nn.AdaptiveAvgPool1d(1), torch.nn.Flatten())
    >>> network.append(torch.nn.Linear(4, 2))[3].out_features
    2
    >>> options = TrainingOptions(
    ...     max_epochs=30,
    ...     forward=lambda network, batch, generator: network(batch.x.transpose(0, 1)),
    ...     optimizer=lambda network, options: torch.optim.SGD(network.parameters(), lr=0.3),
    ...     sampler=lambda cases, rng: np.array_split(rng.permutation(len(cases)), 4),
    ... )
    >>> result = fit_network(
    ...     network, cases, loss=torch.nn.CrossEntropyLoss(reduction="none"), options=options, validation=cases
    ... )
    >>> result.history[-1]["loss"] < 0.5
    True
    """

    max_epochs: int = 20
    batch_size: int | None = 32
    learning_rate: float = 4e-3
    ssm_learning_rate: float = 1e-3
    weight_decay: float = 0.05
    n_iter_no_change: int | None = None
    max_samples: int = 2**20
    device: torch.device = torch.device("cpu")  # noqa: RUF009 - immutable
    precision: str = "32"
    cuda_graphs: bool = False
    seed: int = 0
    state_space: Collection[str] = ()
    checkpoint_dir: str | PathLike[str] | None = None
    fingerprint: str = ""
    averaging: float = 0.0
    forward: Callable[[nn.Module, Batch, torch.Generator | None], Tensor] = field(default_factory=lambda: call_network)
    optimizer: "Callable[[nn.Module, TrainingOptions], Optimizer]" = field(default_factory=lambda: adamw)
    schedule: Callable[[Optimizer, int], LRScheduler] | None = field(default_factory=lambda: cosine_with_warmup)
    losses: Callable[[nn.Module, Batch, torch.Generator | None], Tensor] | None = None
    sampler: Callable[[Cases, np.random.RandomState], Iterable[NDArray[np.intp]]] | None = None
    max_norm: float | None = 1.0

    def __post_init__(self) -> None:
        """Check the precision, and resolve the name of a device."""
        check_choice("precision", self.precision, PRECISIONS)
        if isinstance(self.device, str):
            object.__setattr__(self, "device", resolve_device(self.device, precision=self.precision))
