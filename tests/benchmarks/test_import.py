"""Importing s4signal takes little longer than importing torch."""

import subprocess
import sys
from collections.abc import Callable

from measuring import medians_in_turn
from pytest_benchmark.fixture import BenchmarkFixture

__all__: list[str] = []

ROUNDS = 5


def importing(package: str) -> Callable[[], object]:
    return lambda: subprocess.run([sys.executable, "-c", f"import {package}"], check=True)


def test_import_takes_less_than_twice_as_long_as_torch(benchmark: BenchmarkFixture) -> None:
    # Each is imported once before the timing: the first import writes byte code.
    own, torch = medians_in_turn(benchmark, importing("s4signal"), importing("torch"), rounds=ROUNDS)
    benchmark.extra_info.update(s4signal_s=own, torch_s=torch, ratio=own / torch)
    print(f"\nimport s4signal takes {own / torch:.2f} times as long as import torch")
    assert own / torch < 2
