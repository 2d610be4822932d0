"""Large products have the precision of float32, and leave the settings of torch unchanged."""

import pytest
import torch
from torch import Tensor

from s4signal.nn import S4Backbone
from s4signal.ssm import products
from s4signal.ssm.products import large_products

__all__: list[str] = []

SETTING = torch.backends.mkldnn.matmul


@pytest.fixture(autouse=True)
def _all_products_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "LARGE", 1)


def test_large_products_are_as_exact_as_float32() -> None:
    a, b = torch.randn(3, 200, 130, dtype=torch.float64), torch.randn(3, 130, 70, dtype=torch.float64)
    with large_products(a.float(), 70):
        product = torch.bmm(a.float(), b.float())
    torch.testing.assert_close(product.double(), torch.bmm(a, b), rtol=0, atol=1e-4)


@pytest.mark.parametrize("kernel", ["s4d", "s5"])
def test_gradients_of_a_network_equal_those_in_float64(monkeypatch: pytest.MonkeyPatch, kernel: str) -> None:
    entered = []
    monkeypatch.setattr(products, "_mkl_is_slow", lambda slow=products._mkl_is_slow: entered.append(1) or slow())
    net = S4Backbone(3, 16, 2, d_state=16, kernel=kernel, bidirectional=True).eval()
    x, weight = torch.randn(2, 700, 3), torch.randn(2, 700, 16)

    def gradients(dtype: torch.dtype) -> list[Tensor]:
        net.to(dtype).zero_grad()
        net(x.to(dtype)).backward(weight.to(dtype))
        return [p.grad.double() for p in net.parameters() if p.grad is not None]

    for got, expected in zip(gradients(torch.float32), gradients(torch.float64), strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=2e-4 * float(expected.abs().max()))
    assert len(entered) >= 4 * 2  # layer and gate, forward and backward, of both blocks


def test_torch_setting_is_restored_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_mkl_is_slow", lambda: True)

    def fails() -> None:
        with large_products(torch.ones(2), 2):
            assert SETTING.fp32_precision == "bf16"
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert SETTING.fp32_precision == "none"


def test_setting_of_the_user_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_mkl_is_slow", lambda: True)
    SETTING.fp32_precision = "ieee"
    try:
        with large_products(torch.ones(2), 2):
            assert SETTING.fp32_precision == "ieee"
    finally:
        SETTING.fp32_precision = "none"


@pytest.mark.parametrize("x", [torch.ones(2, dtype=torch.float64), torch.ones(2, dtype=torch.bfloat16)])
def test_other_dtypes_leave_the_setting_unchanged(monkeypatch: pytest.MonkeyPatch, x: Tensor) -> None:
    monkeypatch.setattr(products, "_mkl_is_slow", lambda: True)
    with large_products(x, 2):
        assert SETTING.fp32_precision == "none"
