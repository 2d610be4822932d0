"""From continuous to discrete time: exact where promised, stable, and precise for tiny steps."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_systems import STABLE, relative_error
from scipy.signal import cont2discrete

from s4signal.ssm import DIAGONAL_INITS, DISCRETIZATIONS, Pair
from s4signal.ssm.discretization import generalized_bilinear

__all__: list[str] = []

each_discretization = pytest.mark.parametrize("discretization", sorted(DISCRETIZATIONS))


def poles(init: str, d_state: int, dtype: torch.dtype) -> Pair:
    z = torch.from_numpy(DIAGONAL_INITS[init](d_state)).expand(2, -1)
    return Pair(z.real.to(dtype), z.imag.to(dtype))


def as_complex(z: Pair) -> torch.Tensor:
    return torch.complex(z.re.double(), z.im.double())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("init", sorted(DIAGONAL_INITS))
def test_zero_order_hold_is_precise_at_tiny_steps(init: str, dtype: torch.dtype) -> None:
    Lambda = poles(init, 16, dtype)
    dt = torch.tensor([[1e-6], [1e-5]], dtype=dtype)
    _, gain = DISCRETIZATIONS["zoh"](Lambda, dt)
    # The oracle: a Taylor series of (exp(z) - 1) / Lambda = dt (1 + z/2 + z^2/6 ...), in float64 without subtraction.
    step = dt.double()
    z = as_complex(Lambda) * step
    expected = step * (1 + z / 2 * (1 + z / 3 * (1 + z / 4 * (1 + z / 5))))
    error = ((as_complex(gain) - expected).abs() / expected.abs()).max()
    assert error < 8 * torch.finfo(dtype).eps


@each_discretization
@pytest.mark.parametrize("init", sorted(DIAGONAL_INITS))
def test_discrete_poles_approach_the_matrix_exponential(init: str, discretization: str) -> None:
    Lambda = poles(init, 8, torch.float64)
    for step in (1e-2, 1e-3, 1e-4):
        Lambda_bar, gain = DISCRETIZATIONS[discretization](Lambda, torch.full((2, 1), step, dtype=torch.float64))
        z = as_complex(Lambda) * step
        second_order = discretization in ("zoh", "bilinear", "dirac")
        bound = 0.1 * z.abs() ** 3 if second_order else z.abs() ** 2
        assert ((as_complex(Lambda_bar) - torch.exp(z)).abs() <= bound + 1e-15).all()
        assert ((as_complex(gain) / step - 1).abs() <= z.abs()).all()


def test_zero_order_hold_equals_the_matrix_exponential_at_any_step() -> None:
    Lambda = poles("inv", 8, torch.float64)
    dt = torch.tensor([[0.3], [2.0]], dtype=torch.float64)
    Lambda_bar, gain = DISCRETIZATIONS["zoh"](Lambda, dt)
    for h in range(2):
        for n in range(4):
            a, b = float(Lambda.re[h, n]), float(Lambda.im[h, n])
            # [[A, B], [0, 0]]: the exponential of this matrix holds both A_bar and B_bar.
            augmented = torch.tensor([[a, -b, 1.0], [b, a, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64) * dt[h]
            expected = torch.linalg.matrix_exp(augmented)
            got = torch.stack([Lambda_bar.re[h, n], Lambda_bar.im[h, n], gain.re[h, n], gain.im[h, n]])
            expected_parts = torch.stack([expected[0, 0], expected[1, 0], expected[0, 2], expected[1, 2]])
            assert relative_error(got, expected_parts) < 1e-12


@pytest.mark.parametrize("discretization", STABLE)
@settings(max_examples=50, deadline=None, derandomize=True)
@given(decay=st.floats(1e-6, 1e4), frequency=st.floats(-1e4, 1e4), step=st.floats(1e-6, 10.0))
def test_stable_poles_stay_stable(discretization: str, decay: float, frequency: float, step: float) -> None:
    Lambda = Pair(torch.tensor([[-decay]]).double(), torch.tensor([[frequency]]).double())
    Lambda_bar, gain = DISCRETIZATIONS[discretization](Lambda, torch.tensor([[step]]).double())
    assert as_complex(Lambda_bar).abs() <= 1.0
    assert as_complex(gain).isfinite().all()


@given(decay=st.floats(1e-3, 1e2), frequency=st.floats(-1e2, 1e2), step=st.floats(1e-3, 10.0))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_forward_euler_is_stable_only_below_its_limit(decay: float, frequency: float, step: float) -> None:
    limit = 2 * decay / (decay**2 + frequency**2)
    Lambda = Pair(torch.tensor([[-decay]]).double(), torch.tensor([[frequency]]).double())
    for factor, stable in ((0.999 * min(1.0, step), True), (1.001 + step, False)):
        Lambda_bar, _ = DISCRETIZATIONS["forward"](Lambda, torch.tensor([[limit * factor]]).double())
        assert (as_complex(Lambda_bar).abs() < 1.0) == stable


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("init", sorted(DIAGONAL_INITS))
def test_generalized_bilinear_rule_equals_scipy(init: str, alpha: float) -> None:
    Lambda = poles(init, 8, torch.float64)
    Lambda_bar, gain = generalized_bilinear(Lambda, torch.full((2, 1), 0.3, dtype=torch.float64), alpha)
    A = np.diag(as_complex(Lambda)[0].numpy())
    A_bar, B_bar, *_ = cont2discrete((A, np.ones((4, 1)), np.ones((1, 4)), [[0.0]]), 0.3, "gbt", alpha)
    np.testing.assert_allclose(as_complex(Lambda_bar)[0].numpy(), np.diag(A_bar), rtol=1e-12)
    np.testing.assert_allclose(as_complex(gain)[0].numpy(), B_bar[:, 0], rtol=1e-12)


def test_named_rules_are_special_cases_of_the_generalized_rule() -> None:
    Lambda, dt = poles("legs", 8, torch.float64), torch.tensor([[0.1], [1.0]], dtype=torch.float64)
    for name, alpha in (("forward", 0.0), ("bilinear", 0.5), ("backward", 1.0)):
        for got, expected in zip(
            DISCRETIZATIONS[name](Lambda, dt), generalized_bilinear(Lambda, dt, alpha), strict=True
        ):
            assert torch.equal(as_complex(got), as_complex(expected))


@each_discretization
def test_gradients_of_rules_are_correct(discretization: str) -> None:
    integrator = torch.tensor([1.0, 0.0], dtype=torch.float64)  # one of the poles is zero
    leaves = (*(part * integrator for part in poles("legs", 4, torch.float64)), torch.tensor([[0.1], [1.0]]).double())

    def run(re: torch.Tensor, im: torch.Tensor, dt: torch.Tensor) -> tuple[torch.Tensor, ...]:
        Lambda_bar, gain = DISCRETIZATIONS[discretization](Pair(re, im), dt)
        return (*Lambda_bar, *gain)

    assert torch.autograd.gradcheck(run, [leaf.clone().requires_grad_() for leaf in leaves])


@pytest.mark.parametrize("d_state", [2, 4, 64])
@pytest.mark.parametrize("init", sorted(DIAGONAL_INITS))
def test_initial_poles_are_stable_and_number_half_of_d_state(init: str, d_state: int) -> None:
    z = DIAGONAL_INITS[init](d_state)
    assert z.shape == (d_state // 2,)
    assert (z.real < 0).all()
    assert (z.imag >= 0).all()


def test_legs_poles_are_eigenvalues_of_hippo_plus_its_low_rank_part() -> None:
    n = np.arange(16)
    A = -np.sqrt(np.outer(2 * n + 1, 2 * n + 1)) * (n[:, None] > n) - np.diag(n + 1)
    P = np.sqrt(n + 0.5)
    expected = np.linalg.eigvals(A + np.outer(P, P))
    expected = expected[expected.imag > 0]
    np.testing.assert_allclose(DIAGONAL_INITS["legs"](16), expected[np.argsort(expected.imag)], rtol=1e-9)
