"""The filter bank as a front end: mean subtraction and standardisation, independent of batches and pieces."""

import pytest
import torch
from torch import Tensor

from s4signal.nn import FilterBank, Frames, space_bands
from s4signal.nn.backbone import length_mask
from s4signal.nn.frontends import FilterBankFrontend

__all__: list[str] = []

SFREQ = 8000.0


def bank(*, n_channels: int = 1, mean_subtraction: str = "none", causal: bool = False) -> FilterBankFrontend:
    """Ten bands from 100 Hz to 3 kHz."""
    frequencies, bandwidths = space_bands("erb", 10, 100.0, 3000.0)
    filters = FilterBank(frequencies_hz=frequencies, bandwidths_hz=bandwidths, sfreq=SFREQ, hop_s=0.01)
    return FilterBankFrontend(n_channels, 4, bank=filters, mean_subtraction=mean_subtraction, causal=causal)


def test_a_silent_channel_gives_finite_features() -> None:
    frontend = bank(n_channels=2)
    x = torch.cat([torch.zeros(1, 2, 900), torch.randn(1, 2, 900)])
    frames = frontend.features(Frames(x, length_mask(torch.tensor([900, 100]), 900, x.dtype)))
    assert frontend.encode(frames).isfinite().all()


def test_gradients_flow_through_features_to_the_signal() -> None:
    x = torch.randn(1, 1, 1000).requires_grad_()
    frontend = bank()
    frontend.encode(frontend.features(Frames(x))).square().sum().backward()
    assert x.grad is not None
    assert (x.grad.abs() > 0).all()


def calibrated(batches: list[tuple[Tensor, Tensor | None, Tensor, float]]) -> FilterBankFrontend:
    frontend = bank()
    frontend.calibrate((frontend.features(Frames(x, mask, rate)), weight) for x, mask, weight, rate in batches)
    return frontend


def cases(*lengths: int) -> tuple[Tensor, Tensor]:
    n_times = max(lengths)
    mask = length_mask(torch.tensor(lengths), n_times, torch.float32)
    x = torch.randn(1, len(lengths), n_times) * (1.0 + torch.arange(len(lengths)))[:, None]
    return x * mask, mask


def test_calibrated_training_features_have_zero_mean_and_unit_variance() -> None:
    x, mask = cases(2000, 1500, 700)
    frontend = calibrated([(x, mask, torch.ones(3), 1.0)])
    frames = frontend.features(Frames(x, mask))
    assert frames.mask is not None
    valid = frontend.standardize(frames.features)[:, frames.mask > 0].double()
    assert valid.mean(1).abs().max() < 1e-4
    assert (valid.std(1, correction=0) - 1).abs().max() < 1e-4


def test_calibration_does_not_depend_on_the_batches() -> None:
    x, mask = cases(2000, 1500, 700)
    whole = calibrated([(x, mask, torch.ones(3), 1.0)])
    parts = calibrated([(x[:, :1], None, torch.ones(1), 1.0), (x[:, 1:, :1500], mask[1:, :1500], torch.ones(2), 1.0)])
    torch.testing.assert_close(whole.center, parts.center, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(whole.scale, parts.scale, rtol=1e-4, atol=0)


def test_a_weight_of_two_repeats_a_case_and_a_weight_of_zero_drops_it() -> None:
    x, mask = cases(2000, 1500, 700)
    weighted = calibrated([(x, mask, torch.tensor([2.0, 1.0, 0.0]), 1.0)])
    chosen = torch.tensor([0, 0, 1])
    repeated = calibrated([(x[:, chosen], mask[chosen], torch.ones(3), 1.0)])
    torch.testing.assert_close(weighted.center, repeated.center, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(weighted.scale, repeated.scale, rtol=1e-4, atol=0)


def test_calibration_sets_the_scale_of_a_constant_feature_to_zero() -> None:
    frontend = calibrated([(torch.zeros(1, 2, 800), None, torch.ones(2), 1.0)])
    assert torch.equal(frontend.scale, torch.zeros_like(frontend.scale))


def test_the_mean_of_a_case_is_subtracted() -> None:
    x = torch.randn(1, 1, 4000, dtype=torch.float64)
    quiet, loud = (bank(mean_subtraction="case").double().features(Frames(gain * x)).features for gain in (1.0, 1e3))
    torch.testing.assert_close(quiet.mean(-1), torch.zeros_like(quiet[..., 0]), rtol=0, atol=1e-9)
    assert (quiet - loud).abs().max() < 0.05


def test_the_running_mean_is_causal_and_ends_at_the_mean_of_the_case() -> None:
    x = torch.randn(1, 2, 4000, dtype=torch.float64)
    original, running = (
        bank(mean_subtraction=option).double().features(Frames(x)).features for option in ("none", "running")
    )
    start = bank(mean_subtraction="running").double().features(Frames(x[..., :2000])).features
    torch.testing.assert_close(running[..., :25], start, rtol=0, atol=1e-9)
    torch.testing.assert_close(running[..., -1], original[..., -1] - original.mean(-1), rtol=0, atol=1e-9)


@pytest.mark.parametrize("mean_subtraction", ["none", "running", "active"])
def test_pieces_equal_the_whole(mean_subtraction: str) -> None:
    frontend = bank(n_channels=2, mean_subtraction=mean_subtraction, causal=True).double()
    x = torch.randn(2, 3, 4000, dtype=torch.float64)
    whole = frontend.encode(frontend.features(Frames(x)))
    state, pieces = None, []
    for piece in x.split([800, 80, 1600, 1520], -1):
        frames = frontend.advance(piece, state)
        state = frames.state
        pieces.append(frames.features)
    torch.testing.assert_close(torch.cat(pieces, -1), whole, rtol=0, atol=1e-9)


def test_pieces_need_a_causal_mean_subtraction() -> None:
    for option in ("case", "active"):
        with pytest.raises(
            ValueError, match=f"'{option}' needs the whole case; for pieces use 'running', or 'active' w"
        ):
            bank(mean_subtraction=option).advance(torch.zeros(1, 1, 80), None)


def test_an_unknown_subtraction_is_refused() -> None:
    with pytest.raises(
        ValueError, match="mean_subtraction='loud' is unknown; choose one of 'none', 'case', 'running', 'act"
    ):
        bank(mean_subtraction="loud")


@pytest.mark.parametrize("causal", [False, True])
def test_calibration_standardises_features_after_loudness_removal(causal: bool) -> None:
    x, mask = cases(2000, 1500, 700)
    frontend = bank(mean_subtraction="active", causal=causal)
    frames = frontend.features(Frames(x, mask))
    frontend.calibrate([(frames, torch.ones(3))])
    levelled = frontend.standardize(frontend.loudness(frames.features, frames.mask), frames.mask)
    valid = levelled[:, frames.mask > 0].double()
    assert valid.mean(1).abs().max() < 1e-4
    assert (valid.std(1, correction=0) - 1).abs().max() < 1e-4


def test_gain_and_silence_around_a_sound_change_little() -> None:
    frequencies, bandwidths = space_bands("erb", 10, 100.0, 3000.0)
    filters = FilterBank(frequencies_hz=frequencies, bandwidths_hz=bandwidths, sfreq=SFREQ, hop_s=0.01, floor=1e-12)
    frontend = FilterBankFrontend(1, 4, bank=filters, mean_subtraction="active").double().eval()
    x = torch.randn(1, 1, 4000, dtype=torch.float64)
    silence = x.new_zeros(1, 1, 1600)
    cases = x, torch.cat([silence, 0.1 * x, silence], -1)
    alone, within = (frontend.loudness(frontend.features(Frames(case)).features) for case in cases)
    # Filters ring into the silence, so a few more frames are active. The gain is 4.6, the silence 20 lower.
    assert (within[..., 25:65] - alone[..., 5:45]).abs().max() < 1.0


def test_the_mean_of_active_frames_needs_log_energies() -> None:
    frequencies, bandwidths = space_bands("erb", 10, 100.0, 3000.0)
    filters = FilterBank(frequencies_hz=frequencies, bandwidths_hz=bandwidths, sfreq=SFREQ, hop_s=0.01, output="linear")
    with pytest.raises(ValueError, match="mean_subtraction='active' needs a bank with output='log', got 'linear'"):
        FilterBankFrontend(1, 4, bank=filters, mean_subtraction="active")
