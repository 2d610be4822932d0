"""Missing points of a grid: for any length, padding and pattern, the scan equals steps sample by sample."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_systems import relative_error
from torch import Tensor

from s4signal.ssm import Modes, Pair, irregular_scan, shared_scan

__all__: list[str] = []

D_MODEL, N = 2, 3
some_examples = settings(max_examples=30, deadline=None, derandomize=True)


def padded_gaps(length: int, pattern: str, padding: str, seed: int) -> tuple[Tensor, list[int]]:
    """Gaps (2, n_times) of two cases on a grid, and their numbers of samples; the first sample may be missing too."""
    rng = np.random.default_rng(seed)
    gaps = []
    ending = rng.integers(3)  # both end at the last point, one ends earlier, or the pattern decides
    for points in (length, length - length // 5 if ending == 1 else length):
        missing = np.zeros(points, dtype=bool)
        if pattern == "one by one":
            missing[rng.choice(points, min(points - 1, rng.integers(1, 32)), replace=False)] = True
        elif pattern == "one stretch":
            start = rng.integers(0, points)
            missing[start : start + rng.integers(1, 31)] = True
        elif pattern == "half":
            missing = rng.random(points) < 0.5
        missing[rng.integers(points) if ending == 2 else -1] = False
        gaps.append(np.diff(np.flatnonzero(~missing), prepend=-1.0))
    counts = [len(g) for g in gaps]
    # Padded to the number of grid points, to one more, or not at all.
    n_times = {"to the grid": length, "beyond the grid": length + 1, "none": max(counts)}[padding]
    return torch.from_numpy(np.stack([np.pad(g, (0, n_times - len(g))) for g in gaps])), counts


def drawn(*shapes: tuple[int, ...], seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_() for shape in shapes]


def poles(re: Tensor, im: Tensor) -> Pair:
    return Pair(-0.3 * torch.exp(re), im)


def stepped_states(Lambda: Tensor, v: Tensor, gaps: Tensor, state: Tensor | None, reverse: bool) -> Tensor:
    """States (..., batch, n_times) of one pole per (..., batch), with a zero-order hold, one sample after the other."""
    x = torch.zeros_like(v[..., 0]) if state is None else state
    states: list[Tensor] = []
    for k in reversed(range(v.shape[-1])) if reverse else range(v.shape[-1]):
        if reverse:
            states.append(x)  # from the samples after k
        factor = torch.exp(Lambda * gaps[:, k])
        x = factor * x + (factor - 1.0) / Lambda * v[..., k]
        if not reverse:
            states.append(x)
    return torch.stack(states[::-1] if reverse else states, -1)


def compare(got: Tensor, expected: Tensor, counts: list[int], leaves: list[Tensor]) -> None:
    """Compare outputs (..., 2, n_times) at the samples that exist, and the gradients of a weighted sum of them."""
    exists = torch.arange(got.shape[-1]) < torch.tensor(counts)[:, None]
    weights = torch.linspace(-1.0, 2.0, got.numel(), dtype=torch.float64).view_as(got) * exists
    assert relative_error(got.detach() * exists, expected.detach() * exists) < 1e-9
    gradients = [torch.autograd.grad((weights * y).sum(), leaves, retain_graph=True) for y in (got, expected)]
    for g, e in zip(*gradients, strict=True):
        assert float((g - e).abs().max()) <= 1e-8 * (1.0 + float(e.abs().max()))


patterns = st.sampled_from(["whole", "one by one", "one stretch", "half"])
paddings = st.sampled_from(["none", "to the grid", "beyond the grid"])
lengths = st.sampled_from([5, 32, 100, 128, 160, 192])


@some_examples
@given(lengths, patterns, paddings, st.booleans(), st.integers(0, 99))
def test_a_system_per_channel_equals_steps(
    length: int, pattern: str, padding: str, bidirectional: bool, seed: int
) -> None:
    gaps, counts = padded_gaps(length, pattern, padding, seed)
    n_times = gaps.shape[1]
    leaves = drawn(*[(D_MODEL, N)] * (8 if bidirectional else 6), (D_MODEL,), (D_MODEL, 2, n_times), seed=seed)
    *parts, D, u = leaves
    u = u * (torch.arange(n_times) < torch.tensor(counts)[:, None])
    Lambda, B, C, *C_reverse = (Pair(*parts[k : k + 2]) for k in range(0, len(parts), 2))
    modes = Modes(poles(*Lambda), B, C, D, *C_reverse)
    y, _ = irregular_scan(modes, u, gaps)
    expected = D[:, None, None] * u
    for reverse, output in enumerate([modes.C, modes.C_reverse]):
        if output is not None:
            pole, b, c = (torch.complex(*z).unsqueeze(-1) for z in (modes.Lambda_dt, modes.B, output))
            X = stepped_states(pole, b.unsqueeze(-1) * u.unsqueeze(1), gaps, None, bool(reverse))
            expected = expected + 2.0 * (c.unsqueeze(-1) * X).real.sum(1)
    compare(y, expected, counts, leaves)


@some_examples
@given(lengths, patterns, paddings, st.booleans(), st.booleans(), st.integers(0, 99))
def test_a_shared_system_equals_steps(
    length: int, pattern: str, padding: str, reverse: bool, carried: bool, seed: int
) -> None:
    gaps, counts = padded_gaps(length, pattern, padding, seed)
    n_times = gaps.shape[1]
    leaves = drawn((N,), (N,), *[(N, 2, n_times)] * 2, *[(N, 2)] * (2 if carried else 0), seed=seed)
    Lambda, exists = poles(*leaves[:2]), torch.arange(n_times) < torch.tensor(counts)[:, None]
    v = Pair(leaves[2] * exists, leaves[3] * exists)
    state = Pair(*leaves[4:]) if carried else None
    X = shared_scan(Lambda, v, gaps, state, reverse=reverse)
    first = None if state is None else torch.complex(*state)
    expected = stepped_states(torch.complex(*Lambda).unsqueeze(-1), torch.complex(*v), gaps, first, reverse)
    compare(torch.stack(X), torch.stack([expected.real, expected.imag]), counts, leaves)
