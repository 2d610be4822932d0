"""Cost of a push of a stream on one core, compared with the duration of its samples and with offline prediction.

The offline cost per sample is that of predicting a long case. Each push returns a prediction, so short pushes cost more
per sample.
"""

import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from tensor_calls import Calls

from s4signal import S4Classifier, S4RidgeClassifier
from s4signal.nn import S4Backbone, for_inference

__all__: list[str] = []

WARM_UP, ROUNDS = 20, 400
NETWORK = {"d_model": 64, "n_layers": 4, "n_networks": 1, "bidirectional": False, "max_epochs": 1, "random_state": 0}
RIDGE = {"n_oscillators": 64, "random_state": 0}
# Model, channels, Hz, samples per push; a push must take no longer than its samples last.
STREAMS: dict[str, tuple[Callable[..., Any], dict[str, Any], int, float, int]] = {
    "filter bank, 10 ms": (S4Classifier, {**NETWORK, "frontend": "filterbank"}, 1, 16_000.0, 160),
    "filter bank, 10 ms and a sample": (S4Classifier, {**NETWORK, "frontend": "filterbank"}, 1, 16_000.0, 161),
    "defaults of sound, 20 ms": (S4Classifier, {"bidirectional": False, "random_state": 0}, 1, 16_000.0, 320),
    "linear, 10 ms": (S4Classifier, {**NETWORK, "frontend": "linear"}, 1, 16_000.0, 160),
    "EEG, 8 samples": (S4Classifier, NETWORK, 32, 250.0, 8),
    "ridge, 10 ms": (S4RidgeClassifier, RIDGE, 1, 16_000.0, 160),
    "ridge, EEG, 8 samples": (S4RidgeClassifier, RIDGE, 32, 250.0, 8),
}


@pytest.fixture(autouse=True)
def _one_core() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def timed(push: Callable[[], object]) -> list[float]:
    """Time calls after a warm-up, in seconds of processor time."""
    seconds = []
    for turn in range(WARM_UP + ROUNDS):
        start = time.process_time()
        push()
        if turn >= WARM_UP:
            seconds.append(time.process_time() - start)
    return seconds


def fitted(name: str) -> tuple[Any, int, float, int]:
    """Return a model, its number of channels, its rate in Hz, and the samples per push."""
    kind, options, n_channels, sfreq, n = STREAMS[name]
    X = np.random.default_rng(1).standard_normal((4, n_channels, int(sfreq / 10) if n_channels == 1 else int(sfreq)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return kind(**options, sfreq=sfreq).fit(X, [0, 1] * 2), n_channels, sfreq, n


@pytest.mark.parametrize("name", STREAMS)
def test_a_push_takes_less_time_than_its_samples_last(benchmark: BenchmarkFixture, name: str) -> None:
    model, n_channels, sfreq, n = fitted(name)
    rng = np.random.default_rng(0)
    long, stream = rng.standard_normal((1, n_channels, int(4 * sfreq))), model.stream()
    chunk = long[0, :, :n]
    offline = statistics.median(timed_once(lambda: model.predict(long)) for _ in range(3)) / long.shape[-1]
    seconds = timed(lambda: stream.push(chunk))
    with Calls() as calls:
        stream.push(chunk)
    benchmark.pedantic(lambda: stream.push(chunk), rounds=20)
    median, p99 = statistics.median(seconds), float(np.quantile(seconds, 0.99))
    figures = {
        "median_over_duration": median * sfreq / n,
        "p99_over_duration": p99 * sfreq / n,
        "median_over_offline": median / (n * offline),
        "tensor_calls": calls.n,
    }
    benchmark.extra_info.update({"median_s": median, "p99_s": p99, "offline_s_per_sample": offline, **figures})
    print(
        f"\n{name}: median {1e3 * median:.2f} ms, p99 {1e3 * p99:.2f} ms, {calls.n} tensor calls;"
        f" {figures['median_over_duration']:.2f} of the time its samples last,"
        f" {figures['median_over_offline']:.1f} times what they cost offline"
    )
    assert figures["median_over_duration"] < 1
    assert name != "EEG, 8 samples" or p99 <= 2e-3  # for a live decoder


@pytest.mark.parametrize("name", ["EEG, 8 samples", "ridge, EEG, 8 samples"])
def test_a_push_is_faster_than_predicting_the_last_window(name: str) -> None:
    model, n_channels, sfreq, n = fitted(name)
    window = np.random.default_rng(0).standard_normal((1, n_channels, int(sfreq)))
    stream = model.stream(window_s=1.0)
    pushed = statistics.median(timed(lambda: stream.push(window[0, :, :n])))
    again = statistics.median(timed_once(lambda: model.predict_proba(window)) for _ in range(20))
    print(f"\n{name}: a push {1e3 * pushed:.2f} ms, a window again {1e3 * again:.2f} ms")
    assert pushed < again


def timed_once(run: Callable[[], object]) -> float:
    """Time one call, in seconds of processor time."""
    start = time.process_time()
    run()
    return time.process_time() - start


@torch.no_grad()
def test_a_step_of_a_backbone_is_three_times_as_fast_for_inference(benchmark: BenchmarkFixture) -> None:
    backbone, x = for_inference(S4Backbone(1, 64, 4)), torch.randn(1, 1)
    plain = S4Backbone(1, 64, 4).eval()
    state, slow_state = backbone.step(x)[1], plain.step(x)[1]
    seconds, slow = timed(lambda: backbone.step(x, state)), timed(lambda: plain.step(x, slow_state))
    benchmark.pedantic(lambda: backbone.step(x, state), rounds=20)
    gain = statistics.median(slow) / statistics.median(seconds)
    benchmark.extra_info.update(median_s=statistics.median(seconds), p99_s=float(np.quantile(seconds, 0.99)), gain=gain)
    print(
        f"\na step: median {1e6 * statistics.median(seconds):.0f} us, p99 {1e6 * np.quantile(seconds, 0.99):.0f} us,"
        f" {gain:.1f} times faster than the network that is not fixed"
    )
    assert gain > 3
