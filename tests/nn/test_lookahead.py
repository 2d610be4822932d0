"""A limited look-ahead equals the bidirectional layer with its anti-causal kernel truncated."""

import pickle
from dataclasses import replace

import pytest
import torch

from s4signal.nn import KERNELS, S4Layer, S4Network, StackOptions, for_inference
from s4signal.nn.frontends import Frames, HopMeansFrontend, LinearFrontend
from s4signal.nn.network import network_steps
from s4signal.nn.plain import plain_network
from s4signal.nn.pooling import POOLINGS
from s4signal.nn.steps import NetworkSteps
from s4signal.ssm import fft_convolve, impulse_response, recurrent_scan
from s4signal.ssm.convolution import look_ahead, summed_ahead
from s4signal.ssm.pieces import make_pieces
from s4signal.ssm.systems import mirrored

__all__: list[str] = []

each_kernel = pytest.mark.parametrize("kernel", sorted(KERNELS))


def layer_of(kernel, lookahead, **options):
    torch.manual_seed(0)
    return S4Layer(3, 6, kernel=kernel, bidirectional=True, lookahead=lookahead, **options).double()


def network(lookahead, frontend="linear", *, n_layers=3, pooling="legs", kernel="s4d"):
    torch.manual_seed(0)
    options = StackOptions(
        d_model=6, n_layers=n_layers, d_state=4, kernel=kernel, bidirectional=True, lookahead=lookahead
    )
    front = LinearFrontend(2, 6) if frontend == "linear" else HopMeansFrontend(2, 6, sfreq=100.0, hop_s=0.07)
    return S4Network(front, 2, options=options, pooling=pooling).eval().double()


def by_direct_sums(layer, u, n_ahead, rate):
    """Return the output of the bidirectional layer with its anti-causal kernel truncated."""
    system = layer.kernel.system(layer.D, rate=rate)
    y, response = recurrent_scan(system._replace(C_reverse=None), u)[0], impulse_response(mirrored(system), n_ahead)
    response = response if response.ndim == 3 else torch.diag_embed(response.T).permute(1, 2, 0)
    n_times = u.shape[-1]
    for k in range(n_times):
        for lag in range(1, min(n_ahead, n_times - 1 - k) + 1):
            y[..., k] += response[..., lag - 1] @ u[..., k + lag]
    return y


@torch.no_grad()
@each_kernel
@pytest.mark.parametrize("n_times", [1, 2, 60])
@pytest.mark.parametrize(("lookahead", "rate", "n_ahead"), [(1, 1.0, 1), (10, 2.0, 5), (10, 3.7, 2), (40, 1.0, 40)])
def test_every_view_equals_the_layer_with_a_truncated_kernel(kernel, n_times, lookahead, rate, n_ahead):
    layer, u = layer_of(kernel, lookahead), torch.randn(3, 2, n_times, dtype=torch.float64)
    expected, system = by_direct_sums(layer, u, n_ahead, rate), layer.system(rate)
    inner = for_inference(torch.nn.Sequential(layer))[0]
    for y in (layer(u, rate=rate), inner(u, rate=rate), fft_convolve(system, u), recurrent_scan(system, u)[0]):
        torch.testing.assert_close(y, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(layer.float()(u.float(), rate=rate).double(), expected, rtol=0, atol=1e-4)


@each_kernel
@pytest.mark.parametrize("lookahead", [4.0, 40.0])
def test_gradients_equal_those_of_the_recurrence(kernel, lookahead):
    layer, u = layer_of(kernel, lookahead), torch.randn(3, 2, 50, dtype=torch.float64, requires_grad=True)
    weights, leaves = torch.randn(3, 2, 50, dtype=torch.float64), [u, *layer.parameters()]
    system = layer.kernel.system(layer.D)
    response = impulse_response(mirrored(system), int(lookahead))
    later = [torch.nn.functional.pad(u[..., lag:], (0, min(lag, 50))) for lag in range(1, int(lookahead) + 1)]
    summed = torch.einsum("hkl,lkbt->hbt" if response.ndim == 3 else "hl,lhbt->hbt", response, torch.stack(later))
    views = layer(u), recurrent_scan(system._replace(C_reverse=None), u)[0] + summed
    got, expected = (torch.autograd.grad((weights * y).sum(), leaves) for y in views)
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-9)


@each_kernel
def test_a_long_look_ahead_by_fft_equals_the_sum(kernel):
    ahead, u = layer_of(kernel, 300).system().ahead.detach(), torch.randn(3, 2, 1000, dtype=torch.float64)
    torch.testing.assert_close(look_ahead(ahead, u), summed_ahead(ahead, u), rtol=0, atol=1e-10)


@torch.no_grad()
@pytest.mark.parametrize("n_ahead", [5, 50])
@each_kernel
def test_an_output_depends_only_on_samples_within_the_look_ahead(kernel, n_ahead):
    layer, u = layer_of(kernel, n_ahead), torch.randn(3, 1, 200, dtype=torch.float64)
    other = u.clone()
    other[..., 150] += 100.0
    change = (layer(other) - layer(u)).abs().amax((0, 1))
    assert change[: 150 - n_ahead].max() < 1e-11
    assert change[150 - n_ahead : 150].min() > 1e-6


@torch.no_grad()
@pytest.mark.parametrize("frontend", ["linear", "hop_means"])
@pytest.mark.parametrize("rate", [0.5, 1.0, 1.7, 10.0])
def test_a_network_looks_ahead_by_the_sum_of_its_layers(frontend, rate):
    net = network(15.0, frontend)
    frames = net.frontend.features(Frames(torch.randn(2, 1, 1400, dtype=torch.float64), rate=rate))
    step, n_ahead = frames.features.shape[-1] // 2, 3 * int(5.0 / frames.rate + 1e-9)
    other = replace(frames, features=frames.features.clone())
    other.features[..., step] += 100.0
    change = (network_steps(net, other) - network_steps(net, frames)).abs().amax((0, 1))
    assert change[: step - n_ahead].max() == 0.0
    assert change[step - n_ahead : step + 1].min() > 1e-9


@torch.no_grad()
@pytest.mark.parametrize(("kernel", "pooling"), [*((k, "legs") for k in KERNELS), *(("s4d", p) for p in POOLINGS)])
def test_pieces_of_any_length_equal_the_network(kernel, pooling):
    x = torch.randn(2, 3, 460, dtype=torch.float64)
    for lookahead, frontend, rate in ((4.0, "hop_means", 1.0), (9.0, "linear", 1.7), (120.0, "linear", 1.0)):
        net = network(lookahead, frontend, pooling=pooling, kernel=kernel)
        steps = NetworkSteps(net, rate)
        for sizes in ([1] * 25, [7] * 20, [460], [1, 2, 160, 160, 1, 1, 1, 30]):
            state, seen = None, 0
            for size in sizes:
                scores, state = steps.advance(x[..., seen : seen + size], state)
                seen += size
                expected = net(x[..., :seen], rate=rate)
                torch.testing.assert_close(torch.as_tensor(scores), expected, rtol=0, atol=1e-9)


@torch.no_grad()
@pytest.mark.parametrize("frontend", ["linear", "hop_means"])
def test_pieces_without_scores_update_the_state(frontend):
    net, x = network(20.0, frontend), torch.randn(2, 1, 300, dtype=torch.float64)
    steps, state = NetworkSteps(net, 1.0), None
    for piece in x[..., :297].split(9, -1):
        _, state = steps.advance(piece, state, answer=False)
    scores, _ = steps.advance(x[..., 297:], state)
    torch.testing.assert_close(torch.as_tensor(scores), net(x), rtol=0, atol=1e-9)


def test_a_stream_stores_only_the_samples_of_the_look_ahead():
    steps, x = NetworkSteps(network(9.0), 1.0), torch.randn(2, 1, 4000, dtype=torch.float64)
    _, state = steps.advance(x[..., :50], None)
    waiting = [part.shape[-1] for part in state.parts if part.shape[:2] == (6, 1) and part.ndim == 3]
    assert waiting == [*[4, 3] * 3, 10]  # per layer a state and waiting steps; then coefficients
    size = len(pickle.dumps(state))
    _, state = steps.advance(x, state)
    assert len(pickle.dumps(state)) <= size + 16


@each_kernel
def test_the_plain_form_of_a_network_equals_the_network(kernel):
    for lookahead in (6.0, 150.0):
        net, x = network(lookahead, kernel=kernel), torch.randn(2, 2, 300, dtype=torch.float64)
        with torch.no_grad():
            torch.testing.assert_close(plain_network(net, longest=512)(x), net(x), rtol=0, atol=1e-8)


@pytest.mark.parametrize("options", [{"lookahead": 3.0}, {"bidirectional": True, "lookahead": 0.0}])
def test_a_look_ahead_must_be_positive_and_the_layer_bidirectional(options):
    with pytest.raises(ValueError, match=r"lookahead=.* must be positive, in a layer with bidirectional=True, or None"):
        S4Layer(3, 6, **options)


def test_gaps_states_and_pieces_are_refused_with_a_look_ahead():
    layer, u = layer_of("s4d", 3.0), torch.randn(3, 1, 5, dtype=torch.float64)
    for run in (layer, for_inference(torch.nn.Sequential(layer))[0]):
        with pytest.raises(ValueError, match="gaps cannot be combined with a limited look-ahead"):
            run(u, gaps=torch.ones(1, 5))
    with pytest.raises(ValueError, match="a carried state needs a causal layer"):
        layer(u, return_state=True)
    with pytest.raises(ValueError, match="pieces need a causal system"):
        make_pieces(layer.system(), torch.float64)
