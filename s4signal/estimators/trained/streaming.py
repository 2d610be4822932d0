"""Prediction while the signal arrives."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s4signal.estimators.standardizer import Standardizer
from s4signal.estimators.streams import SignalStream
from s4signal.estimators.trained.plan import Plan
from s4signal.estimators.validation import finite_outputs
from s4signal.nn import S4Network
from s4signal.nn.pooling import PoolingState
from s4signal.nn.readout import PowerState


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
        self._n_inputs, self._unit = plan.n_inputs, network.frontend.unit(period)
        super().__init__(standardizer)

    def _forget(self) -> None:
        self._rest = np.zeros((self._n_inputs, 0))
        self._state: list[Any] | None = None
        self._pooled: PoolingState | None = None
        self._power: PowerState | None = None

    @torch.no_grad()
    def _advance(self, data: NDArray[np.floating]) -> NDArray[np.float64]:
        observed = np.ones((self._n_inputs - len(data), data.shape[1]))  # masks: nothing is missing
        inputs = np.concatenate([self._rest, np.concatenate([data, observed])], axis=1)
        whole = inputs.shape[1] // self._unit * self._unit
        pooling, pooled, state = self._network.pooling, self._pooled, self._state
        if whole:
            h, state = self._run(inputs[:, :whole], state)
            pooled = pooling.advance(h, pooled)
        after: Any = pooled
        rest = inputs[:, whole:]
        if rest.shape[1]:
            # The unfinished hop is taken on a copy of the state, and again when it is whole.
            after = pooling.advance(self._run(rest, state)[0], pooled)
        head, readout, power = self._network.head, self._network.readout, self._power
        outputs = head(pooling.value(after).to(head.weight.dtype))
        if readout is not None:
            power = readout.advance(self._tensor(data), power, rate=self._period)
            outputs = readout.add(outputs, readout.value(power, rate=self._period))
        finite = finite_outputs(outputs.double().cpu().numpy())
        self._pooled, self._state, self._rest, self._power = pooled, state, rest, power
        scores: NDArray[np.float64] = self._finish(finite)[0]
        return scores

    def _run(self, data: NDArray[np.floating], state: list[Any] | None) -> tuple[Tensor, list[Any]]:
        return self._network.advance(self._tensor(data), state, rate=self._period)

    def _tensor(self, data: NDArray[np.floating]) -> Tensor:
        weight = next(self._network.parameters())
        return torch.from_numpy(np.ascontiguousarray(data)).to(weight.device, weight.dtype).unsqueeze(1)
