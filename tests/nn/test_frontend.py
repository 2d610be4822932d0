"""The filter bank hears what is played, at every rate, whatever hop, length or neighbour in the batch."""

import math

import pytest
import torch
from torch import Tensor

from s4signal.nn.filter_bank import FilterBank, erb_bands, hop_blocks
from s4signal.nn.frontend import FilterBankFrontend
from s4signal.nn.network import S4Network, StackOptions, length_mask
from s4signal.ssm import cascade_tables

__all__: list[str] = []

SFREQ = 8000.0


def bank(
    *, n_channels: int = 1, hop_s: float = 0.01, sfreq: float = SFREQ, slow: bool = False, level: str = "keep"
) -> FilterBankFrontend:
    """Ten bands from 100 Hz to 3 kHz, and the slow part below 20 Hz if asked for."""
    frequencies, bandwidths = erb_bands(10, 100.0, 3000.0)
    if slow:
        frequencies = torch.cat([torch.zeros(1), frequencies])
        bandwidths = torch.cat([torch.full((1,), 20.0), bandwidths])
    filters = FilterBank(frequencies_hz=frequencies, bandwidths_hz=bandwidths, sfreq=sfreq, hop_s=hop_s)
    return FilterBankFrontend(n_channels, 4, bank=filters, level=level)


def tone(frequency: float, n_times: int, sfreq: float = SFREQ) -> Tensor:
    return torch.sin(2 * math.pi * frequency / sfreq * torch.arange(n_times, dtype=torch.float64))[None, None]


def test_bands_lie_between_the_ends_and_are_wider_higher_up() -> None:
    frequencies, bandwidths = erb_bands(12, 80.0, 7000.0)
    torch.testing.assert_close(frequencies[[0, -1]], torch.tensor([80.0, 7000.0], dtype=torch.float64))
    assert (frequencies.diff() > 0).all()
    assert (bandwidths.diff() > 0).all()
    # Glasberg and Moore: the ERB at 1 kHz is 132.6 Hz.
    assert erb_bands(1, 1000.0, 1000.0)[1].item() == pytest.approx(1.019 * 132.6, rel=1e-3)


def test_a_tone_at_the_centre_of_a_band_lights_it_most() -> None:
    frontend = bank()
    for band, frequency in enumerate(frontend.bank.frequencies_hz.tolist()):
        features, _, _ = frontend.features(tone(frequency, 4000))
        assert features[:, 0, 5:].mean(-1).argmax().item() == band
        # The analytic half of a sine of amplitude one: |1/2|^2.
        assert features[band, 0, -10:].mean().item() == pytest.approx(math.log(0.25), abs=0.05)


def test_the_slow_part_is_passed_on_with_its_sign() -> None:
    frontend = bank(slow=True)
    features, _, _ = frontend.features(torch.full((1, 1, 8000), -2.5, dtype=torch.float64))
    assert features[0, 0, -1].item() == pytest.approx(-2.5, rel=1e-3)
    features, _, _ = frontend.features(2.0 * tone(2.0, 16_000))
    assert features[0].max().item() == pytest.approx(2.0, rel=0.05)
    assert features[0].min().item() == pytest.approx(-2.0, rel=0.05)


def test_energies_at_half_the_rate_agree_with_the_full_rate() -> None:
    frontend = bank(slow=True)
    played = [f for f in frontend.bank.frequencies_hz.tolist() if 0 < f < 1500]
    x = sum(tone(f, 8000) for f in [3.0, *played])
    full, _, full_rate = frontend.features(x)
    half, _, half_rate = frontend.features(x[..., ::2], rate=2.0)
    assert full_rate == half_rate == 1.0
    bands = 1 + len(played)
    assert full.shape == half.shape
    assert (full[1:bands, 0, 5:] - half[1:bands, 0, 5:]).abs().max() < 0.05
    assert (full[0, 0, 5:] - half[0, 0, 5:]).abs().max() < 0.05
    assert torch.equal(
        half[-1], torch.full_like(half[-1], math.log(frontend.bank.floor))
    )  # 3 kHz is beyond 2 kHz: silent


@pytest.mark.parametrize("n_times", [1, 80, 81, 1000])
@pytest.mark.parametrize("hop", [1.0, 2.56, 63.4, 80.0, 128.0, 129.0, 441.0])
def test_features_are_mean_energies_over_each_hop(hop: float, n_times: int) -> None:
    frontend = bank(hop_s=hop / SFREQ)
    x = torch.randn(1, 1, n_times, dtype=torch.float64)
    features, mask, rate = frontend.features(x)
    block, blocks_per_hop, hops_per_block = hop_blocks(hop)
    samples = block * blocks_per_hop // hops_per_block
    assert rate == pytest.approx(samples / hop)
    assert mask is None
    assert features.shape == (10, 1, math.ceil(n_times / samples))
    # The oracle: the whole signal, ringing included, as one block.
    n_padded = features.shape[-1] * samples
    tables = cascade_tables(
        frontend.bank.frequencies_hz / SFREQ, frontend.bank.bandwidths_hz / SFREQ, 4, n_padded, torch.float64
    )
    z = torch.nn.functional.pad(x[0], (0, n_padded - n_times)) @ tables.W
    energy = z.unflatten(-1, (2, -1, samples)).square().sum((1, 2, 4))
    valid = torch.full((features.shape[-1],), samples)
    valid[-1] -= n_padded - n_times
    torch.testing.assert_close(features[:, 0], torch.log(energy / valid + frontend.bank.floor), rtol=0, atol=1e-9)


@pytest.mark.parametrize("hop", [0.2, 1.0, 1.5, 2.56, 64.0, 65.0, 100.0, 128.0, 128.4, 300.0, 441.0, 16_000.0])
def test_a_hop_is_whole_blocks_or_a_block_whole_hops(hop: float) -> None:
    block, blocks_per_hop, hops_per_block = hop_blocks(hop)
    assert 1 in (blocks_per_hop, hops_per_block)
    assert 1 <= block <= 128
    assert block % hops_per_block == 0
    samples = block * blocks_per_hop / hops_per_block
    assert abs(samples - hop) <= max(1.0, 0.01 * hop)


def test_a_silent_channel_gives_finite_features() -> None:
    frontend = bank(n_channels=2, slow=True)
    x = torch.cat([torch.zeros(1, 2, 900), torch.randn(1, 2, 900)])
    h, _, _ = frontend(x, length_mask(torch.tensor([900, 100]), 900, x.dtype) * 1.0)
    assert h.isfinite().all()


def test_features_let_the_gradient_through_to_the_signal() -> None:
    x = torch.randn(1, 1, 1000).requires_grad_()
    h, _, _ = bank(slow=True)(x)
    h.square().sum().backward()
    assert x.grad is not None
    assert (x.grad.abs() > 0).all()


def calibrated(batches: list[tuple[Tensor, Tensor | None, Tensor, float]]) -> FilterBankFrontend:
    frontend = bank(slow=True)
    heard = ((*frontend.features(x, mask, rate=rate)[:2], weight) for x, mask, weight, rate in batches)
    S4Network(frontend, 2, options=StackOptions(4, 1, 4)).calibrate(heard)
    return frontend


def cases(*lengths: int) -> tuple[Tensor, Tensor]:
    n_times = max(lengths)
    mask = length_mask(torch.tensor(lengths), n_times, torch.float32)
    x = torch.randn(1, len(lengths), n_times) * (1.0 + torch.arange(len(lengths)))[:, None]
    return x * mask, mask


def test_calibration_gives_the_training_features_zero_mean_and_unit_variance() -> None:
    x, mask = cases(2000, 1500, 700)
    frontend = calibrated([(x, mask, torch.ones(3), 1.0)])
    features, mask, _ = frontend.features(x, mask)
    assert mask is not None
    standard = (features - frontend.center[:, None, None]) * frontend.scale[:, None, None]
    valid = standard[:, mask > 0].double()
    assert valid.mean(1).abs().max() < 1e-4
    assert (valid.std(1, correction=0) - 1).abs().max() < 1e-4


def test_calibration_does_not_depend_on_how_cases_are_batched() -> None:
    x, mask = cases(2000, 1500, 700)
    whole = calibrated([(x, mask, torch.ones(3), 1.0)])
    parts = calibrated([(x[:, :1], None, torch.ones(1), 1.0), (x[:, 1:, :1500], mask[1:, :1500], torch.ones(2), 1.0)])
    torch.testing.assert_close(whole.center, parts.center, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(whole.scale, parts.scale, rtol=1e-4, atol=0)


def test_a_weight_of_two_is_a_case_twice_and_a_weight_of_zero_leaves_it_out() -> None:
    x, mask = cases(2000, 1500, 700)
    weighted = calibrated([(x, mask, torch.tensor([2.0, 1.0, 0.0]), 1.0)])
    chosen = torch.tensor([0, 0, 1])
    repeated = calibrated([(x[:, chosen], mask[chosen], torch.ones(3), 1.0)])
    torch.testing.assert_close(weighted.center, repeated.center, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(weighted.scale, repeated.scale, rtol=1e-4, atol=0)


def test_calibration_silences_a_feature_that_never_moves() -> None:
    frontend = calibrated([(torch.zeros(1, 2, 800), None, torch.ones(2), 1.0)])
    assert torch.equal(frontend.scale, torch.zeros_like(frontend.scale))


def test_the_level_of_a_case_is_taken_out_of_the_logarithms_alone() -> None:
    x = tone(440.0, 4000) * torch.linspace(0.1, 1.0, 4000, dtype=torch.float64)
    frontend, louder = bank(slow=True, level="case").double(), 10.0
    quiet, loud = (frontend.features(gain * (x + 1.0))[0] for gain in (1.0, louder))
    torch.testing.assert_close(quiet[1:].mean(-1), torch.zeros_like(quiet[1:, :, 0]), rtol=0, atol=1e-9)
    torch.testing.assert_close(loud[0], louder * quiet[0], rtol=1e-9, atol=1e-9)
    assert quiet[0].mean() > 0.5


def test_the_running_level_sees_the_past_alone_and_ends_at_that_of_the_case() -> None:
    x = torch.randn(1, 2, 4000, dtype=torch.float64)
    kept, running = (bank(level=level).double().features(x)[0] for level in ("keep", "running"))
    start = bank(level="running").double().features(x[..., :2000])[0]
    torch.testing.assert_close(running[..., :25], start, rtol=0, atol=1e-9)
    torch.testing.assert_close(running[..., -1], kept[..., -1] - kept.mean(-1), rtol=0, atol=1e-9)


def test_pieces_need_a_level_that_does_not_look_ahead() -> None:
    with pytest.raises(ValueError, match="use level='running' for pieces"):
        bank(level="case").advance(torch.zeros(1, 1, 80), None)


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="level='loud' is unknown; choose one of 'keep', 'case', 'running'"):
        bank(level="loud")
