"""S4's closed-form kernel: a diagonal-plus-low-rank system under the bilinear rule, by its generating function.

An oracle of the tests: the package runs such systems as dense ones, block by block.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from s4signal.ssm import Pair

__all__ = ["cauchy_kernel"]

# On the unit circle the resolvent of a mode without decay has poles; inside, at radius exp(-DEPTH / n_times), none.
# The last samples are then scaled up by exp(DEPTH), and their rounding errors with them.
DEPTH = 2.0


def cauchy_kernel(Lambda: Pair, P: Pair, B: Pair, C: Pair, dt: Tensor, n_times: int) -> Tensor:
    r"""Return the impulse response of :math:`A = \Lambda - P P^*` under the bilinear rule, exact for any length.

    The truncated generating function :math:`\hat K(z) = \sum_{l<L} \bar C \bar A^l \bar B z^l` is a resolvent,

    .. math:: \hat K(z) = 2 \tilde C \left[\tfrac{2}{\Delta}(1 - z) - (1 + z) A\right]^{-1} B,
              \qquad \tilde C = C (I - z^L \bar A^L),

    which the Woodbury identity reduces to sums over the poles (Cauchy products). It is evaluated at the L-th roots of
    unity, moved slightly into the unit disk, where :math:`z^L` is one number; an inverse FFT gives the response.
    The response is not truncated: it at lag l is :math:`2\,\mathrm{Re}\, C \bar A^l \bar B` for every l < L.

    Shapes: Lambda (d_model, n_pairs), P (d_model, n_pairs, rank), B, C (d_model, n_pairs), dt (d_model, 1) → (d_model,
    n_times).

    References
    ----------
    Gu, Goel, Ré, "Efficiently Modeling Long Sequences with Structured State Spaces", 2022, section 3.3 and appendix
    C.3, doi:10.48550/arXiv.2111.00396.
    """
    kernel: Tensor = _CauchyKernel.apply(n_times, dt, *Lambda, *P, *B, *C)
    return kernel


class _CauchyKernel(torch.autograd.Function):
    """Map real parts to a real kernel; complex numbers stay inside. Backward computes the kernel again."""

    @staticmethod
    def forward(ctx: Any, n_times: int, *parts: Tensor) -> Tensor:
        ctx.save_for_backward(*parts)
        ctx.n_times = n_times
        return _kernel(n_times, *parts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        leaves = [part.detach().requires_grad_() for part in ctx.saved_tensors]
        with torch.enable_grad():
            kernel = _kernel(ctx.n_times, *leaves)
        return None, *torch.autograd.grad(kernel, leaves, grads[0])


def _kernel(n_times: int, dt: Tensor, *parts: Tensor) -> Tensor:
    Lambda, P, B, C = (_both(*parts[i : i + 2]) for i in range(0, 8, 2))
    L, device = n_times, dt.device
    # The response is real, so half of the roots are enough.
    angle = 2.0 * math.pi / L * torch.arange(L // 2 + 1, dtype=dt.dtype, device=device)
    z = torch.polar(torch.full_like(angle, math.exp(-DEPTH / L)), -angle)
    truncated = _truncated(Lambda, P, C, dt, L)
    denominator = (2.0 / dt * (1.0 - z)).unsqueeze(1) - (1.0 + z) * Lambda.unsqueeze(-1)
    rows = torch.cat([truncated.unsqueeze(1), P.mH], 1)
    columns = torch.cat([B.unsqueeze(-1), P], -1)
    products = rows.unsqueeze(2) * columns.mT.unsqueeze(1)  # (d_model, 1 + rank, 1 + rank, n)
    cauchy = products.flatten(1, 2) @ denominator.reciprocal()
    K = _woodbury(cauchy.unflatten(1, products.shape[1:3]).movedim(-1, 1), 1.0 + z)
    decay = torch.exp(DEPTH / L * torch.arange(L, dtype=dt.dtype, device=device))
    kernel: Tensor = decay * torch.fft.irfft(2.0 * K, n=L)
    return kernel


def _woodbury(cauchy: Tensor, factor: Tensor) -> Tensor:
    """(d_model, n_roots, 1 + rank, 1 + rank) -> (d_model, n_roots): row and column 0 are C and B, the others P."""
    correction = torch.linalg.solve(
        torch.eye(cauchy.shape[-1] - 1, dtype=cauchy.dtype, device=cauchy.device)
        + factor[:, None, None] * cauchy[..., 1:, 1:],
        cauchy[..., 1:, :1],
    )
    through = (cauchy[..., :1, 1:] @ correction)[..., 0, 0]
    K: Tensor = cauchy[..., 0, 0] - factor * through
    return K


def _truncated(Lambda: Tensor, P: Tensor, C: Tensor, dt: Tensor, L: int) -> Tensor:
    """C (I - (r A_bar)^L), with r the radius of the roots: with it, the sum ends after L terms."""
    half = 0.5 * dt.unsqueeze(-1) * (torch.diag_embed(Lambda) - P @ P.mH)
    eye = torch.eye(Lambda.shape[-1], dtype=Lambda.dtype, device=Lambda.device)
    A_bar = torch.linalg.solve(eye - half, eye + half)
    power = math.exp(-DEPTH) * torch.linalg.matrix_power(A_bar, L)
    truncated: Tensor = C - (C.unsqueeze(1) @ power).squeeze(1)
    return truncated


def _both(re: Tensor, im: Tensor) -> Tensor:
    """Concatenate the modes and their conjugates, (d_model, 2 n_pairs, ...)."""
    z = torch.complex(re, im)
    return torch.cat([z, z.conj()], 1)
