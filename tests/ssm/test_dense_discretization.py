"""Dense systems in discrete time: scipy's rules, the matrix exponential in the limit, and gradients."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_systems import SCIPY_RULES, STABLE
from scipy.linalg import expm
from scipy.signal import cont2discrete

from s4signal.ssm import DENSE_DISCRETIZATIONS, DISCRETIZATIONS, MEASURES, Pair
from s4signal.ssm.discretization import dense_generalized_bilinear

__all__: list[str] = []

each_rule = pytest.mark.parametrize("rule", sorted(DENSE_DISCRETIZATIONS))
each_measure = pytest.mark.parametrize("measure", sorted(MEASURES))


def hippo(measure: str, d_state: int, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    A, B = MEASURES[measure](d_state)
    return torch.from_numpy(A).to(dtype), torch.from_numpy(B).to(dtype)


def from_scipy(A: np.ndarray, B: np.ndarray, dt: float, rule: str, alpha: float | None = None) -> list[np.ndarray]:
    A_bar, B_bar, *_ = cont2discrete((A, B[:, None], B[None], [[0.0]]), dt, rule, alpha)
    return [A_bar, B_bar[:, 0]]


@each_rule
@each_measure
@settings(max_examples=10, deadline=None, derandomize=True)
@given(d_state=st.sampled_from([2, 4, 8]), log_dt=st.floats(-4.0, -0.5))
def test_dense_rules_equal_scipy(rule: str, measure: str, d_state: int, log_dt: float) -> None:
    A, B = hippo(measure, d_state)
    dt = 10.0**log_dt
    A_bar, B_bar = DENSE_DISCRETIZATIONS[rule](A, B, torch.tensor([dt], dtype=torch.float64))
    # scipy's impulse has decayed by one step when it enters the state.
    got = A_bar, A_bar @ B_bar if rule == "dirac" else B_bar
    for g, expected in zip(got, from_scipy(A.numpy(), B.numpy(), dt, SCIPY_RULES[rule]), strict=True):
        np.testing.assert_allclose(g.numpy(), expected, rtol=1e-11, atol=1e-13 * np.abs(expected).max())


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 0.8, 1.0])
def test_dense_generalized_rule_equals_scipy(alpha: float) -> None:
    A, B = hippo("legs", 6)
    got = dense_generalized_bilinear(A, B, torch.tensor([0.2], dtype=torch.float64), alpha)
    for g, expected in zip(got, from_scipy(A.numpy(), B.numpy(), 0.2, "gbt", alpha), strict=True):
        np.testing.assert_allclose(g.numpy(), expected, rtol=1e-11, atol=1e-13)


@each_rule
@each_measure
def test_dense_rules_approach_the_matrix_exponential(rule: str, measure: str) -> None:
    A, B = hippo(measure, 8)
    scale = float(torch.linalg.matrix_norm(A, 2))
    for z in (1e-2, 1e-3, 1e-4):
        A_bar, B_bar = DENSE_DISCRETIZATIONS[rule](A, B, torch.tensor([z / scale], dtype=torch.float64))
        error = np.linalg.norm(A_bar.numpy() - expm(A.numpy() * z / scale), 2)
        assert error <= (z**2 if rule in ("forward", "backward") else 0.1 * z**3) + 1e-14
        assert torch.linalg.norm(B_bar * scale / z - B) <= z * torch.linalg.norm(B)


@each_rule
def test_dense_rules_equal_the_diagonal_ones(rule: str) -> None:
    re, im, dt = torch.tensor([[-0.5]]).double(), torch.tensor([[3.0]]).double(), torch.tensor([[0.2]]).double()
    A = torch.tensor([[-0.5, -3.0], [3.0, -0.5]], dtype=torch.float64)
    A_bar, B_bar = DENSE_DISCRETIZATIONS[rule](A, torch.tensor([1.0, 0.0], dtype=torch.float64), dt[0])
    Lambda_bar, gain = DISCRETIZATIONS[rule](Pair(re, im), dt)
    np.testing.assert_allclose(A_bar[:, 0].numpy(), [Lambda_bar.re.item(), Lambda_bar.im.item()], rtol=1e-12)
    np.testing.assert_allclose(B_bar.numpy(), [gain.re.item(), gain.im.item()], rtol=1e-12, atol=1e-17)


@each_measure
def test_dense_hold_is_precise_at_tiny_steps_in_float32(measure: str) -> None:
    A, B = hippo(measure, 16, torch.float32)
    _, got = DENSE_DISCRETIZATIONS["zoh"](A, B, torch.tensor([1e-6]))
    _, expected = DENSE_DISCRETIZATIONS["zoh"](A.double(), B.double(), torch.tensor([1e-6]).double())
    assert (got.double() - expected).abs().max() < 4 * torch.finfo(torch.float32).eps * expected.abs().max()


@pytest.mark.parametrize("rule", STABLE)
@each_measure
@settings(max_examples=10, deadline=None, derandomize=True)
@given(log_dt=st.floats(-4.0, 1.0))
def test_stable_dense_systems_stay_stable(rule: str, measure: str, log_dt: float) -> None:
    A, B = hippo(measure, 6)
    A_bar, _ = DENSE_DISCRETIZATIONS[rule](A, B, torch.tensor([10.0**log_dt], dtype=torch.float64))
    assert torch.linalg.eigvals(A_bar).abs().max() <= 1.0 + 1e-9


def test_dense_forward_euler_of_legs_is_unstable_beyond_its_limit() -> None:
    A, B = hippo("legs", 10)
    for dt, stable in ((0.199, True), (0.201, False)):
        A_bar, _ = DENSE_DISCRETIZATIONS["forward"](A, B, torch.tensor([dt], dtype=torch.float64))
        assert (A_bar.diagonal().abs().max() < 1.0) == stable  # triangular: the diagonal is the spectrum


@each_rule
def test_dense_rules_broadcast_over_channels_and_pass_gradcheck(rule: str) -> None:
    A, B = hippo("legs", 3)
    dt = torch.tensor([[0.01], [0.1], [0.5]], dtype=torch.float64)
    A_bar, B_bar = DENSE_DISCRETIZATIONS[rule](A, B, dt)
    assert A_bar.shape == (3, 3, 3)
    assert B_bar.shape == (3, 3)
    one_A, one_B = DENSE_DISCRETIZATIONS[rule](A, B, dt[1])
    torch.testing.assert_close(A_bar[1], one_A)
    torch.testing.assert_close(B_bar[1], one_B)
    leaves = [leaf.clone().requires_grad_() for leaf in (A, B, dt)]
    assert torch.autograd.gradcheck(DENSE_DISCRETIZATIONS[rule], leaves)
