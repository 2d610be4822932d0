"""The contract of every front end: shapes, padding, pieces, rates, random numbers, description."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from s4signal.nn import FRONTENDS, FilterBank, Frames, S4Network, StackOptions, space_bands
from s4signal.nn.backbone import length_mask
from s4signal.nn.frontends import Frontend
from s4signal.nn.frontends.augmentation import BandDropout, BandShift, SilencePadding

__all__: list[str] = []

SFREQ = 1000.0


class Strided(nn.Module):
    """A user's module that draws from torch's global generator in training."""

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.conv, self.hop_s = nn.Conv1d(n_channels, 6, 8, stride=8), 8 / SFREQ

    def forward(self, x: Tensor) -> Tensor:
        noise = 0.1 * torch.randn_like(x) if self.training else 0.0
        return nn.functional.dropout(self.conv((x + noise).mT).mT, 0.3, self.training)


def filter_bank(n_channels: int, d_model: int) -> Frontend:
    frequencies, bandwidths = space_bands("erb", 8, 20.0, 200.0)
    bank = FilterBank(frequencies_hz=frequencies, bandwidths_hz=bandwidths, sfreq=SFREQ, hop_s=8 / SFREQ)
    augmentations = [BandShift(), BandDropout(0.5), SilencePadding(0.5, longest_s=0.04)]
    options = {"mean_subtraction": "active", "causal": True, "augmentations": augmentations}
    return FRONTENDS["filterbank"](n_channels, d_model, bank=bank, **options)


def band_power(n_channels: int, d_model: int) -> Frontend:
    frontend = FRONTENDS["band_power"](n_channels, d_model, sfreq=SFREQ, hop_s=8 / SFREQ)
    nn.init.normal_(frontend.power_mix.weight)  # not zero
    return frontend


BUILT: dict[str, Callable[[int, int], Frontend]] = {
    "linear": lambda n_channels, d_model: FRONTENDS["linear"](n_channels, d_model),
    "hop_means": lambda n_channels, d_model: FRONTENDS["hop_means"](n_channels, d_model, sfreq=SFREQ, hop_s=8 / SFREQ),
    "band_power": band_power,
    "filterbank": filter_bank,
    "module": lambda n_channels, d_model: FRONTENDS["module"](Strided(n_channels), 6, d_model),
}
each_frontend = pytest.mark.parametrize("name", FRONTENDS)


def built(name: str) -> Frontend:
    return BUILT[name](2, 5).double().eval()


def scores(name: str) -> S4Network:
    return S4Network(built(name), 3, options=StackOptions(d_model=5, n_layers=1, d_state=4)).double()


def encoded(frontend: Frontend, frames: Frames) -> tuple[Tensor, Frames]:
    features = frontend.features(frames)
    return frontend.encode(features), features


@each_frontend
def test_there_is_one_frame_per_hop(name: str) -> None:
    frontend = built(name)
    hop = 1 if frontend.hop_s is None else round(frontend.hop_s * SFREQ)
    h, features = encoded(frontend, Frames(torch.randn(2, 3, 160).double()))
    assert h.shape == (5, 3, 160 // hop)
    assert features.rate == 1.0
    assert features.mask is None


@each_frontend
def test_padding_and_batch_mates_change_nothing(name: str) -> None:
    frontend, x = built(name), torch.randn(2, 2, 160).double()
    mask = length_mask(torch.tensor([160, 72]), 160, x.dtype)
    h, features = encoded(frontend, Frames(x * mask, mask))
    alone, _ = encoded(frontend, Frames(x[:, 1:, :72]))
    assert features.mask is not None
    assert int(features.mask[1].sum()) == alone.shape[-1]
    torch.testing.assert_close(h[:, 1:, : alone.shape[-1]], alone, rtol=0, atol=1e-9)


@each_frontend
def test_pieces_equal_the_whole_or_are_refused(name: str) -> None:
    frontend, x = built(name), torch.randn(2, 1, 640).double()
    if name == "module":
        with pytest.raises(ValueError, match="ModuleFrontend needs whole cases, not pieces; for a stream fit with"):
            frontend.unit(1.0)
        with pytest.raises(ValueError, match="needs whole cases, not pieces"):
            frontend.advance(x, None)
        return
    unit, state, pieces = frontend.unit(1.0), None, []
    for piece in x.split([unit, 3 * unit, 640 - 4 * unit], -1):
        frames = frontend.advance(piece, state)
        state = frames.state
        pieces.append(frames.features)
    torch.testing.assert_close(torch.cat(pieces, -1), encoded(frontend, Frames(x))[0], rtol=0, atol=1e-9)


@each_frontend
def test_another_rate_is_reported_in_the_frames_or_refused(name: str) -> None:
    frontend, signals = built(name), Frames(torch.randn(2, 1, 160).double(), rate=2.0)
    if name == "module":
        with pytest.raises(ValueError, match="samples 2 times as long as at training"):
            frontend.features(signals)
        return
    frames = frontend.features(signals)
    seconds = frames.features.shape[-1] * frames.rate * (frontend.hop_s or 1 / SFREQ)
    assert seconds == pytest.approx(160 * 2.0 / SFREQ)


@each_frontend
def test_training_draws_only_from_the_generator(name: str) -> None:
    network, x = scores(name).train(), torch.randn(2, 4, 160).double()
    state = torch.get_rng_state()
    one, same, other = (network(x, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), state)


@each_frontend
def test_scores_from_precomputed_features_equal_scores_of_signals(name: str) -> None:
    network, x = scores(name).eval(), torch.randn(2, 4, 160).double()
    frames = network.frontend.features(Frames(x))
    torch.testing.assert_close(network.from_features(frames), network(x), rtol=0, atol=0)


@each_frontend
def test_features_are_precomputable_unless_learned_or_linear(name: str) -> None:
    frontend = built(name)
    assert frontend.precomputable == (name in ("filterbank", "hop_means", "band_power"))
    frontend.requires_grad_(False)
    assert not frontend.learned
    assert frontend.precomputable == (name != "linear")


@each_frontend
def test_calibrated_features_have_zero_mean_and_unit_variance(name: str) -> None:
    frontend, x = built(name), 100.0 + 7.0 * torch.randn(2, 6, 800).double()
    frames = frontend.features(Frames(x))
    frontend.calibrate([(frames, torch.ones(6).double())])
    if name not in ("linear", "hop_means"):
        levelled = frontend.loudness(frames.features) if name == "filterbank" else frames.features
        if name == "band_power":
            levelled = frontend.log_powers(frames.features[2:])[0]
        standard = frontend.standardize(levelled)
        torch.testing.assert_close(standard.mean((1, 2)), torch.zeros(len(standard)).double(), rtol=0, atol=1e-6)
        torch.testing.assert_close(standard.square().mean((1, 2)), torch.ones(len(standard)).double())


def test_band_power_starts_as_hop_means() -> None:
    frontend, x = FRONTENDS["band_power"](2, 5, sfreq=SFREQ, hop_s=8 / SFREQ), torch.randn(2, 3, 160)
    means = FRONTENDS["hop_means"](2, 5, sfreq=SFREQ, hop_s=8 / SFREQ)
    means.mix.load_state_dict(frontend.mix.state_dict())
    bias = frontend.power_mix.bias[:, None, None]
    torch.testing.assert_close(encoded(frontend, Frames(x))[0] - bias, encoded(means, Frames(x))[0])


@each_frontend
def test_every_front_end_has_a_description(name: str) -> None:
    assert built(name).describe()
