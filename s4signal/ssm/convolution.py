"""The convolution view: the impulse response in closed form, and an FFT. An independent formulation of the scan."""

import torch
from torch import Tensor
from torch.nn.functional import pad

from s4signal.ssm.systems import DiagonalSystem, Pair, SharedSystem, System, check_signal, mirrored


def vandermonde_kernel(Lambda_bar: Pair, B_bar: Pair, C: Pair, n_times: int) -> Tensor:
    r"""Return the impulse response :math:`K_l = 2\,\mathrm{Re} \sum_n C_n \bar B_n \bar\Lambda_n^l`.

    All pairs are (d_model, n_pairs). (Gu, Goel, Gupta, Ré, 2022, equation 6, doi:10.48550/arXiv.2206.11893.)
    """
    V = _vandermonde(Lambda_bar, n_times)
    return 2.0 * V.times(C.times(B_bar).unsqueeze(-1)).re.sum(1)


def _vandermonde(Lambda_bar: Pair, n_times: int) -> Pair:
    """Return the powers 0 ... n_times - 1 of poles on a new last axis."""
    radius = torch.hypot(Lambda_bar.re, Lambda_bar.im)
    radius = torch.log(radius.clamp_min(torch.finfo(radius.dtype).tiny))  # a pole at 0 has 0^0 = 1 at lag 0
    angle = torch.atan2(Lambda_bar.im, Lambda_bar.re)
    time = torch.arange(n_times, dtype=radius.dtype, device=radius.device)
    return Pair(radius.unsqueeze(-1) * time, angle.unsqueeze(-1) * time).exp()


def impulse_response(system: System, n_times: int) -> Tensor:
    """Return the causal impulse response of a system, without the feed-through.

    Parameters
    ----------
    system : DiagonalSystem, DenseSystem or SharedSystem
        The system.
    n_times : int, >= 1
        Length of the response.

    Returns
    -------
    Tensor (d_model, n_times), or (d_model, d_model, n_times) from the second channel to the first if shared
        The response, in the precision of the system.

    Raises
    ------
    ValueError
        If n_times is below 1.

    Examples
    --------
    >>> from s4signal.ssm import DenseSystem
    >>> one = torch.ones(1, 1)
    >>> system = DenseSystem(0.5 * one.unsqueeze(-1), one, one, torch.zeros(1))
    >>> impulse_response(system, 3).tolist()
    [[1.0, 0.5, 0.25]]
    """
    if n_times < 1:
        raise ValueError(f"n_times={n_times} must be at least 1.")
    if isinstance(system, DiagonalSystem):
        return vandermonde_kernel(system.Lambda_bar, system.B_bar, system.C, n_times)
    if isinstance(system, SharedSystem):
        V, B = _vandermonde(system.Lambda_bar, n_times), system.B_bar
        G = system.C.unsqueeze(1).times(Pair(B.re.mT, B.im.mT))
        return 2.0 * (G.re @ V.re - G.im @ V.im)
    state, responses = system.B_bar.unsqueeze(-1), []
    for _ in range(n_times):
        responses.append((system.C.unsqueeze(1) @ state)[:, 0, 0])
        state = system.A_bar @ state
    return torch.stack(responses, -1)


def fft_convolve(system: System, u: Tensor) -> Tensor:
    """Run a system with zero initial state by one FFT over the whole signal.

    Parameters
    ----------
    system, u : as in `block_scan`
        The system and its input.

    Returns
    -------
    Tensor (d_model, batch, n_times)
        Output.

    Raises
    ------
    ShapeError, ValueError
        As in `block_scan`.

    Examples
    --------
    >>> from s4signal.ssm import DenseSystem
    >>> one = torch.ones(1, 1)
    >>> system = DenseSystem(0.5 * one.unsqueeze(-1), one, one, torch.zeros(1))
    >>> fft_convolve(system, torch.ones(1, 1, 3)).round(decimals=3).tolist()
    [[[1.0, 1.5, 1.75]]]
    """
    check_signal(system, u)
    n_times = u.shape[-1]
    kernel = pad(impulse_response(system, n_times), (0, n_times))
    ahead = system.ahead
    if (reverse := mirrored(system)) is not None:
        ahead = impulse_response(reverse, n_times)
    if ahead is not None:
        ahead = ahead[..., :n_times].flip(-1)
        kernel = kernel + pad(ahead, (2 * n_times - ahead.shape[-1], 0))
    return circular_convolution(kernel.to(u.dtype), u) + system.D.to(u.dtype)[:, None, None] * u


def circular_convolution(kernel: Tensor, u: Tensor) -> Tensor:
    """Return u * kernel, (d_model, n) or (d_model, d_model, n), by an FFT of n >= n_times; lags may be negative."""
    n, paths = kernel.shape[-1], "hkf,kbf->hbf" if kernel.ndim == 3 else "hf,hbf->hbf"
    spectrum = torch.einsum(paths, torch.fft.rfft(kernel), torch.fft.rfft(u, n=n))
    y: Tensor = torch.fft.irfft(spectrum, n=n)[..., : u.shape[-1]]
    return y
