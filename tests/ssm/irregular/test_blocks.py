"""Blocks of samples at random times equal the scan sample by sample, for all kinds of times and modes."""

from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from random_systems import BATCH, D_MODEL, TOLERANCE, dtypes, few_examples, relative_error
from torch import Tensor

from s4signal.ssm import irregular
from s4signal.ssm.irregular import blocks, scan_modes
from s4signal.ssm.irregular.blocks import cut_blocks
from s4signal.ssm.irregular.factors import BLOCK
from s4signal.ssm.irregular.steps import stepped_scan

__all__: list[str] = []

KINDS = ["random", "bursts", "a few long gaps", "repeated times", "padded"]
kinds_of_times = pytest.mark.parametrize("kind", KINDS)


def gaps_of(kind: str, n_times: int, seed: int = 0) -> Tensor:
    generator = np.random.default_rng(seed)
    gaps = generator.exponential(size=(BATCH, n_times))
    if kind == "bursts":
        gaps[:, ::11] *= 300.0
    if kind == "a few long gaps":
        gaps[:, 5::90] += 1000.0
    if kind == "repeated times":
        gaps[generator.random(gaps.shape) < 0.3] = 0.0
    if kind == "padded":
        gaps[0, n_times // 2 :] = 0.0
    return torch.from_numpy(gaps)


def leaves_of(n_times: int, fastest: float, seed: int = 0) -> list[Tensor]:
    """Input, poles, output vectors and first state; one mode of each channel has the frequency `fastest`."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(D_MODEL, BATCH, n_times), (D_MODEL, 8, 2), (D_MODEL, 8, 2), (D_MODEL, BATCH, 16)]
    leaves = [torch.randn(shape, dtype=torch.float64, generator=generator) for shape in shapes]
    leaves[1][..., 0] = -torch.logspace(-6, -0.5, 8, dtype=torch.float64)
    leaves[1][:, 0, 1] = fastest
    return [leaf.requires_grad_() for leaf in leaves]


@few_examples
@given(
    kind=st.sampled_from(KINDS),
    n_times=st.sampled_from([2 * BLOCK, 130, 700]),
    fastest=st.sampled_from([0.1, 3.0, 50.0]),
    carried=st.booleans(),
    reverse=st.booleans(),
    dtype=dtypes,
)
def test_blocks_equal_the_scan_sample_by_sample(
    kind: str, n_times: int, fastest: float, carried: bool, reverse: bool, dtype: torch.dtype
) -> None:
    leaves, gaps = leaves_of(n_times, fastest), gaps_of(kind, n_times)
    leaves = leaves if carried else leaves[:3]
    results = []
    for scan, exact in ((stepped_scan, torch.float64), (scan_modes, dtype)):
        u, Lambda, G, *first = leaves
        outputs = scan(u.to(exact), gaps, Lambda, G, first[0].to(exact) if first else None, reverse=reverse)
        weights = [torch.linspace(-1.0, 2.0, part.numel(), dtype=exact).view_as(part) for part in outputs]
        results.append([*(part.detach() for part in outputs), *torch.autograd.grad(outputs, leaves, weights)])
    assert all(relative_error(got, expected) < TOLERANCE[dtype] for expected, got in zip(*results, strict=True))


@pytest.mark.parametrize("reverse", [False, True])
def test_gradients_through_blocks_are_correct(reverse: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "MOST_STATES", 1)  # one block per piece
    leaves, gaps = leaves_of(40, fastest=20.0), gaps_of("a few long gaps", 40)
    leaves = [leaf.detach()[:2, ..., :40].clone().requires_grad_() for leaf in leaves]

    def run(*parts: Tensor) -> tuple[Tensor, Tensor]:
        return scan_modes(parts[0], gaps, *parts[1:], reverse=reverse)

    assert torch.autograd.gradcheck(run, leaves, fast_mode=True)


def test_only_modes_that_are_too_fast_use_the_stepped_scan() -> None:
    u, Lambda, G, _ = leaves_of(300, fastest=50.0)
    gaps = gaps_of("random", 300)
    stepped = mock.Mock(wraps=stepped_scan)
    with mock.patch.object(blocks, "stepped_scan", stepped), mock.patch.object(irregular, "stepped_scan", stepped):
        scan_modes(u, gaps, Lambda, G)
        assert int((stepped.call_args.args[3] != 0.0).any(-1).sum()) == D_MODEL
        stepped.reset_mock()
        scan_modes(u, gaps, 0.01 * Lambda, G)
        stepped.assert_not_called()
        scan_modes(u, 100.0 * gaps, Lambda, G)
        assert stepped.call_args.args[2] is Lambda


@kinds_of_times
@pytest.mark.parametrize("reverse", [False, True])
def test_blocks_hold_every_sample_once(kind: str, reverse: bool) -> None:
    gaps = gaps_of(kind, 500)
    cut = cut_blocks(gaps, reverse=reverse)
    assert cut is not None
    is_sample = cut.source < gaps.numel()
    assert sorted(cut.source[is_sample].tolist()) == list(range(gaps.numel()))
    several = is_sample.sum(-1) > 1
    assert float(cut.times[several].max()) <= cut.span
    targets = cut.target[cut.target < gaps.numel()]
    assert len(targets.unique()) == len(targets) == gaps.numel() - (BATCH if reverse else 0)
    single, double = (cut_blocks(part, reverse=reverse) for part in (gaps.float(), gaps.float().double()))
    assert single is not None
    assert double is not None
    assert torch.equal(single.times, double.times)  # summed in float64


@pytest.mark.parametrize("gaps", [torch.ones(2, BLOCK), torch.zeros(2, 100), 4.0 ** torch.arange(40.0)[None]])
def test_few_or_isolated_samples_make_no_blocks(gaps: Tensor) -> None:
    assert cut_blocks(gaps) is None
