"""Measurements: medians of interleaved steps, and time and memory in a separate process."""

import ctypes
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

import torch
from core_steps import core_step, network_step
from pytest_benchmark.fixture import BenchmarkFixture

__all__ = ["medians_in_turn", "peak_mib", "reused_memory", "seconds", "seconds_alone"]

TURNS, ROUNDS = 3, 5
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # parameters of glibc's mallopt


@contextmanager
def reused_memory() -> Iterator[None]:
    """Keep freed memory in the process, as ``MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=2147483647`` does.

    By default each large tensor is mapped and unmapped again, and the page faults cost as much as the arithmetic. It is
    a choice of the program, not of the library: the previous setting cannot be read, so it cannot be restored.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if libc is None or not hasattr(libc, "mallopt") or not hasattr(libc, "malloc_trim"):
        yield
        return
    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield
    finally:
        libc.mallopt(_MMAP_MAX, 65536)
        libc.mallopt(_TRIM_THRESHOLD, 128 * 1024)
        libc.malloc_trim(0)


def seconds(run: Callable[[], object]) -> float:
    """Time one call.

    Parameters
    ----------
    run : callable
        Function to time.

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
        Fixture of the test.
    *steps : callable
        Each runs once before the first round.
    rounds : int
        Number of timed rounds.

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


def seconds_alone(
    benchmark: BenchmarkFixture, forms: list[tuple[str, bool]], batch: int, n_times: int, *, network: bool = False
) -> list[float]:
    """Time interleaved steps, each in its own process, undisturbed by memory and caches of the others.

    Parameters
    ----------
    benchmark : BenchmarkFixture
        Fixture of the test.
    forms : list of (str, bool)
        Form, as for `core_step` or `network_step`, and whether freed memory is kept between the steps, as training
        does, or handled as torch and the C library do by default.
    batch, n_times : int
        Cases and samples.
    network : bool, default=False
        Whether to time a network.

    Returns
    -------
    list of float
        Median over three turns of the median of five steps of each form, in seconds.
    """
    taken: list[list[float]] = [[] for _ in forms]

    def turn() -> None:
        for (form, reused), times in zip(forms, taken, strict=True):
            times.append(_in_process("seconds", form, batch, n_times, network=network, reused=reused))

    benchmark.pedantic(turn, rounds=TURNS)
    return [statistics.median(times) for times in taken]


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
    return _in_process("peak", form, batch, n_times, network=network, reused=True)


def _in_process(figure: str, form: str, batch: int, n_times: int, *, network: bool, reused: bool) -> float:
    options = (figure, form, batch, n_times, int(network), int(reused), torch.get_num_threads())
    command = [sys.executable, __file__, *map(str, options)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _status_mib(field: str) -> float:
    # Not getrusage: its peak is that of the parent if that was larger, even after exec.
    lines = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[field].split()[0]) / 1024


def _peak(prepare: Callable[[int, int], Callable[[], None]], batch: int, n_times: int) -> float:
    prepare(1, 128)()  # libraries are loaded and threads started before the baseline
    step = prepare(batch, n_times)
    baseline = _status_mib("VmRSS")
    step()
    return _status_mib("VmHWM") - baseline


def _seconds(prepare: Callable[[int, int], Callable[[], None]], batch: int, n_times: int) -> float:
    step = prepare(batch, n_times)
    step()
    return statistics.median(seconds(step) for _ in range(ROUNDS))


def _main(figure: str, form: str, *options: str) -> float:
    batch, n_times, network, reused, n_threads = map(int, options)
    torch.set_num_threads(n_threads)
    make = partial(network_step, checkpointing=figure == "peak") if network else core_step
    with reused_memory() if reused else nullcontext():
        return (_peak if figure == "peak" else _seconds)(partial(make, form), batch, n_times)


if __name__ == "__main__":
    sys.stdout.write(str(_main(*sys.argv[1:])))
