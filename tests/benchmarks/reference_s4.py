"""S4 as published: a diagonal-plus-low-rank system, its kernel by Cauchy sums at the roots of unity, applied by FFT.

The second reference of the benchmarks. It is written from the formulas, in plain torch and complex64, and shares no
code with s4signal. The layout is that of the papers, (batch, d_model, n_times). The Cauchy sums are one batched product
with the reciprocals, which needs less memory than a sum over broadcast quotients; the truncated output vector is the
parameter, as in the paper, so that a step computes no power of the state matrix.

References
----------
A. Gu, K. Goel, C. Ré, *Efficiently Modeling Long Sequences with Structured State Spaces*, ICLR 2022, arXiv:2111.00396,
section 3.3, algorithm 1 and appendix C.3.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["FFTS4"]


class FFTS4(nn.Module):
    """A HiPPO-LegS layer computed the usual way, for signals of one length.

    Parameters
    ----------
    d_model : int
        Number of independent systems, one per feature.
    d_state : int, even
        State size of each; conjugate pairs store half of it.
    n_times : int
        Length of the signals, on which the truncated output vector depends.
    published : bool, default=False
        Divide again for each of the four sums and add up the broadcast quotients, as the published code does without an
        extension, instead of one batched product with the reciprocals.

    Examples
    --------
    >>> import torch
    >>> FFTS4(4, 8, 100)(torch.zeros(2, 4, 100)).shape
    torch.Size([2, 4, 100])
    """

    def __init__(self, d_model: int, d_state: int, n_times: int, *, published: bool = False) -> None:
        super().__init__()
        self.published = published
        Lambda, P, B = (torch.from_numpy(x).expand(d_model, -1) for x in _legs(d_state))
        self.n_times = n_times
        self.log_dt = nn.Parameter(math.log(1e-3) + torch.rand(d_model) * math.log(100))
        self.log_decay = nn.Parameter((-Lambda.real).log().float())
        self.frequency = nn.Parameter(Lambda.imag.float())
        self.P = nn.Parameter(torch.view_as_real(P.to(torch.complex64)).clone())
        self.B = nn.Parameter(torch.view_as_real(B.to(torch.complex64)).clone())
        C = torch.view_as_complex(torch.randn(d_model, d_state // 2, 2, dtype=torch.float64) * math.sqrt(0.5))
        power = torch.linalg.matrix_power(self.discretize()[0], n_times)
        both = torch.cat([C, C.conj()], -1)
        truncated = (both - (both[:, None] @ power)[:, 0])[:, : d_state // 2]
        self.C_tilde = nn.Parameter(torch.view_as_real(truncated.to(torch.complex64)).clone())
        self.D = nn.Parameter(torch.randn(d_model))

    @torch.no_grad()
    def discretize(self) -> tuple[Tensor, Tensor]:
        """Apply the bilinear rule to the dense matrix, modes and their conjugates; for comparison.

        Returns
        -------
        A_bar : Tensor of shape (d_model, d_state, d_state), complex128
            Discrete state matrix.
        B_bar : Tensor of shape (d_model, d_state), complex128
            Discrete input vector.
        """
        dt = self.log_dt.double().exp()[:, None]
        Lambda = torch.complex(-self.log_decay.double().exp(), self.frequency.double())
        P, B = (torch.view_as_complex(x.detach().double()) for x in (self.P, self.B))
        Lambda, P, B = (torch.cat([x, x.conj()], -1) for x in (Lambda, P, B))
        half = 0.5 * dt[..., None] * (torch.diag_embed(Lambda) - P[:, :, None] * P[:, None].conj())
        eye = torch.eye(half.shape[-1])
        right = torch.cat([eye + half, (dt * B)[..., None]], -1)
        solved = torch.linalg.solve(eye - half, right)
        return solved[..., :-1], solved[..., -1]

    def kernel(self) -> Tensor:
        """Evaluate the generating function at the roots of unity and transform it back.

        Returns
        -------
        Tensor of shape (d_model, n_times)
            One kernel per feature.
        """
        L = self.n_times
        angle = -2 * math.pi / L * torch.arange(L // 2 + 1, dtype=self.P.dtype, device=self.P.device)
        z = torch.polar(torch.ones_like(angle), angle)
        P, B, C = (torch.view_as_complex(x) for x in (self.P, self.B, self.C_tilde))
        Lambda = torch.complex(-self.log_decay.exp(), self.frequency)
        pairs = torch.stack([C * B, C * P, P.conj() * B, P.conj() * P], 1)
        pairs = torch.cat([pairs, pairs.conj()], -1)
        Lambda = torch.cat([Lambda, Lambda.conj()], -1)
        slope = 2 * (1 - z) / self.log_dt.exp()[:, None]
        differences = slope[:, None] - (1 + z) * Lambda[..., None]
        sums = (pairs[..., None] / differences[:, None]).sum(-2) if self.published else pairs @ (1 / differences)
        CB, CP, PB, PP = sums.unbind(1)
        spectrum = 2 * (CB - CP * PB * (1 + z) / (1 + (1 + z) * PP))
        return torch.fft.irfft(spectrum, n=L)

    def forward(self, u: Tensor) -> Tensor:
        """Convolve by FFT and add the skip D u.

        Parameters
        ----------
        u : Tensor of shape (batch, d_model, n_times)
            Input.

        Returns
        -------
        Tensor of shape (batch, d_model, n_times)
            Output.
        """
        spectrum = torch.fft.rfft(u, n=2 * self.n_times) * torch.fft.rfft(self.kernel(), n=2 * self.n_times)
        y: Tensor = torch.fft.irfft(spectrum, n=2 * self.n_times)[..., : self.n_times]
        return y + u * self.D[:, None]


def _legs(d_state: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Normal part, low-rank part and input of HiPPO-LegS, one of each conjugate pair."""
    B = np.sqrt(2.0 * np.arange(d_state) + 1)
    A = -np.tril(np.outer(B, B), -1) - np.diag(np.arange(d_state) + 1.0)
    normal = A + 0.5 * np.outer(B, B)
    frequencies, V = np.linalg.eigh(-0.5j * (normal - normal.T))
    frequencies, V = frequencies[d_state // 2 :], V[:, d_state // 2 :]
    return -0.5 + 1j * frequencies, V.conj().T @ (B * np.sqrt(0.5)), V.conj().T @ B
