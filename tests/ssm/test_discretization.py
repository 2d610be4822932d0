"""From continuous time to discrete time: exact where it is said to be, stable, and precise for tiny steps."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_systems import relative_error

from s4signal.ssm import DIAGONAL_INITS, DISCRETIZATIONS, Pair

__all__: list[str] = []

each_discretization = pytest.mark.parametrize("discretization", sorted(DISCRETIZATIONS))


def poles(init: str, d_state: int, dtype: torch.dtype) -> Pair:
    z = torch.from_numpy(DIAGONAL_INITS[init](d_state)).expand(2, -1)
    return Pair(z.real.to(dtype), z.imag.to(dtype))


def as_complex(z: Pair) -> torch.Tensor:
    return torch.complex(z.re.double(), z.im.double())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("init", sorted(DIAGONAL_INITS))
def test_zero_order_hold_keeps_its_digits_at_tiny_steps(init: str, dtype: torch.dtype) -> None:
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
        assert ((as_complex(Lambda_bar) - torch.exp(z)).abs() <= 0.1 * z.abs() ** 3 + 1e-15).all()
        assert ((as_complex(gain) / step - 1).abs() <= z.abs()).all()


def test_zero_order_hold_is_the_matrix_exponential_at_any_step() -> None:
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
            wanted = torch.stack([expected[0, 0], expected[1, 0], expected[0, 2], expected[1, 2]])
            assert relative_error(got, wanted) < 1e-12


@each_discretization
@settings(max_examples=50, deadline=None, derandomize=True)
@given(decay=st.floats(1e-6, 1e4), frequency=st.floats(-1e4, 1e4), step=st.floats(1e-6, 10.0))
def test_stable_poles_stay_stable(discretization: str, decay: float, frequency: float, step: float) -> None:
    Lambda = Pair(torch.tensor([[-decay]]).double(), torch.tensor([[frequency]]).double())
    Lambda_bar, gain = DISCRETIZATIONS[discretization](Lambda, torch.tensor([[step]]).double())
    assert as_complex(Lambda_bar).abs() <= 1.0
    assert as_complex(gain).isfinite().all()


@pytest.mark.parametrize("d_state", [2, 4, 64])
@pytest.mark.parametrize("init", sorted(DIAGONAL_INITS))
def test_initial_poles_are_stable_and_half_as_many_as_the_state(init: str, d_state: int) -> None:
    z = DIAGONAL_INITS[init](d_state)
    assert z.shape == (d_state // 2,)
    assert (z.real < 0).all()
    assert (z.imag >= 0).all()


def test_legs_poles_are_those_of_hippo_plus_its_low_rank_part() -> None:
    n = np.arange(16)
    A = -np.sqrt(np.outer(2 * n + 1, 2 * n + 1)) * (n[:, None] > n) - np.diag(n + 1)
    P = np.sqrt(n + 0.5)
    expected = np.linalg.eigvals(A + np.outer(P, P))
    expected = expected[expected.imag > 0]
    np.testing.assert_allclose(DIAGONAL_INITS["legs"](16), expected[np.argsort(expected.imag)], rtol=1e-9)
