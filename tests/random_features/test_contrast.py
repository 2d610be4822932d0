"""Energies of narrow bands relative to their neighbours."""

import numpy as np
import torch

from s4signal.estimators.features.plain import eliminate
from s4signal.random_features.contrast import (
    CONTRASTS,
    contrast_exists,
    line_contrast,
    neighbour_contrast,
    power_bandwidth,
)

__all__: list[str] = []


def test_half_of_the_mean_of_the_neighbours_is_subtracted():
    logarithms = torch.arange(20.0)[None, :, None] * torch.ones(2, 20, 3)
    logarithms[:, 9] += 16.0
    compared = neighbour_contrast(logarithms)
    torch.testing.assert_close(compared[:, 9] - logarithms[:, 9] / 2, torch.full((2, 3), 8.0))
    torch.testing.assert_close(compared[:, 10] - logarithms[:, 10] / 2, torch.full((2, 3), -0.5))
    logarithms[:, 18:] = torch.nan
    exists = neighbour_contrast(logarithms)[0, :, 0].isfinite().numpy()
    assert exists.tolist() == contrast_exists(np.arange(20) < 18).tolist() == [True] * 10 + [False] * 10


def test_power_of_a_line_is_relative_to_the_noise_around_it_in_any_mixture_of_channels(rng):
    frames = rng.standard_normal((2, 24, 3, 40))
    frames[:, 11] *= 3.0
    rotation = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    row, column = np.triu_indices(3)

    def contrast(frames):
        S = frames @ frames.swapaxes(-1, -2)
        return S, line_contrast(torch.from_numpy(S[..., row, column])).numpy()[..., 0]

    S, lines = contrast(frames)
    around = [9 + i for i in range(-8, 9) if abs(i) > 2]
    noise = S[:, around].mean(1)
    noise += 0.01 * np.trace(noise, axis1=1, axis2=2)[:, None, None] / 3 * np.eye(3)
    expected = np.trace(np.linalg.solve(noise, S[:, 9]), axis1=1, axis2=2) / 3
    np.testing.assert_allclose(lines[:, 9], expected, rtol=1e-9)
    assert (lines.argmax(1) == 11).all()
    np.testing.assert_allclose(contrast(5.0 * rotation @ frames)[1], lines, rtol=1e-6)
    stretched = contrast(np.diag([1.0, 2.0, 3.0]) @ rotation @ frames)[1]
    np.testing.assert_allclose(stretched, lines, rtol=0.1)  # the shrinkage of the noise is not the same


def test_a_line_exists_if_all_of_its_neighbours_do(rng):
    S = torch.from_numpy(rng.standard_normal((1, 24, 6))).abs()
    S[..., [0, 3, 5]] += 5.0  # the diagonal
    whole = line_contrast(S)
    S[:, 20:] = torch.nan
    part = line_contrast(S)
    exists = contrast_exists(np.arange(24) < 20)
    assert part[0, :, 0].isfinite().numpy().tolist() == exists.tolist()
    torch.testing.assert_close(part[:, exists], whole[:, exists])
    assert (line_contrast(torch.zeros(1, 24, 6)) == 0).all()  # no signal


class Lines(torch.nn.Module):
    def forward(self, covariances):
        return line_contrast(covariances, solve=eliminate)


def test_lines_are_computed_after_an_export_as_before_it():
    S = torch.eye(5, dtype=torch.float64)[np.triu_indices(5)].expand(1, 20, 15)  # five channels: in no other test here
    torch.export.export(Lines(), (S,))
    assert line_contrast(S).numpy().shape == (1, 20, 1)


def test_nearly_all_power_lies_below_the_bandwidth():
    times = np.arange(1000) / 100
    case = np.sin(2 * np.pi * 7.0 * times)[None] + 0.01 * np.random.default_rng(0).standard_normal((2, 1000))
    assert 7.0 <= power_bandwidth([case], 100.0, 0.99, longest=1000) < 7.2
    case[1] += 0.2 * np.sin(2 * np.pi * 30.0 * times)  # 4 % of the power
    assert 30.0 <= power_bandwidth([case], 100.0, 0.99, longest=1000) < 30.2


def test_narrow_bands_cover_the_bandwidth_up_to_045_of_the_rate():
    for bandwidth_hz, highest in ((20.0, 20.0), (49.0, 45.0)):
        bands = CONTRASTS["narrow bands"].bank(
            (0.0, bandwidth_hz), 3, sfreq=100.0, shortest=1000.0, longest_hop=8.0, dtype=torch.float64
        )
        edges = bands.frequencies_hz + bands.bandwidths_hz * torch.tensor([[-0.5], [0.5]])
        torch.testing.assert_close(edges[0, 1:], edges[1, :-1])
        assert edges[0, 0].abs() < 1e-9
        assert abs(edges[1, -1] - highest) < 1e-9
