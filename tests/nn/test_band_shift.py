"""Bands move in training as another voice moves them, and in training alone."""

import pytest
import torch

from s4signal.nn import S4FilterBank, space_bands
from s4signal.nn.frontends.band_shift import BandShift

__all__: list[str] = []


def test_nothing_moves_in_evaluation() -> None:
    features = torch.randn(80, 7, 20)
    assert BandShift(1.0).eval()(features, n_bands=40) is features
    assert BandShift(0.0)(features, n_bands=40) is features
    assert BandShift(1.0)(features, n_bands=1) is features


def test_a_ramp_along_the_bands_moves_by_the_shift_of_its_case() -> None:
    torch.manual_seed(0)
    ramp = torch.arange(40.0).repeat(2)[:, None, None].expand(80, 500, 3)
    moved = (BandShift(1.5)(ramp, n_bands=40) - ramp).unflatten(0, (2, 40))
    inner = moved[:, 2:-2]
    torch.testing.assert_close(inner, inner[:1, :1, :, :1].expand(inner.shape), rtol=0, atol=1e-5)
    shifts = inner[0, 0, :, 0]
    assert shifts.abs().max() <= 1.5
    assert shifts.std() == pytest.approx(1.5 / 3**0.5, rel=0.1)


def test_beyond_the_outermost_bands_are_their_values() -> None:
    torch.manual_seed(0)
    features = torch.randn(10, 200, 4)
    moved = BandShift(3.0)(features, n_bands=10)
    low, high = features.amin(0), features.amax(0)
    assert (moved >= low - 1e-6).all()
    assert (moved <= high + 1e-6).all()


def test_a_voice_scaled_by_a_tenth_is_nearly_a_shift_of_a_band(monkeypatch: pytest.MonkeyPatch) -> None:
    frequencies, bandwidths = space_bands("erb", 40, 60.0, 3800.0)
    bank = S4FilterBank(frequencies_hz=frequencies, bandwidths_hz=bandwidths, sfreq=8000.0, hop_s=0.01).double()
    t = torch.arange(4000, dtype=torch.float64) / 8000.0
    voice, higher = (
        sum(torch.sin(2 * torch.pi * scale * f * t) for f in (700.0, 1200.0, 2500.0))[None, None]
        for scale in (1.0, 1.1)
    )
    heard, other = (bank(x)[0][..., 10:] for x in (voice, higher))
    place = 1.0 / 2.0 * (1.0 - 1.1 / 3.0)  # a draw that shifts by 1.1 bands down the list, the content up
    monkeypatch.setattr(torch, "rand", lambda n, device: torch.full((n,), place, device=device))
    moved = BandShift(3.0)(heard, n_bands=40)
    assert (moved - other).abs().mean() < 0.5 * (heard - other).abs().mean()


def test_a_negative_shift_is_refused() -> None:
    with pytest.raises(ValueError, match="bands=-1 must be at least 0"):
        BandShift(-1.0)
