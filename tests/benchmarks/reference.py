"""S4D as published: a Vandermonde kernel of the whole length, applied by FFT. The reference of the benchmarks.

It is written from the formulas, in plain torch, and shares no code with s4signal. The layout is that of the papers,
(batch, d_model, n_times).

References
----------
A. Gu, A. Gupta, K. Goel, C. Ré, *On the Parameterization and Initialization of Diagonal State Space Models*,
NeurIPS 2022, arXiv:2206.11893.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["FFTS4D"]


class FFTS4D(nn.Module):
    """A diagonal state space layer computed the usual way.

    Parameters
    ----------
    d_model : int
        Number of independent systems, one per feature.
    d_state : int, even
        State size of each; conjugate pairs store half of it.
    bidirectional : bool, default=False
        Whether a second kernel looks strictly ahead.

    Examples
    --------
    >>> import torch
    >>> FFTS4D(4, 8)(torch.zeros(2, 4, 100)).shape
    torch.Size([2, 4, 100])
    """

    def __init__(self, d_model: int, d_state: int, bidirectional: bool = False) -> None:
        super().__init__()
        n_pairs, n_directions = d_state // 2, 2 if bidirectional else 1
        # S4D-Lin: decay 1/2, frequencies pi n; dt log-uniform in 1e-3 ... 1e-1.
        self.log_dt = nn.Parameter(math.log(1e-3) + torch.rand(d_model) * math.log(100))
        self.log_A_real = nn.Parameter(torch.full((d_model, n_pairs), math.log(0.5)))
        self.A_imag = nn.Parameter(math.pi * torch.arange(n_pairs).repeat(d_model, 1))
        # The last axis holds real and imaginary part, so that .double() reaches every parameter.
        self.C = nn.Parameter(torch.randn(n_directions, d_model, n_pairs, 2) * math.sqrt(0.5))
        self.D = nn.Parameter(torch.randn(d_model))

    def discretize(self) -> tuple[Tensor, Tensor]:
        """Hold the input between samples (ZOH, with B = 1).

        Returns
        -------
        dtA : Tensor of shape (d_model, d_state / 2), complex
            Logarithm of the discrete poles.
        C_tilde : Tensor of shape (n_directions, d_model, d_state / 2), complex
            Output weights with the discrete input weights folded in, C (exp(dt A) - 1) / A.
        """
        A = torch.complex(-self.log_A_real.exp(), self.A_imag)
        dtA = A * self.log_dt.exp()[:, None]
        return dtA, torch.view_as_complex(self.C) * (dtA.exp() - 1) / A

    def kernel(self, n_times: int) -> Tensor:
        """Sample the impulse responses, K[l] = 2 Re(sum_n C_tilde[n] exp(dt A[n])^l).

        Parameters
        ----------
        n_times : int
            Number of samples.

        Returns
        -------
        Tensor of shape (n_directions, d_model, n_times)
            One kernel per direction and feature.
        """
        dtA, C_tilde = self.discretize()
        vandermonde = torch.exp(dtA[..., None] * torch.arange(n_times, device=dtA.device))
        return 2 * torch.einsum("rhn,hnl->rhl", C_tilde, vandermonde).real

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
        kernels = self.kernel(n_times)
        k = F.pad(kernels[0], (0, n_times))
        if len(kernels) == 2:
            # Wrapped around to the end, the flipped kernel acts on samples strictly ahead.
            k = k + F.pad(kernels[1].flip(-1), (n_times, 0))
        spectrum = torch.fft.rfft(u, n=2 * n_times) * torch.fft.rfft(k, n=2 * n_times)
        y: Tensor = torch.fft.irfft(spectrum, n=2 * n_times)[..., :n_times]
        return y + u * self.D[:, None]
