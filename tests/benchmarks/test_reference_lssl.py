"""The reference LSSL by powers equals its recurrence and the dense layer of s4signal."""

import torch
from reference_lssl import KrylovLSSL

from s4signal.nn import S4Layer

__all__: list[str] = []


def test_lssl_by_powers_equals_its_recurrence() -> None:
    layer, u = KrylovLSSL(3, 8).double(), torch.randn(2, 3, 50, dtype=torch.float64)
    (A_bar, B_bar), x, expected = layer.discretize(), torch.zeros(2, 3, 8, dtype=torch.float64), []
    for u_t in u.unbind(-1):
        x = torch.einsum("hnm,bhm->bhn", A_bar, x) + B_bar * u_t[..., None]
        expected.append((layer.C * x).sum(-1) + layer.D * u_t)
    torch.testing.assert_close(layer(u), torch.stack(expected, -1), rtol=0, atol=1e-9)


def test_lssl_by_powers_equals_the_dense_layer() -> None:
    usual, own = KrylovLSSL(3, 8).double(), S4Layer(3, 8, kernel="lssl").double()
    with torch.no_grad():
        own.kernel.log_dt.copy_(usual.log_dt[:, None])
        own.kernel.C.copy_(usual.C)
        own.D.copy_(usual.D)
    u = torch.randn(2, 3, 50, dtype=torch.float64)
    # The initial matrices of the layer were rounded to float32.
    torch.testing.assert_close(own(u.transpose(0, 1)).transpose(0, 1), usual(u), rtol=0, atol=1e-5)
