"""S4 compared with the published LSSL and recurrent networks of equal width: time and memory of one step.

Every form has 64 channels with a state of size 64 each; the recurrent networks have 64 states in all. Ratios
within one run, on one core; the bounds allow for a noisy machine.
"""

import sys
from collections.abc import Iterator

import pytest
from core_steps import core_step
from measuring import medians_in_turn, peak_mib, reused_memory
from pytest_benchmark.fixture import BenchmarkFixture

__all__: list[str] = []

BATCH, N_TIMES, ROUNDS = 16, 8_192, 5
FORMS = ("s4", "lssl", "krylov", "rnn", "gru")


@pytest.fixture(autouse=True)
def _as_in_training() -> Iterator[None]:
    with reused_memory():
        yield


def test_s4_is_faster_than_published_lssl_and_recurrent_networks(
    benchmark: BenchmarkFixture,
) -> None:
    steps = (core_step(form, BATCH, N_TIMES) for form in FORMS)
    seconds = dict(zip(FORMS, medians_in_turn(benchmark, *steps, rounds=ROUNDS), strict=True))
    benchmark.extra_info.update({f"{form}_s": value for form, value in seconds.items()})
    print(f"\nL = {N_TIMES}, batch {BATCH}:", ", ".join(f"{form} {value:.3f} s" for form, value in seconds.items()))
    assert seconds["krylov"] > 2 * max(seconds["s4"], seconds["lssl"])
    assert seconds["gru"] > 3 * seconds["s4"]
    assert seconds["rnn"] > seconds["s4"]


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_s4_needs_a_fifth_of_the_memory_of_published_lssl(benchmark: BenchmarkFixture) -> None:
    peaks: dict[str, float] = {}
    benchmark.pedantic(lambda: peaks.update({form: peak_mib(form, BATCH, N_TIMES) for form in FORMS}), rounds=1)
    benchmark.extra_info.update({f"{form}_mib": value for form, value in peaks.items()})
    print(f"\nL = {N_TIMES}, batch {BATCH}:", ", ".join(f"{form} {value:.0f} MiB" for form, value in peaks.items()))
    assert peaks["krylov"] > 5 * max(peaks["s4"], peaks["lssl"])
    assert peaks["gru"] > 2 * peaks["s4"]
