"""Importing s4signal costs little beyond importing torch."""

import statistics
import subprocess
import sys
import time

from pytest_benchmark.fixture import BenchmarkFixture

__all__: list[str] = []

ROUNDS = 5


def seconds_to_import(package: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {package}"], check=True)
    return time.perf_counter() - start


def test_import_takes_less_than_twice_as_long_as_torch(benchmark: BenchmarkFixture) -> None:
    own, torch = [], []
    seconds_to_import("torch"), seconds_to_import("s4signal")  # the first import writes byte code
    benchmark.pedantic(
        lambda: own.append(seconds_to_import("s4signal")),
        setup=lambda: torch.append(seconds_to_import("torch")),
        rounds=ROUNDS,
    )
    ratio = statistics.median(own) / statistics.median(torch)
    benchmark.extra_info.update(s4signal_s=statistics.median(own), torch_s=statistics.median(torch), ratio=ratio)
    print(f"\nimport s4signal takes {ratio:.2f} times as long as import torch")
    assert ratio < 2
