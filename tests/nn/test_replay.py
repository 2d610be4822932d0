"""A replayed function equals the function run by torch, for every kind of operation."""

import copy
import pickle
import threading

import pytest
import torch
from torch.nn import functional as F

from s4signal.nn import S4Backbone, for_inference, replay
from s4signal.nn.replay import Replay, Replays

__all__: list[str] = []

X, Y, Z = torch.randn(3, 4, 6), torch.rand(3, 4, 6) + 0.1, torch.randn(3, 6, 5)
WEIGHT, BIAS = torch.randn(5, 4, 3), torch.randn(5)
# Operations with a NumPy version and operations of torch alone: all are replayed.
FUNCTIONS = {
    "arithmetic": lambda x, y, z: x * 2.0 - y / 3 + torch.add(x, y, alpha=2),
    "row and scalar": lambda x, y, z: (x[0, 0] + y) * x[0, 0, 0] - 1,
    "in place": lambda x, y, z: (x + 1).mul_(y).addcmul_(x, y, value=2.0).add_(x).abs_().sqrt_(),
    "slice in place": lambda x, y, z: _with_last(x.clone(), y),
    "products": lambda x, y, z: torch.baddbmm(torch.bmm(x, z), y, z, beta=1) + torch.baddbmm(x[..., :5], x, z, beta=2),
    "linear map": lambda x, y, z: torch.addmm(BIAS.to(x), x[0], z[0]) + x[1] @ z[1],
    "products in place": lambda x, y, z: x[..., :5].clone().baddbmm_(x, z) + x[0, :, :5].clone().addmm_(x[0], z[0]),
    "gelu in place": lambda x, y, z: torch.ops.aten.gelu_(x.clone()),
    "full rolls": lambda x, y, z: x.roll(6, -1) + y.roll((1, 1), (0, 1)) + x.roll(1),
    "full reductions": lambda x, y, z: x.mean() + y.sum([]) + x.amax() + x.copy_(y, True).mean((0, 1)).sum(),
    "sums": lambda x, y, z: x.sum() + y.sum((0, 2), keepdim=True) + x.mean(1, keepdim=True) + x.amax(0),
    "powers": lambda x, y, z: x.square() + y**-0.5 + torch.rsqrt(y) + y.log() + y.exp().sqrt(),
    "gates": lambda x, y, z: F.glu(x, -1) + F.gelu(y)[..., :3] + torch.erf(x)[..., 3:] + F.glu(x.mT, 1).mT.sum(),
    "maxima": lambda x, y, z: torch.logaddexp(torch.maximum(x, y), y).cummax(-1).values.cumsum(-1),
    "cat, pad, stack": lambda x, y, z: torch.cat(
        [F.pad(x, (1, 2)), y.roll(2, -1), torch.stack([x, y], -1).flatten(2)], -1
    ),
    "roll, pad, transpose": lambda x, y, z: (
        x.roll(-1, 1) + F.pad(y, (0, 0, 1, 1))[:, 1:5] + x.transpose(0, 1).contiguous().transpose(0, 1)
    ),
    "complex": lambda x, y, z: torch.view_as_real(torch.view_as_complex(x.unflatten(-1, (-1, 2))) * 2j).flatten(-2),
    "convolution": lambda x, y, z: F.conv1d(x, WEIGHT.to(x), BIAS.to(x), stride=2, padding=1),
    "conv without bias": lambda x, y, z: F.conv1d(x, WEIGHT.to(x), dilation=2) + F.conv1d(y, WEIGHT.to(x), dilation=2),
    "two precisions": lambda x, y, z: (x.double() * y).float() - y.double(),
    "two outputs": lambda x, y, z: torch.topk(x, 2).values + y.sort(-1).values[..., :2],
    "identity": lambda x, y, z: x,
}


def _with_last(x, y):
    x[..., -1] *= y[..., 0]
    return x


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_replayed_on_other_values(name, dtype):
    def function(inputs):
        return [FUNCTIONS[name](*inputs)], name

    inputs = [x.to(dtype) for x in (X, Y, Z)]
    replayed = Replay(function, inputs)
    for scale in (1.0, 0.5, 3.0):
        scaled = [x * scale for x in inputs]
        (got,), extra = replayed([x.numpy() for x in scaled])
        expected = FUNCTIONS[name](*(x.clone() for x in scaled))
        torch.testing.assert_close(torch.from_numpy(got), expected, rtol=1e-4, atol=1e-5)
        assert extra == name
        assert all(torch.equal(x, y * scale) for x, y in zip(scaled, inputs, strict=True))  # the inputs are unchanged


def test_a_second_call_does_not_change_the_first_output():
    plus_one = Replay(lambda inputs: ([inputs[0] + 1], None), [torch.zeros(3)])
    first, second = (plus_one([torch.full((3,), number).numpy()])[0][0] for number in (1.0, 5.0))
    assert first.tolist() == [2.0] * 3
    assert second.tolist() == [6.0] * 3


def test_calls_are_replayed_from_the_third_on_and_the_cache_is_bounded():
    calls, replays = [], Replays()

    def function(inputs):
        calls.append(len(inputs))
        return [inputs[0] * 2], None

    kinds = [replays(0, function, [torch.ones(2)])[0][0] for _ in range(4)]
    assert [isinstance(x, torch.Tensor) for x in kinds] == [True, True, False, False]
    assert len(calls) == 3  # once more to record it
    for key in (*range(1, 100), *range(1, 100)):  # too many other keys before each is repeated
        replays(key, function, [torch.ones(2)])
    assert list(replays._kept) == [0]
    for key in range(100, 200):
        for _ in range(2):
            replays(key, function, [torch.ones(2)])
    assert len(replays._kept) == 32
    del calls[:]
    for _ in range(3):
        replays(None, function, [torch.ones(2)])
    assert len(calls) == 3
    assert replays(0, function, [torch.ones(2)])[0][0].tolist() == [2.0, 2.0]
    for other in (copy.deepcopy(replays), pickle.loads(pickle.dumps(replays))):
        assert not other._kept


def test_a_function_whose_replay_is_wrong_is_not_replayed(monkeypatch):
    wrong = dict(replay._BY_NUMPY, mul=replay._BY_NUMPY["add"])
    monkeypatch.setattr(replay, "_BY_NUMPY", wrong)
    replays = Replays()
    for _ in range(5):
        (got,), _ = replays(0, lambda inputs: ([inputs[0] * 3.0], None), [torch.full((2,), 5.0)])
        assert got.tolist() == [15.0, 15.0]
    assert not replays._kept[0].verified


def test_threads_can_share_a_replay():
    doubled = Replay(lambda inputs: ([(inputs[0] * 2).cumsum(0)], None), [torch.zeros(2000)])
    errors = []

    def run(number):
        for _ in range(200):
            (got,), _ = doubled([torch.full((2000,), number).numpy()])
            if got[-1] != 4000 * number:
                errors.append(number)

    threads = [threading.Thread(target=run, args=(float(number),)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


@torch.no_grad()
def test_a_bare_backbone_is_replayed_at_each_rate_and_precision():
    plain = S4Backbone(2, 6, 2, d_state=8).eval()
    quick = for_inference(plain)
    for rate, dtype in ((1.0, torch.float32), (2.0, torch.float32)):
        x, states = torch.randn(30, 1, 2, dtype=dtype), [None, None]
        for sample in x:
            expected, states[0] = plain.step(sample, states[0], rate=rate)
            got, states[1] = quick.step(sample, states[1], rate=rate)
            torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    assert quick.replays._kept
