"""Diagonal, dense and shared systems: every view of each gives the same output, state and gradients."""

from collections.abc import Callable
from itertools import product

import pytest
import torch
from random_systems import TOLERANCE, relative_error
from torch import Tensor

from s4signal.ssm import DenseSystem, DiagonalSystem, Pair, SharedSystem, block_scan, fft_convolve, recurrent_scan, step

__all__: list[str] = []

D_MODEL, BATCH, N_PAIRS = 3, 2, 4

Kind = DiagonalSystem | DenseSystem | SharedSystem


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def poles(*shape: int) -> Pair:
    """Draw discrete poles with memories of a few samples to a few hundred."""
    radius, angle = 1.0 - 10.0 ** (-2.5 + 2.0 * torch.rand(*shape).double()), 3.0 * torch.rand(*shape).double()
    return Pair(radius * torch.cos(angle), radius * torch.sin(angle))


def diagonal(bidirectional: bool) -> DiagonalSystem:
    C = [Pair(normal(D_MODEL, N_PAIRS), normal(D_MODEL, N_PAIRS)) for _ in range(3)]
    return DiagonalSystem(poles(D_MODEL, N_PAIRS), C[0], C[1], normal(D_MODEL), C[2] if bidirectional else None)


def dense(bidirectional: bool) -> DenseSystem:
    n = 2 * N_PAIRS
    rotation, _ = torch.linalg.qr(normal(D_MODEL, n, n))
    A_bar = 0.97 * rotation
    C = [normal(D_MODEL, n) for _ in range(3)]
    return DenseSystem(A_bar, C[0], C[1], normal(D_MODEL), C[2] if bidirectional else None)


def shared(bidirectional: bool) -> SharedSystem:
    B_bar = Pair(normal(N_PAIRS, D_MODEL), normal(N_PAIRS, D_MODEL))
    C = [Pair(normal(D_MODEL, N_PAIRS), normal(D_MODEL, N_PAIRS)) for _ in range(2)]
    return SharedSystem(poles(N_PAIRS), B_bar, C[0], normal(D_MODEL), C[1] if bidirectional else None)


KINDS: dict[str, Callable[[bool], Kind]] = {"diagonal": diagonal, "dense": dense, "shared": shared}
each_kind = pytest.mark.parametrize("kind", sorted(KINDS))
each_direction = pytest.mark.parametrize("bidirectional", [False, True])
each_dtype = pytest.mark.parametrize("dtype", sorted(TOLERANCE, key=str))
# One block, full blocks, a partial last block, and so many blocks that groups of them are joined.
each_length = pytest.mark.parametrize("n_times", [1, 2, 31, 128, 129, 300, 1024, 2600])


@each_kind
@each_direction
@each_dtype
@each_length
def test_all_views_give_the_same_output_and_state(
    kind: str, bidirectional: bool, dtype: torch.dtype, n_times: int
) -> None:
    system = KINDS[kind](bidirectional)
    u = normal(D_MODEL, BATCH, n_times)
    n_systems, d_state = system.state_size
    state = normal(n_systems, BATCH, d_state)
    expected, expected_state = recurrent_scan(system, u, state)
    y, final = block_scan(system, u.to(dtype), state.to(dtype))
    assert final is not None
    assert y.dtype == final.dtype == dtype
    assert relative_error(y, expected) < TOLERANCE[dtype]
    assert relative_error(final, expected_state) < TOLERANCE[dtype]
    from_rest, none = block_scan(system, u.to(dtype), return_state=False)
    assert none is None
    assert relative_error(from_rest, fft_convolve(system, u)) < TOLERANCE[dtype]


@each_kind
def test_pieces_and_steps_equal_the_whole(kind: str) -> None:
    system = KINDS[kind](False)
    u = normal(D_MODEL, BATCH, 401)
    expected, _ = recurrent_scan(system, u)
    state, ys = None, []
    for piece in torch.split(u, [1, 250, 5, 145], -1):
        y, state = block_scan(system, piece, state)
        ys.append(y)
    assert relative_error(torch.cat(ys, -1), expected) < 1e-9
    _, state = block_scan(system, u[..., :-1])
    assert state is not None
    assert relative_error(step(system, u[..., -1], state)[0], expected[..., -1]) < 1e-9


def leaves_of(system: Kind) -> list[Tensor]:
    tensors = [
        part for value in system if value is not None for part in (value if isinstance(value, Pair) else [value])
    ]
    return [tensor.requires_grad_() for tensor in tensors]


@each_kind
@each_direction
@pytest.mark.parametrize("n_times", [20, 137, 1100])
def test_gradients_equal_those_of_the_fft(kind: str, bidirectional: bool, n_times: int) -> None:
    system = KINDS[kind](bidirectional)
    u = normal(D_MODEL, BATCH, n_times).requires_grad_()
    leaves, weights = [u, *leaves_of(system)], normal(D_MODEL, BATCH, n_times)
    expected = torch.autograd.grad((weights * fft_convolve(system, u)).sum(), leaves)
    y, _ = block_scan(system, u, return_state=False)
    got = torch.autograd.grad((weights * y).sum(), leaves)
    assert max(relative_error(g, e) for g, e in zip(got, expected, strict=True)) < 1e-8


@each_kind
@pytest.mark.parametrize(("n_times", "bidirectional"), list(product([5, 140], [False, True])))
def test_gradients_of_states_are_correct(kind: str, n_times: int, bidirectional: bool) -> None:
    system = KINDS[kind](bidirectional)
    n_systems, d_state = system.state_size
    u, state = normal(D_MODEL, 1, n_times).requires_grad_(), normal(n_systems, 1, d_state).requires_grad_()
    assert torch.autograd.gradcheck(lambda u, state: block_scan(system, u, state), [u, state], fast_mode=True)


@each_kind
def test_compiled_scan_equals_eager_scan(kind: str) -> None:
    system = KINDS[kind](True)  # two directions call all operators that one calls
    leaves_of(system)

    def run(u: Tensor) -> Tensor:
        return block_scan(system, u, return_state=False)[0]

    torch._dynamo.reset()
    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    for n_times in (50, 200):
        u = normal(D_MODEL, BATCH, n_times)
        assert relative_error(compiled(u).detach(), run(u).detach()) < 1e-12
