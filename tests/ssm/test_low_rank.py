"""Diagonal plus low rank: the same system as the dense one, in half as many complex numbers."""

import numpy as np
import pytest

from s4signal.ssm import MEASURES, low_rank_form
from s4signal.ssm.hippo import LOW_RANK_PARTS, low_rank_basis

__all__: list[str] = []

each_form = pytest.mark.parametrize("measure", sorted(LOW_RANK_PARTS))
each_size = pytest.mark.parametrize("d_state", [2, 4, 16, 64])


@each_form
@each_size
def test_modes_and_conjugates_reconstruct_the_dense_matrices(measure: str, d_state: int) -> None:
    A, B = MEASURES[measure](d_state)
    Lambda, P, B_modes = low_rank_form(measure, d_state)
    V = low_rank_basis(measure, d_state)
    both = np.concatenate([V, V.conj()], 1)
    np.testing.assert_allclose(both.conj().T @ both, np.eye(d_state), atol=1e-11)
    P_both = np.concatenate([P, P.conj()])
    rebuilt = both @ (np.diag(np.concatenate([Lambda, Lambda.conj()])) - P_both @ P_both.conj().T) @ both.conj().T
    np.testing.assert_allclose(rebuilt, A, atol=1e-12 * np.abs(A).max())
    np.testing.assert_allclose(2 * (V @ B_modes).real, B, atol=1e-11)


@each_form
@each_size
def test_transfer_function_equals_that_of_the_dense_system(measure: str, d_state: int) -> None:
    A, B = MEASURES[measure](d_state)
    Lambda, P, B_modes = low_rank_form(measure, d_state)
    C = np.random.default_rng(0).standard_normal(d_state)
    C_modes = C @ low_rank_basis(measure, d_state)
    Lambda, C_modes, B_modes, P = (np.concatenate([x, x.conj()]) for x in (Lambda, C_modes, B_modes, P))
    for s in (0.01, 0.3 + 1j, 2.0 + 30j, 0.1 - 200j, 500j):
        R = 1 / (s - Lambda)  # Woodbury: (s - Lambda + P P*)^-1
        core = np.linalg.inv(np.eye(P.shape[1]) + (P.conj().T * R) @ P)
        got = C_modes @ (R * B_modes) - (C_modes * R) @ P @ core @ (P.conj().T * R) @ B_modes
        expected = C @ np.linalg.solve(s * np.eye(d_state) - A, B)
        assert abs(got - expected) < 1e-9 * np.abs(C) @ np.abs(np.linalg.solve(s * np.eye(d_state) - A, B))


@each_form
def test_modes_are_ordered_and_inputs_positive(measure: str) -> None:
    Lambda, P, B = low_rank_form(measure, 32)
    assert (Lambda.imag[1:] > Lambda.imag[:-1]).all()
    assert (Lambda.imag > 0).all() or (measure == "fout" and Lambda[0] == 0)
    assert set(Lambda.real) == {-0.5 if measure in ("legs", "lagt") else 0.0}
    assert P.shape == (16, 2 if measure == "legt" else 1)
    np.testing.assert_allclose(B.imag, 0, atol=1e-11)
    assert (B.real > 0).all()


def test_error_without_a_low_rank_form_lists_the_measures_with_one() -> None:
    with pytest.raises(ValueError, match=r"measure='chebt' has no .* choose one of 'legs', 'legt', 'lagt', 'fout'"):
        low_rank_form("chebt", 8)


def test_an_odd_state_is_refused() -> None:
    with pytest.raises(ValueError, match="d_state=7 must be even"):
        low_rank_form("legs", 7)
