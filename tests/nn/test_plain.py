"""Plain forms equal their networks, for all kernels, poolings, front ends and lengths."""

import math

import pytest
import torch
from torch import Tensor, nn

from s4signal.nn import KERNELS, FilterBank, S4Network, StackOptions, space_bands
from s4signal.nn.frontends import (
    BandPowerFrontend,
    FilterBankFrontend,
    Frontend,
    HopMeansFrontend,
    LinearFrontend,
    ModuleFrontend,
)
from s4signal.nn.plain import PlainSteps, plain_network
from s4signal.nn.pooling import POOLINGS

__all__: list[str] = []

LONGEST = 1000


def linear(causal: bool) -> Frontend:
    return LinearFrontend(2, 6)


def hop_means(causal: bool) -> Frontend:
    return HopMeansFrontend(2, 6, sfreq=250.0, hop_s=0.031)  # rounded to 8 samples: not the planned rate


def band_power(causal: bool) -> Frontend:
    frontend = BandPowerFrontend(2, 6, sfreq=250.0, hop_s=0.031)
    nn.init.normal_(frontend.power_mix.weight)  # not zero
    return frontend


def bank(causal: bool, *, hop_s: float = 0.03, output: str = "log", **options: object) -> Frontend:
    frequencies, bandwidths = space_bands("erb", 6, 20.0, 90.0)
    filters = FilterBank(
        frequencies_hz=frequencies, bandwidths_hz=bandwidths, sfreq=250.0, hop_s=hop_s, output=output, **options
    )
    mean = "active" if output == "log" else "none"
    frontend = FilterBankFrontend(2, 6, bank=filters, mean_subtraction=mean, causal=causal)
    frontend.center.uniform_(-1, 1)
    return frontend


def long_hops(causal: bool) -> Frontend:
    return bank(causal, hop_s=0.6)  # two blocks per hop


def short_hops(causal: bool) -> Frontend:
    return bank(causal, hop_s=0.004, output="power")  # 64 hops per block


def band_signals(causal: bool) -> Frontend:
    return bank(causal, output="linear")


FRONTENDS = [linear, hop_means, band_power, bank, long_hops, short_hops, band_signals]


def network(
    frontend: Frontend, *, kernel: str = "s4d", pooling: str = "mean", bidirectional: bool = False
) -> S4Network:
    stack = StackOptions(d_model=6, n_layers=2, d_state=4, kernel=kernel, bidirectional=bidirectional)
    net = S4Network(frontend, 3, options=stack, pooling=pooling).eval().double()
    for parameter in net.pooling.parameters():
        nn.init.normal_(parameter)
    return net


def stepped(net: S4Network, x: Tensor) -> list[Tensor]:
    """Score all samples so far, unit by unit."""
    steps = PlainSteps(net)
    state, all_scores = steps.at_rest(x.shape[1]), []
    for piece in x.split(steps.unit, -1):
        scores, state = steps(piece, state)
        all_scores.append(scores)
    return all_scores


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("kernel", KERNELS)
@torch.no_grad()
def test_every_kernel_has_a_plain_form(kernel: str, bidirectional: bool) -> None:
    net = network(linear(not bidirectional), kernel=kernel, bidirectional=bidirectional)
    plain = plain_network(net, longest=LONGEST)
    for n_times in (1, 63, 64, 65, 128, LONGEST):
        x = torch.randn(2, 3, n_times, dtype=torch.float64)
        torch.testing.assert_close(plain(x), net(x), rtol=0, atol=1e-9)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("frontend", FRONTENDS)
@torch.no_grad()
def test_every_front_end_has_a_plain_form(frontend, bidirectional: bool) -> None:
    net = network(frontend(not bidirectional), bidirectional=bidirectional)
    plain = plain_network(net, longest=LONGEST)
    for n_times in (1, 8, 100, 301, LONGEST):
        x = torch.randn(2, 3, n_times, dtype=torch.float64)
        torch.testing.assert_close(plain(x), net(x), rtol=0, atol=1e-8)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("kernel", KERNELS)
@torch.no_grad()
def test_steps_from_rest_equal_whole_signals(kernel: str, pooling: str) -> None:
    net, x = network(linear(True), kernel=kernel, pooling=pooling), torch.randn(2, 3, 40, dtype=torch.float64)
    for n, scores in enumerate(stepped(net, x), start=1):
        torch.testing.assert_close(scores, net(x[..., :n]), rtol=0, atol=1e-9)


@pytest.mark.parametrize("frontend", FRONTENDS)
@torch.no_grad()
def test_steps_process_one_unit_of_the_front_end_at_a_time(frontend) -> None:
    net = network(frontend(True))
    unit = PlainSteps(net).unit
    x = torch.randn(2, 3, 5 * unit, dtype=torch.float64)
    for n, scores in enumerate(stepped(net, x), start=1):
        torch.testing.assert_close(scores, net(x[..., : n * unit]), rtol=0, atol=1e-8)


@torch.no_grad()
def test_the_original_network_is_unchanged() -> None:
    net = network(bank(True))
    before, kinds = {k: v.clone() for k, v in net.state_dict().items()}, [type(m) for m in net.modules()]
    plain_network(net, longest=LONGEST)
    PlainSteps(net)
    assert [type(m) for m in net.modules()] == kinds
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


class Halves(nn.Module):
    hop_s = 2.0

    def forward(self, x: Tensor) -> Tensor:
        return x[:, ::2]


def test_networks_without_a_plain_form_are_refused() -> None:
    stack = StackOptions(d_model=6, n_layers=1, d_state=4)
    cases = {
        "a custom module as front end is not exported": S4Network(ModuleFrontend(Halves(), 2, 6), 3, options=stack),
        "a model of mostly missing samples is not exported": S4Network(linear(True), 3, options=stack, n_summaries=2),
        "smoothing or an automatic gain is not exported": S4Network(bank(True, output="pcen"), 3, options=stack),
    }
    for message, net in cases.items():
        with pytest.raises(ValueError, match=message):
            plain_network(net, longest=LONGEST)
    running = network(FilterBankFrontend(2, 6, bank=bank(True).bank, mean_subtraction="running", causal=True))
    with pytest.raises(ValueError, match="mean_subtraction='running' is not exported"):
        PlainSteps(running)
    assert math.isfinite(float(plain_network(running, longest=99)(torch.randn(2, 1, 99).double()).sum()))
