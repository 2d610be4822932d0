"""Bands fall silent in training as they do at a lower rate, and in training alone."""

import pytest
import torch

from s4signal.nn import S4FilterBank, space_bands
from s4signal.nn.frontends.band_dropout import BandDropout
from s4signal.nn.frontends.bank import OUTPUTS
from s4signal.nn.frontends.filter_bank import FilterBankFrontend

__all__: list[str] = []

HEIGHTS = torch.linspace(0.02, 0.95, 40)


def cutoffs(dropout: BandDropout, n_cases: int = 4000) -> torch.Tensor:
    """Height of the lowest silent band of each case; infinity where none is."""
    heard = dropout(torch.ones(len(HEIGHTS), n_cases, 1), HEIGHTS)[..., 0] > 0
    assert (heard[1:] <= heard[:-1]).all(), "a band is silent below one that is not"
    return torch.where(heard.all(0), torch.inf, HEIGHTS[heard.sum(0).clamp_max(len(HEIGHTS) - 1)])


def frontend(level: str, output: str = "log") -> FilterBankFrontend:
    """Ten bands from 100 Hz to 3 kHz, heard at 8 kHz; all cases lose those from 2 kHz on, and no others."""
    frequencies, bandwidths = space_bands("erb", 10, 100.0, 3000.0)
    bank = S4FilterBank(
        frequencies_hz=frequencies, bandwidths_hz=bandwidths, sfreq=8000.0, hop_s=0.01, output=output, smooth_s=0.02
    )
    ears = FilterBankFrontend(2, 4, bank=bank, level=level, causal=level != "case", dropout=BandDropout(1.0))
    ears.center.normal_()
    return ears


def test_nothing_is_silenced_in_evaluation() -> None:
    features = torch.randn(80, 7, 20)
    assert BandDropout(1.0).eval()(features, HEIGHTS) is features
    assert BandDropout(0.0)(features, HEIGHTS) is features


def test_a_share_of_the_cases_loses_the_bands_above_cutoffs_spread_over_two_octaves() -> None:
    torch.manual_seed(0)
    drawn = cutoffs(BandDropout(0.5))
    # The uppermost band lies at 0.95: a cut-off above it silences nothing.
    octaves_lost = torch.log2(1 / torch.tensor(0.95))
    assert drawn.isfinite().double().mean().item() == pytest.approx(0.5 * (1 - octaves_lost.item() / 2), abs=0.03)
    finite = drawn[drawn.isfinite()]
    assert finite.min() >= 0.25
    assert (finite < 0.5).double().mean().item() == pytest.approx(0.5, abs=0.06)


def test_all_planes_of_a_case_lose_the_same_bands_and_another_case_others() -> None:
    heard = BandDropout(1.0)(torch.ones(3 * 40, 50, 6), HEIGHTS).unflatten(0, (3, 40))
    assert (heard == heard[:1, :, :, :1]).all()
    assert not (heard == heard[:, :, :1]).all()


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("level", ["keep", "case", "running"])
def test_a_silenced_band_gives_what_the_bank_gives_at_the_lower_rate(
    level: str, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ears = frontend(level, output).double()
    noise = torch.randn(2, 3, 4000, dtype=torch.float64)
    heard, _, _ = ears.features(noise)
    at_half, _, _ = ears.features(noise[..., ::2], rate=2.0)
    monkeypatch.setattr(torch, "rand", lambda *shape, device: torch.full(shape, 0.5, device=device))  # 0.25 ** 0.5
    silence = ears.bank.silence if level == "keep" else 0.0
    heights = 2 * ears.bank.frequencies_hz / 8000.0
    silenced = ears.dropout(heard, heights, silence=silence).unflatten(0, (-1, 10))
    upper = heights >= 0.5
    assert 0 < upper.sum() < 10
    expected = at_half.unflatten(0, (-1, 10))[:, upper]
    torch.testing.assert_close(silenced[:, upper], expected, rtol=0, atol=1e-9)
    torch.testing.assert_close(silenced[:, ~upper], heard.unflatten(0, (-1, 10))[:, ~upper], rtol=0, atol=0)


def test_ears_without_dropout_hear_the_same_in_training_and_evaluation() -> None:
    frequencies, bandwidths = space_bands("erb", 10, 100.0, 3000.0)
    bank = S4FilterBank(frequencies_hz=frequencies, bandwidths_hz=bandwidths, sfreq=8000.0, hop_s=0.01)
    ears = FilterBankFrontend(1, 4, bank=bank)
    x = torch.randn(1, 2, 1000)
    assert torch.equal(ears.train()(x)[0], ears.eval()(x)[0])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"share": 1.5}, r"share=1.5 must be in \[0, 1\]"),
        ({"lowest": 0.0}, r"lowest=0 must be in \(0, 1\]"),
    ],
)
def test_bad_options_are_refused(options: dict[str, float], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        BandDropout(**options)
