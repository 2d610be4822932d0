"""Prediction while the signal arrives."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from s4signal.errors import ShapeError
from s4signal.estimators.standardizer import Standardizer, check_outputs, warn_of_scale
from s4signal.estimators.trained.plan import Plan
from s4signal.estimators.validation import check_chunk
from s4signal.nn import S4Network
from s4signal.nn.pooling import PoolingState


class Stream:
    """A causal model that listens: memory is bounded, and what it says equals the prediction of all samples so far.

    It keeps the model that it was built with, whatever becomes of the estimator.

    Parameters
    ----------
    plan : Plan
        What the network was built from.
    standardizer : Standardizer
        Of the channels.
    network : S4Network
        Causal, for inference, no other's.
    finish : callable
        From outputs (1, n_outputs) to predictions.
    period : float
        Sample period of the stream, over that of the training.

    Raises
    ------
    ValueError
        If the model is bidirectional, or its front end takes whole cases alone.
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
        self._plan, self._standardizer, self._network, self._finish = plan, standardizer, network, finish
        self._period = period
        self._unit = network.frontend.unit(self._period)
        self.reset()

    def reset(self) -> None:
        """Forget all samples so far."""
        self._rest = np.zeros((self._plan.n_inputs, 0))
        self._state: list[Any] | None = None
        self._pooled: PoolingState | None = None
        self._warned = False

    def push(self, chunk: ArrayLike) -> NDArray[np.float64]:
        """Take the next samples.

        Parameters
        ----------
        chunk : array-like (n_channels, n_times)
            The next samples, of any number; (n_times,) for one channel.

        Returns
        -------
        ndarray (n_outputs,)
            What ``predict_proba`` (a classifier) or ``predict`` (a regressor) says of all samples so far.

        Raises
        ------
        ShapeError
            If the chunk has other channels, or there was no sample yet.
        ValueError, TypeError
            If a sample is NaN or infinite, or the chunk is something that `predict` would refuse too.

        Warns
        -----
        UserWarning
            If a chunk varies 100 times as much as any training case.
        """
        data = check_chunk(chunk, self._plan.n_channels)
        if data.size and not self._warned:
            scale = np.array([self._standardizer.case_scale(data)])
            self._warned = warn_of_scale(self._standardizer, scale, chunk=True)
        observed = np.ones((self._plan.n_inputs - len(data), data.shape[1]))  # masks: nothing is missing
        inputs = np.concatenate([self._rest, np.concatenate([self._standardizer(data, "the chunk"), observed])], axis=1)
        whole = inputs.shape[1] // self._unit * self._unit
        pooled, state = self._pooled, self._state
        if whole:
            h, state = self._advance(inputs[:, :whole], state)
            pooled = self._network.pooling.advance(h, pooled)
        after, rest = pooled, inputs[:, whole:]
        if rest.shape[1]:
            # The unfinished hop is taken on a copy of the state, and again when it is whole.
            after = self._network.pooling.advance(self._advance(rest, state)[0], pooled)
        if after is None:
            raise ShapeError("chunk is empty and nothing came before; push at least one sample.")
        with torch.no_grad():
            pooled_features = self._network.pooling.value(after).to(self._network.head.weight.dtype)
            outputs = self._network.head(pooled_features).double().cpu().numpy()
        check_outputs(outputs)
        self._pooled, self._state, self._rest = pooled, state, rest
        scores: NDArray[np.float64] = self._finish(outputs)[0]
        return scores

    @torch.no_grad()
    def _advance(self, data: NDArray[np.floating], state: list[Any] | None) -> tuple[Tensor, list[Any]]:
        weight = next(self._network.parameters())
        x = torch.from_numpy(np.ascontiguousarray(data)).to(weight.device, weight.dtype).unsqueeze(1)
        return self._network.advance(x, state, rate=self._period)
