"""Training from clips on disk needs little memory and is as fast as from memory.

S4SIGNAL_CLIPS is the number of one-second clips at 16 kHz: 400 by default; 100,000 need 3.2 GB and hours.
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

from s4signal import S4Classifier, Signals

__all__: list[str] = []

SFREQ, MOST_GIB, EPOCHS = 16_000, 1.5, 3
ENVIRONMENT = os.environ | {"MALLOC_MMAP_THRESHOLD_": str(2**22)}  # glibc keeps only the gaps between smaller blocks


def write_clips(folder: Path, n_clips: int) -> None:
    """Write low and high tones in noise."""
    soundfile = pytest.importorskip("soundfile")
    rng, times = np.random.default_rng(0), np.arange(SFREQ) / SFREQ
    for i in range(n_clips):
        tone = np.sin(2 * np.pi * (300 + 150 * (i % 2)) * times + rng.uniform(0, 6))
        clip = 0.3 * tone + 0.05 * rng.standard_normal(SFREQ)
        soundfile.write(folder / f"{i:06}.wav", clip, SFREQ, subtype="PCM_16")


def train(folder: str, where: str) -> dict[str, float]:
    """Train the default model for sound; return clips per second of an epoch, and peak memory in GiB."""
    signals = Signals.from_files(sorted(Path(folder).glob("*.wav")))
    options = {"memory_budget_gb": 0 if where == "disk" else 1000}
    y = np.arange(len(signals)) % 2
    model = S4Classifier(max_epochs=EPOCHS, random_state=0, **options).fit(signals, y)
    seconds = statistics.median(line["seconds"] for line in model.history_[1:])
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return {
        "rate": len(signals) / seconds,
        "peak_gib": int(peak.split()[1]) / 2**20,
        "loss": model.history_[-1]["loss"],
    }


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_training_from_disk_is_as_fast_with_little_memory(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    n_clips = int(os.environ.get("S4SIGNAL_CLIPS", "400"))
    write_clips(tmp_path, n_clips)
    found: dict[str, list[dict[str, float]]] = {"disk": [], "memory": []}

    def turn() -> None:
        for where, runs in found.items():
            command = [sys.executable, __file__, str(tmp_path), where]
            done = subprocess.run(command, check=True, capture_output=True, text=True, env=ENVIRONMENT)
            runs.append(json.loads(done.stdout))

    benchmark.pedantic(turn, rounds=3 if n_clips <= 1000 else 1)
    disk, memory = (max(run["rate"] for run in found[where]) for where in ("disk", "memory"))
    peak = max(run["peak_gib"] for run in found["disk"])
    benchmark.extra_info.update(ratio=disk / memory, peak_gib=peak)
    print(f"\n{n_clips} clips: {disk / memory:.2f} of the throughput from memory, peak {peak:.2f} GiB")
    assert len({run["loss"] for runs in found.values() for run in runs}) == 1
    assert peak <= MOST_GIB
    assert disk / memory >= 0.9


if __name__ == "__main__":
    sys.stdout.write(json.dumps(train(*sys.argv[1:])))
