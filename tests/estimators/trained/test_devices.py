"""A training step of the default models on a fake accelerator: no waiting for the device, no float64."""

import copy
import sys
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from s4signal import S4Classifier
from s4signal.estimators.trained.inference import on_host
from s4signal.estimators.trained.precompute import feature_batches
from s4signal.training import TrainingResult, evaluate_network
from s4signal.training.loop import _Training
from s4signal.training.step import Gradients

__all__: list[str] = []

META = torch.device("meta")  # supports autograd; its tensors hold no numbers and cannot be mixed with others
WAITING = (
    torch.ops.aten._local_scalar_dense.default,
    torch.ops.aten.nonzero.default,
    torch.ops.aten.equal.default,
    torch.ops.aten.is_nonzero.default,
)


class Refusing(TorchDispatchMode):
    """Raises on float64 on the device, as Macs do, and optionally on operations that wait for the device."""

    def __init__(self, *, waiting=True):
        super().__init__()
        self.waiting = waiting

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if self.waiting and func in WAITING and args[0].device == META:
            raise AssertionError(f"{func} waits for the device")
        copied = func is torch.ops.aten._to_copy.default and kwargs.get("device", META) != META
        if self.waiting and copied and args[0].device == META:
            raise AssertionError("a copy to the CPU waits for the device")
        results = func(*args, **kwargs)
        for result in results if isinstance(results, tuple | list) else [results]:
            if isinstance(result, torch.Tensor) and result.device == META and result.dtype == torch.float64:
                raise TypeError(f"{func}: the device has no float64")
        return results


def speech():
    rng = np.random.default_rng(0)
    return [0.1 * rng.standard_normal((1, n)) for n in rng.integers(4000, 6000, 12)], {"sfreq": 8000.0}


def epochs():
    return np.random.default_rng(0).standard_normal((12, 4, 512)), {"sfreq": 256.0}


def holes():
    X, options = epochs()
    X[:4, :, 30:90] = np.nan
    return X, options | {"missing": "mask"}


KINDS = {"speech": speech, "epochs": epochs, "missing samples": holes}


def step_of(kind, monkeypatch):
    """Return a training of a default model before its first step, and the cases of that step."""
    seen, step = [], _Training._step

    def watched(training, planned):
        if not seen:
            seen.extend([copy.copy(training), planned, copy.deepcopy(training.network)])
        return step(training, planned)

    monkeypatch.setattr(_Training, "_step", watched)
    X, options = KINDS[kind]()
    S4Classifier(max_epochs=1, random_state=0, **options).fit(X, np.arange(len(X)) % 2)
    monkeypatch.undo()
    training, planned, training.network = seen
    return training, planned


def fake_device(monkeypatch):
    """Build tables as on a device without float64; disable autocast, which does not support the fake device."""
    for name, module in list(sys.modules.items()):
        if name.startswith("s4signal") and hasattr(module, "construction_dtype"):
            monkeypatch.setattr(module, "construction_dtype", lambda _: torch.float32)
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())


@pytest.mark.parametrize("kind", KINDS)
def test_training_step_does_not_wait_for_the_device(kind, monkeypatch):
    training, planned = step_of(kind, monkeypatch)
    fake_device(monkeypatch)
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    training.network._apply(lambda t: FakeTensor(mode, torch.empty_like(t, device=META), META))
    training.parameters = list(training.network.parameters())
    training.options, training.generator, training.load = replace(training.options, device=META), None, training._load
    training.gradients = Gradients(training.network, loss=training.loss, options=training.options, generator=None)
    # The fused AdamW does not support the fake device.
    training.optimizer = torch.optim.SGD(training.network.parameters(), lr=0.1)
    training.scheduler = training.averaged = None
    with mode, Refusing():
        assert [given.device for given in training._step(planned)] == [META] * 2


def test_fake_device_detects_waiting_and_float64():
    with FakeTensorMode(), Refusing():
        x = torch.ones(3, device=META)
        with pytest.raises(Exception, match=r"waits|item\(\)"):
            float(x.sum())
        with pytest.raises(AssertionError, match="a copy to the CPU waits"):
            x.cpu()
        with pytest.raises(TypeError, match="the device has no float64"):
            x.double()


@pytest.mark.parametrize("kind", KINDS)
def test_scoring_and_calibration_work_without_float64(kind, monkeypatch):
    training, _ = step_of(kind, monkeypatch)
    fake_device(monkeypatch)
    network, mode = training.network.requires_grad_(requires_grad=False), FakeTensorMode(allow_non_fake_inputs=True)
    network._apply(lambda t: FakeTensor(mode, torch.empty_like(t, device=META), META))
    options = replace(training.options, device=META)
    with mode, Refusing(waiting=False):
        outputs = evaluate_network(network, training.cases, options=options)
        network.frontend.calibrate(feature_batches(network.frontend, training.cases, options))
    assert (outputs.device.type, outputs.dtype) == ("cpu", torch.float64)


def test_trained_weights_and_optimizer_state_are_moved_to_the_cpu(monkeypatch):
    network, moved = nn.Linear(2, 3), []
    monkeypatch.setattr(network, "cpu", lambda: moved.append(True) or network)  # a fake tensor cannot be moved
    with FakeTensorMode():
        moments = {0: {"step": torch.ones((), device=META), "exp_avg": torch.ones(3, 2, device=META)}}
        result = TrainingResult(network, [], 1, {"state": moments, "param_groups": []}, 1.0)
        own, state = on_host(result)
    assert own is network
    assert moved == [True]
    assert {name: (x.device.type, tuple(x.shape)) for name, x in state["state"][0].items()} == {
        "step": ("cpu", ()),
        "exp_avg": ("cpu", (3, 2)),
    }
