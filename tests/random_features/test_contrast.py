"""Energies of narrow bands relative to their neighbours."""

import numpy as np
import torch

from s4signal.random_features.contrast import contrast_exists, neighbour_contrast, power_bandwidth

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
