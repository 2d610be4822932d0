"""From continuous to discrete time: x' = A x + B u becomes x_k = A_bar x_{k-1} + B_bar u_k, with an input per sample.

Each rule is written twice, for the modes of a diagonal system and for dense matrices; `RULES` lists both. Rules for
modes return Lambda_bar and the gain B_bar / B; Lambda (d_model, n_pairs) and dt (d_model, 1) are broadcast. Dense rules
return A_bar and B_bar; A (..., N, N), B (..., N) and dt (..., 1) are broadcast over leading dimensions. All rules are
differentiable.

References
----------
HiPPO: Gu, Dao, Ermon, Rudra, Ré, 2020, doi:10.48550/arXiv.2008.07669.
LSSL: Gu, Johnson, Goel, Saab, Dao, Rudra, Ré, 2021, doi:10.48550/arXiv.2110.13985.
S4: Gu, Goel, Ré, 2022, doi:10.48550/arXiv.2111.00396. S4D: Gu, Goel, Gupta, Ré, 2022, doi:10.48550/arXiv.2206.11893.
Van Loan, "Computing Integrals Involving the Matrix Exponential", IEEE Trans. Automatic Control 23(3), 1978,
doi:10.1109/TAC.1978.1101743.
Jackson, "A Correction to Impulse Invariance", IEEE Signal Processing Letters 7(10), 2000, doi:10.1109/97.870677.
Zhang, Chen, Chen, "Digital Redesign via the Generalised Bilinear Transformation", Int. J. Control 82(4), 2009.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from s4signal.ssm.operators import operator
from s4signal.ssm.systems import Pair


def zero_order_hold(Lambda: Pair, dt: Tensor | float) -> tuple[Pair, Pair]:
    r"""Discretise modes exactly for an input that is constant within a sample.

    .. math:: \bar\Lambda = e^{\Lambda\Delta}, \qquad \bar B / B = (e^{\Lambda\Delta} - 1) / \Lambda

    Sample k is held over the step that ends at it: u(t) = u_k for t_{k-1} < t <= t_k. (S4D, section 3.1.)
    """
    dt = torch.as_tensor(dt, dtype=Lambda.re.dtype, device=Lambda.re.device)
    Lambda_bar, gain = _hold_op(Lambda.stacked(), dt)
    return Pair.of(Lambda_bar), Pair.of(gain)


def _hold(Lambda: Tensor, dt: Tensor) -> tuple[Tensor, Tensor]:
    """Apply the zero-order hold to poles (..., 2) of (re, im); one operator in place of a dozen calls per step."""
    L = torch.view_as_complex(Lambda)
    z = L * dt
    # Not exp(z) - 1, which loses three digits in float32 at |z| < 1e-3. At a pole of 0, an integrator, 0 / 0 is dt.
    gain = torch.where(_at_zero(L), dt.to(z.dtype), torch.expm1(z) / L)
    return torch.view_as_real(torch.exp(z)), torch.view_as_real(gain)


def _hold_backward(
    dLambda_bar: Tensor | None, dgain: Tensor | None, Lambda: Tensor, dt: Tensor, Lambda_bar: Tensor, gain: Tensor
) -> tuple[Tensor, Tensor]:
    L, held, G = (torch.view_as_complex(x) for x in (Lambda, Lambda_bar, gain))
    dL, ddt = torch.zeros_like(held), torch.zeros_like(held)
    if dLambda_bar is not None:
        g = torch.view_as_complex(dLambda_bar.contiguous()) * held.conj_physical()
        dL, ddt = g * dt, g * L.conj_physical()
    if dgain is not None:
        g = torch.view_as_complex(dgain.contiguous())
        slope = torch.where(_at_zero(L), 0.5 * dt * dt, (held * dt - G) / L)
        dL, ddt = dL + g * slope.conj_physical(), ddt + g * held.conj_physical()
    return torch.view_as_real(dL), ddt.real.sum_to_size(dt.shape).contiguous()


def _at_zero(L: Tensor) -> Tensor:
    return L.abs() < 1e-18


_hold_op = operator(
    "zero_order_hold", _hold, _hold_backward, keep=lambda inputs, outputs: (*inputs, *outputs), n_gradients=2
)


def dense_zero_order_hold(A: Tensor, B: Tensor, dt: Tensor) -> tuple[Tensor, Tensor]:
    r"""Discretise matrices exactly for an input that is constant within a sample.

    .. math:: \exp\!\left(\begin{bmatrix} A & B \\ 0 & 0 \end{bmatrix} \Delta\right)
              = \begin{bmatrix} \bar A & \bar B \\ 0 & 1 \end{bmatrix}

    Nothing is inverted or subtracted: A may be singular, and dt may be arbitrarily small. (Van Loan.)
    """
    exponential = _matrix_exp(torch.nn.functional.pad(_beside(A * dt.unsqueeze(-1), B * dt), (0, 0, 0, 1)))
    return exponential[..., :-1, :-1], exponential[..., :-1, -1]


def generalized_bilinear(Lambda: Pair, dt: Tensor, alpha: float) -> tuple[Pair, Pair]:
    r"""Discretise modes by a weighted trapezoidal rule.

    .. math:: \bar\Lambda = \frac{1 + (1 - \alpha)\Lambda\Delta}{1 - \alpha\Lambda\Delta}, \qquad
              \bar B / B = \frac{\Delta}{1 - \alpha\Lambda\Delta}
    """  # Zhang; S4, equation 3; HiPPO, appendix B.3
    # Stable poles stay stable for alpha >= 0.5. alpha=0.5 is the trapezoidal rule (Tustin) of LSSL and S4: frequencies
    # are warped, by 7 % at abs(Im(Lambda)) dt = 1; the warping depends on the rate. alpha=1, backward Euler, adds
    # numerical damping to oscillations. alpha=0, forward Euler, is unstable where dt > -2 Re(Lambda) / |Lambda|^2: for
    # the oscillating poles of HiPPO even at small steps. It is included for comparison.
    z = Lambda.scaled(dt)
    inverse = Pair(1.0 - alpha * z.re, -alpha * z.im).reciprocal()
    return Pair(1.0 + (1.0 - alpha) * z.re, (1.0 - alpha) * z.im).times(inverse), inverse.scaled(dt)


def dense_generalized_bilinear(A: Tensor, B: Tensor, dt: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    r"""Discretise matrices by a weighted trapezoidal rule, as `generalized_bilinear` does for modes.

    .. math:: \bar A = (I - \alpha\Delta A)^{-1} (I + (1 - \alpha)\Delta A), \qquad
              \bar B = (I - \alpha\Delta A)^{-1} \Delta B
    (LSSL, section 2.)
    """
    # The fastest mode of HiPPO-LegS decays as exp(-N t): forward Euler is unstable for every step above 2 / N.
    step = A * dt.unsqueeze(-1)
    eye = torch.eye(A.shape[-1], dtype=A.dtype, device=A.device)
    right = _beside(eye + (1.0 - alpha) * step, B * dt)
    solved = right if alpha == 0.0 else torch.linalg.solve(eye - alpha * step, right)
    return solved[..., :-1], solved[..., -1]


def dirac(Lambda: Pair, dt: Tensor) -> tuple[Pair, Pair]:
    r"""Discretise modes for an input of impulses, one per sample, of area u dt.

    .. math:: \bar\Lambda = e^{\Lambda\Delta}, \qquad \bar B / B = \Delta

    The kernel is the sampled impulse response of the continuous system, times dt. Poles are exact, and the factor dt
    makes the gain comparable to the other rules at every rate. (Jackson.)
    """
    z = Lambda.scaled(dt)
    return z.exp(), Pair(dt + torch.zeros_like(z.re), torch.zeros_like(z.im))


def dense_dirac(A: Tensor, B: Tensor, dt: Tensor) -> tuple[Tensor, Tensor]:
    """Discretise matrices for an input of impulses, one per sample, of area u dt: exp(A dt) and B dt."""
    return _matrix_exp(A * dt.unsqueeze(-1)), B * dt


def _beside(A: Tensor, B: Tensor) -> Tensor:
    """Return [A | B], with leading dimensions broadcast."""
    batch = torch.broadcast_shapes(A.shape[:-2], B.shape[:-1])
    return torch.cat([A.expand(*batch, -1, -1), B.unsqueeze(-1).expand(*batch, -1, -1)], -1)


def _matrix_exp(M: Tensor) -> Tensor:
    # For a single matrix of norm 0.003 to 0.05, torch 2.14 is accurate to ten digits only; for a batch of two, sixteen.
    exponential: Tensor = torch.linalg.matrix_exp(M if M.shape[:-2].numel() > 1 else torch.stack([M, M]))
    return exponential if exponential.ndim == M.ndim else exponential[0]


class Rule(NamedTuple):
    """A discretisation rule, for modes (Lambda, dt) and for matrices (A, B, dt)."""

    modes: Callable[[Pair, Tensor], tuple[Pair, Pair]]
    dense: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def _bilinear(alpha: float) -> Rule:
    return Rule(partial(generalized_bilinear, alpha=alpha), partial(dense_generalized_bilinear, alpha=alpha))


RULES = {
    "zoh": Rule(zero_order_hold, dense_zero_order_hold),
    "bilinear": _bilinear(0.5),
    "forward": _bilinear(0.0),
    "backward": _bilinear(1.0),
    "dirac": Rule(dirac, dense_dirac),
}
DISCRETIZATIONS = {name: rule.modes for name, rule in RULES.items()}
DENSE_DISCRETIZATIONS = {name: rule.dense for name, rule in RULES.items()}
