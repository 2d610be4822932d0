"""The online memory on a million samples of recorded speech, on one thread, compared with a loop over the samples.

The HiPPO paper reports 470,000 samples per second for LegS; the figure is printed, the ratio is asserted.
"""

import time
from pathlib import Path

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from s4signal.signals import datasets
from s4signal.ssm import MEASURES, HiPPO

__all__: list[str] = []

N_TIMES, CHUNK = 1_000_000, 8_000
LOOPED = 30_000  # samples for which the loop is timed, before each round
AS_FAST = 3  # times the loop


def loop(samples: np.ndarray, d_state: int = 64) -> None:
    """Update LegS sample by sample, c += (A c + B f) / k: Euler's rule, the cheapest one."""
    A, B = MEASURES["legs"](d_state)
    c = np.zeros(d_state)
    for k, sample in enumerate(samples, d_state * d_state):
        c += (A @ c + B * sample) / k


@pytest.fixture(scope="module")
def speech(recordings: Path) -> np.ndarray:
    """Return concatenated spoken digits, 125 s at 8 kHz."""
    words, _, _ = datasets.load_spoken_digits()
    parts, length = [], 0
    for word in words:
        parts.append(np.asarray(word.data[0], dtype=np.float64))
        length += len(parts[-1])
        if length >= N_TIMES:
            break
    return np.concatenate(parts)[:N_TIMES]


@pytest.mark.parametrize("measure", sorted(MEASURES))
def test_memory_is_three_times_as_fast_as_a_loop(benchmark: BenchmarkFixture, measure: str, speech: np.ndarray) -> None:
    times: list[float] = []
    looped: list[float] = []

    def update_in_chunks() -> None:
        memory = HiPPO(measure, 64, window=None if measure == "legs" else 8_000.0)
        start = time.perf_counter()
        for chunk in np.split(speech, range(CHUNK, N_TIMES, CHUNK)):
            memory.update(chunk)
        times.append(time.perf_counter() - start)
        assert np.isfinite(memory.coefficients).all()

    def update_in_loop() -> None:
        start = time.perf_counter()
        loop(speech[:LOOPED])
        looped.append(time.perf_counter() - start)

    benchmark.pedantic(update_in_chunks, setup=update_in_loop, rounds=5)
    rates, by_loop = N_TIMES / np.array(times), LOOPED / float(np.median(looped))
    benchmark.extra_info.update(rate=float(np.median(rates)), loop_rate=by_loop)
    print(
        f"\n{measure}, d_state 64: {np.median(rates):,.0f} samples a second, {rates.min():,.0f} to {rates.max():,.0f};"
        f" a loop over the samples {by_loop:,.0f}"
    )
    assert np.median(rates) >= AS_FAST * by_loop
