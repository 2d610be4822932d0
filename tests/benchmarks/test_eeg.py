"""EEG: reading windows compared with plain MNE, and speed and memory of predicting a night."""

import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from measuring import medians_in_turn
from pytest_benchmark.fixture import BenchmarkFixture

from s4signal import S4Classifier, S4RidgeClassifier, Signals, read_eeg
from s4signal.signals import datasets, windows

__all__: list[str] = []

HOURS, N_CHANNELS, SFREQ, WINDOW_S = 8, 8, 100, 30
MODELS = {"S4RidgeClassifier": S4RidgeClassifier, "S4Classifier": S4Classifier}


def test_reading_windows_of_twenty_files_is_as_fast_as_mne(benchmark: BenchmarkFixture) -> None:
    mne = pytest.importorskip("mne")
    files = sorted((datasets.data_home() / "eegmat").glob("*.edf"))[:20]
    if len(files) < 20:
        pytest.skip("S4SIGNAL_DATA names no folder with the 20 files of eegmat/")

    def own() -> Any:
        return windows(read_eeg(files, picks="all"), duration_s=4)[0].to_numpy()

    def plain() -> Any:
        raws = (mne.io.read_raw_edf(path, preload=True, verbose="error") for path in files)
        cut = [mne.make_fixed_length_epochs(raw, 4.0, preload=True, verbose="error") for raw in raws]
        return np.concatenate([epochs.get_data(copy=False) for epochs in cut])

    np.testing.assert_allclose(own(), plain(), atol=1e-12)
    seconds, by_mne = medians_in_turn(benchmark, own, plain, rounds=7)
    benchmark.extra_info["ratio"] = seconds / by_mne
    print(f"\n20 files into windows: {seconds:.2f} s, by MNE {by_mne:.2f} s, ratio {seconds / by_mne:.2f}")
    assert seconds <= 1.05 * by_mne


def night(name: str, cut: str) -> tuple[float, float]:
    """Fit to a few windows, then predict a night, as 30 s windows or as one case; return speed and peak MiB."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, N_CHANNELS, WINDOW_S * SFREQ)).astype(np.float32)
    short = {"max_epochs": 1, "bidirectional": False} if name == "S4Classifier" else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = MODELS[name](random_state=0, sfreq=SFREQ, **short).fit(X, [0, 1] * 20)
        model.predict(X[:1])
    data = rng.standard_normal((N_CHANNELS, HOURS * 3600 * SFREQ), dtype=np.float32)
    recording = Signals([data], sfreq=SFREQ)
    started = time.process_time()
    model.predict(windows(recording, duration_s=WINDOW_S)[0] if cut == "windows" else recording)
    seconds = time.process_time() - started
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text("utf-8").splitlines())
    return HOURS * 3600 / seconds, int(lines["VmHWM"].split()[0]) / 1024


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("cut", ["windows", "one case"])
def test_a_night_is_predicted_fast_with_little_memory(benchmark: BenchmarkFixture, name: str, cut: str) -> None:
    found: list[float] = []

    def run() -> None:
        done = subprocess.run([sys.executable, __file__, name, cut], check=True, capture_output=True, text=True)
        found[:] = map(float, done.stdout.split())

    benchmark.pedantic(run, rounds=1)
    benchmark.extra_info.update(times_as_fast=found[0], peak_mib=found[1])
    print(
        f"\n{name}, {HOURS} h as {cut}: {found[0]:,.0f} times as fast as it lasts (aim 2,000), peak {found[1]:.0f} MiB"
    )
    assert found[0] >= 2000
    assert found[1] <= 1536


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.stdout.write(" ".join(map(str, night(*sys.argv[1:]))))
