"""Means over hops: only valid samples count, and other rates give nearly the same."""

import pytest
import torch

from s4signal.nn import Frames
from s4signal.nn.frontends import HopMeansFrontend

__all__: list[str] = []


def test_frames_are_the_means_of_valid_samples() -> None:
    net, x, mask = HopMeansFrontend(3, 8, sfreq=100.0, hop_s=0.1), torch.randn(3, 2, 47), torch.ones(2, 47)
    mask[1, 31:] = 0
    frames = net.features(Frames(x * mask, mask))
    torch.testing.assert_close(frames.features[:, 0, :4], x[:, 0, :40].unflatten(-1, (4, 10)).mean(-1))
    torch.testing.assert_close(frames.features[:, 1, 3], x[:, 1, 30])
    assert frames.mask.tolist() == [[1.0] * 5, [1.0] * 4 + [0.0]]
    torch.testing.assert_close(frames.features[:, 1:, :4], net.features(Frames(x[:, 1:, :31])).features)


def test_another_rate_gives_nearly_the_same_frames() -> None:
    net, t = HopMeansFrontend(1, 4, sfreq=100.0, hop_s=0.1), torch.arange(0.0, 5.0, 0.0025)
    slow = torch.sin(2 * torch.pi * t)[None, None]
    fast, coarse = net.features(Frames(slow, rate=0.25)), net.features(Frames(slow[..., ::8], rate=2.0))
    assert fast.rate == coarse.rate == 1.0
    torch.testing.assert_close(fast.features, coarse.features, atol=0.06, rtol=0)
    coarser = net.features(Frames(slow[..., ::80], rate=20.0))  # a sample lasts two hops: one frame per sample
    assert coarser.rate == 2.0
    assert torch.equal(coarser.features, slow[..., ::80])


def test_a_hop_below_a_sample_and_gaps_are_refused() -> None:
    with pytest.raises(ValueError, match=r"hop_s=0.001 is shorter than a sample, 0.01 s"):
        HopMeansFrontend(1, 4, sfreq=100.0, hop_s=0.001)
    with pytest.raises(ValueError, match="hop means need regular samples"):
        HopMeansFrontend(1, 4, sfreq=100.0, hop_s=0.1).features(Frames(torch.ones(1, 1, 4), gaps=torch.ones(1, 4)))
