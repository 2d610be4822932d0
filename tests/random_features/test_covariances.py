"""Sums of products in a band equal those of the outputs of its filter."""

import pytest
import torch

from s4signal.random_features.covariances import energy_block, sum_over_all_samples
from s4signal.random_features.filters import filter_frames
from s4signal.ssm.cascades import energy_tables

__all__: list[str] = []

FREQUENCIES = torch.tensor([0.0, 0.02, 0.3], dtype=torch.float64)
BANDWIDTHS = torch.tensor([1e-5, 0.002, 0.1], dtype=torch.float64)  # the first decays over more than a case


@pytest.mark.parametrize("order", [1, 2, 4])
@pytest.mark.parametrize("at_once", [1, 2**20])
def test_sums_of_products_equal_those_of_the_outputs(order, at_once, monkeypatch):
    monkeypatch.setattr("s4signal.random_features.covariances._AT_ONCE", at_once)
    x = torch.randn(2, 3, 1500, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x[1] += 100.0  # an offset that only the slowest filter passes
    lengths = torch.tensor([1500, 1100, 7])
    x = x * (torch.arange(1500) < lengths[:, None])
    parts = filter_frames(x.flatten(0, 1), FREQUENCIES, BANDWIDTHS, order=order, hop=1, at_once=2**20)
    outputs = torch.cat([part for _, part in parts], -1).unflatten(1, (2, 3))
    outputs = outputs * (torch.arange(1500) < lengths[:, None])[:, None]
    expected = torch.einsum("fcnpm,fdnpm->nfcd", outputs, outputs)
    tables = energy_tables(FREQUENCIES, BANDWIDTHS, order, energy_block(1500, order))
    torch.testing.assert_close(sum_over_all_samples(x, lengths, tables), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("n_times", "order", "block"), [(1, 1, 16), (3000, 2, 512), (3000, 4, 256), (9000, 1, 1008)])
def test_block_length_needs_little_padding(n_times, order, block):
    assert energy_block(n_times, order) == block
