"""Prediction while the signal arrives."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s4signal.estimators.standardizer import Standardizer
from s4signal.estimators.streams import SignalStream
from s4signal.estimators.trained.plan import Plan
from s4signal.estimators.validation import finite_outputs
from s4signal.nn import S4Network
from s4signal.nn.steps import NetworkState, NetworkSteps


class Stream(SignalStream):
    """A causal network that listens; it is for inference and no other's.

    ``finish`` makes predictions of outputs (1, n_outputs); ``period`` is that of a sample, over that of the training.
    """

    def __init__(
        self,
        plan: Plan,
        standardizer: Standardizer,
        network: S4Network,
        finish: Callable[[NDArray[np.float64]], NDArray[np.float64]],
        *,
        period: float,
    ) -> None:
        # The plan knows how the network was built; a parameter may have been set since.
        if plan.stack["bidirectional"]:
            raise ValueError("stream needs a causal model, this one looks ahead; fit with bidirectional=False.")
        self._network, self._finish, self._period = network, finish, period
        self._n_masks = plan.n_inputs - plan.n_channels
        self._steps = NetworkSteps(network, period)
        super().__init__(standardizer)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is made of the network again."""
        return {name: value for name, value in self.__dict__.items() if name != "_steps"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = state
        self._steps = NetworkSteps(self._network, self._period)

    def _forget(self) -> None:
        self._state: NetworkState | None = None

    def _advance(self, data: NDArray[np.floating]) -> NDArray[np.float64]:
        if self._n_masks:  # nothing is missing
            data = np.concatenate([data, np.ones((self._n_masks, data.shape[1]))])
        outputs, state = self._steps.advance(self._steps.tensor(data), self._state)
        finite = finite_outputs(outputs.double().cpu().numpy())
        self._state = state
        scores: NDArray[np.float64] = self._finish(finite)[0]
        return scores
