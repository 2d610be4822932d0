"""Pooled statistics of oscillators against their definitions."""

import numpy as np
import pytest
import torch
from scipy.linalg import expm

from s4signal.random_features.filters import read_oscillators
from s4signal.random_features.statistics import OscillatorStatistics

__all__: list[str] = []

F, J = 5, 3
FREQUENCIES = torch.tensor([0.0, 2.0, 5.0, 11.0, 30.0], dtype=torch.float64)
BANDWIDTHS = torch.tensor([0.5, 1.0, 2.0, 4.0, 8.0], dtype=torch.float64)


def statistics(n_channels=2, hops=(8, 8, 4, 2, 1), dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return OscillatorStatistics(
        frequencies_hz=FREQUENCIES,
        bandwidths_hz=BANDWIDTHS,
        orders=torch.tensor([1, 2, 1, 2, 1]),
        hops=torch.tensor(hops, dtype=torch.float64),
        mixes=torch.randn(F, J, n_channels, generator=generator, dtype=dtype),
        levels=torch.randn(F, J, 2, generator=generator, dtype=dtype),
        projection=torch.eye(n_channels, dtype=dtype),
        sfreq=100.0,
        n_windows=4,
        slow=FREQUENCIES <= 2.0,
    )


def signals(n=3, n_channels=2, n_times=200):
    return torch.randn(n_channels, n, n_times, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def calibrated(x, lengths, **options):
    bank = statistics(len(x), **options)
    bank.calibrate([(x, lengths, 1.0, torch.ones(x.shape[1], dtype=x.dtype))])
    return bank


def outputs(bank, x, k):
    """Outputs of oscillator k at its readings: (C, n, 2, m)."""
    pieces = read_oscillators(
        x.flatten(0, 1),
        FREQUENCIES[k : k + 1] / 100,
        BANDWIDTHS[k : k + 1] / 100,
        order=int(bank.orders[k]),
        hop=int(bank.hops[k]),
        max_readings=2**20,
    )
    return torch.cat([piece for _, piece in pieces], -1)[0].unflatten(0, x.shape[:2])


@pytest.mark.parametrize("k", range(F))
def test_features_are_what_their_names_say(k):
    x, lengths = signals(), torch.tensor([200, 200, 200])
    bank = calibrated(x, lengths)
    features = bank(x, lengths)
    z = outputs(bank, x, k)
    waves = torch.einsum("jc,cnpm->njpm", bank.mixes[k], z)
    torch.testing.assert_close(features.mean[:, k], waves.mean(-1))
    if bank.slow[k] and waves.shape[-1] % 4 == 0:
        torch.testing.assert_close(features.course[:, k], waves.unflatten(-1, (4, -1)).mean(-1))
    # A line over a tenth of a standard deviation; what is always 0, as sin at 0 Hz, lies on its threshold.
    distance = torch.nan_to_num((waves - bank.thresholds[k][..., None]) / bank.scales[k][..., None], nan=0.0)
    above = (0.5 + 10.0 * distance).clamp(0.0, 1.0)
    quarters = above.unflatten(-1, (4, -1)).mean(-1) if waves.shape[-1] % 4 == 0 else None
    torch.testing.assert_close(features.positive[:, k, ..., 0], above.mean(-1))
    if quarters is not None:
        torch.testing.assert_close(features.positive[:, k, ..., 1:], quarters)
    if k % 2:
        return
    covariance = torch.einsum("cnpm,dnpm->ncd", z, z) / z.shape[-1]
    level = covariance.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
    diagonal, upper = features.energy[:, k // 2, [0, 2]].diag_embed(), features.energy[:, k // 2, 1] / 2**0.5
    logarithm = diagonal + upper[:, None, None] * (1 - torch.eye(2))
    exponential = np.stack([expm(matrix) for matrix in logarithm.numpy()])
    np.testing.assert_allclose(exponential, covariance + (0.01 * level + 1e-10) * torch.eye(2), rtol=1e-9)


def test_thresholds_are_levels_of_the_training_outputs():
    x, lengths = signals(), torch.tensor([200, 200, 200])
    bank = calibrated(x, lengths)
    waves = torch.einsum("jc,cnpm->jpnm", bank.mixes[4], outputs(bank, x, 4)).flatten(2)
    expected = waves.mean(-1) + waves.std(-1, correction=0) * bank.levels[4]
    torch.testing.assert_close(bank.thresholds[4], expected)


def test_one_channel_has_log_energies_of_the_windows():
    x, lengths = signals(n_channels=1), torch.tensor([200, 200, 200])
    bank = calibrated(x, lengths)
    bank.mixes.fill_(1.0)
    energy = outputs(bank, x, 4)[0].square().sum(1)
    features = bank(x, lengths).energy[:, 4]
    torch.testing.assert_close(features[:, 0], torch.log(energy.mean(-1)))
    torch.testing.assert_close(features[:, 1:], torch.log(energy.unflatten(-1, (4, 50)).mean(-1)))


def test_features_of_a_case_ignore_padding_and_company():
    x, lengths = signals(), torch.tensor([200, 130, 7])
    x = x * (torch.arange(200) < lengths[:, None])
    bank = calibrated(x, lengths)
    together = bank(x, lengths)
    for i, length in enumerate(lengths):
        alone = bank(x[:, i : i + 1, :length], lengths[i : i + 1])
        for one, all_ in zip(alone, together, strict=True):
            torch.testing.assert_close(one[0], all_[i], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("n_times", [1, 2, 3])
def test_the_shortest_cases_have_finite_features(n_times):
    x, lengths = signals(n_times=n_times), torch.full((3,), n_times)
    assert all(part.isfinite().all() for part in calibrated(x, lengths)(x, lengths))


def test_one_bank_hears_in_either_precision():
    x, lengths = signals(), torch.tensor([200, 200, 200])
    bank = calibrated(x, lengths)
    double, single = bank(x, lengths), bank(x.float(), lengths)
    assert single.energy.dtype == torch.float32
    torch.testing.assert_close(single.energy.double(), double.energy, rtol=1e-4, atol=1e-4, equal_nan=True)


def test_slow_waves_have_the_same_features_at_half_the_rate():
    times = torch.arange(1600, dtype=torch.float64) / 100
    x = torch.sin(2 * torch.pi * torch.tensor([[[1.7]], [[2.3]]]) * times + torch.tensor([0.0, 1.0, 2.0])[:, None])
    lengths = torch.full((3,), 1600)
    bank = calibrated(x, lengths, hops=(4, 4, 4, 2, 2))
    full, half = bank(x, lengths), bank(x[..., ::2], lengths // 2, rate=2.0)
    torch.testing.assert_close(half.mean[:, :4], full.mean[:, :4], atol=0.02, rtol=0)
    torch.testing.assert_close(half.positive[:, :4], full.positive[:, :4], atol=0.05, rtol=0)
    assert half.mean[:, :4].isfinite().all()


def test_what_lies_above_the_nyquist_frequency_is_nan():
    x, lengths = signals(), torch.tensor([200, 200, 200])
    features = calibrated(x, lengths)(x[..., ::2], lengths // 2, rate=2.0)
    slow, others = features.course, (features.mean, features.positive, features.energy)
    assert all(part[:, :-1].isfinite().all() and part[:, -1].isnan().all() for part in others)
    assert slow.shape[1] == 2
    assert slow.isfinite().all()


def test_long_signals_are_pooled_piece_by_piece(monkeypatch):
    x, lengths = signals(n_times=500), torch.tensor([500, 400, 300])
    bank = calibrated(x, lengths)
    whole = bank(x, lengths)
    monkeypatch.setattr("s4signal.random_features.statistics._MAX_READINGS", 1)
    for piecewise, at_once in zip(bank(x, lengths), whole, strict=True):
        torch.testing.assert_close(piecewise, at_once, rtol=1e-10, atol=1e-10)


def test_logarithms_of_covariances_are_as_exact_as_the_readings():
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(6, 4, 3000, dtype=torch.float64, generator=generator)
    x, lengths = torch.randn(4, 3000, dtype=torch.float64, generator=generator) + 0.01 * noise, torch.full((4,), 3000)
    bank = statistics(6)
    double, single = bank(x, lengths).energy, bank(x.float(), lengths).energy
    torch.testing.assert_close(single.double(), double, rtol=0, atol=5e-5)
