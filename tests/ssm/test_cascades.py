"""Cascades of resonators: the block tables equal stepping the matrix exponential."""

import math

import numpy as np
import pytest
import torch
from scipy.linalg import expm

from s4signal.ssm import cascade_tables
from s4signal.ssm.cascades import CascadeTables

__all__: list[str] = []

FREQUENCIES = [0.0, 0.01, 0.11, 0.37]
BANDWIDTHS = [0.002, 0.004, 0.02, 0.05]


def bank(order: int, length: int, dtype: torch.dtype = torch.float64) -> CascadeTables:
    frequencies, bandwidths = (torch.tensor(x, dtype=torch.float64) for x in (FREQUENCIES, BANDWIDTHS))
    return cascade_tables(frequencies, bandwidths, order, length, dtype)


def run_tables(order: int, length: int, u: torch.Tensor) -> torch.Tensor:
    """Output (F, n_times) of the bank, complex, block by block."""
    tables = bank(order, length, u.dtype)
    state = u.new_zeros(len(FREQUENCIES), 1, 2 * order)
    outputs = []
    for block in u.split(length):
        U = block.expand(len(FREQUENCIES), 1, length)
        z = U @ tables.W + state @ tables.Q
        outputs.append(torch.complex(z[:, 0, :length], z[:, 0, length:]))
        state = U @ tables.P + state @ tables.transition
    return torch.cat(outputs, -1)


def run_expm(order: int, u: np.ndarray, f: float, b: float) -> np.ndarray:
    """Output of one cascade of unit-gain one-pole stages under a zero-order hold, sample by sample."""
    beta = 2 * np.pi * b
    A = (-beta + 2j * np.pi * f) * np.eye(order) + beta * np.eye(order, k=-1)
    augmented = np.zeros((order + 1, order + 1), dtype=complex)
    augmented[:order, :order], augmented[0, order] = A, beta
    propagator = expm(augmented)
    x, outputs = np.zeros(order, dtype=complex), []
    for sample in u:
        x = propagator[:order, :order] @ x + propagator[:order, order] * sample
        outputs.append(x[-1])
    return np.array(outputs) / np.sinc(f)  # unit gain at the centre: compensate the attenuation of the hold


@pytest.mark.parametrize("order", [1, 2, 4])
@pytest.mark.parametrize("length", [1, 7, 64])
def test_tables_equal_stepping_the_matrix_exponential(order: int, length: int) -> None:
    u = torch.randn(192 // length * length, dtype=torch.float64)
    y = run_tables(order, length, u).numpy()
    for row, f, b in zip(y, FREQUENCIES, BANDWIDTHS, strict=True):
        expected = run_expm(order, u.numpy(), f, b)
        assert np.abs(row - expected).max() < 1e-9 * np.abs(expected).max()


def test_float32_tables_are_precise() -> None:
    u = torch.randn(8192, dtype=torch.float64)
    exact, single = run_tables(4, 64, u), run_tables(4, 64, u.float())
    assert (exact - single).abs().max() < 1e-5 * exact.abs().max()


@pytest.mark.parametrize("order", [1, 4])
def test_gain_is_one_at_the_centre(order: int) -> None:
    t = torch.arange(16_384, dtype=torch.float64)
    for row, f in enumerate(FREQUENCIES):
        # A complex exponential has a single frequency: first its real part, then its imaginary part.
        cosine, sine = (run_tables(order, 128, wave(2 * math.pi * f * t))[row, -1] for wave in (torch.cos, torch.sin))
        assert abs(cosine + 1j * sine) == pytest.approx(1.0, abs=3e-3)


def test_gain_of_a_narrow_band_does_not_depend_on_the_sampling_rate() -> None:
    t = torch.arange(2048, dtype=torch.float64)
    amplitudes = []
    for rate in (1, 2, 4):
        frequency, bandwidth = (torch.tensor([x * rate], dtype=torch.float64) for x in (0.11, 0.005))
        tables = cascade_tables(frequency, bandwidth, 4, 2048, torch.float64)
        y = (torch.cos(2 * math.pi * frequency * t) @ tables.W[0]).view(2, -1)[:, -1]
        amplitudes.append(float(y.norm()))
    assert max(amplitudes) / min(amplitudes) < 1.001
