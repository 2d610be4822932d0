"""A truncated anti-causal direction: outputs depend on a limited number of future samples.

It is a sum over these samples, y_k = sum_j R_j u_{k+1+j}. In a difference of two scans, later samples leave rounding.
"""

from torch import Tensor
from torch.nn.functional import conv1d, pad

from s4signal.ssm.convolution import circular_convolution, impulse_response
from s4signal.ssm.systems import SharedSystem, System, mirrored
from s4signal.ssm.tables import block_tables

_LONGEST_SUM = 32  # samples ahead: for more, an FFT is faster, forward and backward


def cut_off(system: System, n_ahead: int) -> System:
    """Return the system with its anti-causal direction truncated to ``n_ahead`` future samples."""
    reverse, causal = mirrored(system), system._replace(C_reverse=None)
    if reverse is None or n_ahead == 0:
        return causal
    if isinstance(reverse, SharedSystem):
        return causal._replace(ahead=impulse_response(reverse, n_ahead))
    kernel = block_tables(reverse, n_ahead, reverse.D.dtype).kernel  # from lag 1 - n_ahead on
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
