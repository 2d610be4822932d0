"""The convolution view: the impulse response in closed form, and an FFT, an independent formulation of the scan.

A limited look-ahead is a sum over the samples ahead, y_k = sum_j R_j u_{k+1+j}: in a difference of two scans, later
samples leave rounding.
"""

import torch
from torch import Tensor
from torch.nn.functional import conv1d, pad

from s4signal.ssm.systems import DiagonalSystem, Pair, SharedSystem, System, check_signal, mirrored
from s4signal.ssm.tables import block_tables

_LONGEST_SUM = 32  # samples ahead: for more, an FFT is faster, forward and backward


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
        # K_l = 2 Re sum_n C_n B_n Lambda_n^l (Gu, Goel, Gupta, Ré, 2022, equation 6)
        weights = system.C.times(system.B_bar).unsqueeze(-1)
        return 2.0 * _vandermonde(system.Lambda_bar, n_times).times(weights).re.sum(1)
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
    reverse = mirrored(system)
    ahead = system.ahead if reverse is None else impulse_response(reverse, n_times)
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


def cut_off(system: System, n_ahead: int) -> System:
    """Return the system with its anti-causal direction truncated to ``n_ahead`` future samples."""
    reverse, causal = mirrored(system), system._replace(C_reverse=None)
    if reverse is None or n_ahead == 0:
        return causal
    if isinstance(reverse, SharedSystem):
        return causal._replace(ahead=impulse_response(reverse, n_ahead))
    kernel = block_tables(reverse, n_ahead, reverse.D.dtype, alone=True).kernel  # from lag 1 - n_ahead on
    return causal._replace(ahead=kernel[:, n_ahead - 1 :])


def look_ahead(ahead: Tensor, u: Tensor) -> Tensor:
    """Return the output of responses to future samples, (d_model, batch, n_times); samples after the end are zero."""
    n_times, n_ahead = u.shape[-1], min(u.shape[-1], ahead.shape[-1])
    ahead = ahead[..., :n_ahead].to(u.dtype)
    if ahead.ndim == 2 and n_ahead <= _LONGEST_SUM:  # a GPU would round a sum over channels to TF32
        return summed_ahead(ahead, u)
    unit = 1 << max(0, (n_times + n_ahead).bit_length() - 4)  # for an FFT length without large prime factors
    n = -(-(n_times + n_ahead) // unit) * unit
    return circular_convolution(pad(ahead.flip(-1), (n - n_ahead, 0)), u)


def summed_ahead(ahead: Tensor, u: Tensor) -> Tensor:
    """Compute `look_ahead` by one convolution."""
    later = pad(u, (0, ahead.shape[-1]))[..., 1:].transpose(0, 1)  # in this order, exports accept two samples
    weight, groups = (ahead, 1) if ahead.ndim == 3 else (ahead.unsqueeze(1), len(ahead))
    return conv1d(later, weight, groups=groups).transpose(0, 1)
