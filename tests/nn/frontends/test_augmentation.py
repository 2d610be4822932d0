"""Augmentation drops, shifts and masks bands and pads silence, only in training and from a generator."""

import pytest
import torch

from s4signal.nn import FilterBank, Frames, space_bands
from s4signal.nn.frontends import FilterBankFrontend
from s4signal.nn.frontends.augmentation import BandDropout, BandShift, SilencePadding, SpecAugment
from s4signal.nn.frontends.bank import OUTPUTS

__all__: list[str] = []

HEIGHTS = torch.linspace(0.02, 0.95, 40)


def cutoffs(dropout: BandDropout, n_cases: int = 4000) -> torch.Tensor:
    """Height of the lowest dropped band of each case; infinity if none is dropped."""
    kept = dropout(torch.ones(len(HEIGHTS), n_cases, 1), HEIGHTS)[..., 0] > 0
    assert (kept[1:] <= kept[:-1]).all(), "a band is dropped below one that is not"
    return torch.where(kept.all(0), torch.inf, HEIGHTS[kept.sum(0).clamp_max(len(HEIGHTS) - 1)])


def frontend(mean_subtraction: str, output: str = "log") -> FilterBankFrontend:
    """Ten bands from 100 Hz to 3 kHz at 8 kHz; bands of every case are dropped."""
    frequencies, bandwidths = space_bands("erb", 10, 100.0, 3000.0)
    bank = FilterBank(
        frequencies_hz=frequencies, bandwidths_hz=bandwidths, sfreq=8000.0, hop_s=0.01, output=output, smooth_s=0.02
    )
    causal = mean_subtraction != "case"
    augmentations = [BandDropout(1.0)]
    front = FilterBankFrontend(
        2, 4, bank=bank, mean_subtraction=mean_subtraction, causal=causal, augmentations=augmentations
    )
    front.center.normal_()
    return front


def test_nothing_is_dropped_in_evaluation() -> None:
    features = torch.randn(80, 7, 20)
    assert BandDropout(1.0).eval()(features, HEIGHTS) is features
    assert BandDropout(0.0)(features, HEIGHTS) is features


def test_bands_are_dropped_above_cutoffs_within_two_octaves() -> None:
    torch.manual_seed(0)
    drawn = cutoffs(BandDropout(0.5))
    # The uppermost band lies at 0.95: a cut-off above it drops nothing.
    octaves_lost = torch.log2(1 / torch.tensor(0.95))
    assert drawn.isfinite().double().mean().item() == pytest.approx(0.5 * (1 - octaves_lost.item() / 2), abs=0.03)
    finite = drawn[drawn.isfinite()]
    assert finite.min() >= 0.25
    assert (finite < 0.5).double().mean().item() == pytest.approx(0.5, abs=0.06)


def test_channels_of_a_case_drop_the_same_bands_and_cases_differ() -> None:
    remaining = BandDropout(1.0)(torch.ones(3 * 40, 50, 6), HEIGHTS).unflatten(0, (3, 40))
    assert (remaining == remaining[:1, :, :, :1]).all()
    assert not (remaining == remaining[:, :, :1]).all()


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("mean_subtraction", ["none", "case", "running"])
def test_a_dropped_band_equals_the_bank_at_the_lower_rate(
    mean_subtraction: str, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    front = frontend(mean_subtraction, output).double()
    noise = torch.randn(2, 3, 4000, dtype=torch.float64)
    full = front.features(Frames(noise)).features
    at_half = front.features(Frames(noise[..., ::2], rate=2.0)).features
    # A draw of 0.5 puts the cut-off at 0.25 ** 0.5 = 0.5.
    monkeypatch.setattr(torch, "rand", lambda *shape, device, generator: torch.full(shape, 0.5, device=device))
    heights = 2 * front.bank.frequencies_hz / 8000.0
    dropped = front.augment(Frames(full)).features.unflatten(0, (-1, 10))
    upper = heights >= 0.5
    assert 0 < upper.sum() < 10
    expected = at_half.unflatten(0, (-1, 10))[:, upper]
    torch.testing.assert_close(dropped[:, upper], expected, rtol=0, atol=1e-9)
    torch.testing.assert_close(dropped[:, ~upper], full.unflatten(0, (-1, 10))[:, ~upper], rtol=0, atol=0)


def test_training_equals_evaluation_without_augmentation() -> None:
    frequencies, bandwidths = space_bands("erb", 10, 100.0, 3000.0)
    bank = FilterBank(frequencies_hz=frequencies, bandwidths_hz=bandwidths, sfreq=8000.0, hop_s=0.01)
    front = FilterBankFrontend(1, 4, bank=bank)
    x = torch.randn(1, 2, 1000)
    frames = front.features(Frames(x))
    assert torch.equal(front.train().encode(frames), front.eval().encode(frames))


def test_nothing_is_shifted_in_evaluation() -> None:
    features = torch.randn(80, 7, 20)
    assert BandShift(1.0).eval()(features, HEIGHTS) is features
    assert BandShift(0.0)(features, HEIGHTS) is features
    assert BandShift(1.0)(features, HEIGHTS[:1]) is features


def test_a_ramp_along_the_bands_moves_by_one_shift_per_case() -> None:
    torch.manual_seed(0)
    ramp = torch.arange(40.0).repeat(2)[:, None, None].expand(80, 500, 3)
    moved = (BandShift(1.5)(ramp, HEIGHTS) - ramp).unflatten(0, (2, 40))
    inner = moved[:, 2:-2]
    torch.testing.assert_close(inner, inner[:1, :1, :, :1].expand(inner.shape), rtol=0, atol=1e-5)
    shifts = inner[0, 0, :, 0]
    assert shifts.abs().max() <= 1.5
    assert shifts.std() == pytest.approx(1.5 / 3**0.5, rel=0.1)


def test_shifts_repeat_the_outermost_bands() -> None:
    torch.manual_seed(0)
    features = torch.randn(10, 200, 4)
    moved = BandShift(3.0)(features, HEIGHTS[:10])
    low, high = features.amin(0), features.amax(0)
    assert (moved >= low - 1e-6).all()
    assert (moved <= high + 1e-6).all()


def test_scaling_a_voice_by_a_tenth_is_nearly_a_shift_of_a_band(monkeypatch: pytest.MonkeyPatch) -> None:
    frequencies, bandwidths = space_bands("erb", 40, 60.0, 3800.0)
    bank = FilterBank(frequencies_hz=frequencies, bandwidths_hz=bandwidths, sfreq=8000.0, hop_s=0.01).double()
    t = torch.arange(4000, dtype=torch.float64) / 8000.0
    voice, higher = (
        sum(torch.sin(2 * torch.pi * scale * f * t) for f in (700.0, 1200.0, 2500.0))[None, None]
        for scale in (1.0, 1.1)
    )
    features, other = (bank(x).features[..., 10:] for x in (voice, higher))
    place = 1.0 / 2.0 * (1.0 - 1.1 / 3.0)  # a draw that shifts the content up by 1.1 bands
    monkeypatch.setattr(torch, "rand", lambda n, device, generator: torch.full((n,), place, device=device))
    moved = BandShift(3.0)(features, HEIGHTS)
    assert (moved - other).abs().mean() < 0.5 * (features - other).abs().mean()


@pytest.mark.parametrize("augmentation", [BandShift(), BandDropout(0.5)])
def test_augmentation_draws_only_from_the_generator(augmentation: torch.nn.Module) -> None:
    features, state = torch.randn(80, 20, 3), torch.get_rng_state()
    one, same, other = (
        augmentation(features, HEIGHTS, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), state)


def runs(masked_out: torch.Tensor) -> torch.Tensor:
    """Count the runs of True in each row (n, length) of bool."""
    return (torch.diff(masked_out.int(), dim=1, prepend=torch.zeros(len(masked_out), 1)) > 0).sum(1)


def test_a_run_of_bands_and_one_of_frames_become_the_mean_of_their_case() -> None:
    torch.manual_seed(0)
    features, mask = torch.randn(2 * 40, 300, 60), torch.ones(300, 60)
    mask[7, 30:] = 0
    masked = SpecAugment(0.25, longest_s=0.1, share=0.5)(features, mask, n_bands=40, hop_s=0.01)
    masked_out = (masked != features).unflatten(0, (2, 40))
    means = ((features * mask).sum(-1) / mask.sum(-1))[..., None] * mask
    torch.testing.assert_close(masked[masked != features], means[masked != features], rtol=0, atol=0)
    assert torch.equal(masked_out[0], masked_out[1])
    bands, times = (masked_out[0] | ~mask.bool()).all(-1), masked_out[0].all(0)
    assert torch.equal(masked_out[0][:, mask.bool()], (bands[..., None] | times)[:, mask.bool()])
    assert runs(bands.t()).max() == 1
    assert runs(times).max() == 1
    assert (bands.sum(0).max(), times.sum(1).max()) == (10, 10)
    assert masked_out.any(-1).any(1)[0].double().mean().item() == pytest.approx(0.5, abs=0.1)


def test_masks_are_drawn_only_from_the_generator_and_only_in_training() -> None:
    features, state = torch.randn(40, 20, 30), torch.get_rng_state()
    options = {"n_bands": 40, "hop_s": 0.01}
    assert SpecAugment().eval()(features, None, **options) is features
    assert SpecAugment(share=0.0)(features, None, **options) is features
    one, same, other = (
        SpecAugment()(features, None, **options, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), state)


BANK = {"bandwidths_hz": torch.full((8,), 100.0), "hop_s": 0.01, "floor": -27.0}


def test_silence_is_added_before_and_after_whole_cases() -> None:
    torch.manual_seed(0)
    x, mask = 10.0 * torch.randn(8, 300, 40), torch.ones(300, 40)
    mask[3, 20:] = 0
    longer, valid = SilencePadding(1.0)(x * mask, mask, **BANK)
    assert torch.isfinite(longer).all()
    assert (longer * (1 - valid) == 0).all()
    more = valid.sum(-1) - mask.sum(-1)
    assert more.min() == 0
    assert 50 < more.max() <= 100
    # A case without noise is unchanged within its silence.
    for case in range(20):
        kept = longer[:, case, valid[case] > 0]
        if (kept == -27.0).any():
            n = int(mask[case].sum())
            windows = kept.unfold(1, n, 1)
            assert (windows == x[:, case, :n].unsqueeze(1)).all((0, 2)).sum() == 1


def test_half_of_the_padded_cases_have_noise_below_the_sound() -> None:
    torch.manual_seed(0)
    longer, valid = SilencePadding(1.0)(torch.zeros(8, 400, 40), None, **BANK)
    padded = valid.sum(-1) > 40
    floors = torch.where(valid > 0, longer.amax(0), torch.inf).amin(-1)[padded]
    noisy = floors > -26.9
    assert noisy.float().mean().item() == pytest.approx(0.5, abs=0.08)
    assert (floors[noisy] < -2.0).all()


def test_noise_has_the_energies_of_white_noise_in_bands_of_these_widths() -> None:
    torch.manual_seed(0)
    widths = torch.tensor([0.5, 2.0, 8.0])  # in cycles per hop
    click = torch.full((3, 20, 20_000), -99.0).index_fill(-1, torch.tensor(0), 0.0)
    longer, _ = SilencePadding(1.0)(click, None, **{**BANK, "bandwidths_hz": widths / 0.01})
    noisy = longer[0, :, 100:19_900].std(-1) > 0.1
    energies = longer[:, noisy, 100:19_900].exp()
    mean, std = energies.mean(-1), energies.std(-1)
    torch.testing.assert_close(mean / mean[0], (widths / widths[0])[:, None].expand_as(mean), rtol=0.1, atol=0)
    torch.testing.assert_close(std / mean, (1.0 + widths).rsqrt()[:, None].expand_as(mean), rtol=0.1, atol=0)
    below_db = 10.0 * torch.log10(3.0 / mean.sum(0))  # the click has an energy of 1 in each of three bands
    assert 19.5 < below_db.min() < 25 < 45 < below_db.max() < 60.5


def test_cases_that_are_not_chosen_are_unchanged() -> None:
    torch.manual_seed(0)
    x = torch.randn(8, 300, 40)
    longer, _ = SilencePadding(0.2)(x, None, **BANK)
    unchanged = (longer[..., :40] == x).all(0).all(-1) & (longer[..., 40:] == 0).all(0).all(-1)
    assert unchanged.double().mean().item() == pytest.approx(0.8, abs=0.05)


def test_no_silence_is_added_in_evaluation() -> None:
    x, mask = torch.randn(8, 3, 40), torch.ones(3, 40)
    assert SilencePadding(1.0).eval()(x, mask, **BANK)[0] is x
    assert SilencePadding(0.0)(x, mask, **BANK)[0] is x


def test_silence_is_drawn_only_from_the_generator() -> None:
    x, state = torch.randn(8, 20, 30), torch.get_rng_state()
    one, same, other = (
        SilencePadding()(x, None, **BANK, generator=torch.Generator().manual_seed(seed))[0] for seed in (1, 1, 2)
    )
    assert torch.equal(one, same)
    assert one.shape != other.shape or not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_padding_on_an_accelerator_equals_padding_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    x, mask = 10.0 * torch.randn(8, 40, 30), torch.ones(40, 30)
    mask[3, 20:] = 0
    generators = [torch.Generator().manual_seed(0) for _ in range(2)]
    one, valid = SilencePadding()(x * mask, mask, **BANK, generator=generators[0])
    monkeypatch.setattr(torch.Tensor, "is_cpu", False)
    other, others = SilencePadding()(x * mask, mask, **BANK, generator=generators[1])
    assert other.shape[-1] == 30 + 2 * 50
    n_steps = valid.shape[-1]
    assert torch.equal(others[:, :n_steps], valid)
    assert not others[:, n_steps:].any()
    unpadded = (valid.sum(-1) == mask.sum(-1)) & (one[..., :30] == x * mask).all(0).all(-1)
    without_noise = (one == -27.0).any(0).any(-1) | unpadded
    assert without_noise.sum() > 20
    torch.testing.assert_close(other[:, without_noise, :n_steps], one[:, without_noise], rtol=0, atol=0)
    # The noise is drawn in another order, with the same level.
    noisy = ~without_noise
    assert torch.equal(other[:, noisy, :n_steps] != 0, one[:, noisy] != 0)
    assert other[:, noisy].amax() < 60.0
