"""The report of 500 sounds is a page of a few megabytes; its time is printed."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from s4signal import S4Classifier, S4RidgeClassifier, Signals
from s4signal.inspection.report import Evaluation, write_report
from s4signal.inspection.scores import predictions_of

__all__: list[str] = []

N = 500
LARGEST_MB = 10


@pytest.mark.parametrize("model", [S4Classifier(max_epochs=1, random_state=0), S4RidgeClassifier(random_state=0)])
def test_the_report_of_500_cases_is_a_small_page(model: Any, benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    rng, y = np.random.default_rng(0), np.array(["noise", "tone"] * (N // 2))
    data = 0.1 * rng.standard_normal((N, 1, 16000)).astype(np.float32)
    data[1::2] += np.sin(0.2 * np.arange(16000, dtype=np.float32))
    X, groups = Signals(data, sfreq=16000.0), np.repeat(np.arange(N // 10).astype(str), 10)
    page = tmp_path / "report.html"
    model.fit(X[:40], y[:40]).save(tmp_path / "m.s4")

    def report() -> tuple[float, float]:
        """Return the processor time in seconds of the predictions and of the page."""
        started = time.process_time()
        predicted = predictions_of(model, X, y, groups)
        middle = time.process_time()
        write_report(
            page, Evaluation(model, tmp_path / "m.s4", X, predicted, {}, "held out", [(True, "none was seen")])
        )
        return middle - started, time.process_time() - middle

    predictions_s, page_s = benchmark.pedantic(report, rounds=1)
    size = page.stat().st_size / 1e6
    benchmark.extra_info.update(predictions_s=predictions_s, page_s=page_s, megabytes=size)
    seconds = f"{predictions_s:.1f} s to predict, {page_s:.1f} s to write"
    print(f"\n{N} sounds of 1 s: {seconds}, of processor time; {size:.1f} MB")
    assert size < LARGEST_MB
