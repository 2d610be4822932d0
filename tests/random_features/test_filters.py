"""Random oscillators and their frames."""

import numpy as np
import pytest
import torch
from scipy.signal import lfilter

from s4signal.random_features.filters import LONGEST_HOP, draw_oscillators, filter_frames, oscillator_hops

__all__: list[str] = []


def drawn(n=32, sfreq=100.0, duration_s=2.0, seed=0):
    return draw_oscillators(n, sfreq=sfreq, duration_s=duration_s, rng=np.random.RandomState(seed))


def test_frequencies_lie_between_half_a_period_per_case_and_nyquist():
    frequencies, bandwidths = drawn(200)
    above_zero = frequencies[frequencies > 0]
    assert 0.25 <= above_zero.min() < 0.3
    assert 40 < above_zero.max() <= 45
    assert (bandwidths > 0).all()
    sharpness = above_zero / bandwidths[frequencies > 0]
    assert 1 - 1e-9 < sharpness.min() < 1.1
    assert 14 < sharpness.max() < 16 + 1e-9
    in_band, _ = draw_oscillators(200, sfreq=100.0, duration_s=2.0, rng=np.random.RandomState(0), band_hz=(5.0, 49.0))
    assert 5 <= in_band[in_band > 0].min() < in_band.max() <= 45


def test_a_tenth_of_the_oscillators_are_low_passes():
    assert (drawn(40)[0] == 0).sum() == 4


@pytest.mark.parametrize("n_times", [1, 2, 7])
def test_shortest_cases_have_oscillators(n_times):
    frequencies, bandwidths = draw_oscillators(8, sfreq=1.0, duration_s=n_times, rng=np.random.RandomState(0))
    assert np.isfinite(frequencies).all()
    assert (bandwidths > 0).all()
    assert frequencies.max() <= 0.45


def test_slow_oscillators_have_fewer_frames():
    hops = oscillator_hops(np.array([1.0, 10.0, 100.0]), np.array([0.5, 5.0, 50.0]), sfreq=1000.0, longest=100.0)
    assert hops.tolist() == [64, 8, 1]


@pytest.mark.parametrize("hop", [1, 3, 8, 64])
@pytest.mark.parametrize("at_once", [1, 2**20])
def test_frames_equal_the_recurrence(hop, at_once):
    frequency, bandwidth = torch.tensor([0.0, 0.02, 0.3]).double(), torch.tensor([0.01, 0.005, 0.1]).double()
    x = torch.randn(4, 333, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    parts = list(filter_frames(x, frequency, bandwidth, order=1, hop=hop, at_once=at_once))
    frames = torch.cat([part for _, part in parts], -1).numpy()
    pole = 2 * np.pi * (-bandwidth + 1j * frequency).numpy()
    gain = 2 * np.pi * bandwidth.numpy() * np.expm1(pole) / pole / np.sinc(frequency.numpy())
    for k in range(3):
        expected = lfilter([gain[k]], [1, -np.exp(pole[k])], x.numpy())[:, ::hop]
        np.testing.assert_allclose(frames[k, :, 0] + 1j * frames[k, :, 1], expected, atol=1e-11)


@pytest.mark.parametrize(("n_times", "starts"), [(160, [0]), (9000, [0, 4096, 8192])])
def test_memory_is_linear_in_a_long_hop(n_times, starts):
    frequencies = torch.linspace(1e-6, 1e-3, 300, dtype=torch.float64)
    x = torch.randn(2, n_times, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    oscillators = {"frequencies": frequencies, "bandwidths": frequencies, "order": 1, "at_once": 2**20}
    hop = 50_000 if n_times == 160 else LONGEST_HOP
    frames = torch.cat([part for _, part in filter_frames(x, **oscillators, hop=hop)], -1)
    every = torch.cat([part for _, part in filter_frames(x, **oscillators, hop=1)], -1)
    torch.testing.assert_close(frames, every[..., starts])


def test_pieces_come_with_their_first_frame():
    x = torch.zeros(1, 300)
    one = torch.tensor([0.1], dtype=torch.float64)
    pieces = list(filter_frames(x, one, one, order=1, hop=5, at_once=1))
    assert [start for start, _ in pieces] == [*range(0, 300, 35)]
    assert [part.shape[-1] for _, part in pieces] == [7] * 8 + [4]


@pytest.mark.parametrize("n_times", [50, 300])
def test_spatial_and_temporal_filters_commute(n_times):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4 * 5, n_times, dtype=torch.float64, generator=generator)  # four channels of five cases
    filters = torch.randn(2, 3, 4, dtype=torch.float64, generator=generator)
    oscillators = {"frequencies": torch.tensor([0.02, 0.3]).double(), "bandwidths": torch.tensor([0.01, 0.1]).double()}

    def frames(filters=None):
        pieces = filter_frames(x, **oscillators, order=2, hop=2, at_once=2**20, spatial_filters=filters)
        return torch.cat([part for _, part in pieces], -1)

    after = torch.einsum("frc,fcnpm->frnpm", filters, frames().unflatten(1, (4, 5)))
    torch.testing.assert_close(frames(filters).unflatten(1, (3, 5)), after)
