"""Streaming equals the whole network, with few tensor calls and without building tables per push."""

import copy
import math
import pickle

import pytest
import torch
from tensor_calls import Calls
from torch import nn

from s4signal.nn import KERNELS, FilterBank, S4Backbone, S4Network, StackOptions, for_inference, space_bands
from s4signal.nn.frontends import (
    BandPowerFrontend,
    FilterBankFrontend,
    HopMeansFrontend,
    LinearFrontend,
    bank_steps,
    compression,
)
from s4signal.nn.pooling import POOLINGS
from s4signal.nn.steps import NetworkSteps
from s4signal.ssm import blocks, cascades, pieces, shared, tables

__all__: list[str] = []

SFREQ = 16000.0
BUILDERS = ("cascade_tables", "block_tables", "powers", "toeplitz", "follower_tables", "make_pieces")


def filter_bank(hop_s=0.01, n_channels=1, d_model=64, **options):
    frequencies_hz, bandwidths_hz = space_bands("erb", 40, 50.0, 7600.0)
    bank = FilterBank(frequencies_hz=frequencies_hz, bandwidths_hz=bandwidths_hz, sfreq=SFREQ, hop_s=hop_s, **options)
    subtraction = "active" if bank.output == "log" else "running"
    return FilterBankFrontend(n_channels, d_model, bank=bank, mean_subtraction=subtraction, causal=True)


def network(frontend, *, d_model=64, n_layers=4, pooling="legs", kernel="s4d"):
    options = StackOptions(d_model=d_model, n_layers=n_layers, kernel=kernel)
    return S4Network(frontend, 2, options=options, pooling=pooling).eval()


def small(name, **options):
    frontend = {
        "linear": lambda: LinearFrontend(2, 8),
        "hop_means": lambda: HopMeansFrontend(2, 8, sfreq=SFREQ, hop_s=7 / SFREQ),
        "band_power": lambda: BandPowerFrontend(2, 8, sfreq=SFREQ, hop_s=70 / SFREQ),
        "filterbank": lambda: filter_bank(n_channels=2, d_model=8),
        "short hops": lambda: filter_bank(5 / SFREQ, n_channels=2, d_model=8),
        "smooth": lambda: filter_bank(20 / SFREQ, n_channels=2, d_model=8, smooth_s=0.01, output="pcen"),
        "band signals": lambda: filter_bank(20 / SFREQ, n_channels=2, d_model=8, output="linear"),
    }[name]()
    torch.manual_seed(0)
    if name == "band_power":
        nn.init.normal_(frontend.power_mix.weight)  # not zero
    if isinstance(frontend, FilterBankFrontend):  # as after a calibration
        frontend.center.normal_()
        frontend.scale.uniform_(0.5, 2.0)
    return network(frontend, d_model=8, n_layers=2, **options).double()


def stream(steps, x, sizes):
    state = None
    for piece in x.split(sizes, -1):
        scores, state = steps.advance(piece, state)
    return torch.as_tensor(scores), state


@torch.no_grad()
@pytest.mark.parametrize("rate", [1.0, 1.7])
@pytest.mark.parametrize(
    "name", ["linear", "hop_means", "band_power", "filterbank", "short hops", "smooth", "band signals"]
)
def test_pieces_of_any_length_equal_the_network(name, rate):
    net, x = small(name), torch.randn(2, 3, 2000, dtype=torch.float64)
    steps = NetworkSteps(net, rate)
    for sizes in ([2000], [1, 159, 1, 500, 1339], [160] * 12 + [80]):
        torch.testing.assert_close(stream(steps, x, sizes)[0], net(x, rate=rate), rtol=0, atol=1e-9)
    n_seen = 0
    for size in (1, 3, 7, 400, 1):
        n_seen += size
        scores, _ = stream(steps, x[..., :n_seen], min(size, 37))
        torch.testing.assert_close(scores, net(x[..., :n_seen], rate=rate), rtol=0, atol=1e-9)


@torch.no_grad()
@pytest.mark.parametrize("pooling", sorted(POOLINGS))
@pytest.mark.parametrize("kernel", sorted(KERNELS))
def test_every_kernel_and_pooling_can_stream(kernel, pooling):
    net, x = small("hop_means", kernel=kernel, pooling=pooling), torch.randn(2, 2, 500, dtype=torch.float64)
    for sizes in (33, 500):
        torch.testing.assert_close(stream(NetworkSteps(net, 1.0), x, sizes)[0], net(x), rtol=0, atol=1e-9)


def eeg():
    torch.manual_seed(0)
    return network(HopMeansFrontend(32, 64, sfreq=250.0, hop_s=4 / 250.0))


COUNTED = {
    "filter bank, 10 ms": (lambda: network(filter_bank()), 1, 160, 190),
    "filter bank, a partial hop": (lambda: network(filter_bank()), 1, 161, 230),
    "linear, 10 ms": (lambda: network(LinearFrontend(1, 64)), 1, 160, 190),
    "linear, a sample": (lambda: network(LinearFrontend(1, 64)), 1, 1, 130),
    "EEG, 8 samples": (eeg, 32, 8, 140),
}


@pytest.mark.parametrize(("make", "n_channels", "n_times", "most"), COUNTED.values(), ids=COUNTED)
def test_a_push_takes_few_tensor_calls(make, n_channels, n_times, most):
    steps, state, x = NetworkSteps(make(), 1.0), None, torch.randn(n_channels, 1, n_times)
    _, state = steps.advance(x, state)  # as tensors
    with Calls() as calls:
        steps.advance(x, state)
    assert calls.n <= most


@torch.no_grad()
def test_a_step_of_a_bare_backbone_takes_few_tensor_calls():
    backbone, x = for_inference(S4Backbone(1, 64, 4)), torch.randn(1, 1)
    _, state = backbone.step(x)
    with Calls() as calls:
        backbone.step(x, state)
    assert calls.n <= 115


@pytest.mark.parametrize("make", [lambda: small("smooth").float(), lambda: small("linear", kernel="s4").float()])
def test_a_push_builds_no_tables(make, monkeypatch):
    steps, x = NetworkSteps(make(), 1.0), torch.randn(2, 1, 700)

    def refuse(*args, **options):
        raise AssertionError("a table was built")

    for module in (bank_steps, compression, blocks, cascades, pieces, shared, tables):
        for name in BUILDERS:
            if hasattr(module, name):
                monkeypatch.setattr(module, name, refuse)
    monkeypatch.setattr("s4signal.nn.kernels.Kernel.system", refuse)
    scores, _ = stream(steps, x, [1, 8, 5, 300, 386])
    assert scores.isfinite().all()


@pytest.mark.parametrize("name", ["linear", "filterbank", "smooth"])
def test_a_copied_or_pickled_state_continues_bit_identically(name):
    steps, x = NetworkSteps(small(name).float(), 1.0), torch.randn(2, 1, 900)
    _, state = stream(steps, x[..., :333], 100)
    for _ in range(3):  # replayed from the third call on
        expected, _ = steps.advance(x[..., 333:], state)
    for other in (copy.deepcopy(state), pickle.loads(pickle.dumps(state))):
        assert torch.equal(torch.as_tensor(steps.advance(x[..., 333:], other)[0]), torch.as_tensor(expected))


def test_a_stream_ignores_later_changes_of_parameters():
    net, x = small("linear"), torch.randn(2, 1, 50, dtype=torch.float64)
    steps = NetworkSteps(net, 1.0)
    before, _ = steps.advance(x, None)
    with torch.no_grad():
        for parameter in net.parameters():
            nn.init.normal_(parameter)
    assert torch.equal(steps.advance(x, None)[0], before)


def test_the_effect_of_a_disturbed_state_decays():
    # Rounding errors are disturbances of the state too, so they do not accumulate.
    net, x = small("linear", pooling="last"), torch.randn(2, 1, 8000, dtype=torch.float64)
    steps = NetworkSteps(net, 1.0)
    _, state = steps.advance(x[..., :500], None)
    other = state._replace(
        parts=[*(block + 0.1 * torch.randn_like(block) for block in state.parts[:-1]), state.parts[-1]]
    )
    distances, states = [], [state, other]
    for piece in x[..., 500:].split(1500, -1):
        scores, states = zip(*(steps.advance(piece, state) for state in states), strict=True)
        distances.append(float((scores[0] - scores[1]).abs().max()))
    assert distances[0] > 1e-6
    assert distances[-1] < 1e-2 * distances[0]


@pytest.mark.slow
@pytest.mark.parametrize("n_turns", [5, pytest.param(125, marks=pytest.mark.stress)])
@pytest.mark.parametrize("pooling", ["legs", "mean", "last", "attention"])
def test_a_million_samples_in_float32_equal_those_in_float64(pooling, n_turns):
    t = torch.arange(8000, dtype=torch.float64)
    tone = torch.stack([torch.sin(2 * math.pi * t / period) for period in (40, 800)]).unsqueeze(1)
    net = small("linear", pooling=pooling)
    exact, single = NetworkSteps(net, 1.0), NetworkSteps(copy.deepcopy(net).float(), 1.0)
    states, early = [None, None], None
    for turn in range(n_turns):
        expected, states[0] = exact.advance(tone, states[0])
        scores, states[1] = single.advance(tone.float(), states[1])
        early = (scores - expected).abs().max() if turn == 0 else early
    error = (scores - expected).abs().max()
    assert states[0].n_steps == 8000 * n_turns
    assert error <= 3 * early + 1e-5
