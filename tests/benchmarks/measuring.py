"""What the benchmarks measure with: medians of steps that take turns, and the peak memory of a process of its own."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from core_steps import core_step, network_step
from pytest_benchmark.fixture import BenchmarkFixture

from s4signal.training.runtime import reused_memory

__all__ = ["medians_in_turn", "peak_mib", "seconds"]


def seconds(run: Callable[[], object]) -> float:
    """Time one call.

    Parameters
    ----------
    run : callable
        What to time.

    Returns
    -------
    float
        Seconds.
    """
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def medians_in_turn(benchmark: BenchmarkFixture, *steps: Callable[[], object], rounds: int) -> list[float]:
    """Benchmark the first step, timing the others before each round.

    Parameters
    ----------
    benchmark : BenchmarkFixture
        Of the test.
    *steps : callable
        Each runs once before the first round.
    rounds : int
        How often each is timed.

    Returns
    -------
    list of float
        Median of each step, in seconds.
    """
    times: list[list[float]] = [[] for _ in steps]

    def others() -> None:
        for step, taken in zip(steps[1:], times[1:], strict=True):
            taken.append(seconds(step))

    for step in steps:
        step()
    benchmark.pedantic(lambda: times[0].append(seconds(steps[0])), setup=others, rounds=rounds)
    return [statistics.median(taken) for taken in times]


def peak_mib(form: str, batch: int, n_times: int, *, network: bool = False) -> float:
    """Measure the peak memory of the first step beyond imports, parameters, input and output gradient, in MiB.

    Parameters
    ----------
    form : str
        As for `core_step`, or for `network_step` with checkpointing.
    batch, n_times : int
        Cases and samples.
    network : bool, default=False
        Whether to measure a network.

    Returns
    -------
    float
        Peak resident memory in a fresh process, less the resident memory before the step; Linux only.
    """
    what = "network" if network else "core"
    command = [sys.executable, __file__, what, form, str(batch), str(n_times), str(torch.get_num_threads())]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _status_mib(field: str) -> float:
    # Not getrusage: its peak is the parent's, when that was larger, even after exec.
    lines = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[field].split()[0]) / 1024


def _prepare(what: str, form: str, batch: int, n_times: int) -> Callable[[], None]:
    return (
        network_step(form, batch, n_times, checkpointing=True) if what == "network" else core_step(form, batch, n_times)
    )


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[5]))
    with reused_memory():
        _prepare(sys.argv[1], sys.argv[2], 1, 128)()  # libraries are loaded and threads started before the baseline
        prepared = _prepare(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
        baseline = _status_mib("VmRSS")
        prepared()
    sys.stdout.write(str(_status_mib("VmHWM") - baseline))
