"""Bands cover the requested range without gaps, and auditory bands agree with the literature."""

import pytest
import torch

from s4signal.nn import space_bands
from s4signal.nn.frontends.bands import SPACINGS
from s4signal.ssm import DIAGONAL_INITS, cascade_tables

__all__: list[str] = []


@pytest.mark.parametrize("spacing", SPACINGS)
def test_bands_increase_within_the_range(spacing: str) -> None:
    frequencies, bandwidths = space_bands(spacing, 12, 80.0, 7000.0)
    assert frequencies.shape == bandwidths.shape == (12,)
    assert (frequencies.diff() > 0).all()
    assert (bandwidths > 0).all()
    assert frequencies[0] >= 80.0 - 1e-9
    assert frequencies[-1] <= 7000.0 + 1e-9
    if spacing != "random":
        torch.testing.assert_close(frequencies[[0, -1]], torch.tensor([80.0, 7000.0], dtype=torch.float64))


@pytest.mark.parametrize("n_bands", [1, 5])
def test_erb_bandwidth_at_1_khz_equals_the_measured_one(n_bands: int) -> None:
    # Glasberg and Moore: the ERB at 1 kHz is 132.6 Hz; the bandwidth of a gammatone is 1.019 times that.
    assert space_bands("erb", n_bands, 1000.0, 2000.0)[1][0].item() == pytest.approx(1.019 * 132.6, rel=1e-3)


def test_linear_bands_have_equal_distances_and_log_bands_equal_ratios() -> None:
    assert space_bands("linear", 5, 10.0, 50.0)[0].tolist() == pytest.approx([10, 20, 30, 40, 50])
    assert space_bands("log", 4, 1.0, 8.0)[0].tolist() == pytest.approx([1, 2, 4, 8])


def test_mel_bands_equal_the_formula_with_log10() -> None:
    mels = 2595 * torch.log10(1 + space_bands("mel", 9, 100.0, 4000.0)[0] / 700)
    torch.testing.assert_close(mels.diff(), (mels[-1] - mels[0]).expand(8) / 8)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_bands_of_all_orders_pass_the_same_noise_power(order: int) -> None:
    frequencies, bandwidths = (x / 8000.0 for x in space_bands("linear", 3, 1000.0, 1400.0, order=order))
    kernel = cascade_tables(frequencies, bandwidths, order, 1024, torch.float64).W[:, 0]
    # White noise of variance one: a band passes 200 Hz of the full spectrum of 8000 Hz.
    assert kernel.square().sum(-1)[1].item() == pytest.approx(200.0 / 8000.0, rel=0.03)


def test_hippo_bands_of_order_one_have_the_poles_of_s4d_lin() -> None:
    frequencies, bandwidths = space_bands("hippo", 8, 3.0, 24.0, order=1)
    window_s = 1.0 / (2.0 * 3.0)
    poles = torch.complex(-2 * torch.pi * bandwidths, 2 * torch.pi * frequencies)
    torch.testing.assert_close(poles, torch.from_numpy(DIAGONAL_INITS["lin"](18))[1:] / window_s)


def test_one_band_is_at_the_lowest_frequency() -> None:
    for spacing in ("erb", "mel", "log", "linear", "hippo"):
        frequencies, bandwidths = space_bands(spacing, 1, 100.0, 400.0)
        assert frequencies.tolist() == pytest.approx([100.0])
        assert (bandwidths > 0).all()


def test_random_bands_depend_only_on_the_seed() -> None:
    once, again, other = (space_bands("random", 8, 1.0, 40.0, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(once[0], again[0])
    assert torch.equal(once[1], again[1])
    assert not torch.equal(once[0], other[0])


def test_an_unknown_spacing_or_an_invalid_range_is_refused() -> None:
    with pytest.raises(ValueError, match="spacing='bark' is unknown; choose one of 'erb', 'mel', 'log'"):
        space_bands("bark", 4, 10.0, 20.0)
    with pytest.raises(ValueError, match="lowest_hz=0 must be above 0 and at most highest_hz=20"):
        space_bands("erb", 4, 0.0, 20.0)
    with pytest.raises(ValueError, match="lowest_hz=30 must be above 0 and at most highest_hz=20"):
        space_bands("log", 4, 30.0, 20.0)
