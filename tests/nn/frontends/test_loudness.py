"""Levelled log energies do not depend on gain, silence, padding or pieces."""

import math

import pytest
import torch

from s4signal.nn.frontends.loudness import Loudness

__all__: list[str] = []


def test_gain_and_silence_change_nothing() -> None:
    x = torch.randn(8, 2, 40)
    quiet = torch.cat([x.new_full((8, 2, 30), -69.0), x - 7.0, x.new_full((8, 2, 100), -69.0)], -1)
    torch.testing.assert_close(Loudness()(quiet)[..., 30:70], Loudness()(x), atol=1e-4, rtol=0)


@pytest.mark.parametrize("causal", [False, True])
def test_padding_changes_nothing(causal: bool) -> None:
    x, mask, level = torch.randn(8, 2, 40), torch.ones(2, 40), Loudness(causal=causal)
    mask[1, 25:] = 0
    levelled = level(x * mask, mask)
    torch.testing.assert_close(levelled[:, 1:, :25], level(x[:, 1:, :25]))
    assert (levelled[:, 1, 25:] == 0).all()


def test_pieces_equal_the_whole() -> None:
    x, level, state, pieces = torch.randn(8, 2, 90) * 3, Loudness(causal=True), None, []
    for piece in x.split([1, 2, 40, 47], -1):
        y, state = level.advance(piece, state)
        pieces.append(y)
    torch.testing.assert_close(torch.cat(pieces, -1), level(x), atol=1e-5, rtol=0)


def test_leading_silence_and_gain_have_little_effect_on_a_stream() -> None:
    x, level = torch.randn(8, 1, 40), Loudness(causal=True)
    late = level(torch.cat([x.new_full((8, 1, 30), -69.0), x - 5.0], -1))[..., 30:]
    torch.testing.assert_close(late, level(x), atol=1e-3, rtol=0)


def test_silence_lies_at_the_floor_below_the_loudest_frame() -> None:
    x = torch.full((4, 1, 3), -99.0).index_fill(-1, torch.tensor(1), 2.0)
    y = Loudness(floor_db=40.0)(x)
    torch.testing.assert_close(y[..., 1] - y[..., 2], torch.full((4, 1), 1e4).log1p())


def test_a_stream_subtracts_the_mean_weighted_by_amplitude() -> None:
    x = torch.randn(4, 1, 20, dtype=torch.float64) * 3
    energy = x.logsumexp(0)
    amplitude = torch.exp(energy / 2)
    floored = torch.logaddexp(x, energy.cummax(-1).values - math.log(1e4 * 4))
    mean = (floored * amplitude).cumsum(-1) / amplitude.cumsum(-1)
    torch.testing.assert_close(Loudness(floor_db=40.0, causal=True)(x), floored - mean)


@pytest.mark.parametrize("causal", [False, True])
def test_silence_alone_is_finite(causal: bool) -> None:
    assert torch.isfinite(Loudness(causal=causal)(torch.full((8, 1, 5), -69.0))).all()


def test_a_threshold_above_the_floor_is_refused() -> None:
    with pytest.raises(ValueError, match="active_db=60 must be above 0 and at most floor_db=45"):
        Loudness(active_db=60.0)
