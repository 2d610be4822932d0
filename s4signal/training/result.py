"""The result of a training."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)
Score = Callable[[Tensor, Tensor, Tensor], float]  # takes outputs, targets and weights
OnEpoch = Callable[[dict[str, Any], nn.Module], bool]  # takes a history entry and the network; True stops the training


@dataclass
class TrainingResult(Generic[Network]):
    """The result of a training.

    Parameters
    ----------
    network : Module
        The network with the weights of the best epoch, in evaluation mode.
    history : list of dict
        One entry per epoch: epoch, loss, validation_loss, validation_score (None if not available), seconds.
    best_epoch : int
        Best epoch, counted from 1; the last epoch if there are no validation cases.
    optimizer_state : dict
        State of the optimizer, to continue the training.
    seconds : float
        Duration of the training.

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
    """An interrupt after at least one epoch; ``result`` is the result of the completed epochs."""

    def __init__(self, *args: object, result: TrainingResult[Any]) -> None:
        super().__init__(*args)
        self.result = result


class Progress(NamedTuple):
    """State after the completed epochs; replaced as a whole, so that an interrupt leaves it consistent."""

    history: list[dict[str, Any]]
    best_epoch: int
    best_loss: float  # infinite without validation cases
    weights: dict[str, Tensor]  # of the best epoch
