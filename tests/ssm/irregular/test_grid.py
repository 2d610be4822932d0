"""Times on a grid with missing points: the block engine equals the scan, gradients included."""

from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from random_systems import BATCH, D_MODEL, TOLERANCE, dtypes, few_examples, relative_error
from torch import Tensor

from s4signal.ssm import Modes, Pair, irregular, irregular_scan, shared_scan
from s4signal.ssm.irregular.grid import find_grid

__all__: list[str] = []

units = st.sampled_from([1.0, 0.5, 1 / 3, 1.024])
endings = st.sampled_from(["even", "uneven", "padded"])


def gaps_on_a_grid(n_times: int, unit: float, ending: str, seed: int = 0) -> Tensor:
    """Gaps of two or three units each, so that no gap is the unit itself."""
    counts = np.random.default_rng(seed).integers(2, 4, (BATCH, n_times))
    if ending == "even":
        counts[:, -1] += counts.sum(1).max() - counts.sum(1)
    if ending == "padded":
        counts[1, n_times // 2 + 1 :] = 0
    return torch.from_numpy(counts * unit)


def leaves_of(n_times: int, seed: int) -> list[Tensor]:
    """Poles, B, C, C_reverse, D, input and state."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [*[(D_MODEL, 4)] * 8, (D_MODEL,), (D_MODEL, BATCH, n_times), (D_MODEL, BATCH, 8)]
    leaves = [torch.randn(shape, dtype=torch.float64, generator=generator) for shape in shapes]
    leaves[0] = -0.1 * leaves[0].abs() - 1e-3
    return [leaf.requires_grad_() for leaf in leaves]


def run(leaves: list[Tensor], gaps: Tensor, bidirectional: bool, dtype: torch.dtype) -> list[Tensor]:
    """Return the output, the state unless it is None, and the gradients of a weighted sum of both."""
    Lambda, B, C, C_reverse = (Pair(*leaves[k : k + 2]) for k in (0, 2, 4, 6))
    modes = Modes(Lambda, B, C, leaves[8], C_reverse if bidirectional else None)
    u, state = (leaf.to(dtype) for leaf in leaves[9:])
    outputs = [part for part in irregular_scan(modes, u, gaps, state, return_state=True) if part is not None]
    weights = [torch.linspace(-1.0, 2.0, part.numel(), dtype=dtype).view_as(part) for part in outputs]
    gradients = torch.autograd.grad(outputs, leaves, weights, allow_unused=True)
    return [*(part.detach() for part in outputs), *(grad for grad in gradients if grad is not None)]


@few_examples
@given(
    n_times=st.sampled_from([1, 2, 9, 150]),
    unit=units,
    ending=endings,
    bidirectional=st.booleans(),
    dtype=dtypes,
)
def test_blocks_equal_the_scan_on_a_grid_with_missing_points(
    n_times: int, unit: float, ending: str, bidirectional: bool, dtype: torch.dtype
) -> None:
    leaves, gaps = leaves_of(n_times, seed=n_times), gaps_on_a_grid(n_times, unit, ending)
    with mock.patch.object(irregular, "find_grid", return_value=None):
        expected = run(leaves, gaps, bidirectional, torch.float64)
    got = run(leaves, gaps, bidirectional, dtype)
    # With a single sample, the anti-causal output and the gradient of its output vector are zero.
    pairs = [(g, e) for g, e in zip(got, expected, strict=True) if bool(e.any()) or bool(g.any())]
    assert all(relative_error(g, e) < TOLERANCE[dtype] for g, e in pairs)


@few_examples
@given(unit=units, ending=endings, bidirectional=st.booleans())
def test_cases_of_any_length_run_in_blocks_without_a_state(unit: float, ending: str, bidirectional: bool) -> None:
    leaves, gaps = leaves_of(60, seed=1), gaps_on_a_grid(60, unit, ending)
    pairs = [Pair(*leaves[k : k + 2]) for k in (0, 2, 4, 6)]
    modes = Modes(*pairs[:3], leaves[8], pairs[3] if bidirectional else None)
    expected = run(leaves, gaps, bidirectional, torch.float64)[0]
    with mock.patch.object(irregular, "scan_modes", side_effect=AssertionError("stepped")):
        y, _ = irregular_scan(modes, leaves[9], gaps, leaves[10])
    assert relative_error(y.detach(), expected) < 1e-9


@few_examples
@given(n_times=st.sampled_from([1, 2, 60]), unit=units, ending=endings, reverse=st.booleans(), carried=st.booleans())
def test_shared_modes_equal_the_scan_on_a_grid_with_missing_points(
    n_times: int, unit: float, ending: str, reverse: bool, carried: bool
) -> None:
    leaves, gaps = leaves_of(n_times, seed=n_times), gaps_on_a_grid(n_times, unit, ending)
    leaves = [leaves[0][:, 0], leaves[1][:, 0], leaves[9], leaves[9].cos(), leaves[10][..., 0], leaves[10][..., 1]]
    leaves = [leaf.detach().clone().requires_grad_() for leaf in (leaves if carried else leaves[:4])]
    state = Pair(*leaves[4:]) if carried else None
    results = []
    for find in (find_grid, lambda gaps: None):
        with mock.patch.object(irregular, "find_grid", find):
            states = shared_scan(Pair(*leaves[:2]), Pair(*leaves[2:4]), gaps, state, reverse=reverse)
        weights = torch.linspace(-1.0, 2.0, states.re.numel(), dtype=torch.float64).view_as(states.re)
        loss = (weights * states.re + weights.flip(-1) * states.im).sum()
        gradients = torch.autograd.grad(loss, leaves)
        results.append([states.re.detach(), states.im.detach(), *gradients])
    assert all(float((g - e).abs().max()) <= 1e-9 * (1.0 + float(e.abs().max())) for g, e in zip(*results, strict=True))


@pytest.mark.parametrize(
    ("gaps", "unit"),
    [
        ([[1.0, 1.0, 1.0]], 1.0),
        ([[3.0, 2.0, 5.0]], 1.0),
        ([[0.3, 0.9, 0.6]], 0.3),
        ([[7.0, 1.0, 1.0, 0.0]], 1.0),
        ([[1.0, 2.0], [4.0, 0.0]], 1.0),
        ([[1.0, 1.0, 1.0 + 1e-5]], None),  # jitter
        ([[1.0, 0.0, 1.0]], None),  # two samples at one time
        ([[0.0, 1.0, 1.0]], None),  # the first gap is zero
        ([[1.0, 1.0, 50.0]], None),  # a gap longer than the recording
        ([[0.0, 0.0]], None),
    ],
)
def test_find_grid_returns_the_period_of_a_grid_or_none(gaps: list[list[float]], unit: float | None) -> None:
    grid = find_grid(torch.tensor(gaps, dtype=torch.float64))
    assert (None if grid is None else grid.period) == (None if unit is None else pytest.approx(unit, rel=1e-6))


@few_examples
@given(
    holes=st.lists(st.integers(1, 158), min_size=1, max_size=31, unique=True),
    more=st.integers(-2, 2),
    bidirectional=st.booleans(),
)
def test_padding_changes_nothing_with_missing_points(holes: list[int], more: int, bidirectional: bool) -> None:
    observed = np.setdiff1d(np.arange(160), holes)
    gaps = torch.from_numpy(np.diff(observed, prepend=-1.0)).expand(BATCH, -1)
    leaves = leaves_of(len(observed), seed=0)
    with mock.patch.object(irregular, "find_grid", return_value=None):
        expected = run(leaves, gaps, bidirectional, torch.float64)
    # With as many padded as missing samples, the grid has as many points as there are samples.
    padding = max(0, len(holes) + more)
    leaves[9] = torch.nn.functional.pad(leaves[9], (0, padding)).detach().requires_grad_()
    got = run(leaves, torch.nn.functional.pad(gaps, (0, padding)), bidirectional, torch.float64)
    assert relative_error(got[0][..., : len(observed)], expected[0]) < 1e-9
