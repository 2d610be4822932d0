"""The engine against S4D and S4 by FFT and against itself: time and memory, as ratios within one run.

Machines differ, so that only ratios are asserted. The forms are interleaved: the references in separate processes, in
plain torch, and this engine under the allocator setting of training (and both in either setting, for
comparison), everything else in one process under that setting. Run `make bench` on an idle machine.
"""

import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from core_steps import core_step, network_step
from measuring import medians_in_turn, peak_mib, reused_memory, seconds_alone
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor, nn
from torch._inductor import aoti_compile_and_package, aoti_load_package

from s4signal.nn import S4Backbone, S4Network, StackOptions, for_inference
from s4signal.nn.frontends import LinearFrontend
from s4signal.ssm import products

__all__: list[str] = []

BATCH, N_TIMES = 16, 16_384
ROUNDS = 7
beyond_reach = pytest.mark.xfail(
    strict=False, raises=AssertionError, reason="the target exceeds the measured figure, see README"
)


@pytest.fixture(autouse=True)
def _as_in_training() -> Iterator[None]:
    """Use all cores, as users do, and keep memory between steps, as training does."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    with reused_memory():
        yield
    torch.set_num_threads(n_threads)


def report(benchmark: BenchmarkFixture, what: str, ratio: float) -> None:
    benchmark.extra_info["ratio"] = ratio
    print(f"\n{what}: {ratio:.2f}")


def times_as_fast(benchmark: BenchmarkFixture, form: str, *, network: bool = False) -> float:
    """Compare S4D as it trains, freed memory kept, with a form in plain torch; print also both in either setting."""
    settings = [("s4d", True), (form, True), ("s4d", False), (form, False)]
    own, keeping, own_plain, plain = seconds_alone(benchmark, settings, BATCH, N_TIMES, network=network)
    print(f"\nseconds, memory kept / plain torch: s4d {own:.3f} / {own_plain:.3f}, {form} {keeping:.3f} / {plain:.3f}")
    print(f"times as fast, both keeping memory: {keeping / own:.2f}, both in plain torch: {plain / own_plain:.2f}")
    benchmark.extra_info.update(both_keeping_memory=keeping / own, both_plain=plain / own_plain)
    report(benchmark, "times as fast as plain torch", plain / own)
    return plain / own


@pytest.mark.parametrize(("form", "target"), [("fft", 10), ("cauchy", 25), ("cauchy-product", 5)])
def test_core_is_many_times_as_fast_as_by_fft(benchmark: BenchmarkFixture, form: str, target: float) -> None:
    assert times_as_fast(benchmark, form) >= target


@pytest.mark.parametrize(("form", "most"), [("s4", 1.6), ("lssl", 1.6), ("s5", 1.6)])
def test_every_kernel_takes_about_the_time_of_s4d(benchmark: BenchmarkFixture, form: str, most: float) -> None:
    own, s4d = medians_in_turn(benchmark, *(core_step(f, BATCH, N_TIMES) for f in (form, "s4d")), rounds=ROUNDS)
    report(benchmark, f"time of {form} over that of s4d", own / s4d)
    assert own / s4d <= most


def test_core_takes_little_longer_than_its_matrix_products(benchmark: BenchmarkFixture) -> None:
    own, bare = medians_in_turn(benchmark, *(core_step(f, BATCH, N_TIMES) for f in ("s4d", "products")), rounds=ROUNDS)
    report(benchmark, "time of s4d over that of its bare products", own / bare)
    assert own / bare <= 1.4


@pytest.mark.skipif(not products._mkl_is_slow(), reason="torch's own products are as fast here")
def test_large_products_take_two_thirds_of_the_time_of_torch(benchmark: BenchmarkFixture) -> None:
    U, W = torch.randn(64, 2048, 128), torch.randn(64, 128, 128)

    def large() -> None:
        with products.large_products(U, 128):
            torch.bmm(U, W)

    own, plain = medians_in_turn(benchmark, large, lambda: torch.bmm(U, W), rounds=ROUNDS)
    report(benchmark, "time of large products over that of torch's", own / plain)
    assert own / plain <= 2 / 3


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_core_needs_a_fifth_of_the_memory_of_the_fft_form(benchmark: BenchmarkFixture) -> None:
    peaks = {}
    benchmark.pedantic(lambda: peaks.update({f: peak_mib(f, BATCH, N_TIMES) for f in ("s4d", "fft")}), rounds=1)
    report(benchmark, f"peaks {peaks['s4d']:.0f} and {peaks['fft']:.0f} MiB", peaks["s4d"] / peaks["fft"])
    assert peaks["s4d"] / peaks["fft"] <= 1 / 5


@beyond_reach  # reached in most of twelve runs, 5.1 to 8.9
def test_network_is_six_times_as_fast_as_with_the_fft_core(benchmark: BenchmarkFixture) -> None:
    assert times_as_fast(benchmark, "fft", network=True) >= 6


def test_network_is_four_times_as_fast_if_both_keep_memory(benchmark: BenchmarkFixture) -> None:
    own, fft = seconds_alone(benchmark, [("s4d", True), ("fft", True)], BATCH, N_TIMES, network=True)
    report(benchmark, "times as fast as by FFT, both keeping memory", fft / own)
    assert fft / own >= 4


def test_time_per_sample_is_constant_from_2000_to_200_000_samples(benchmark: BenchmarkFixture) -> None:
    # Both lengths have the same number of samples per step: tables are computed once per step, so with equal batch
    # sizes the short signals would be slower (by 1.5 times at 16 cases), and hide a cost that grows with length.
    steps = [core_step("s4d", *shape) for shape in ((4, 200_000), (400, 2_000))]
    long, short = medians_in_turn(benchmark, *steps, rounds=ROUNDS)
    report(benchmark, f"800,000 samples as 4 and as 400 signals, {long:.2f} and {short:.2f} s", long / short)
    assert 0.8 <= long / short <= 1.2


@beyond_reach
def test_time_per_sample_of_an_hour_equals_that_of_seconds(benchmark: BenchmarkFixture) -> None:
    # An hour of EEG at 256 Hz is 921,600 samples; with checkpointing, four bidirectional layers.
    steps = [network_step("s4d", *shape, checkpointing=True) for shape in ((1, 1_000_000), (500, 2_000))]
    long, short = medians_in_turn(benchmark, *steps, rounds=2)
    report(benchmark, f"1,000,000 samples as 1 and as 500 signals, {long:.1f} and {short:.1f} s", long / short)
    assert long / short <= 1.15


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
@pytest.mark.parametrize("short", [(500, 2_000), (64, 16_384)])
def test_memory_per_sample_of_an_hour_equals_that_of_seconds(
    benchmark: BenchmarkFixture, short: tuple[int, int]
) -> None:
    peaks = []
    shapes = ((1, 2**20), short)
    benchmark.pedantic(
        lambda: peaks.extend(peak_mib("s4d", *shape, network=True) / math.prod(shape) for shape in shapes), rounds=1
    )
    report(
        benchmark, "peaks of {:.0f} and {:.0f} bytes a sample".format(*(2**20 * x for x in peaks)), peaks[0] / peaks[1]
    )
    assert peaks[0] / peaks[1] <= 1.15


def one_core_rate(call: Callable[[], object], n_samples: int, repeats: int) -> float:
    """Return samples per second of one core, in processor time: the best of five rounds."""
    rates = []
    for _ in range(5):
        call()
        start = time.process_time()
        for _ in range(repeats):
            call()
        rates.append(n_samples * repeats / (time.process_time() - start))
    return max(rates)


class Step(nn.Module):
    """A network whose forward is the step of a backbone, as `torch.export` requires."""

    def __init__(self, backbone: S4Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, x: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Advance by one sample, see `S4Backbone.step`."""
        return self.backbone.step(x, state)


@torch.no_grad()
def test_a_causal_network_is_faster_for_inference(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    # Absolute figures are printed, not asserted; the gain over the plain network is asserted.
    torch.set_num_threads(1)
    plain = S4Network(LinearFrontend(1, 64), 2, options=StackOptions(d_model=64, n_layers=4, d_state=64)).eval()
    quick, x = for_inference(plain), torch.randn(1, 1, 1024)
    chunks = one_core_rate(lambda: quick.advance(x, None), 1024, 10)
    gain = chunks / one_core_rate(lambda: plain.advance(x, None), 1024, 5)
    backbone, sample = for_inference(S4Backbone(1, 64, 4)), x[:, :, 0]
    _, state = backbone.step(sample)
    eager = one_core_rate(lambda: backbone.step(sample, state), 1, 200)
    exported = torch.export.export(Step(backbone), (sample, state))
    ahead = aoti_load_package(aoti_compile_and_package(exported, package_path=str(tmp_path / "step.pt2")))
    captured = one_core_rate(lambda: ahead(sample, state), 1, 1000)
    with torch.inference_mode():
        step = torch.compile(backbone.step)
        compiled = one_core_rate(lambda: step(sample, state), 1, 1000)
    benchmark.pedantic(lambda: quick.advance(x, None), rounds=5)
    rates = {"chunks": chunks, "step": eager, "compiled": compiled, "ahead of time": captured}
    benchmark.extra_info.update(rates)
    print("\nsamples a second of one core:", ", ".join(f"{name} {rate:.0f}" for name, rate in rates.items()))
    report(benchmark, "in chunks, over the network that is not fixed", gain)
    assert gain > 1
