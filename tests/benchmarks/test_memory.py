"""The online memory on a million samples of recorded speech, on one thread: at least 470,000 samples a second."""

import time
from pathlib import Path

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from s4signal.signals import datasets
from s4signal.ssm import MEASURES, HiPPO

__all__: list[str] = []

N_TIMES, CHUNK = 1_000_000, 8_000
REQUIRED = 470_000  # samples a second, what the HiPPO paper reports for LegS


@pytest.fixture(scope="module")
def speech(recordings: Path) -> np.ndarray:
    """Return spoken digits one after the other, 125 s at 8 kHz."""
    words, _, _ = datasets.load_spoken_digits()
    parts, length = [], 0
    for word in words:
        parts.append(np.asarray(word.data[0], dtype=np.float64))
        length += len(parts[-1])
        if length >= N_TIMES:
            break
    return np.concatenate(parts)[:N_TIMES]


@pytest.mark.parametrize("measure", sorted(MEASURES))
def test_a_million_samples_a_measure(benchmark: BenchmarkFixture, measure: str, speech: np.ndarray) -> None:
    seconds = []

    def feed() -> None:
        memory = HiPPO(measure, 64, window=None if measure == "legs" else 8_000.0)
        start = time.perf_counter()
        for chunk in np.split(speech, range(CHUNK, N_TIMES, CHUNK)):
            memory.update(chunk)
        seconds.append(time.perf_counter() - start)
        assert np.isfinite(memory.coefficients).all()

    benchmark.pedantic(feed, rounds=5, warmup_rounds=1)
    rates = N_TIMES / np.array(seconds[1:])
    benchmark.extra_info.update(rate=float(np.median(rates)))
    print(
        f"\n{measure}, d_state 64: {np.median(rates):,.0f} samples a second, {rates.min():,.0f} to {rates.max():,.0f}"
    )
    assert np.median(rates) >= REQUIRED
