"""Large products are those of float32, and nobody sees how they were computed."""

import pytest
import torch
from torch import Tensor

from s4signal.nn import S4Backbone
from s4signal.ssm import products
from s4signal.ssm.products import large_products

__all__: list[str] = []

SETTING = torch.backends.mkldnn.matmul


@pytest.fixture(autouse=True)
def _everything_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "LARGE", 1)


def test_large_products_are_as_exact_as_float32() -> None:
    a, b = torch.randn(3, 200, 130, dtype=torch.float64), torch.randn(3, 130, 70, dtype=torch.float64)
    with large_products(a.float(), 70):
        product = torch.bmm(a.float(), b.float())
    torch.testing.assert_close(product.double(), torch.bmm(a, b), rtol=0, atol=1e-4)


@pytest.mark.parametrize("kernel", ["s4d", "s5"])
def test_a_network_learns_as_in_float64(monkeypatch: pytest.MonkeyPatch, kernel: str) -> None:
    entered = []
    monkeypatch.setattr(products, "_mkl_is_slow", lambda slow=products._mkl_is_slow: entered.append(1) or slow())
    net = S4Backbone(3, 16, 2, d_state=16, kernel=kernel, bidirectional=True).eval()
    x, weight = torch.randn(2, 700, 3), torch.randn(2, 700, 16)

    def gradients(dtype: torch.dtype) -> list[Tensor]:
        net.to(dtype).zero_grad()
        net(x.to(dtype)).backward(weight.to(dtype))
        return [p.grad.double() for p in net.parameters() if p.grad is not None]

    for found, right in zip(gradients(torch.float32), gradients(torch.float64), strict=True):
        torch.testing.assert_close(found, right, rtol=0, atol=2e-4 * float(right.abs().max()))
    assert len(entered) >= 4 * 2  # the layer and the gate, there and back, of both blocks


def test_the_setting_of_torch_is_put_back_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_mkl_is_slow", lambda: True)

    def fails() -> None:
        with large_products(torch.ones(2), 2):
            assert SETTING.fp32_precision == "bf16"
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert SETTING.fp32_precision == "none"


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_mkl_is_slow", lambda: True)
    SETTING.fp32_precision = "ieee"
    try:
        with large_products(torch.ones(2), 2):
            assert SETTING.fp32_precision == "ieee"
    finally:
        SETTING.fp32_precision = "none"


@pytest.mark.parametrize("x", [torch.ones(2, dtype=torch.float64), torch.ones(2, dtype=torch.bfloat16)])
def test_other_numbers_are_left_to_torch(monkeypatch: pytest.MonkeyPatch, x: Tensor) -> None:
    monkeypatch.setattr(products, "_mkl_is_slow", lambda: True)
    with large_products(x, 2):
        assert SETTING.fp32_precision == "none"
