"""Features above the memory budget are stored in a file, long cases are predicted in pieces: the results are equal."""

import io
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from small_models import classifier, same_weights, waves

from s4signal import Signals
from s4signal.estimators.trained import inference
from s4signal.estimators.trained.precompute import FeatureStore
from s4signal.nn.steps import NetworkSteps

__all__: list[str] = []

X, Y = waves(n_times=600)
SOUND = Signals([x[:, : 600 - 10 * (i % 3)] for i, x in enumerate(X)], sfreq=8000.0)
Usage = type(shutil.disk_usage("."))


@pytest.fixture
def files(monkeypatch, tmp_path):
    """Record the temporary files that are opened, in a folder of this test."""
    opened, real = [], tempfile.TemporaryFile
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **options: opened.append(real(**options)) or opened[-1])
    return opened


@pytest.mark.parametrize(
    ("data", "options"),
    [
        (SOUND, {"augmentation": ("sample_dropout", "band_shift")}),
        (Signals(X, sfreq=100.0), {"early_stopping": True, "validation_fraction": 0.25}),
        (SOUND, {"precision": "64"}),
    ],
    ids=["filter bank", "hop means and validation", "64 bits"],
)
def test_fit_from_disk_equals_fit_from_memory(data, options, files, tmp_path):
    in_memory = classifier(max_epochs=2, **options).fit(data, Y)
    assert files == []
    on_disk = classifier(max_epochs=2, memory_budget_gb=0, **options).fit(data, Y)
    assert len(files) == (2 if "early_stopping" in options else 1)
    assert same_weights(in_memory, on_disk)
    assert in_memory.history_[-1]["loss"] == on_disk.history_[-1]["loss"]
    assert [path for path in tmp_path.iterdir() if path.name.startswith("s4signal")] == []


def test_first_case_determines_whether_features_go_to_disk(files):
    for budget, n_files in ((8e-6, 0), (7.9e-6, 1)):  # 1000 bytes of an eighth of the duration
        store = FeatureStore(np.array([0.5, 0.5, 0.25, 0.75]), budget)
        store.put(2, np.ones((25, 10), dtype=np.float32))
        assert len(files) == n_files


def test_features_on_disk_are_restored_exactly(files, rng):
    arrays = [rng.standard_normal((3, n)).astype(np.float32) for n in (5, 0, 9)]
    store = FeatureStore(np.array([5.0, 1.0, 9.0]), 0)
    for index in (2, 0, 1):
        store.put(index, np.asfortranarray(arrays[index]))
    assert all(np.array_equal(store.get(index), arrays[index]) for index in (1, 2, 0, 2))
    assert store.n_steps.tolist() == [5, 0, 9]


def test_full_disk_is_detected_before_training(monkeypatch, files):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 10**9, 100))
    with pytest.raises(OSError, match=r"more than memory_budget_gb=0 .*1e-07 GB are free.* Free space .* set TMPDIR"):
        classifier(memory_budget_gb=0).fit(SOUND, Y)
    assert files == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_disk_that_fills_up_raises_an_error(monkeypatch):
    full = io.FileIO("/dev/full", "r+")
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: full)
    with (
        full,
        pytest.raises(OSError, match=r"do not fit into the temporary folder, .*No space left.* raise memory_budget"),
    ):
        classifier(memory_budget_gb=0).fit(SOUND, Y)


def test_features_written_in_part_raise_an_error(monkeypatch):
    class NearlyFull(io.BytesIO):
        def write(self, data):
            return super().write(data[:-1])

    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: NearlyFull())
    with pytest.raises(OSError, match=r"after 0 GB: no space left"):
        FeatureStore(np.ones(2), 0).put(0, np.ones((2, 5)))


def test_truncated_file_raises_an_error(files):
    store = FeatureStore(np.ones(2), 0)
    store.put(0, np.ones((2, 5)))
    files[0].truncate(8)
    with pytest.raises(OSError, match="has been truncated by another program; fit again"):
        store.get(0)


@pytest.fixture
def pieces(monkeypatch):
    """Lower the length above which cases are predicted in pieces, and record the lengths of the pieces."""
    lengths, advance = [], NetworkSteps.advance
    monkeypatch.setattr(inference, "_MOST_SAMPLES", 128)
    monkeypatch.setattr(inference, "_PIECE", 250)

    def recorded(self, x, *more, **options):
        lengths.append(x.shape[-1])
        return advance(self, x, *more, **options)

    monkeypatch.setattr(NetworkSteps, "advance", recorded)
    return lengths


CAUSAL = {
    "linear": {"frontend": "linear"},
    "linear, closed form": {"frontend": "linear", "readout": "closed_form"},
    "hop means": {"frontend": "hop_means"},
    "band power": {"frontend": "band_power"},
    "filter bank": {"frontend": "filterbank"},
    "dense kernel": {"frontend": "linear", "kernel": "lssl"},
    "bf16": {"frontend": "linear", "precision": "bf16"},
}


@pytest.mark.parametrize("options", CAUSAL.values(), ids=CAUSAL)
def test_a_causal_model_predicts_a_long_case_in_pieces(options, request):
    rate = 8000.0 if options["frontend"] == "filterbank" else 100.0
    data = Signals(list(X), sfreq=rate)
    new = Signals([X[0], X[1][:, :601], np.tile(X[2], 2)[:, :1111]], sfreq=rate)
    model = classifier(bidirectional=False, max_epochs=1, **options).fit(data, Y)
    torch.nn.init.ones_(model.network_.head.weight)  # layers with a weight of 0 are not run
    whole = model.predict_proba(new)
    lengths = request.getfixturevalue("pieces")
    np.testing.assert_allclose(model.predict_proba(new), whole, atol=2e-2 if "precision" in options else 1e-5)
    assert lengths[-5:] == [250, 250, 250, 250, 111]


@pytest.mark.parametrize("options", [{"bidirectional": True}, {"bidirectional": False, "missing": "gap"}])
def test_noncausal_models_and_cases_with_gaps_are_predicted_at_once(options, request):
    holes = X.copy()
    holes[:, :, 100:110] = np.nan
    data = holes if "missing" in options else X
    model = classifier(frontend="linear", readout="pooled", max_epochs=1, **options).fit(data, Y)
    whole = model.predict_proba(data[:2])
    lengths = request.getfixturevalue("pieces")
    np.testing.assert_allclose(model.predict_proba(data[:2]), whole, atol=1e-6)
    assert lengths == []
