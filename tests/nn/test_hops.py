"""Hops are whole numbers of samples that fit the blocks."""

import pytest

from s4signal.nn.frontends.hops import hop_blocks

__all__: list[str] = []


@pytest.mark.parametrize("hop", [0.2, 1.0, 1.5, 2.56, 64.0, 65.0, 100.0, 128.0, 128.4, 300.0, 441.0, 16_000.0])
def test_a_hop_is_whole_blocks_or_a_block_whole_hops(hop: float) -> None:
    block, blocks_per_hop, hops_per_block = hop_blocks(hop)
    assert 1 in (blocks_per_hop, hops_per_block)
    assert 1 <= block <= 128
    assert block % hops_per_block == 0
    samples = block * blocks_per_hop / hops_per_block
    assert abs(samples - hop) <= max(1.0, 0.01 * hop)
