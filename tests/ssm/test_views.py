"""One system, many views: blocks, FFT, steps, scans, pieces and scipy give the same output and the same state."""

from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from random_systems import (
    BATCH,
    D_MODEL,
    SCIPY_RULES,
    STABLE,
    TOLERANCE,
    Drawn,
    drawn_systems,
    dtypes,
    few_examples,
    relative_error,
)
from scipy.signal import cont2discrete, dlsim

from s4signal.ssm import (
    DIAGONAL_INITS,
    block_scan,
    fft_convolve,
    irregular,
    irregular_scan,
    recurrent_scan,
    step,
)

__all__: list[str] = []

lengths = st.sampled_from([1, 2, 17, 128, 129, 144, 300, 301])


@few_examples
@given(drawn=drawn_systems, n_times=lengths, dtype=dtypes)
def test_blocks_equal_the_recurrence(drawn: Drawn, n_times: int, dtype: torch.dtype) -> None:
    system, u, state = drawn.system(), drawn.signal(n_times, dtype), drawn.state(dtype)
    y, final = block_scan(system, u, state)
    expected, expected_final = recurrent_scan(system, u.double(), state.double())
    assert final is not None
    assert y.dtype == final.dtype == dtype
    assert relative_error(y, expected) < TOLERANCE[dtype]
    assert relative_error(final, expected_final) < TOLERANCE[dtype]
    alone, none = block_scan(system, u, state, return_state=False)
    assert none is None
    assert torch.equal(alone, y)


@few_examples
@given(drawn=drawn_systems, n_times=lengths, dtype=dtypes)
def test_blocks_equal_the_fft(drawn: Drawn, n_times: int, dtype: torch.dtype) -> None:
    system, u = drawn.system(), drawn.signal(n_times, dtype)
    y, convolved = block_scan(system, u, return_state=False)[0], fft_convolve(system, u)
    assert y.dtype == convolved.dtype == dtype
    assert relative_error(y, fft_convolve(system, u.double())) < TOLERANCE[dtype]
    assert relative_error(convolved, y) < TOLERANCE[dtype]


@few_examples
@given(drawn=drawn_systems, n_times=lengths, dtype=dtypes, stepped=st.booleans())
def test_blocks_equal_the_irregular_scan(drawn: Drawn, n_times: int, dtype: torch.dtype, stepped: bool) -> None:
    drawn = replace(drawn, discretization="zoh")
    system, u, state = drawn.system(), drawn.signal(n_times, dtype), drawn.state(dtype)
    y, final = block_scan(system, u, state)
    gaps = torch.full((BATCH, n_times), drawn.rate, dtype=torch.float64)
    with mock.patch.object(irregular, "find_grid", (lambda gaps: None) if stepped else irregular.find_grid):
        got, got_final = irregular_scan(drawn.modes(), u, gaps, state, return_state=True)
    assert final is not None
    assert got_final is not None
    assert relative_error(got, y) < TOLERANCE[dtype]
    assert relative_error(got_final, final) < TOLERANCE[dtype]


@few_examples
@given(drawn=drawn_systems, cuts=st.lists(st.integers(1, 299), min_size=1, max_size=4, unique=True), dtype=dtypes)
def test_pieces_of_unequal_length_equal_the_whole(drawn: Drawn, cuts: list[int], dtype: torch.dtype) -> None:
    system, u = drawn.system()._replace(C_reverse=None), drawn.signal(300, dtype)
    expected, expected_state = block_scan(system, u)
    state, pieces = None, []
    for piece in torch.tensor_split(u, sorted(cuts), -1):
        y, state = block_scan(system, piece, state)
        pieces.append(y)
    assert state is not None
    assert expected_state is not None
    assert relative_error(torch.cat(pieces, -1), expected) < TOLERANCE[dtype]
    assert relative_error(state, expected_state) < TOLERANCE[dtype]


@few_examples
@given(drawn=drawn_systems)
def test_step_continues_a_block_scan(drawn: Drawn) -> None:
    system, u = drawn.system()._replace(C_reverse=None), drawn.signal(40, torch.float64)
    expected, _ = recurrent_scan(system, u)
    _, state = block_scan(system, u[..., :-1])
    assert state is not None
    y, _ = step(system, u[..., -1], state)
    assert relative_error(y, expected[..., -1]) < 1e-9


@pytest.mark.parametrize("rate", [1.0, 2.0])
@pytest.mark.parametrize("discretization", STABLE)
@pytest.mark.parametrize("init", sorted(DIAGONAL_INITS))
def test_blocks_equal_scipy(init: str, discretization: str, rate: float) -> None:
    drawn = Drawn(init, discretization, rate, bidirectional=False, d_state=6, seed=7)
    system, u = drawn.system(), drawn.signal(70, torch.float64)
    y, _ = block_scan(system, u)
    C = system.C.re.numpy() + 1j * system.C.im.numpy()
    for h in range(D_MODEL):
        # A conjugate pair as a real 2 x 2 block; scipy takes real matrices.
        A = np.kron(np.diag(drawn.poles.real), np.eye(2)) + np.kron(np.diag(drawn.poles.imag), [[0, -1], [1, 0]])
        B = np.tile([[1.0], [0.0]], (3, 1))
        C_real = 2 * np.stack([C[h].real, -C[h].imag], -1).reshape(1, -1)
        A_bar, B_bar, *_ = cont2discrete((A, B, C_real, [[0.0]]), float(drawn.dt[h, 0]), SCIPY_RULES[discretization])
        if discretization == "dirac":
            B_bar = np.linalg.solve(A_bar, B_bar)  # scipy's impulse has decayed by one step when it enters the state
        # Here an output depends on its own sample; in scipy only on earlier ones.
        discrete = (A_bar, B_bar, C_real @ A_bar, C_real @ B_bar + float(system.D[h]), 1.0)
        for b in range(BATCH):
            _, expected, _ = dlsim(discrete, u[h, b].numpy())
            assert relative_error(y[h, b], torch.from_numpy(expected[:, 0])) < 1e-9


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("carried", [False, True])
def test_gradients_of_blocks_are_correct(carried: bool, bidirectional: bool) -> None:
    drawn = Drawn("legs", "zoh", 1.0, bidirectional, d_state=4, seed=3)
    system = drawn.system()
    pairs = [system.Lambda_bar, system.B_bar, system.C, *([system.C_reverse] if system.C_reverse else [])]
    # A short signal from rest is one block; a long one has many, the last one partial.
    signal = drawn.signal(137 if carried else 20, torch.float64)
    leaves = [signal, drawn.state(torch.float64), system.D, *(part for z in pairs for part in z)]
    leaves = [leaf.clone().requires_grad_() for leaf in leaves]

    def run(u: torch.Tensor, state: torch.Tensor, D: torch.Tensor, *parts: torch.Tensor) -> object:
        z = [type(system.C)(re, im) for re, im in zip(parts[::2], parts[1::2], strict=True)]
        changed = system._replace(Lambda_bar=z[0], B_bar=z[1], C=z[2], D=D, C_reverse=z[3] if bidirectional else None)
        return block_scan(changed, u, state) if carried else block_scan(changed, u, return_state=False)[0]

    assert torch.autograd.gradcheck(run, leaves, fast_mode=carried)


def test_gradients_of_blocks_equal_those_of_the_fft() -> None:
    drawn = Drawn("inv", "zoh", 1.0, bidirectional=True, d_state=16, seed=5)
    system, u = drawn.system(), drawn.signal(300, torch.float64)
    leaves = [system.Lambda_bar.re, system.Lambda_bar.im, system.C.re, system.D]
    for leaf in leaves:
        leaf.requires_grad_()
    weights = torch.randn_like(u)
    expected = torch.autograd.grad((weights * fft_convolve(system, u)).sum(), leaves)
    for dtype in (torch.float64, torch.float32):
        y, _ = block_scan(system, u.to(dtype))
        got = torch.autograd.grad((weights.to(dtype) * y).sum(), leaves)
        assert all(relative_error(g, e) < TOLERANCE[dtype] for g, e in zip(got, expected, strict=True))


def test_a_second_derivative_is_refused() -> None:
    drawn = Drawn("legs", "zoh", 1.0, bidirectional=False, d_state=4, seed=0)
    u = drawn.signal(20, torch.float64).requires_grad_()
    y, _ = block_scan(drawn.system(), u)
    (grad,) = torch.autograd.grad(y.square().sum(), u, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        grad.sum().backward()
