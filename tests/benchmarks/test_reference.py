"""The reference S4D by FFT equals its recurrence."""

import pytest
import torch
from reference import FFTS4D
from torch import Tensor

__all__: list[str] = []

N_TIMES = 50


def recurrence(layer: FFTS4D, u: Tensor, direction: int) -> Tensor:
    """Compute x[k] = Lambda_bar x[k-1] + B_bar u[k], y[k] = 2 Re(C x[k]), one step at a time."""
    dtA, C_tilde = layer.discretize()
    x = torch.zeros(u.shape[0], *dtA.shape, dtype=dtA.dtype)
    outputs = []
    for u_k in u.unbind(-1):
        x = dtA.exp() * x + u_k[..., None]
        outputs.append(2 * (C_tilde[direction] * x).sum(-1).real)
    return torch.stack(outputs, dim=-1)


@pytest.fixture
def u() -> Tensor:
    """Return white noise of shape (batch, d_model, n_times), float64."""
    return torch.randn(3, 4, N_TIMES, dtype=torch.float64)


def test_causal_reference_equals_the_recurrence(u: Tensor) -> None:
    layer = FFTS4D(4, 16).double()
    expected = recurrence(layer, u, 0) + layer.D[:, None] * u
    torch.testing.assert_close(layer(u), expected, rtol=0, atol=1e-9)


def test_bidirectional_reference_adds_a_recurrence_over_later_samples(u: Tensor) -> None:
    layer = FFTS4D(4, 16, bidirectional=True).double()
    ahead = recurrence(layer, u.flip(-1), 1).flip(-1)
    ahead = torch.cat([ahead[..., 1:], torch.zeros_like(ahead[..., :1])], dim=-1)
    expected = recurrence(layer, u, 0) + ahead + layer.D[:, None] * u
    torch.testing.assert_close(layer(u), expected, rtol=0, atol=1e-9)


def test_every_parameter_of_the_reference_has_a_gradient_in_float32(u: Tensor) -> None:
    layer = FFTS4D(4, 16, bidirectional=True)
    y = layer(u.float())
    y.square().mean().backward()
    assert y.dtype == torch.float32
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())
