"""Poolings of a sequence of features to one vector per case, for whole cases or piece by piece.

To add one, add a class here and a line in the table.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor, nn

from s4signal.errors import check_choice
from s4signal.ssm import construction_dtype

LEGS_ORDER = 10  # coefficients per feature; the highest resolves half waves of a tenth of a case


class PoolingState(NamedTuple):
    """State of a pooling; the meaning of the parts depends on the pooling.

    Shapes: elapsed (batch,) in training step periods, parts by feature or by group of features.
    """

    elapsed: Tensor
    parts: tuple[Tensor, ...]


class Steps(NamedTuple):
    """Durations and end times of steps, (batch, n_steps), or (1, n_steps) if equal for all; 0 long where masked."""

    durations: Tensor
    ends: Tensor
    mask: Tensor | None


class Pooling(nn.Module, ABC):
    """Base class: steps are weighted by their duration, masked steps have weight 0; ``order`` outputs per feature."""

    order = 1

    def __init__(self, d_model: int) -> None:
        super().__init__()

    def forward(self, x: Tensor, mask: Tensor | None = None, gaps: Tensor | None = None) -> Tensor:
        """Pool whole cases.

        Shapes: x (d_model, batch, n_steps), mask, gaps (batch, n_steps) → (batch, d_model * order).
        """
        return self.value(self.advance(x, None, mask, gaps)).to(x.dtype)

    def advance(
        self, x: Tensor, state: PoolingState | None, mask: Tensor | None = None, gaps: Tensor | None = None
    ) -> PoolingState:
        """Return the state after further steps."""
        dtype = construction_dtype(x.device)
        durations = torch.ones_like(x[0, :1], dtype=dtype) if mask is None else mask.to(dtype)
        if gaps is not None:
            durations = gaps.to(dtype) if mask is None else gaps.to(dtype) * mask
        ends = durations.cumsum(-1)
        if state is not None:
            ends = ends + state.elapsed[:, None]
        return PoolingState(ends[:, -1], self.further(x, Steps(durations, ends, mask), state))

    @abstractmethod
    def further(self, x: Tensor, steps: Steps, state: PoolingState | None) -> tuple[Tensor, ...]:
        """Return the parts after further steps."""

    def value(self, state: PoolingState) -> Tensor:
        """Return the pooled vectors of all steps so far, (batch, d_model * order)."""
        return self.vector(state.parts)

    def numbers(self, n_before: int, n: int, like: Tensor) -> tuple[Any, ...]:
        """Return the coefficients for the next n steps of a stream that depend on the number of steps before."""
        return ()

    def regular(self, x: Tensor, parts: tuple[Tensor, ...] | None, numbers: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the parts after further steps (d_model, batch, n_steps) of equal length, for a stream."""
        ones = x.new_ones(x.shape[1:])
        return self.further(x, Steps(ones, ones, None), None if parts is None else PoolingState(ones[:, 0], parts))

    def vector(self, parts: tuple[Tensor, ...]) -> Tensor:
        """Return the pooled vectors, (batch, d_model * order), from the parts of a state."""
        return parts[0].T


class _Legendre(NamedTuple):
    """Tables of normalised Legendre polynomials at Gauss nodes, as arrays or tensors.

    References
    ----------
    Berrut, Trefethen, "Barycentric Lagrange Interpolation", 2004, doi:10.1137/S0036144502417715, equation 4.2.
    """

    nodes: Any
    weights: Any  # of barycentric interpolation
    projection: Any  # (order, n_nodes): half the scalar products with a polynomial, by quadrature
    integrals: Any  # (n_nodes, order), halved
    values: Any  # (n_nodes, order)

    @classmethod
    def of(cls, order: int) -> Self:
        """Evaluate the first ``order`` polynomials."""
        # Quadrature is exact up to degree 2 order + 3; the product of two polynomials has degree 2 order - 2.
        nodes, masses = np.polynomial.legendre.leggauss(order + 2)
        P, norms = np.polynomial.legendre.legvander(nodes, order), np.sqrt(2.0 * np.arange(order) + 1.0)
        # (2 n + 1) P_n is the derivative of P_{n+1} - P_{n-1}.
        integrals, own = np.concatenate([P[:, 1:2], P[:, 2:] - P[:, :-2]], 1) / (2.0 * norms), P[:, :-1] * norms
        weights = (-1.0) ** np.arange(len(nodes)) * np.sqrt((1.0 - nodes**2) * masses)
        return cls(nodes, weights, 0.5 * own.T * masses, integrals, own)

    def to(self, like: Tensor) -> Self:
        """Convert to tensors with the dtype and device of ``like``."""
        return type(self)(*(torch.from_numpy(array).to(like) for array in self))

    def shares(self, y: Any) -> Any:
        """Return the weights (..., n_nodes) of exact interpolation at y (...) in [-1, 1] from values at the nodes."""
        distances = y[..., None] - self.nodes
        # Not + 1e-30 everywhere: exported programs would fold it into the nodes.
        shares = self.weights / (distances + 1e-30 * (distances == 0.0))
        return shares / shares.sum(-1, keepdims=True)


class LegendrePooling(Pooling):
    """Coefficients of the features in the first Legendre polynomials over the duration of a case: HiPPO-LegS.

    Order 1 is the mean. The state consists of the coefficients and the elapsed time. To advance from t1 to t2, the
    polynomial on [0, t1] is projected onto the polynomials on [0, t2], exactly, by Gauss quadrature; a new step adds
    the integrals of the polynomials over its interval.

    References
    ----------
    Gu, Dao, Ermon, Rudra, Ré, "HiPPO: Recurrent Memory with Optimal Polynomial Projections", 2020,
    doi:10.48550/arXiv.2008.07669.
    """

    def __init__(self, d_model: int, order: int = LEGS_ORDER) -> None:
        super().__init__(d_model)
        if order < 1:
            raise ValueError(f"order={order} must be at least 1.")
        self.order = order
        self._polynomials = _Legendre.of(order)  # no buffers: a cast of the network would reduce their precision
        self._kept: dict[Any, _Legendre] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Exclude the tensors, which may be on a device."""
        return {**self.__dict__, "_kept": {}}

    def _tensors(self, like: Tensor) -> _Legendre:
        """Return the polynomials on the device of a tensor, cached so that training steps copy nothing to a GPU."""
        key = like.dtype, like.device
        if key not in self._kept:
            tensors = self._polynomials.to(like)
            if type(tensors.nodes) is not Tensor or torch.compiler.is_compiling():  # fake or traced tensors
                return tensors
            self._kept[key] = tensors
        return self._kept[key]

    def further(self, x: Tensor, steps: Steps, state: PoolingState | None) -> tuple[Tensor, ...]:
        """Return the coefficients (d_model, batch, order)."""
        total, P = steps.ends[:, -1:], self._tensors(steps.ends)
        edges = P.shares(2.0 * torch.stack([steps.ends - steps.durations, steps.ends]) / total - 1.0)
        weights = ((edges[1] - edges[0]) @ P.integrals).to(x.dtype)  # per step, relative to the total duration
        rows = x @ weights[0] if len(weights) == 1 else torch.einsum("hbt,btn->hbn", x, weights)
        coefficients = rows.to(total.dtype)
        if state is not None:
            share = (state.elapsed / total[:, 0])[:, None]
            stretch = share[..., None] * P.projection @ P.shares(share * (P.nodes + 1.0) - 1.0) @ P.values
            coefficients = coefficients + torch.einsum("hbm,bmn->hbn", state.parts[0], stretch)
        return (coefficients,)

    def numbers(self, n_before: int, n: int, like: Tensor) -> tuple[Any, ...]:
        """Return weights of the steps (n, order), and the matrix (order, order) for the coefficients so far."""
        total, P = n_before + n, self._polynomials
        share = n_before / total
        edges = np.arange(n_before, total + 1) * (2.0 / total) - 1.0
        shares = P.shares(np.concatenate([edges, share * (P.nodes + 1.0) - 1.0]))
        weights = (shares[1 : n + 1] - shares[:n]) @ P.integrals
        stretch = share * P.projection @ shares[n + 1 :] @ P.values
        if like.is_cpu:
            return weights, stretch
        return tuple(torch.from_numpy(x).to(like.device, construction_dtype(like.device)) for x in (weights, stretch))

    def regular(self, x: Tensor, parts: tuple[Tensor, ...] | None, numbers: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the coefficients after further steps."""
        weights, stretch = numbers
        rows = torch.mm(x.reshape(-1, x.shape[-1]).to(weights.dtype), weights)
        if parts is not None:
            rows = torch.addmm(rows, parts[0].view(-1, self.order), stretch)
        return (rows.view(*x.shape[:2], self.order),)

    def vector(self, parts: tuple[Tensor, ...]) -> Tensor:
        """Return the coefficients (batch, d_model * order), grouped by feature."""
        return parts[0].transpose(0, 1).flatten(1)


class MeanPooling(LegendrePooling):
    """Mean over time."""

    def __init__(self, d_model: int) -> None:
        super().__init__(d_model, order=1)


class AttentionPooling(Pooling):
    """Mean over time, weighted by a softmax of one learned score per step; the plain mean before training.

    Each group of features has its own score. The state is the largest score, and two sums relative to it.

    References
    ----------
    Lin, Feng, dos Santos, Yu, Xiang, Zhou, Bengio, "A Structured Self-Attentive Sentence Embedding", 2017,
    doi:10.48550/arXiv.1703.03130.
    """

    def __init__(self, d_model: int, n_groups: int = 1) -> None:
        super().__init__(d_model)
        self.weight = nn.Parameter(torch.zeros(n_groups, d_model // n_groups))

    def further(self, x: Tensor, steps: Steps, state: PoolingState | None) -> tuple[Tensor, ...]:
        """Return the largest score, and the sums of the weights and of the weighted features."""
        grouped = x.unflatten(0, (len(self.weight), -1))  # type: ignore[no-untyped-call]
        # The score is -inf for steps of duration 0.
        scores = torch.einsum("gh,ghbt->gbt", self.weight, grouped).to(steps.ends.dtype) + steps.durations.log()
        largest = scores.detach().amax(-1)  # subtracted for stability only
        if state is not None:
            largest = torch.maximum(largest, state.parts[0])
        weights = torch.exp(scores - largest[..., None])
        total = weights.sum(-1)
        summed = torch.einsum("ghbt,gbt->ghb", grouped, weights.to(x.dtype)).to(weights.dtype).flatten(0, 1)
        if state is not None:
            decay = torch.exp(state.parts[0] - largest)
            total, summed = total + decay * state.parts[1], summed + self._spread(decay) * state.parts[2]
        return largest, total, summed

    def regular(self, x: Tensor, parts: tuple[Tensor, ...] | None, numbers: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the parts after further steps of equal duration."""
        scores = (x * self.weight.view(-1, 1, 1)).view(len(self.weight), -1, *x.shape[1:]).sum(1)
        scores = scores.to(construction_dtype(x.device))
        largest = scores.amax(-1) if parts is None else torch.maximum(scores.amax(-1), parts[0])
        weights = torch.exp(scores - largest[..., None])
        total, summed = weights.sum(-1), (x * self._spread(weights).to(x.dtype)).sum(-1).to(weights.dtype)
        if parts is not None:
            decay = torch.exp(parts[0] - largest)
            total = torch.addcmul(total, decay, parts[1])
            summed = torch.addcmul(summed, self._spread(decay), parts[2])
        return largest, total, summed

    def vector(self, parts: tuple[Tensor, ...]) -> Tensor:
        """Return the weighted mean (batch, d_model)."""
        _, total, summed = parts
        return (summed / self._spread(total)).T

    def _spread(self, x: Tensor) -> Tensor:
        """Repeat the values of each group for its features: (n_groups, ...) → (d_model, ...), or (1, ...)."""
        return x if len(self.weight) == 1 else x.repeat_interleave(self.weight.shape[1], 0)


class MaxPooling(Pooling):
    """Maximum over the valid steps."""

    def further(self, x: Tensor, steps: Steps, state: PoolingState | None) -> tuple[Tensor, ...]:
        """Return the largest values (d_model, batch)."""
        largest = (x if steps.mask is None else x.masked_fill(steps.mask == 0, float("-inf"))).amax(-1)
        return (largest if state is None else torch.maximum(largest, state.parts[0]),)


class LastPooling(Pooling):
    """Value of the last valid step."""

    def further(self, x: Tensor, steps: Steps, state: PoolingState | None) -> tuple[Tensor, ...]:
        """Return the last values (d_model, batch)."""
        if (mask := steps.mask) is None:
            return (x[..., -1],)
        # Steps within a case may be missing: the index of the last valid step is not the number of valid steps.
        index = ((mask > 0) * torch.arange(1, x.shape[-1] + 1, device=x.device)).argmax(-1).expand(len(x), -1)
        last = torch.gather(x, -1, index.unsqueeze(-1)).squeeze(-1)
        # A piece may have no valid step.
        return (last if state is None else torch.where((mask > 0).any(-1), last, state.parts[0]),)


POOLINGS: dict[str, type[Pooling]] = {
    "mean": MeanPooling,
    "legs": LegendrePooling,
    "attention": AttentionPooling,
    "max": MaxPooling,
    "last": LastPooling,
}


def make_pooling(pooling: str | tuple[str, int], d_model: int, n_groups: int = 1) -> Pooling:
    """Build a pooling from its name, or from ``("legs", order)``, for groups of features."""
    name, order = (pooling, None) if isinstance(pooling, str) else pooling
    check_choice("pooling", name, POOLINGS)
    if order is None:
        return AttentionPooling(d_model, n_groups) if name == "attention" else POOLINGS[name](d_model)
    if name != "legs":
        raise ValueError(f"pooling={pooling!r}: only 'legs' has an order.")
    return LegendrePooling(d_model, order)
