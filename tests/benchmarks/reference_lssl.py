"""LSSL as published: a dense trainable matrix, its kernel by powers of the whole length, applied by FFT.

The third reference of the benchmarks. It is written from the formulas, in plain torch, and shares no code with
s4signal. The layout is that of the papers, (batch, d_model, n_times).

References
----------
A. Gu, I. Johnson, K. Goel, K. Saab, T. Dao, A. Rudra, C. Ré, *Combining Recurrent, Convolutional, and Continuous-time
Models with Linear State-Space Layers*, NeurIPS 2021, arXiv:2110.13985, sections 3.1 and 4.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["KrylovLSSL"]


class KrylovLSSL(nn.Module):
    """A HiPPO-LegS layer with learned dense matrices, computed the usual way.

    Parameters
    ----------
    d_model : int
        Number of independent systems, one per feature.
    d_state : int
        State size of each.

    Examples
    --------
    >>> import torch
    >>> KrylovLSSL(4, 8)(torch.zeros(2, 4, 100)).shape
    torch.Size([2, 4, 100])
    """

    def __init__(self, d_model: int, d_state: int) -> None:
        super().__init__()
        B = torch.sqrt(2.0 * torch.arange(d_state) + 1)
        A = -torch.tril(torch.outer(B, B), -1) - torch.diag(torch.arange(d_state) + 1.0)
        self.log_dt = nn.Parameter(math.log(1e-3) + torch.rand(d_model) * math.log(100))
        self.A = nn.Parameter(A.repeat(d_model, 1, 1))
        self.B = nn.Parameter(B.repeat(d_model, 1))
        self.C = nn.Parameter(torch.randn(d_model, d_state))
        self.D = nn.Parameter(torch.randn(d_model))

    def discretize(self) -> tuple[Tensor, Tensor]:
        """Apply the bilinear rule.

        Returns
        -------
        A_bar : Tensor of shape (d_model, d_state, d_state)
            Discrete state matrix.
        B_bar : Tensor of shape (d_model, d_state)
            Discrete input vector.
        """
        dt = self.log_dt.exp()[:, None, None]
        half, eye = 0.5 * dt * self.A, torch.eye(self.A.shape[-1])
        solved = torch.linalg.solve(eye - half, torch.cat([eye + half, dt * self.B[..., None]], -1))
        return solved[..., :-1], solved[..., -1]

    def kernel(self, n_times: int) -> Tensor:
        """Multiply the Krylov matrix (B, A B, A^2 B, ...), computed by doubling, with C.

        Parameters
        ----------
        n_times : int
            Number of samples.

        Returns
        -------
        Tensor of shape (d_model, n_times)
            One kernel per feature.
        """
        power, B_bar = self.discretize()
        columns = B_bar[..., None]
        while columns.shape[-1] < n_times:
            columns = torch.cat([columns, power @ columns], -1)
            power = power @ power
        return (self.C[:, None] @ columns[..., :n_times])[:, 0]

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
        n_times = u.shape[-1]
        spectrum = torch.fft.rfft(u, n=2 * n_times) * torch.fft.rfft(F.pad(self.kernel(n_times), (0, n_times)))
        y: Tensor = torch.fft.irfft(spectrum, n=2 * n_times)[..., :n_times]
        return y + u * self.D[:, None]
