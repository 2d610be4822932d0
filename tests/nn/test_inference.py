"""A network for inference gives the outputs of the original network: whole, in pieces and in steps."""

import pytest
import torch
from torch import Tensor, nn

from s4signal.nn import KERNELS, Frames, S4Backbone, S4Layer, S4Network, StackOptions, for_inference
from s4signal.nn.frontends import LinearFrontend
from s4signal.nn.inference import InferenceLayer
from s4signal.nn.network import network_steps

__all__: list[str] = []

each_kernel = pytest.mark.parametrize("kernel", sorted(KERNELS))


def causal(kernel: str) -> S4Backbone:
    return S4Backbone(2, 6, 2, d_state=8, kernel=kernel, bidirectional=False).eval()


@each_kernel
@pytest.mark.parametrize("rate", [1.0, 2.0])
def test_a_backbone_for_inference_equals_the_original_whole_and_in_steps(kernel: str, rate: float) -> None:
    net = causal(kernel)
    quick = for_inference(net)
    x = torch.randn(3, 150, 2)
    with torch.no_grad():
        expected = net(x, rate=rate)
        for _ in range(2):  # the second time from the cache
            torch.testing.assert_close(quick(x, rate=rate), expected, rtol=1e-4, atol=1e-5)
        state, slow_state, ys = None, None, []
        for x_t in x.unbind(1):
            y, state = quick.step(x_t, state, rate=rate)
            slow, slow_state = net.step(x_t, slow_state, rate=rate)
            torch.testing.assert_close(y, slow, rtol=1e-4, atol=1e-5)
            ys.append(y)
    torch.testing.assert_close(torch.stack(ys, 1), expected, rtol=1e-4, atol=1e-5)


@each_kernel
@pytest.mark.parametrize("rate", [1.0, 2.0])
def test_a_network_for_inference_runs_in_pieces_and_steps(kernel: str, rate: float) -> None:
    options = StackOptions(d_model=6, n_layers=2, d_state=8, kernel=kernel, bidirectional=False)
    net = S4Network(LinearFrontend(2, 6), 3, options=options).eval()
    quick, x = for_inference(net), torch.randn(2, 1, 300)
    with torch.no_grad():
        whole = network_steps(net, net.frontend.features(Frames(x, rate=rate)))
        state, quick_state = None, None
        for expected, piece in zip(*(torch.split(part, [1, 140, 159], -1) for part in (whole, x)), strict=True):
            slow, state = net.advance(piece, state, rate=rate)
            got, quick_state = quick.advance(piece, quick_state, rate=rate)
            torch.testing.assert_close(slow, expected, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
        layer = next(m for m in quick.modules() if isinstance(m, InferenceLayer))
        u = torch.randn(6, 1, 41)
        _, state = layer(u[..., :40], return_state=True)
        y, _ = layer.step(u[..., 40], state)
        torch.testing.assert_close(y, layer(u)[..., 40], rtol=1e-4, atol=1e-5)


def test_the_original_network_is_unchanged() -> None:
    net = causal("s4d").train()
    quick = for_inference(net)
    assert net.training
    assert not quick.training
    assert all(p.requires_grad for p in net.parameters())
    x = torch.randn(1, 50, 2)
    before = quick(x)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(2.0)
    assert torch.equal(quick(x), before)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # raised inside torch 2.13
def test_a_step_for_inference_compiles_to_one_graph() -> None:
    quick, x = for_inference(causal("s4d")), torch.randn(1, 2)
    with torch.no_grad():
        expected, state = quick.step(x)
        torch._dynamo.reset()
        step = torch.compile(quick.step, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(step(x, state)[0], quick.step(x, state)[0])
        assert expected.shape == (1, 6)


class Step(nn.Module):
    """A network whose forward is the step of a backbone, as torch.export requires."""

    def __init__(self, backbone: S4Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, x: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        return self.backbone.step(x, state)


def test_a_step_for_inference_can_be_exported() -> None:
    quick, x = for_inference(causal("s4d")), torch.randn(1, 2)
    _, state = quick.step(x)
    exported = torch.export.export(Step(quick), (x, state)).module()
    other = torch.randn(1, 2)
    for given, expected in zip(exported(other, state), quick.step(other, state), strict=True):
        torch.testing.assert_close(given, expected)


def test_a_bidirectional_backbone_and_a_single_layer_are_refused() -> None:
    quick = for_inference(S4Backbone(2, 6, 1, d_state=8, bidirectional=True))
    with pytest.raises(ValueError, match="step needs a causal layer"):
        quick.step(torch.randn(1, 2))
    with pytest.raises(TypeError, match="needs a module that contains layers"):
        for_inference(S4Layer(2, 4))
