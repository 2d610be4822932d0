"""Poolings ignore masked and padded steps, pieces equal the whole, and Legendre coefficients are exact."""

import numpy as np
import pytest
import torch

from s4signal.nn.pooling import POOLINGS, Pooling, make_pooling

__all__: list[str] = []

names = pytest.mark.parametrize("name", POOLINGS)
irregular = pytest.mark.parametrize("irregular", [False, True])


def pooling(name: str) -> Pooling:
    module = make_pooling(name, 4)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    return module


def gaps_of(*shape: int, irregular: bool) -> torch.Tensor | None:
    return torch.rand(*shape) + 0.01 if irregular else None


@names
@irregular
@torch.no_grad()
def test_pieces_equal_the_whole(name: str, irregular: bool) -> None:
    module, x, gaps = pooling(name), torch.randn(4, 3, 500), gaps_of(3, 500, irregular=irregular)
    state, start = None, 0
    for stop in (1, 2, 50, 51, 300, 500):
        piece = slice(start, stop)
        state = module.advance(x[..., piece], state, None, None if gaps is None else gaps[:, piece])
        whole = module(x[..., :stop], None, None if gaps is None else gaps[:, :stop])
        torch.testing.assert_close(module.value(state).to(x.dtype), whole, atol=1e-5, rtol=1e-5)
        start = stop


@names
@torch.no_grad()
def test_pieces_of_a_stream_equal_the_whole(name: str) -> None:
    module, x, parts, start = pooling(name), torch.randn(4, 3, 500), None, 0
    for stop in (1, 2, 50, 51, 300, 500):
        numbers = [torch.from_numpy(n) for n in module.numbers(start, stop - start, x)]
        parts, start = module.regular(x[..., start:stop], parts, numbers), stop
        torch.testing.assert_close(module.vector(parts).to(x.dtype), module(x[..., :stop]), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_coefficients_stay_exact_over_thousands_of_single_steps() -> None:
    module, x, state = make_pooling("legs", 2), torch.randn(2, 1, 3000, dtype=torch.double) + 3, None
    for step in x.split(1, -1):
        state = module.advance(step, state)
    torch.testing.assert_close(module.value(state), module(x), atol=1e-9, rtol=1e-9)


@torch.no_grad()
def test_a_stream_of_a_float32_pooling_equals_float64() -> None:
    module, x, state = make_pooling("legs", 2).float(), torch.randn(2, 1, 300), None
    for step in x.split(1, -1):
        state = module.advance(step, state)
    torch.testing.assert_close(module.value(state), module.double()(x.double()), atol=1e-6, rtol=1e-6)


@torch.no_grad()
def test_attention_accepts_scores_of_any_size() -> None:
    module, state, parts = make_pooling("attention", 1), None, None
    torch.nn.init.constant_(module.weight, 1e4)
    for step in torch.tensor([[[0.5, 1.0, -1.0, 0.9]]]).split(1, -1):
        state, parts = module.advance(step, state), module.regular(step, parts, ())
    assert module.value(state).item() == module.vector(parts).item() == 1.0


@names
@irregular
@torch.no_grad()
def test_padding_changes_nothing(name: str, irregular: bool) -> None:
    module, x, gaps = pooling(name), torch.randn(4, 2, 60), gaps_of(2, 60, irregular=irregular)
    mask = (torch.arange(60) < torch.tensor([60, 37])[:, None]).float()
    alone = module(x[:, 1:, :37], None, None if gaps is None else gaps[1:, :37])
    torch.testing.assert_close(module(x * mask, mask, None if gaps is None else gaps * mask)[1:], alone)


@names
@torch.no_grad()
def test_masked_steps_in_the_middle_are_skipped(name: str) -> None:
    x, mask = torch.randn(4, 2, 7), torch.tensor([[1, 0, 1, 1, 0, 1, 0], [0, 1, 0, 0, 0, 0, 0]])
    module = pooling(name)
    pooled = module(x, mask.float())
    for b in range(2):
        torch.testing.assert_close(pooled[b], module(x[:, b : b + 1, mask[b] > 0])[0])


@names
@torch.no_grad()
def test_pieces_with_masks_equal_the_whole(name: str) -> None:
    module, x, mask = pooling(name), torch.randn(4, 2, 60), torch.ones(2, 60)
    mask[1, 25:] = 0
    state = module.advance(x[..., :20], None, mask[:, :20])
    state = module.advance(x[..., 20:40], state, mask[:, 20:40])
    state = module.advance(x[..., 40:], state, mask[:, 40:])
    torch.testing.assert_close(module.value(state).to(x.dtype), module(x, mask), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_order_one_and_untrained_attention_equal_the_mean() -> None:
    x, mask = torch.randn(4, 3, 50), (torch.rand(3, 50) > 0.3).float()
    mean = ((x * mask).sum(-1) / mask.sum(-1)).T
    for choice in ("mean", ("legs", 1), "attention"):
        torch.testing.assert_close(make_pooling(choice, 4)(x, mask), mean)


@pytest.mark.parametrize("n_times", [4000, 16000])
@torch.no_grad()
def test_coefficients_of_a_polynomial_are_exact_at_any_rate(n_times: int) -> None:
    y = (np.arange(n_times) + 0.5) / n_times * 2 - 1
    x = torch.from_numpy(np.polynomial.legendre.legval(y, [0.5, -1.0, 2.0]))[None, None]
    expected = torch.tensor([0.5, -1.0 / 3**0.5, 2.0 / 5**0.5, 0.0], dtype=torch.double)
    torch.testing.assert_close(make_pooling(("legs", 4), 1)(x)[0], expected, atol=1e-5, rtol=0)


@names
def test_gradients_flow(name: str) -> None:
    module, x = pooling(name), torch.randn(4, 2, 30, requires_grad=True)
    mask = (torch.arange(30) < torch.tensor([30, 12])[:, None]).float()
    module(x, mask, torch.rand(2, 30) * mask).square().sum().backward()
    assert torch.isfinite(x.grad).all()
    assert (x.grad[:, 1, 12:] == 0).all()
    assert all(parameter.grad.abs().sum() > 0 for parameter in module.parameters())


def test_only_legs_accepts_an_order_and_it_is_at_least_one() -> None:
    with pytest.raises(ValueError, match="only 'legs' has an order"):
        make_pooling(("mean", 3), 4)
    with pytest.raises(ValueError, match="order=0 must be at least 1"):
        make_pooling(("legs", 0), 4)
