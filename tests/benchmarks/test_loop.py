"""Overhead per step of the loop over plain torch, in processor time: loading, guards, schedule, bookkeeping."""

import time
from collections.abc import Callable

import numpy as np
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import nn

from s4signal.training import Cases, TrainingOptions, fit_network

__all__: list[str] = []

N_STEPS, BATCH, N_TIMES = 200, 16, 224  # lengths without padding, so that both compute the same


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv1d(2, 8, 9), nn.GELU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(8, 2))


def data() -> tuple[np.ndarray, torch.Tensor]:
    rng = np.random.default_rng(0)
    n = N_STEPS * BATCH
    return rng.standard_normal((n, 2, N_TIMES), dtype=np.float32), torch.from_numpy(np.arange(n) % 2)


def bare_loop() -> None:
    """Train for an epoch as a tutorial does, with the same optimizer, clipping and schedule."""
    net, (x, y) = network(), data()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0 / (1 + step))
    batches = torch.from_numpy(x)
    for rows in torch.randperm(len(y)).split(BATCH):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(batches[rows]), y[rows]).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()


def own_loop() -> None:
    """Train for an epoch by `fit_network`."""
    net, (x, y) = network(), data()
    options = TrainingOptions(  # cases first in memory, as in the bare loop; otherwise torch's convolution is slower
        max_epochs=1, batch_size=BATCH, forward=lambda net, batch, generator: net(batch.x.transpose(0, 1).contiguous())
    )
    fit_network(net, Cases.of(list(x), y), loss=nn.CrossEntropyLoss(reduction="none"), options=options)


def processor_time(run: Callable[[], None]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def test_the_overhead_of_a_step_is_at_most_half_a_millisecond(benchmark: BenchmarkFixture) -> None:
    own_loop(), bare_loop()  # the first step imports and builds
    taken: dict[str, list[float]] = {"own": [], "bare": []}

    def turn() -> None:
        taken["own"].append(processor_time(own_loop))
        taken["bare"].append(processor_time(bare_loop))

    benchmark.pedantic(turn, rounds=5)
    own, bare = (1e3 * min(taken[name]) / N_STEPS for name in ("own", "bare"))
    benchmark.extra_info.update(own_ms=own, bare_ms=bare)
    print(f"\na step takes {own:.2f} ms, of a bare loop {bare:.2f} ms: {own - bare:.2f} ms more")
    assert own - bare <= 0.5
