"""Public functions of `ssm` raise on bad input; they do not broadcast, round or return NaN."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from s4signal.errors import ShapeError
from s4signal.ssm import (
    DIAGONAL_INITS,
    DISCRETIZATIONS,
    DenseSystem,
    DiagonalSystem,
    HiPPO,
    Pair,
    SharedSystem,
    block_scan,
    fft_convolve,
    impulse_response,
    recurrent_scan,
)

__all__: list[str] = []

D_MODEL, BATCH, N = 3, 2, 2


def full(*shape: int, value: float = 1.0) -> Tensor:
    return torch.full(shape, value, dtype=torch.float64)


def pairs(*shape: int, value: float = 1.0) -> Pair:
    return Pair(full(*shape, value=value), full(*shape, value=0.0))


SYSTEMS = {
    "diagonal": DiagonalSystem(pairs(D_MODEL, N, value=0.5), pairs(D_MODEL, N), pairs(D_MODEL, N), full(D_MODEL)),
    "dense": DenseSystem(
        0.5 * torch.eye(N).double().expand(D_MODEL, N, N), full(D_MODEL, N), full(D_MODEL, N), full(D_MODEL)
    ),
    "shared": SharedSystem(pairs(N, value=0.5), pairs(N, D_MODEL), pairs(D_MODEL, N), full(D_MODEL)),
}
each_system = pytest.mark.parametrize("system", SYSTEMS.values(), ids=SYSTEMS)
each_view = pytest.mark.parametrize("view", [block_scan, recurrent_scan, fft_convolve])


@each_system
@each_view
@pytest.mark.parametrize("shape", [(1, BATCH, 5), (4, BATCH, 5), (D_MODEL, 5), (D_MODEL, BATCH, 0), (D_MODEL, 0, 5)])
def test_signals_of_wrong_shape_are_refused(system: object, view: Callable[..., object], shape: tuple[int]) -> None:
    with pytest.raises(ShapeError, match=r"u must have shape \(3, batch, n_times\), none of them 0, got \("):
        view(system, torch.ones(shape))


@each_system
@each_view
@pytest.mark.parametrize("dtype", [torch.int64, torch.float16, torch.complex64])
def test_signals_of_wrong_dtype_are_refused(system: object, view: Callable[..., object], dtype: torch.dtype) -> None:
    with pytest.raises(ValueError, match=rf"u must be float32 or float64, got {dtype}: convert it with u\.float\(\)"):
        view(system, torch.ones(D_MODEL, BATCH, 5, dtype=dtype))


@each_system
@pytest.mark.parametrize("view", [block_scan, recurrent_scan])
def test_states_of_wrong_shape_are_refused(system: DiagonalSystem, view: Callable[..., object]) -> None:
    n_systems, d_state = system.state_size
    for shape in ((n_systems, 1, d_state), (n_systems, BATCH, d_state // 2), (n_systems + 1, BATCH, d_state)):
        with pytest.raises(ShapeError, match=r"state must have shape \(n_systems, batch, d_state\) = .* got \("):
            view(system, torch.ones(D_MODEL, BATCH, 5), torch.ones(shape))


def test_a_state_without_input_is_refused() -> None:
    system = SYSTEMS["diagonal"]._replace(B_bar=pairs(D_MODEL, N, value=0.0))
    with pytest.raises(ValueError, match="B_bar is 0 for some modes"):
        block_scan(system, torch.ones(D_MODEL, BATCH, 5), torch.ones(D_MODEL, BATCH, 2 * N))


@each_system
def test_an_empty_response_is_refused(system: DiagonalSystem) -> None:
    with pytest.raises(ValueError, match="n_times=0 must be at least 1"):
        impulse_response(system, 0)


def test_a_pole_at_zero_responds_for_one_sample() -> None:
    system = SYSTEMS["diagonal"]._replace(Lambda_bar=pairs(D_MODEL, N, value=0.0))
    assert impulse_response(system, 3)[0].tolist() == pytest.approx([2.0 * N, 0.0, 0.0], abs=1e-300)


@pytest.mark.parametrize("rule", ["zoh", "bilinear", "forward", "backward", "dirac"])
def test_a_continuous_pole_at_zero_integrates(rule: str) -> None:
    Lambda_bar, gain = DISCRETIZATIONS[rule](pairs(1, 1, value=0.0), full(1, 1, value=0.1))
    assert [x.item() for x in (*Lambda_bar, *gain)] == pytest.approx([1.0, 0.0, 0.1, 0.0])


@pytest.mark.parametrize("init", sorted(DIAGONAL_INITS))
@pytest.mark.parametrize("d_state", [0, 7, -2, 8.0])
def test_invalid_d_state_is_refused(init: str, d_state: int) -> None:
    with pytest.raises(ValueError, match=rf"d_state={d_state} must be even and at least 2"):
        DIAGONAL_INITS[init](d_state)


@pytest.mark.parametrize("samples", [np.ones(3) + 1j, ["1", "2"], np.array(["2020-01-01"], "M8[s]")])
def test_memory_accepts_only_real_numbers(samples: object) -> None:
    with pytest.raises(ValueError, match="samples must be real numbers, got "):
        HiPPO("legs", 4).update(samples)


def test_memory_is_unchanged_after_an_overflow() -> None:
    memory = HiPPO("legs", 4).update([1.0, 2.0])
    before = memory.coefficients
    with pytest.raises(ValueError, match=r"samples up to 1.7e\+308 are too large"):
        memory.update(1.7e308 * np.cos(np.arange(50.0) / 5.0))
    np.testing.assert_array_equal(memory.coefficients, before)
    assert memory.span == (0.0, 2.0)
