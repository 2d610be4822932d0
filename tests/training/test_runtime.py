"""Device and precision."""

import pytest
import torch

from s4signal.training import resolve_device
from s4signal.training.runtime import autocast

CPU = torch.device("cpu")


def test_auto_selects_the_available_device():
    expected = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert resolve_device("auto").type == expected


def test_a_torch_device_is_accepted():
    assert resolve_device(CPU) == resolve_device("cpu") == CPU


@pytest.mark.parametrize("device", ["gpu", "", "meta", "cpu:x", None, 1.5])
def test_errors_for_unknown_devices_list_the_choices(device):
    with pytest.raises(ValueError, match=r"is unknown; choose 'auto', 'cpu', 'cuda'"):
        resolve_device(device)


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "mps"])
def test_an_unavailable_device_is_refused(device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ValueError, match=rf"device='{device}' is not available on this machine; device='auto' uses"):
        resolve_device(device)


def test_a_gpu_index_out_of_range_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("cuda:1").index == 1
    with pytest.raises(ValueError, match="device='cuda:2' is not available"):
        resolve_device("cuda:2")


def test_autocast_is_used_only_for_bf16():
    x = torch.ones(4, 4)
    with autocast(CPU, "32"):
        assert (x @ x).dtype == torch.float32
    with autocast(CPU, "bf16"):
        assert (x @ x).dtype == torch.bfloat16
