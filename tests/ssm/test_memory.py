"""The online memory equals a slow recurrence for chunks of any length, and raises clear errors."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm

from s4signal.errors import ShapeError
from s4signal.ssm import BASES, MEASURES, HiPPO

__all__: list[str] = []

each_measure = pytest.mark.parametrize("measure", sorted(MEASURES))
few_examples = settings(max_examples=10, deadline=None, derandomize=True)


def memory(measure: str, d_state: int, window: float = 40.0) -> HiPPO:
    return HiPPO(measure, d_state, window=None if measure == "legs" else window)


def stepped(measure: str, d_state: int, samples: np.ndarray, edges: np.ndarray, window: float = 40.0) -> np.ndarray:
    """State after the samples, one matrix exponential per sample; LegS in logarithmic time, where A is constant."""
    A, B = MEASURES[measure](d_state)
    c = np.zeros(d_state)
    augmented = np.zeros((d_state + 1, d_state + 1))
    for u, begin, end in zip(samples, edges[:-1], edges[1:], strict=True):
        if measure == "legs" and begin == 0.0:
            c[0] = u
            continue
        duration = np.log(end / begin) if measure == "legs" else (end - begin) / window
        augmented[:-1, :-1], augmented[:-1, -1] = A * duration, B * duration
        propagator = expm(augmented)
        c = propagator[:-1, :-1] @ c + propagator[:-1, -1] * u
    return c


@each_measure
@few_examples
@given(seed=st.integers(0, 99), d_state=st.sampled_from([2, 6, 16]), n_times=st.sampled_from([1, 2, 37, 300]))
def test_blocks_equal_a_recurrence(measure: str, seed: int, d_state: int, n_times: int) -> None:
    samples = np.random.default_rng(seed).standard_normal(n_times)
    got = memory(measure, d_state).update(samples).coefficients
    expected = stepped(measure, d_state, samples, np.arange(n_times + 1.0))
    np.testing.assert_allclose(got, expected, atol=1e-10 * np.abs(expected).max())


@each_measure
@few_examples
@given(seed=st.integers(0, 99), regular=st.booleans())
def test_timestamps_equal_a_recurrence_over_the_gaps(measure: str, seed: int, regular: bool) -> None:
    rng = np.random.default_rng(seed)
    times = 1e3 + np.cumsum(np.full(201, 0.25) if regular else rng.exponential(0.25, 201))
    samples = rng.standard_normal(201)
    got = memory(measure, 8, 10.0).update(samples[:70], times[:70]).update(samples[70:], times[70:])
    expected = stepped(measure, 8, samples[1:], times - times[0], 10.0)
    np.testing.assert_allclose(got.coefficients, expected, atol=1e-9 * np.abs(expected).max())
    assert got.span[1] == times[-1]


@each_measure
@few_examples
@given(cuts=st.lists(st.integers(0, 2500), max_size=5))
def test_chunks_of_any_length_equal_the_whole(measure: str, cuts: list[int]) -> None:
    samples = np.random.default_rng(0).standard_normal((2, 2500))
    pieces = memory(measure, 32)
    for chunk in np.split(samples, sorted(cuts), axis=1):
        pieces.update(chunk)
    expected = memory(measure, 32).update(samples).coefficients
    np.testing.assert_allclose(pieces.coefficients, expected, atol=1e-11 * np.abs(expected).max())


@each_measure
@few_examples
@given(scale=st.sampled_from([1e-12, 1e-3, 1e3]), shift=st.floats(-1e3, 1e3))
def test_coefficients_do_not_depend_on_the_unit_of_time(measure: str, scale: float, shift: float) -> None:
    rng = np.random.default_rng(0)
    samples, gaps = rng.standard_normal(300), np.repeat([1.0, 1.5, 2.0], 100)
    gaps[200:] += rng.uniform(-0.5, 0.5, 100)
    expected, got = memory(measure, 16), memory(measure, 16, 40.0 * scale)
    for part, times in zip(np.split(samples, 3), np.split(np.cumsum(gaps), 3), strict=True):
        expected.update(part, times)
        got.update(part, scale * (shift + times))
    np.testing.assert_allclose(got.coefficients, expected.coefficients, atol=1e-7)


def test_legs_is_the_projection_of_the_whole_past() -> None:
    edges = np.cumsum(np.random.default_rng(0).uniform(0.1, 1.0, 400))
    samples = np.random.default_rng(1).standard_normal(400)
    got = HiPPO("legs", 12).update(samples, edges).coefficients
    x, weights = np.polynomial.legendre.leggauss(12)  # exact on every piece, where the integrand is a polynomial
    expected = np.zeros(12)
    length = edges[-1] - edges[0]
    for u, begin, end in zip(samples[1:], edges[:-1], edges[1:], strict=True):
        moments = begin + (end - begin) * (x + 1) / 2
        age = (edges[-1] - moments) / length
        expected += BASES["legs"](12, age) @ (weights / 2 * (end - begin) / length * u)
    np.testing.assert_allclose(got, expected, atol=1e-13)


@each_measure
def test_a_slow_signal_is_reconstructed(measure: str) -> None:
    times = np.arange(4000) / 1000.0
    signal = np.stack([np.sin(2 * np.pi * times), np.cos(5 * times)])
    # Laguerre polynomials represent signals that are slow relative to their time constant.
    hippo = memory(measure, 32, 0.1 if measure == "lagt" else 1.0).update(signal, times)
    recent = times[times > 3.05][:-1]
    if measure == "fout":
        recent = recent[(recent > 3.2) & (recent < 3.8)]  # a Fourier series rings at the ends of the window
    if measure == "lagt":
        recent = recent[recent > 3.8]
    got = hippo.reconstruct(recent)
    expected = np.stack([np.sin(2 * np.pi * recent), np.cos(5 * recent)])
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() < (0.15 if measure == "fout" else 0.02)


@each_measure
def test_reset_clears_the_state(measure: str) -> None:
    used = memory(measure, 8).update(np.ones((3, 50)), np.arange(50.0)).reset().update(np.arange(9.0))
    fresh = memory(measure, 8).update(np.arange(9.0))
    np.testing.assert_array_equal(used.coefficients, fresh.coefficients)


def test_coefficients_are_a_copy() -> None:
    hippo = HiPPO("legs", 4).update([1.0, 2.0])
    hippo.coefficients[:] = 7.0
    assert hippo.coefficients[0] == pytest.approx(1.5)


@each_measure
def test_one_sample_with_a_time_starts_the_memory(measure: str) -> None:
    hippo = memory(measure, 8).update([3.0], [100.0])
    assert hippo.span[1] == 100.0
    assert hippo.reconstruct([100.0]) == pytest.approx([3.0 if measure == "legs" else 0.0])


def test_a_million_samples_lose_no_precision() -> None:
    samples = np.random.default_rng(0).standard_normal(1_000_000)
    hippo = HiPPO("legs", 64)
    for chunk in np.split(samples, 10):
        hippo.update(chunk)
    # All at once: the integral of sqrt(2n + 1) P_n over each sample, without any state in between.
    expected, norms = np.zeros(64), np.sqrt(2 * np.arange(64) + 1)
    for k in range(0, 1_000_000, 10_000):
        P = np.polynomial.legendre.legvander(2e-6 * np.arange(k, k + 10_001) - 1, 64)
        P_before = np.pad(P, ((0, 0), (1, 0)))[:, :64]  # P_{n-1}; for n = 0 only the derivative of P_1 remains
        expected += samples[k : k + 10_000] @ np.diff((P[:, 1:] - P_before) / (2 * norms), axis=0)
    np.testing.assert_allclose(hippo.coefficients, expected, atol=1e-11 * np.abs(expected).max())


@each_measure
def test_memory_is_bounded(measure: str) -> None:
    hippo = memory(measure, 64)
    chunk = np.random.default_rng(0).standard_normal(20_000)
    hippo.update(chunk)
    tracemalloc.start()
    for _ in range(5):
        hippo.update(chunk)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8e6


def test_bad_options_are_refused() -> None:
    with pytest.raises(ValueError, match="measure='leg' is unknown; choose one of 'legs', 'legt', 'lagt', 'fout', 'c"):
        HiPPO("leg")
    with pytest.raises(ValueError, match="window=5 has no meaning for measure='legs'"):
        HiPPO("legs", window=5)
    for window in (None, 0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="must be a positive length for measure='legt'"):
            HiPPO("legt", window=window)
    with pytest.raises(ValueError, match="d_state=0 must be at least 1"):
        HiPPO(d_state=0)
    with pytest.raises(ValueError, match="d_state=5 must be even"):
        HiPPO("fout", 5, window=10)


@pytest.mark.parametrize(
    ("samples", "times", "message"),
    [
        ([1.0, np.nan], None, "samples contain NaN or inf"),
        ([1.0, np.inf], None, "samples contain NaN or inf"),
        (np.zeros((1, 2, 3)), None, r"samples must have shape .* got \(1, 2, 3\)"),
        ([1.0, 2.0], [1.0], r"times must have shape \(2,\)"),
        ([1.0, 2.0], [1.0, np.nan], "times contain NaN or inf"),
        ([1.0, 2.0], [2.0, 2.0], "times must increase, but 2 follows 2"),
        ([1.0, 2.0], [2.0, 1.0], "times must increase, but 1 follows 2"),
    ],
)
def test_bad_chunks_are_refused_and_change_nothing(samples: object, times: object, message: str) -> None:
    hippo = HiPPO("legs", 4)
    with pytest.raises(ValueError, match=message):
        hippo.update(samples, times)
    with pytest.raises(ValueError, match="this memory is empty"):
        hippo.reconstruct([0.0])


def test_inconsistent_chunks_are_refused() -> None:
    hippo = HiPPO("legs", 4).update(np.zeros((2, 3)))
    with pytest.raises(ShapeError, match=r"shape \(2, n_times\) as before, got \(3, 3\)"):
        hippo.update(np.zeros((3, 3)))
    with pytest.raises(ShapeError, match=r"shape \(2, n_times\) as before, got \(3,\)"):
        hippo.update(np.zeros(3))
    with pytest.raises(ValueError, match="came without times"):
        hippo.update(np.zeros((2, 1)), [9.0])
    hippo = HiPPO("legs", 4).update([0.0], [5.0])
    with pytest.raises(ValueError, match="came with times"):
        hippo.update([0.0])
    with pytest.raises(ValueError, match="times must increase, but 5 follows 5"):
        hippo.update([0.0], [5.0])


def test_times_outside_the_memory_are_refused() -> None:
    hippo = HiPPO("legt", 8, window=10).update(np.zeros(100))
    assert hippo.span == (90.0, 100.0)
    with pytest.raises(ValueError, match="times reach from 80 to 95, but this memory holds 90 to 100"):
        hippo.reconstruct([80.0, 95.0])
    with pytest.raises(ShapeError, match=r"times must have shape \(n_times,\), got \(\)"):
        hippo.reconstruct(95.0)
    hippo = HiPPO("legt", 8, window=10).update(np.ones(100), 1.7e9 + 0.1 * np.arange(100))
    assert hippo.reconstruct([1.7e9 - 0.1 - 2.4e-7])  # an error of rounding
    with pytest.raises(ValueError, match="this memory holds"):
        hippo.reconstruct([1.7e9 - 0.2])
