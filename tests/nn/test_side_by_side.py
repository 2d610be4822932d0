"""Networks side by side in one are independent networks, whose mean predicts; single networks are the oracle."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from s4signal import S4Classifier, S4Regressor, Signals
from s4signal.nn import FRONTENDS, FilterBank, S4Network, StackOptions
from s4signal.nn.frontends import Frontend
from s4signal.nn.plain import PlainSteps, plain_network
from s4signal.nn.steps import NetworkSteps

N = 3


def linear(n: int) -> Frontend:
    return FRONTENDS["linear"](2, 4 * n)


def hop_means(n: int) -> Frontend:
    return FRONTENDS["hop_means"](2, 4 * n, sfreq=100.0, hop_s=0.02)


def filter_bank(n: int) -> Frontend:
    bank = FilterBank(
        frequencies_hz=torch.arange(5.0, 40.0, 5.0), bandwidths_hz=torch.full((7,), 5.0), sfreq=100.0, hop_s=0.05
    )
    how: dict[str, Any] = {"bank": bank, "mean_subtraction": "active", "causal": True, "n_groups": n}
    return FRONTENDS["filterbank"](2, 4 * n, **how)


def together_and_alone(
    frontend: Callable[[int], Frontend], kernel: str = "s4d", pooling: str = "attention", *, bidirectional: bool = False
) -> tuple[S4Network, list[S4Network]]:
    """Return a network of N side by side, and N networks of one with their weights."""
    torch.manual_seed(0)

    def build(n: int) -> S4Network:
        how: dict[str, Any] = {"kernel": kernel, "bidirectional": bidirectional, "dropout": 0.0}
        options = StackOptions(d_model=4, n_layers=2, n_networks=n, d_state=4, **how)
        return S4Network(frontend(n), 3, options=options, pooling=pooling).double()

    together, alone = build(N), [build(1) for _ in range(N)]
    with torch.no_grad():
        for parameter in together.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))  # scores of a pooling start at zero
        for index, network in enumerate(alone):
            for name, own in network.state_dict().items():
                own.copy_(part(together.state_dict()[name], own, index))
    return together, alone


def part(whole: Tensor, like: Tensor, index: int) -> Tensor:
    """Return the values of one network, from the axis that is longer for several."""
    longer = [axis for axis in range(like.ndim) if whole.shape[axis] != like.shape[axis]]
    return whole.chunk(N, longer[0])[index] if longer else whole


CASES = [
    *((frontend, "s4d", "attention") for frontend in (linear, hop_means, filter_bank)),
    *((linear, kernel, "mean") for kernel in ("s4", "lssl")),
    *((linear, "s4d", pooling) for pooling in ("legs", "max", "last")),
]


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(("frontend", "kernel", "pooling"), CASES)
def test_outputs_are_the_mean_of_networks_alone(frontend: Any, kernel: str, pooling: str, bidirectional: bool) -> None:
    together, alone = together_and_alone(frontend, kernel, pooling, bidirectional=bidirectional)
    x, mask = torch.randn(2, 4, 150).double(), (torch.arange(150) < torch.tensor([[150], [100], [37], [150]])).double()
    each = torch.stack([network.eval()(x * mask, mask) for network in alone])
    torch.testing.assert_close(together.eval()(x * mask, mask), each.mean(0))
    assert (each[0] - each[1]).abs().max() > 0.01


@pytest.mark.parametrize("frontend", [linear, filter_bank])
def test_each_network_gets_the_gradient_of_its_own_loss(frontend: Any) -> None:
    together, alone = together_and_alone(frontend)
    x = torch.randn(2, 4, 150).double()
    together.train()(x).square().sum().backward()
    for network in alone:
        network.train()(x).square().sum().backward()
    for name, parameter in together.named_parameters():
        if name == "head.bias":  # common to all
            continue
        for index, network in enumerate(alone):
            own = network.get_parameter(name)
            torch.testing.assert_close(part(parameter.grad, own, index), own.grad)


def test_training_outputs_are_those_of_each_network() -> None:
    together, alone = together_and_alone(linear)
    x = torch.randn(2, 4, 60).double()
    expected = torch.stack([network(x) for network in alone])
    torch.testing.assert_close(together.train()(x), expected)
    together.eval()
    torch.testing.assert_close(together(x), expected.mean(0))


def test_initial_weights_have_the_range_of_a_network_alone() -> None:
    options = StackOptions(d_model=16, n_layers=1, d_state=2)
    several = StackOptions(d_model=16, n_layers=1, d_state=2, n_networks=25)
    alone = S4Network(FRONTENDS["linear"](1, 16), 50, options=options).head.weight
    together = S4Network(FRONTENDS["linear"](1, 16 * 25), 50, options=several).head.weight
    assert together.abs().max().item() == pytest.approx(alone.abs().max().item(), rel=0.05)
    mixes = S4Network(FRONTENDS["linear"](1, 16 * 25), 50, options=several).blocks[0].mix.weight
    assert mixes.abs().max().item() == pytest.approx(0.25, rel=0.05)


@pytest.mark.parametrize("pooling", ["attention", "legs"])
@pytest.mark.parametrize("frontend", [linear, hop_means, filter_bank])
def test_stream_equals_the_whole_signal(frontend: Any, pooling: str) -> None:
    together, _ = together_and_alone(frontend, pooling=pooling)
    x = torch.randn(2, 2, 150).double()
    steps, state, outputs = NetworkSteps(together.eval(), 1.0), None, None
    for piece in x.split(10, -1):
        outputs, state = steps.advance(piece, state)
    torch.testing.assert_close(torch.as_tensor(outputs), together(x), atol=1e-9, rtol=0)


@pytest.mark.parametrize("frontend", [linear, hop_means, filter_bank])
def test_forms_for_export_equal_the_network(frontend: Any) -> None:
    together, _ = together_and_alone(frontend)
    x = torch.randn(2, 2, 150).double()
    expected = together.eval()(x)
    torch.testing.assert_close(plain_network(together, longest=150)(x), expected)
    steps, outputs = PlainSteps(together), expected
    state = steps.at_rest(2)
    for piece in x.split(steps.unit, -1):
        outputs, state = steps(piece, state)
    torch.testing.assert_close(outputs, expected)


def test_kernel_with_one_state_for_all_channels_is_refused() -> None:
    with pytest.raises(ValueError, match="n_networks=2: kernel='s5' has one state for all"):
        StackOptions(d_model=4, n_networks=2, kernel="s5").blocks()
    with pytest.raises(ValueError, match="n_networks=0 must be at least 1"):
        StackOptions(n_networks=0)


@pytest.mark.parametrize(
    ("estimator", "targets"),
    [(S4Classifier, torch.tensor([0, 2, 1, 1])), (S4Classifier, torch.eye(4, 3)), (S4Regressor, torch.randn(4, 3))],
)
def test_loss_is_the_mean_of_the_losses_of_the_networks(estimator: Any, targets: Tensor) -> None:
    outputs = torch.randn(N, 4, 3)
    each = torch.stack([estimator._loss(own, targets) for own in outputs])
    torch.testing.assert_close(estimator._loss(outputs, targets), each.mean(0))
    assert each.shape == (N, 4)


@pytest.mark.parametrize("estimator", [S4Classifier, S4Regressor])
def test_estimator_with_several_networks_streams_and_is_saved(estimator: Any, tmp_path: Any) -> None:
    rng = np.random.default_rng(0)
    X = Signals(rng.standard_normal((12, 1, 400)), sfreq=1000.0)
    y = np.arange(12) % 2 if estimator is S4Classifier else rng.standard_normal(12)
    how: dict[str, Any] = {"d_model": 4, "d_state": 4, "n_layers": 1, "max_epochs": 2, "frontend": "filterbank"}
    model = estimator(n_networks=2, bidirectional=False, random_state=0, **how).fit(X, y)
    assert model.network_.head.n_networks == 2
    assert "mean of 2 networks of 1 x 4" in model.describe()
    stream = model.stream()
    for piece in np.split(X.cases[0].load().data, 8, 1):
        pushed = stream.push(piece)
    predict = model.predict_proba if estimator is S4Classifier else model.predict
    np.testing.assert_allclose(np.ravel(pushed), np.ravel(predict(X[:1])), atol=1e-5)
    model.save(tmp_path / "model.s4")
    loaded = estimator.load(tmp_path / "model.s4")
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    assert model.embed(X).shape == (12, 8)
