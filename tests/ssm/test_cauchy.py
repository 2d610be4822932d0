"""The Cauchy kernel equals the powers of the dense matrix, at any length, for every measure with a low-rank form."""

import numpy as np
import pytest
import torch
from cauchy_kernel import cauchy_kernel
from hypothesis import given, settings
from hypothesis import strategies as st
from random_systems import relative_error

from s4signal.ssm import DENSE_DISCRETIZATIONS, MEASURES, Pair, low_rank_form
from s4signal.ssm.hippo import LOW_RANK_PARTS, low_rank_basis

__all__: list[str] = []

D_MODEL = 3


def pair(z: np.ndarray | torch.Tensor) -> Pair:
    z = torch.as_tensor(z).expand(D_MODEL, *z.shape)
    return Pair(z.real.clone(), z.imag.clone())


def steps() -> torch.Tensor:
    return torch.tensor([[1e-3], [0.03], [0.5]], dtype=torch.float64)


def powers(measure: str, d_state: int, C: np.ndarray, n_times: int) -> torch.Tensor:
    """C A_bar^l B_bar of the dense system, one product per lag."""
    A, B = (torch.from_numpy(x) for x in MEASURES[measure](d_state))
    A_bar, x = DENSE_DISCRETIZATIONS["bilinear"](A, B, steps())
    response = []
    for _ in range(n_times):
        response.append(x @ torch.from_numpy(C))
        x = (A_bar @ x.unsqueeze(-1)).squeeze(-1)
    return torch.stack(response, -1)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    measure=st.sampled_from(sorted(LOW_RANK_PARTS)),
    d_state=st.sampled_from([2, 8, 32, 64]),
    n_times=st.sampled_from([1, 2, 3, 64, 255, 1000]),
    seed=st.integers(0, 99),
)
def test_kernel_equals_the_powers_of_the_dense_matrix(measure: str, d_state: int, n_times: int, seed: int) -> None:
    C = np.random.default_rng(seed).standard_normal(d_state)
    Lambda, P, B = low_rank_form(measure, d_state)
    C_modes = C @ low_rank_basis(measure, d_state)
    got = cauchy_kernel(pair(Lambda), pair(P), pair(B), pair(C_modes), steps(), n_times)
    expected = powers(measure, d_state, C, n_times)
    assert got.shape == (D_MODEL, n_times)
    for h in range(D_MODEL):
        assert relative_error(got[h], expected[h]) < 1e-9


def test_a_system_without_low_rank_part_equals_the_diagonal_one() -> None:
    Lambda, P, B = low_rank_form("legs", 16)
    z = torch.as_tensor(Lambda) * steps()
    pole = (1 + z / 2) / (1 - z / 2)
    gain = torch.as_tensor(B) * steps() / (1 - z / 2)
    expected = torch.stack([2 * (gain * pole**k).real.sum(-1) for k in range(300)], -1)
    got = cauchy_kernel(pair(Lambda), pair(0 * P), pair(B), pair(np.ones(8, complex)), steps(), 300)
    assert relative_error(got, expected) < 1e-11


def test_gradients_of_the_cauchy_kernel_are_correct() -> None:
    Lambda, P, B = low_rank_form("legt", 4)
    parts = [part for z in (Lambda, P, B, B) for part in pair(z)]
    leaves = [leaf.requires_grad_() for leaf in (*parts, steps())]

    def run(*leaves: torch.Tensor) -> torch.Tensor:
        return cauchy_kernel(*(Pair(*leaves[i : i + 2]) for i in range(0, 8, 2)), leaves[8], 9)

    assert torch.autograd.gradcheck(run, leaves)


@pytest.mark.parametrize("measure", sorted(LOW_RANK_PARTS))
def test_a_longer_kernel_begins_with_the_shorter_one(measure: str) -> None:
    system = [pair(z) for z in low_rank_form(measure, 16)]
    short, long = (cauchy_kernel(*system, system[2], steps(), n) for n in (50, 333))
    assert relative_error(long[:, :50], short) < 1e-10
