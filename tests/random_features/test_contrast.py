"""Energies of narrow bands relative to their neighbours."""

import numpy as np
import torch

from s4signal.random_features.contrast import contrast_exists, narrow_bands, neighbour_contrast, power_bandwidth

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


def test_nearly_all_power_lies_below_the_bandwidth():
    times = np.arange(1000) / 100
    case = np.sin(2 * np.pi * 7.0 * times)[None] + 0.01 * np.random.default_rng(0).standard_normal((2, 1000))
    assert 7.0 <= power_bandwidth([case], 100.0, longest=1000) < 7.2
    case[1] += 0.2 * np.sin(2 * np.pi * 30.0 * times)  # 4 % of the power
    assert 30.0 <= power_bandwidth([case], 100.0, longest=1000) < 30.2


def test_narrow_bands_cover_the_bandwidth_up_to_045_of_the_rate():
    for bandwidth_hz, highest in ((20.0, 20.0), (49.0, 45.0)):
        bands = narrow_bands(bandwidth_hz, 3, sfreq=100.0, shortest=1000.0, longest_hop=8.0, dtype=torch.float64)
        edges = bands.frequencies_hz + bands.bandwidths_hz * torch.tensor([[-0.5], [0.5]])
        torch.testing.assert_close(edges[0, 1:], edges[1, :-1])
        assert edges[0, 0].abs() < 1e-9
        assert abs(edges[1, -1] - highest) < 1e-9
