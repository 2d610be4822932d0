"""Device, seed and memory."""

import ctypes
import types

import pytest
import torch

from s4signal.training import resolve_device
from s4signal.training.runtime import autocast, isolated_seed, reused_memory

CPU = torch.device("cpu")


def test_auto_takes_what_there_is():
    expected = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert resolve_device("auto").type == expected


def test_a_device_may_be_given_as_such():
    assert resolve_device(CPU) == resolve_device("cpu") == CPU


@pytest.mark.parametrize("device", ["gpu", "", "meta", "cpu:x", None, 1.5])
def test_unknown_devices_are_refused_with_the_choices(device):
    with pytest.raises(ValueError, match=r"is unknown; choose 'auto', 'cpu', 'cuda'"):
        resolve_device(device)


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "mps"])
def test_a_device_that_is_not_there_is_refused(device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ValueError, match=rf"device='{device}' is not available on this machine; device='auto' takes"):
        resolve_device(device)


def test_a_graphics_card_beyond_the_last_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("cuda:1").index == 1
    with pytest.raises(ValueError, match="device='cuda:2' is not available"):
        resolve_device("cuda:2")


def test_a_seed_inside_leaves_the_random_state_outside():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    with isolated_seed(1, CPU):
        inside = torch.rand(3)
    assert torch.equal(torch.rand(3), expected)
    with isolated_seed(1, CPU):
        assert torch.equal(torch.rand(3), inside)


def test_an_error_inside_leaves_the_random_state_outside():
    state = torch.get_rng_state()
    with pytest.raises(IndexError, match="out of bounds"), isolated_seed(1, CPU):
        torch.rand(3)[3]
    assert torch.equal(torch.get_rng_state(), state)


def test_memory_settings_are_restored_after_an_error(monkeypatch):
    calls = []
    libc = types.SimpleNamespace(
        mallopt=lambda name, value: calls.append((name, value)), malloc_trim=lambda pad: calls.append("trim")
    )
    monkeypatch.setattr("s4signal.training.runtime.sys.platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: libc)
    with pytest.raises(IndexError, match="out of bounds"), reused_memory():
        torch.rand(3)[3]
    assert calls[:2] == [(-4, 0), (-1, 2**31 - 1)]
    assert calls[2:] == [(-4, 65536), (-1, 128 * 1024), "trim"]


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_without_mallopt_memory_is_left_alone(platform, monkeypatch):
    monkeypatch.setattr("s4signal.training.runtime.sys.platform", platform)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: types.SimpleNamespace())
    with reused_memory():
        assert torch.ones(10).sum() == 10


def test_only_bf16_casts():
    x = torch.ones(4, 4)
    with autocast(CPU, "32"):
        assert (x @ x).dtype == torch.float32
    with autocast(CPU, "bf16"):
        assert (x @ x).dtype == torch.bfloat16
