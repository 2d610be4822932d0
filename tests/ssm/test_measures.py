"""The HiPPO equations compute the projections onto their bases."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.special import eval_chebyt, eval_laguerre, eval_legendre, roots_chebyt, roots_legendre

from s4signal.ssm.hippo import BASES, MEASURES

__all__: list[str] = []

Signal = Callable[[np.ndarray], np.ndarray]
WINDOWS = ["legt", "fout", "chebt"]
each_measure = pytest.mark.parametrize("measure", sorted(MEASURES))


def nodes(measure: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Ages and weights of a quadrature rule for the measure."""
    x, weights = (roots_chebyt if measure == "chebt" else roots_legendre)(count)
    age, weights = (1 - x) / 2, weights / weights.sum()
    # The weight of LagT beyond age 120 is below 1e-50.
    return (120 * age, 120 * weights * np.exp(-120 * age)) if measure == "lagt" else (age, weights)


def projection(measure: str, d_state: int, f: Signal, t: float) -> np.ndarray:
    """Coefficients of the past of f at time t, by quadrature."""
    age, weights = nodes(measure, 300)
    return BASES[measure](d_state, age) @ (weights * f(t - age * (t if measure == "legs" else 1.0)))


def integrated(measure: str, d_state: int, f: Signal, start: float, stop: float) -> np.ndarray:
    """Coefficients at ``stop``, from those at ``start``, by the differential equation."""
    A, B = MEASURES[measure](d_state)

    def slope(t: float, c: np.ndarray) -> np.ndarray:
        return (A @ c + B * f(np.array(t))) / (t if measure == "legs" else 1.0)

    first = projection(measure, d_state, f, start)
    return solve_ivp(slope, (start, stop), first, method="Radau", rtol=1e-10, atol=1e-12).y[:, -1]


def smooth(t: np.ndarray) -> np.ndarray:
    return np.sin(3.0 * t) + np.cos(5.0 * t + 1.0)


@each_measure
def test_a_basis_is_orthonormal_under_its_measure(measure: str) -> None:
    age, weights = nodes(measure, 200)
    rows = BASES[measure](10, age)
    expected = np.eye(10)
    if measure == "fout":
        expected[1, 1] = 0.0  # the sine of frequency zero
    np.testing.assert_allclose((rows * weights) @ rows.T, expected, atol=1e-11)


def test_bases_equal_scipy() -> None:
    age, n = np.linspace(0, 1, 23), np.arange(12)[:, None]
    np.testing.assert_allclose(BASES["legt"](12, age), np.sqrt(2 * n + 1) * eval_legendre(n, 1 - 2 * age), atol=1e-12)
    np.testing.assert_allclose(BASES["lagt"](12, 9 * age), eval_laguerre(n, 9 * age), atol=1e-11)
    chebyshev = np.where(n > 0, np.sqrt(2), 1) * eval_chebyt(n, 1 - 2 * age)
    np.testing.assert_allclose(BASES["chebt"](12, age), chebyshev, atol=1e-12)


@pytest.mark.parametrize("measure", ["legs", "lagt"])
def test_equations_without_a_window_are_exact_for_any_signal(measure: str) -> None:
    for d_state in (1, 2, 9):
        got = integrated(measure, d_state, smooth, 0.7, 2.5)
        np.testing.assert_allclose(got, projection(measure, d_state, smooth, 2.5), atol=1e-7)


@pytest.mark.parametrize("measure", WINDOWS)
def test_equations_with_a_window_are_exact_for_representable_signals(measure: str) -> None:
    def signal(t: np.ndarray) -> np.ndarray:
        if measure == "fout":
            return 0.3 + np.sin(2 * np.pi * t) - np.cos(4 * np.pi * t + 0.4)
        return 1.0 - t + 0.5 * t**3 - 0.1 * t**5

    got = integrated(measure, 6, signal, 0.2, 1.9)
    np.testing.assert_allclose(got, projection(measure, 6, signal, 1.9), atol=1e-7)


def test_the_chebyshev_equation_is_exact_one_degree_beyond_its_state() -> None:
    def signal(t: np.ndarray) -> np.ndarray:
        return t**4

    np.testing.assert_allclose(integrated("chebt", 4, signal, 0.2, 1.9), projection("chebt", 4, signal, 1.9), atol=1e-7)


@pytest.mark.parametrize("measure", WINDOWS)
def test_the_error_of_a_window_shrinks_as_the_state_grows(measure: str) -> None:
    errors = []
    for d_state in (4, 8, 32):
        expected = projection(measure, d_state, smooth, 3.0)
        got = integrated(measure, d_state, smooth, 1.0, 3.0)
        errors.append(np.linalg.norm(got - expected) / np.linalg.norm(expected))
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < (0.1 if measure == "fout" else 1e-6)  # a Fourier series of a jump converges slowly


@each_measure
@pytest.mark.parametrize("d_state", [2, 16, 64])
def test_states_decay_without_input(measure: str, d_state: int) -> None:
    A, B = MEASURES[measure](d_state)
    assert A.shape == (d_state, d_state)
    assert B.shape == (d_state,)
    if measure == "fout":
        A = np.delete(np.delete(A, 1, 0), 1, 1)  # the sine of frequency zero, which has no input
        assert MEASURES[measure](d_state)[1][1] == 0.0
    spectrum = np.diag(A) if measure in ("legs", "lagt") else np.linalg.eigvals(A)
    assert spectrum.real.max() < 0


def test_an_odd_fourier_state_is_refused() -> None:
    with pytest.raises(ValueError, match="d_state=5 must be even"):
        MEASURES["fout"](5)
