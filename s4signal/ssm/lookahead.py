"""An anti-causal direction that is cut off: outputs see so many samples ahead, and nothing of what is beyond.

It is a sum over what is ahead, y_k = sum_j R_j u_{k+1+j}: a difference of two scans would see the rest as rounding.
"""

from torch import Tensor
from torch.nn.functional import conv1d, pad

from s4signal.ssm.convolution import circular_convolution, impulse_response
from s4signal.ssm.systems import SharedSystem, System, mirrored
from s4signal.ssm.tables import block_tables

_LONGEST_SUM = 32  # samples: of more ahead an FFT takes less time, forward and backward


def cut_off(system: System, n_ahead: int) -> System:
    """Return a system whose outputs see ``n_ahead`` samples after their own, in place of all of them."""
    reverse, causal = mirrored(system), system._replace(C_reverse=None)
    if reverse is None or n_ahead == 0:
        return causal
    if isinstance(reverse, SharedSystem):
        return causal._replace(ahead=impulse_response(reverse, n_ahead))
    kernel = block_tables(reverse, n_ahead, reverse.D.dtype).kernel  # from lag 1 - n_ahead on
    return causal._replace(ahead=kernel[:, n_ahead - 1 :])


def look_ahead(ahead: Tensor, u: Tensor) -> Tensor:
    """Return what responses to the samples ahead make of them, (d_model, batch, n_times); behind the end are none."""
    n_times, n_ahead = u.shape[-1], min(u.shape[-1], ahead.shape[-1])
    ahead = ahead[..., :n_ahead].to(u.dtype)
    if ahead.ndim == 2 and n_ahead <= _LONGEST_SUM:  # of all channels to all, a card would round the sums to TF32
        return summed_ahead(ahead, u)
    unit = 1 << max(0, (n_times + n_ahead).bit_length() - 4)  # of a length that has no large factor
    n = -(-(n_times + n_ahead) // unit) * unit
    return circular_convolution(pad(ahead.flip(-1), (n - n_ahead, 0)), u)


def summed_ahead(ahead: Tensor, u: Tensor) -> Tensor:
    """Do what `look_ahead` does by one convolution."""
    later = pad(u, (0, ahead.shape[-1]))[..., 1:].transpose(0, 1)  # in this order two samples export as three do
    weight, groups = (ahead, 1) if ahead.ndim == 3 else (ahead.unsqueeze(1), len(ahead))
    return conv1d(later, weight, groups=groups).transpose(0, 1)
