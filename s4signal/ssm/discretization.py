"""From a continuous mode to a discrete one: x' = Lambda x + B u becomes x_k = Lambda_bar x_{k-1} + B_bar u_k."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from s4signal.ssm.pairs import Pair

__all__ = [
    "DISCRETIZATIONS",
    "backward_euler",
    "bilinear",
    "dirac",
    "forward_euler",
    "generalized_bilinear",
    "zero_order_hold",
]


def zero_order_hold(Lambda: Pair, dt: Tensor | float) -> tuple[Pair, Pair]:
    r"""Discretise diagonal modes exactly for an input that is constant within a sample.

    .. math:: \bar\Lambda = e^{\Lambda\Delta}, \qquad \bar B / B = (e^{\Lambda\Delta} - 1) / \Lambda

    Shapes: Lambda (d_model, n_pairs), dt (d_model, 1) → (d_model, n_pairs), (d_model, n_pairs).

    References
    ----------
    Gu, Goel, Gupta, Ré, "On the Parameterization and Initialization of Diagonal State Space Models", 2022,
    section 3.1, doi:10.48550/arXiv.2206.11893.
    """
    z = Lambda.scaled(dt)
    return z.exp(), z.expm1().times(Lambda.reciprocal())


def generalized_bilinear(Lambda: Pair, dt: Tensor, alpha: float) -> tuple[Pair, Pair]:
    r"""Discretise diagonal modes by a weighted trapezoid rule.

    .. math:: \bar\Lambda = \frac{1 + (1 - \alpha)\Lambda\Delta}{1 - \alpha\Lambda\Delta}, \qquad
              \bar B / B = \frac{\Delta}{1 - \alpha\Lambda\Delta}

    Stable poles stay stable from ``alpha=0.5`` on. Half is the trapezoid rule (Tustin): frequencies are warped, at
    ``|Im(Lambda)| dt = 1`` by 7 %, and by another amount at another rate. One, the slope at the end of a step (backward
    Euler), damps oscillations by the step itself. Zero, the slope at its start (forward Euler), **can be unstable**: a
    pole leaves the unit circle where :math:`\Delta > -2 \mathrm{Re}(\Lambda) / |\Lambda|^2`, for the oscillating poles
    of HiPPO at small steps already. It is here for comparison.

    Shapes: Lambda (d_model, n_pairs), dt (d_model, 1) → (d_model, n_pairs), (d_model, n_pairs).

    References
    ----------
    Zhang, Chen, Chen, "Digital Redesign via the Generalised Bilinear Transformation", International Journal of
    Control 82(4), 2009.
    Gu, Goel, Ré, "Efficiently Modeling Long Sequences with Structured State Spaces", 2022, equation 3 (bilinear),
    doi:10.48550/arXiv.2111.00396.
    Gu, Dao, Ermon, Rudra, Ré, "HiPPO: Recurrent Memory with Optimal Polynomial Projections", 2020, appendix B.3
    (Euler), doi:10.48550/arXiv.2008.07669.
    """
    z = Lambda.scaled(dt)
    inverse = Pair(1.0 - alpha * z.re, -alpha * z.im).reciprocal()
    return Pair(1.0 + (1.0 - alpha) * z.re, (1.0 - alpha) * z.im).times(inverse), inverse.scaled(dt)


def dirac(Lambda: Pair, dt: Tensor) -> tuple[Pair, Pair]:
    r"""Discretise diagonal modes for an input of impulses, one a sample, of area u dt.

    .. math:: \bar\Lambda = e^{\Lambda\Delta}, \qquad \bar B / B = \Delta

    The kernel is the sampled impulse response of the continuous system, times dt: poles are exact, and the gain is
    comparable to that of the other rules at every rate.

    Shapes: Lambda (d_model, n_pairs), dt (d_model, 1) → (d_model, n_pairs), (d_model, n_pairs).

    References
    ----------
    Jackson, "A Correction to Impulse Invariance", IEEE Signal Processing Letters 7(10), 2000, doi:10.1109/97.870677.
    """
    z = Lambda.scaled(dt)
    return z.exp(), Pair(dt + torch.zeros_like(z.re), torch.zeros_like(z.im))


bilinear = partial(generalized_bilinear, alpha=0.5)
forward_euler = partial(generalized_bilinear, alpha=0.0)
backward_euler = partial(generalized_bilinear, alpha=1.0)

DISCRETIZATIONS: dict[str, Callable[[Pair, Tensor], tuple[Pair, Pair]]] = {
    "zoh": zero_order_hold,
    "bilinear": bilinear,
    "forward": forward_euler,
    "backward": backward_euler,
    "dirac": dirac,
}
