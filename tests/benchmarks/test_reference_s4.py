"""The reference S4 by Cauchy sums equals the powers of its dense matrix."""

import pytest
import torch
from reference_s4 import FFTS4

__all__: list[str] = []


@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize("n_times", [50, 51])
def test_the_kernel_of_s4_equals_the_powers_of_its_dense_matrix(n_times: int, published: bool) -> None:
    layer = FFTS4(4, 16, n_times, published=published).double()
    A_bar, x = layer.discretize()
    C = torch.view_as_complex(layer.C_tilde.detach())
    C = torch.cat([C, C.conj()], -1)
    truncation = torch.eye(16) - torch.linalg.matrix_power(A_bar, n_times)
    C = torch.linalg.solve(truncation.mT, C)  # the output vector before truncation
    expected = []
    for _ in range(n_times):
        expected.append((C * x).sum(-1).real)
        x = (A_bar @ x[..., None])[..., 0]
    torch.testing.assert_close(layer.kernel(), torch.stack(expected, -1), rtol=0, atol=1e-9)


def test_s4_convolves_with_its_kernel_and_adds_the_skip() -> None:
    layer = FFTS4(4, 16, 50).double()
    u = torch.randn(3, 4, 50, dtype=torch.float64)
    k = layer.kernel()
    expected = torch.stack([(u[..., : t + 1] * k[:, : t + 1].flip(-1)).sum(-1) for t in range(50)], -1)
    torch.testing.assert_close(layer(u), expected + layer.D[:, None] * u, rtol=0, atol=1e-9)


def test_every_parameter_of_s4_has_a_gradient_in_float32() -> None:
    layer = FFTS4(4, 16, 64)
    y = layer(torch.randn(2, 4, 64))
    y.square().mean().backward()
    assert y.dtype == torch.float32
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())
