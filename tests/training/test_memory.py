"""A batch that does not fit into memory is computed in halves: the same weights, one warning."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from small_training import loss, make_network, options_for, tones
from torch import nn

from s4signal import S4Classifier
from s4signal.errors import CheckpointError
from s4signal.estimators.trained.precompute import extract_features
from s4signal.nn import Frames
from s4signal.training import Cases, TrainingOptions, evaluate_network, fit_network, resolve_device
from s4signal.training.loading import half_the_samples

__all__: list[str] = []

NO_MEMORY = {
    "cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "cpu": RuntimeError("[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: 12"),
    "mps": RuntimeError("MPS backend out of memory (MPS allocated: 18.13 GB)"),
    "windows": RuntimeError("[enforce fail at alloc_cpu.cpp:121] data. DefaultCPUAllocator: not enough memory: 12"),
    "cublas": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    "numpy": MemoryError("Unable to allocate 2.00 GiB for an array"),
}


class Small(nn.Module):
    """A network on a device with memory for `most` cases; it fails in the middle of the backward pass."""

    def __init__(self, network, most, error):
        super().__init__()
        self.network, self.most, self.error, self.sizes = network, most, error, []

    def forward(self, x, mask=None, **options):
        self.sizes.append(x.shape[1])
        outputs = self.network(x, mask, **options)
        if x.shape[1] > self.most:
            if not outputs.requires_grad:
                raise self.error
            outputs.register_hook(lambda _: (_ for _ in ()).throw(self.error))
        return outputs


def train(network, **changes):
    options = {"batch_size": 8, "max_epochs": 3, "state_space": (), "averaging": 0.8} | changes
    return fit_network(network, tones(20), loss=loss, options=options_for(network, **options), validation=tones(9))


@pytest.mark.parametrize("kind", NO_MEMORY)
def test_training_in_halves_equals_training_and_warns(kind):
    expected = train(make_network())
    with pytest.warns(UserWarning, match="did not fit into the memory of cpu: from now on .* in halves") as caught:
        found = train(Small(make_network(), 3, NO_MEMORY[kind]))
    # Training and scoring each warn.
    assert len([w for w in caught if "training" in str(w.message)]) >= 1
    for name, value in expected.network.state_dict().items():
        torch.testing.assert_close(found.network.state_dict()[f"network.{name}"], value, rtol=0, atol=1e-10)
    for line, other in zip(found.history, expected.history, strict=True):
        assert line["validation_loss"] == pytest.approx(other["validation_loss"], abs=1e-10)


def test_training_remembers_the_size_that_fits_and_warns_once():
    network = Small(make_network(), 3, NO_MEMORY["cuda"])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = fit_network(network, tones(20), loss=loss, options=options_for(network, max_epochs=4, state_space=()))
    assert len(caught) == 1
    sizes = result.network.sizes
    assert sizes[0] == 20
    assert max(sizes[-7:]) <= 3
    assert sum(size > 3 for size in sizes) <= 5  # 20, 10, 5 and pieces of some lengths


def test_the_largest_part_of_several_cases_is_halved():
    cases = Cases.of([np.zeros((1, length)) for length in (100, 12, 10, 9, 8)])
    parts = [np.array([0]), np.array([1, 2]), np.array([3, 4])]
    assert half_the_samples(cases, parts, NO_MEMORY["cuda"]) == 12


def test_a_case_that_does_not_fit_is_refused_with_advice():
    network = Small(make_network(), 0, NO_MEMORY["cuda"])
    advice = r"a single case of \d+ steps does not fit into memory \(CUDA out of memory.*Cut it into windows"
    with pytest.warns(UserWarning, match="in halves"), pytest.raises(MemoryError, match=advice):
        train(network)
    with pytest.raises(MemoryError, match=advice):
        evaluate_network(network, tones(1), options=options_for(network))


def test_other_errors_are_raised_unchanged():
    network = Small(make_network(), 0, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        train(network)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        evaluate_network(network.requires_grad_(requires_grad=False), tones(4), options=options_for(network))


def test_features_are_computed_in_halves():
    cases = tones(20)

    def features(batch):
        if batch.x.shape[1] > 3:
            raise NO_MEMORY["cuda"]
        return Frames(batch.x.cumsum(-1), batch.mask, batch.rate)

    options = TrainingOptions(max_samples=10**6, precision="64")
    with pytest.warns(UserWarning, match="in halves") as caught:
        found = extract_features(features, cases, options)
    assert len(caught) == 1
    for index in range(20):
        np.testing.assert_allclose(found.load(index).data, cases.load(index).data.cumsum(-1), atol=1e-12)


def test_a_mac_has_no_float64(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert resolve_device("auto").type == "mps"
    assert resolve_device("auto", precision="64").type == "cpu"
    with pytest.raises(ValueError, match="device='mps' has no float64; for precision='64' set device='cpu'"):
        S4Classifier(device="mps", precision="64").fit(np.zeros((4, 2, 30)), [0, 1, 0, 1])


def test_an_unusable_folder_is_refused_before_recordings_are_read(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")

    class Unread:
        def __array__(self, *_):
            raise AssertionError("read before the folder was checked")

    model = S4Classifier(checkpoint_dir=tmp_path / "file" / "folder", random_state=0)
    with pytest.raises(CheckpointError, match=r"checkpoint_dir cannot be used: .*Free space or choose another folder"):
        model.fit(Unread(), [0, 1])

    def full(**_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    with pytest.raises(CheckpointError, match="Read-only file system"):
        model.set_params(checkpoint_dir=tmp_path / "folder").fit(Unread(), [0, 1])


UNTOUCHED = """
import torch

def touched(*_, **__):
    raise AssertionError("CUDA was touched")

torch.cuda._lazy_init = torch.cuda.is_available = torch.cuda.device_count = touched
import s4signal, s4signal.estimators, s4signal.inspection, s4signal.nn, s4signal.training
from sklearn.base import clone

for kind in (s4signal.S4Classifier, s4signal.S4Regressor, s4signal.S4RidgeClassifier, s4signal.S4RidgeRegressor):
    clone(kind())
print(clone(s4signal.S4Classifier(device="cuda:1")).device, torch.cuda.is_initialized())
"""


def test_neither_import_nor_init_touches_cuda():
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", UNTOUCHED], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["cuda:1", "False"]
