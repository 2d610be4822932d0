"""From a continuous mode to a discrete one: x' = Lambda x + B u becomes x_k = Lambda_bar x_{k-1} + B_bar u_k."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from s4signal.ssm.pairs import Pair

__all__ = ["DISCRETIZATIONS", "bilinear", "zero_order_hold"]


def zero_order_hold(Lambda: Pair, dt: Tensor) -> tuple[Pair, Pair]:
    r"""Discretise diagonal modes exactly for an input that is constant within a sample.

    .. math:: \bar\Lambda = e^{\Lambda\Delta}, \qquad \bar B / B = (e^{\Lambda\Delta} - 1) / \Lambda

    Parameters
    ----------
    Lambda : Pair of (d_model, n_pairs)
        Continuous-time poles, Re < 0, per training sample period.
    dt : Tensor (d_model, 1)
        Step, in training sample periods, > 0.

    Returns
    -------
    Lambda_bar : Pair of (d_model, n_pairs)
        Discrete poles, inside the unit circle.
    gain : Pair of (d_model, n_pairs)
        Factor that turns B into B_bar.

    References
    ----------
    Gu, Goel, Gupta, Ré, "On the Parameterization and Initialization of Diagonal State Space Models", 2022,
    section 3.1, doi:10.48550/arXiv.2206.11893.

    Examples
    --------
    >>> import torch
    >>> pole = Pair(torch.tensor([[-1.0]]), torch.tensor([[0.0]]))
    >>> Lambda_bar, gain = zero_order_hold(pole, torch.tensor([[1e-6]]))
    >>> round(gain.re.item() * 1e6, 4)
    1.0
    """
    z = Lambda.scaled(dt)
    return z.exp(), z.expm1().times(Lambda.reciprocal())


def bilinear(Lambda: Pair, dt: Tensor) -> tuple[Pair, Pair]:
    r"""Discretise diagonal modes by the trapezoid rule (Tustin).

    .. math:: \bar\Lambda = (1 + \Lambda\Delta/2) / (1 - \Lambda\Delta/2), \qquad
              \bar B / B = \Delta / (1 - \Lambda\Delta/2)

    Frequencies are warped: at ``|Im(Lambda)| dt = 1`` by 7 %, and by another amount at another rate.

    Parameters
    ----------
    Lambda : Pair of (d_model, n_pairs)
        Continuous-time poles, Re < 0, per training sample period.
    dt : Tensor (d_model, 1)
        Step, in training sample periods, > 0.

    Returns
    -------
    Lambda_bar : Pair of (d_model, n_pairs)
        Discrete poles, inside the unit circle.
    gain : Pair of (d_model, n_pairs)
        Factor that turns B into B_bar.

    References
    ----------
    Gu, Goel, Ré, "Efficiently Modeling Long Sequences with Structured State Spaces", 2022, equation 3,
    doi:10.48550/arXiv.2111.00396.

    Examples
    --------
    >>> import torch
    >>> pole = Pair(torch.tensor([[-1.0]]), torch.tensor([[0.0]]))
    >>> bilinear(pole, torch.tensor([[2.0]]))[0].re.item()
    0.0
    """
    half = Lambda.scaled(0.5 * dt)
    inverse = Pair(1.0 - half.re, -half.im).reciprocal()
    return Pair(1.0 + half.re, half.im).times(inverse), inverse.scaled(dt)


DISCRETIZATIONS: dict[str, Callable[[Pair, Tensor], tuple[Pair, Pair]]] = {
    "zoh": zero_order_hold,
    "bilinear": bilinear,
}
