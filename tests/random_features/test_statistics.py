"""Pooled statistics of oscillators equal their definitions."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.linalg import expm

from s4signal.random_features.filters import LONGEST_HOP, filter_frames
from s4signal.random_features.statistics import PooledStatistics

__all__: list[str] = []

F, J = 5, 3
FREQUENCIES = torch.tensor([0.0, 2.0, 5.0, 11.0, 30.0], dtype=torch.float64)
BANDWIDTHS = torch.tensor([0.5, 1.0, 2.0, 4.0, 8.0], dtype=torch.float64)


def statistics(n_channels=2, hops=(8, 8, 4, 2, 1), dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    filters = torch.randn(F, J, n_channels, generator=generator, dtype=dtype)
    quantiles = torch.randn(F, J, 2, generator=generator, dtype=dtype)
    return PooledStatistics(
        frequencies_hz=FREQUENCIES,
        bandwidths_hz=BANDWIDTHS,
        orders=torch.tensor([1, 2, 1, 2, 1]),
        hops=torch.tensor(hops, dtype=torch.float64),
        has_segment_means=FREQUENCIES <= 2.0,
        spatial_filters=filters,
        components=torch.eye(n_channels, dtype=dtype),
        quantiles=quantiles,
        thresholds=torch.zeros_like(quantiles),
        scales=torch.zeros_like(quantiles),
        sfreq=100.0,
        n_windows=4,
        shrinkage=0.01,
    )


def signals(n=3, n_channels=2, n_times=200):
    return torch.randn(n_channels, n, n_times, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def calibrated(x, lengths, **options):
    return statistics(len(x), **options).calibrated([(x, lengths, 1.0, torch.ones(x.shape[1], dtype=x.dtype))])


@pytest.mark.parametrize(("longest", "rate"), [(64.0, 1e-3), (2.0**63, 1.0)])
def test_hops_are_bounded_at_a_thousand_times_the_rate(longest, rate):
    assert max(group.hop for group in statistics(hops=(longest, 64, 4, 2, 1)).groups(rate)) == LONGEST_HOP


def outputs(bank, x, k):
    """Frames of oscillator k: (C, n, 2, m)."""
    pieces = filter_frames(
        x.flatten(0, 1),
        FREQUENCIES[k : k + 1] / 100,
        BANDWIDTHS[k : k + 1] / 100,
        order=int(bank.orders[k]),
        hop=int(bank.hops[k]),
        at_once=2**20,
    )
    return torch.cat([piece for _, piece in pieces], -1)[0].unflatten(0, x.shape[:2])


@pytest.mark.parametrize("k", range(F))
def test_features_equal_their_definitions(k):
    x, lengths = signals(), torch.tensor([200, 200, 200])
    bank = calibrated(x, lengths)
    features = bank.pool(x, lengths)
    z = outputs(bank, x, k)
    frames = torch.einsum("jc,cnpm->njpm", bank.spatial_filters[k], z)
    torch.testing.assert_close(features["means"][:, k], frames.mean(-1))
    if bank.has_segment_means[k] and frames.shape[-1] % 4 == 0:
        torch.testing.assert_close(features["segment means"][:, k], frames.unflatten(-1, (4, -1)).mean(-1))
    # Linear over a tenth of a standard deviation; a part that is always 0, sin at 0 Hz, is at its threshold.
    distance = torch.nan_to_num((frames - bank.thresholds[k][..., None]) / bank.scales[k][..., None], nan=0.0)
    above = (0.5 + 10.0 * distance).clamp(0.0, 1.0)
    quarters = above.unflatten(-1, (4, -1)).mean(-1) if frames.shape[-1] % 4 == 0 else None
    torch.testing.assert_close(features["ppv"][:, k, ..., 0], above.mean(-1))
    if quarters is not None:
        torch.testing.assert_close(features["ppv"][:, k, ..., 1:], quarters)
    if k % 2:
        return
    covariance = torch.einsum("cnpm,dnpm->ncd", z, z) / z.shape[-1]
    level = covariance.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
    diagonal, upper = features["energies"][:, k // 2, [0, 2]].diag_embed(), features["energies"][:, k // 2, 1] / 2**0.5
    logarithm = diagonal + upper[:, None, None] * (1 - torch.eye(2))
    exponential = np.stack([expm(matrix) for matrix in logarithm.numpy()])
    np.testing.assert_allclose(exponential, covariance + (0.01 * level + 1e-10) * torch.eye(2), rtol=1e-9)


def test_thresholds_are_quantiles_of_the_training_frames():
    x, lengths = signals(), torch.tensor([200, 200, 200])
    bank = calibrated(x, lengths)
    frames = torch.einsum("jc,cnpm->jpnm", bank.spatial_filters[4], outputs(bank, x, 4)).flatten(2)
    expected = frames.mean(-1) + frames.std(-1, correction=0) * bank.quantiles[4]
    torch.testing.assert_close(bank.thresholds[4], expected)


def test_energies_of_one_channel_are_log_energies_of_windows():
    x, lengths = signals(n_channels=1), torch.tensor([200, 200, 200])
    bank = replace(calibrated(x, lengths), spatial_filters=torch.ones(F, J, 1, dtype=x.dtype))
    energy = outputs(bank, x, 4)[0].square().sum(1)
    features = bank.pool(x, lengths)["energies"][:, 4]
    torch.testing.assert_close(features[:, 0], torch.log(energy.mean(-1)))
    torch.testing.assert_close(features[:, 1:], torch.log(energy.unflatten(-1, (4, 50)).mean(-1)))


def test_features_of_a_case_ignore_padding_and_other_cases():
    x, lengths = signals(n=4), torch.tensor([200, 130, 128, 7])  # 128: whole hops
    x = x * (torch.arange(200) < lengths[:, None])
    bank = calibrated(x, lengths)
    together = bank.pool(x, lengths)
    for i, length in enumerate(lengths):
        alone = bank.pool(x[:, i : i + 1, :length], lengths[i : i + 1])
        for name, one in alone.items():
            torch.testing.assert_close(one[0], together[name][i], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("n_times", [1, 2, 3])
def test_the_shortest_cases_have_finite_features(n_times):
    x, lengths = signals(n_times=n_times), torch.full((3,), n_times)
    assert all(part.isfinite().all() for part in calibrated(x, lengths).pool(x, lengths).values())


def test_float32_features_equal_float64_features():
    x, lengths = signals(), torch.tensor([200, 200, 200])
    bank = calibrated(x, lengths)
    double, single = bank.pool(x, lengths)["energies"], bank.pool(x.float(), lengths)["energies"]
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-4, equal_nan=True)


def test_slow_oscillators_have_the_same_features_at_half_the_rate():
    times = torch.arange(1600, dtype=torch.float64) / 100
    x = torch.sin(2 * torch.pi * torch.tensor([[[1.7]], [[2.3]]]) * times + torch.tensor([0.0, 1.0, 2.0])[:, None])
    lengths = torch.full((3,), 1600)
    bank = calibrated(x, lengths, hops=(4, 4, 4, 2, 2))
    full, half = bank.pool(x, lengths), bank.pool(x[..., ::2], lengths // 2, rate=2.0)
    torch.testing.assert_close(half["means"][:, :4], full["means"][:, :4], atol=0.02, rtol=0)
    torch.testing.assert_close(half["ppv"][:, :4], full["ppv"][:, :4], atol=0.05, rtol=0)
    assert half["means"][:, :4].isfinite().all()


def test_features_above_the_nyquist_frequency_are_nan():
    x, lengths = signals(), torch.tensor([200, 200, 200])
    features = calibrated(x, lengths).pool(x[..., ::2], lengths // 2, rate=2.0)
    slow, others = features["segment means"], [features[name] for name in ("means", "ppv", "energies")]
    assert all(part[:, :-1].isfinite().all() and part[:, -1].isnan().all() for part in others)
    assert slow.shape[1] == 2
    assert slow.isfinite().all()


def test_piecewise_pooling_equals_pooling_the_whole(monkeypatch):
    x, lengths = signals(n_times=500), torch.tensor([500, 400, 300])
    bank = calibrated(x, lengths)
    whole = bank.pool(x, lengths)
    monkeypatch.setattr("s4signal.random_features.statistics._AT_ONCE", 1)
    monkeypatch.setattr("s4signal.random_features.covariances._AT_ONCE", 1)
    for name, piecewise in bank.pool(x, lengths).items():
        torch.testing.assert_close(piecewise, whole[name], rtol=1e-10, atol=1e-10)


def test_logarithms_of_covariances_are_precise_in_float32():
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(6, 4, 3000, dtype=torch.float64, generator=generator)
    x, lengths = torch.randn(4, 3000, dtype=torch.float64, generator=generator) + 0.01 * noise, torch.full((4,), 3000)
    bank = statistics(6)
    double, single = (bank.pool(part, lengths)["energies"] for part in (x, x.float()))
    torch.testing.assert_close(single.double(), double, rtol=0, atol=5e-5)
