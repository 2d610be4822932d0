"""Two processes of a torchrun job, one core and one thread each, have shorter epochs than one process.

Bound by computation: 64 features, 2 layers. S4SIGNAL_CASES is the number of cases of 4 channels and 1,000 samples.
"""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

__all__: list[str] = []

SPEEDUP, EPOCHS = 1.6, 4
ALONE = [sys.executable]
TOGETHER = [*ALONE, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def train(folder: str, n_cases: str) -> None:
    """Train on noise; the first process writes the median seconds per epoch and the losses."""
    import torch

    from s4signal import S4Classifier

    torch.set_num_threads(1)
    X = np.random.default_rng(0).standard_normal((int(n_cases), 4, 1000), dtype=np.float32)
    size = {"frontend": "linear", "readout": "pooled", "d_model": 64, "n_layers": 2, "dropout": 0.0}
    model = S4Classifier(**size, max_epochs=EPOCHS, random_state=0)
    model.fit(X, np.arange(len(X)) % 2)
    if os.environ.get("RANK", "0") == "0":
        seconds = statistics.median(line["seconds"] for line in model.history_[1:])
        losses = [line["loss"] for line in model.history_]
        (Path(folder) / "found.json").write_text(json.dumps({"seconds": seconds, "losses": losses}))


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="two processes need one core each")
def test_two_processes_train_1_6_times_as_fast_as_one(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    work = [__file__, str(tmp_path), os.environ.get("S4SIGNAL_CASES", "128")]
    found: dict[str, list[dict[str, object]]] = {"one": [], "two": []}

    def turn() -> None:
        for name, command in (("one", ALONE), ("two", TOGETHER)):
            environ = os.environ | {"OMP_NUM_THREADS": "1"}
            subprocess.run([*command, *work], check=True, capture_output=True, env=environ)
            found[name].append(json.loads((tmp_path / "found.json").read_text()))

    benchmark.pedantic(turn, rounds=3)
    one, two = (statistics.median(run["seconds"] for run in found[name]) for name in ("one", "two"))  # type: ignore[type-var]
    benchmark.extra_info.update(ratio=one / two)
    print(f"\nan epoch takes one process {one:.2f} s, two {two:.2f} s: {one / two:.2f} times as fast")
    np.testing.assert_allclose(found["two"][0]["losses"], found["one"][0]["losses"], rtol=1e-4)
    assert one / two >= SPEEDUP


if __name__ == "__main__":
    train(*sys.argv[1:])
