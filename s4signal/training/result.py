"""What a training leads to."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)
Score = Callable[[Tensor, Tensor, Tensor], float]  # of outputs, targets and weights
OnEpoch = Callable[[dict[str, Any], nn.Module], bool]  # line of the history and network to whether to stop


@dataclass
class TrainingResult(Generic[Network]):
    """What came of a training.

    Parameters
    ----------
    network : Module
        With the weights of the best epoch, in evaluation mode.
    history : list of dict
        For each epoch: epoch, loss, validation_loss, validation_score (None without), seconds.
    best_epoch : int
        From 1; the last one without validation cases.
    optimizer_state : dict
        To go on with.
    seconds : float
        That it took.

    Examples
    --------
    >>> TrainingResult(nn.Identity(), [{"epoch": 1, "loss": 0.5}], 1, {}, 2.0).best_epoch
    1
    """

    network: Network
    history: list[dict[str, Any]]
    best_epoch: int
    optimizer_state: dict[str, Any]
    seconds: float


class TrainingInterrupted(KeyboardInterrupt):
    """An interrupt after at least one epoch; ``result`` is that of the epochs before it."""

    def __init__(self, *args: object, result: TrainingResult[Any]) -> None:
        super().__init__(*args)
        self.result = result


class Progress(NamedTuple):
    """What the finished epochs have led to; replaced as one, so that an interrupt leaves nothing half done."""

    history: list[dict[str, Any]]
    best_epoch: int
    best_loss: float  # infinite without validation cases
    weights: dict[str, Tensor]  # of the best epoch
