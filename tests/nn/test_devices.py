"""On an accelerator nothing falls back to the CPU or waits for the device; tested with fake tensors, without one."""

from contextlib import nullcontext

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensor, FakeTensorMode

from s4signal.nn import FilterBank, Frames, S4Backbone, S4Layer, S4Network, space_bands
from s4signal.nn.backbone import StackOptions, length_mask
from s4signal.nn.frontends import FilterBankFrontend, LinearFrontend
from s4signal.nn.pooling import POOLINGS

__all__: list[str] = []

# autograd queries the driver of a CUDA device even for fake tensors: gradients are computed on "meta" instead,
# whose tensors have no data and cannot be mixed with CPU tensors either.
devices = pytest.mark.parametrize("device", ["cuda:0", "meta"])


@pytest.fixture(autouse=True)
def _autocast_without_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())


def moved(module: torch.nn.Module, mode: FakeTensorMode, device: str) -> torch.nn.Module:
    return module._apply(lambda t: FakeTensor(mode, torch.empty_like(t, device="meta"), torch.device(device)))


def check_gradients(module: torch.nn.Module, y: Tensor, device: str) -> None:
    assert y.device == torch.device(device)
    if device == "meta":
        y.square().mean().backward()
        assert all(p.grad is not None and p.grad.device == torch.device(device) for p in module.parameters())


@devices
def test_the_fake_device_detects_mixed_devices_and_synchronisation(device: str) -> None:
    with FakeTensorMode():
        x = torch.ones(3, device=device)
        with pytest.raises(RuntimeError, match="same device"):
            x + torch.ones(3)
        with pytest.raises((DataDependentOutputException, RuntimeError), match=r"local_scalar|item\(\)"):
            x.sum().item()


@devices
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize(("filters", "bidirectional"), [(False, True), (True, False)])
def test_a_network_stays_on_its_device(filters: bool, bidirectional: bool, pooling: str, device: str) -> None:
    frequencies, bandwidths = space_bands("erb", 8, 50.0, 400.0)
    filter_bank = FilterBank(frequencies_hz=frequencies, bandwidths_hz=bandwidths, sfreq=1000.0, hop_s=0.01)
    means, n = "case" if bidirectional else "running", 2 if filters else 1  # networks side by side
    bank = FilterBankFrontend(3, 8, bank=filter_bank, mean_subtraction=means, n_groups=n)
    options = StackOptions(d_model=8 // n, n_networks=n, n_layers=2, d_state=8, bidirectional=bidirectional)
    net = S4Network(bank if filters else LinearFrontend(3, 8), 2, options=options, pooling=pooling)
    mode = FakeTensorMode()
    moved(net, mode, device)
    with mode:
        x = torch.randn(3, 2, 300, device=device)
        mask = length_mask(torch.ones(2, device=device), 300, x.dtype)
        check_gradients(net, net(x, mask), device)
        net.frontend.calibrate([(net.frontend.features(Frames(x, mask)), torch.ones(2, device=device))])


@devices
def test_a_backbone_stays_on_its_device(device: str) -> None:
    net, mode = S4Backbone(3, 8, 2, d_state=8), FakeTensorMode()
    moved(net, mode, device)
    with mode:
        check_gradients(net, net(torch.randn(2, 300, 3, device=device)), device)


@devices
def test_states_and_steps_stay_on_their_device(device: str) -> None:
    layer, mode = S4Layer(4, 8), FakeTensorMode()
    moved(layer, mode, device)
    with mode:
        u = torch.randn(4, 2, 300, device=device)
        _, state = layer(u, return_state=True)
        y, state = layer(u, state=state, return_state=True)
        y_t, state = layer.step(u[..., 0], state)
        assert state.device == torch.device(device)
        check_gradients(layer, y.sum() + y_t.sum(), device)
