"""The closed form on long cases: memory beyond the data does not grow with the number of samples.

The figures of a thousand cases of 100,000 samples, 256 oscillators: ``python tests/benchmarks/test_instant.py``.
"""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from s4signal.estimators import S4RidgeClassifier

__all__: list[str] = []


def noise(n_cases: int, n_times: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw white noise, and noise correlated over one sample, float32."""
    X, y = np.empty((n_cases, n_times), np.float32), np.arange(n_cases) % 2
    rng = np.random.default_rng(0)
    for x, label in zip(X, y, strict=True):
        rng.standard_normal(dtype=np.float32, out=x)
        x[1:] += 0.2 * label * x[:-1]
    return X, y


def fit(n_cases: int, n_times: int, n_oscillators: int) -> tuple[float, float]:
    """Fit in this process; return peak resident memory beyond that before the fit [MiB] and processor time [s]."""

    def mib(field: str) -> float:
        lines = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
        return int(lines[field].split()[0]) / 1024

    model = S4RidgeClassifier(n_oscillators=n_oscillators, random_state=0)
    model.fit(*noise(4, 256))  # libraries are loaded before the baseline
    X, y = noise(n_cases, n_times)
    before, started = mib("VmRSS"), time.process_time()
    model.fit(X, y)
    return mib("VmHWM") - before, time.process_time() - started


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_four_times_longer_cases_need_the_same_memory(benchmark: BenchmarkFixture) -> None:
    peaks: list[float] = []

    def run() -> None:
        for n_times in (50_000, 200_000):
            command = [sys.executable, __file__, "42", str(n_times), "8"]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            peaks.append(float(output.split()[0]))

    benchmark.pedantic(run, rounds=1)
    print(f"\n42 cases, 8 and 32 MiB: peaks {peaks[0]:.0f} and {peaks[1]:.0f} MiB beyond them")
    assert peaks[1] <= 1.5 * peaks[0]


if __name__ == "__main__":
    torch.set_num_threads(1)
    shape = [int(argument) for argument in sys.argv[1:]] or [1000, 100_000, 256]
    peak, seconds = fit(*shape)
    sys.stdout.write(f"{peak:.0f} MiB beyond the data, {seconds:.1f} s\n")
