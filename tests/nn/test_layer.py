"""The contract of every kernel in KERNELS: causality, rates, no output above Nyquist, gradients, clear errors."""

import math

import pytest
import torch
from torch import Tensor

from s4signal.errors import ShapeError
from s4signal.nn import KERNELS, S4Layer
from s4signal.ssm import DenseSystem

__all__: list[str] = []

each_kernel = pytest.mark.parametrize("kernel", sorted(KERNELS))
each_init = pytest.mark.parametrize(("kernel", "init"), [(k, init) for k in KERNELS for init in KERNELS[k].INITS])
# Not "forward": Euler's rule is unstable for fast modes, and outputs that diverge cannot be compared.
RULES = [(kernel, "legs", rule) for kernel in KERNELS for rule in KERNELS[kernel].RULES if rule != "forward"]
DEFAULTS = [(k, init, KERNELS[k].DEFAULT_RULE) for k in KERNELS for init in KERNELS[k].INITS if init != "legs"]
each_option = pytest.mark.parametrize(("kernel", "init", "discretization"), RULES + DEFAULTS)


def noise(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype)


def assert_close(got: Tensor, expected: Tensor, relative: float) -> None:
    torch.testing.assert_close(got, expected, rtol=0, atol=relative * float(expected.detach().abs().max()))


@each_option
def test_output_ignores_the_future(kernel: str, init: str, discretization: str) -> None:
    layer = S4Layer(3, 8, kernel=kernel, init=init, discretization=discretization)
    for n_times, now in ((100, 60), (300, 150)):  # one block, and many
        u = noise(3, 2, n_times)
        changed = u.clone()
        changed[..., now:] = noise(3, 2, n_times - now)
        y, z = layer(u), layer(changed)
        assert torch.equal(y[..., :now], z[..., :now])
        assert not torch.allclose(y[..., now:], z[..., now:])


@each_kernel
def test_bidirectional_output_depends_on_past_and_future(kernel: str) -> None:
    layer = S4Layer(3, 8, kernel=kernel, bidirectional=True)
    for n_times in (100, 300):
        u = noise(3, 1, n_times).requires_grad_()
        (grad,) = torch.autograd.grad(layer(u)[:, 0, 50].sum(), u)
        assert (grad.abs() > 0).all()


@each_kernel
@pytest.mark.parametrize("discretization", ["zoh", "bilinear"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_every_second_sample_at_rate_2_gives_the_same_output(
    kernel: str, discretization: str, bidirectional: bool
) -> None:
    layer = S4Layer(4, 16, kernel=kernel, discretization=discretization, bidirectional=bidirectional)
    t = torch.arange(2000, dtype=torch.float64)
    u = sum(torch.sin(2 * math.pi * t / period + period) for period in (900.0, 1300.0, 1700.0)).expand(4, 1, -1)
    y, coarse = layer(u), layer(u[..., ::2], rate=2.0)
    error = (y[..., ::2] - coarse).square().mean().sqrt() / y.square().mean().sqrt()
    assert error < 0.05
    assert (y[..., ::2] - layer(u[..., ::2])).square().mean().sqrt() > 0.1 * y.square().mean().sqrt()


@pytest.mark.parametrize("kernel", ["s4d", "s5"])  # dense systems have no separate modes
@pytest.mark.parametrize("bidirectional", [False, True])
def test_modes_above_nyquist_have_no_output(kernel: str, bidirectional: bool) -> None:
    layer = S4Layer(2, 16, kernel=kernel, init="lin", bidirectional=bidirectional, dt_range=(0.3, 0.3))
    for name, parameter in layer.named_parameters():
        if name.rpartition(".")[2] in {"C", "C_reverse"}:
            # The modes are at 0.3 pi n: 0 ... 3 lie below pi, 4 ... 7 above. Only the upper ones have an output vector.
            parameter.data[:, :4] = 0.0
    u = noise(2, 1, 50)
    through = layer.D.double()[:, None, None] * u
    assert torch.equal(layer(u), through)
    assert not torch.allclose(layer(u, rate=0.5), through)  # at twice the sampling rate they lie below Nyquist
    if not bidirectional:
        assert torch.equal(layer.step(u[..., 0])[0], through[..., 0])


@each_init
def test_output_and_gradients_are_finite_at_100_000_samples(kernel: str, init: str) -> None:
    layer = S4Layer(2, 16, kernel=kernel, init=init, bidirectional=True, dt_range=(1e-5, 0.5))
    u = noise(2, 1, 100_000, dtype=torch.float32).requires_grad_()
    y = layer(u)
    y.square().mean().backward()
    assert y.isfinite().all()
    for name, tensor in [("u", u), *layer.named_parameters()]:
        assert tensor.grad is not None, name
        assert tensor.grad.isfinite().all(), name
        assert tensor.grad.abs().max() > 0, name


@each_kernel
def test_gradients_flow_through_a_carried_state(kernel: str) -> None:
    layer = S4Layer(3, 8, kernel=kernel)
    u = noise(3, 2, 250)
    _, state = layer(u[..., :50], return_state=True)
    names, parameters = zip(*layer.named_parameters(), strict=True)
    got = torch.autograd.grad(layer(u[..., 50:], state=state).sum(), parameters)
    expected = torch.autograd.grad(layer(u)[..., 50:].sum(), parameters)
    for name, g, e in zip(names, got, expected, strict=True):
        torch.testing.assert_close(g, e, rtol=1e-5, atol=1e-5 * float(e.abs().max()), msg=name)


@each_kernel
def test_states_stay_float32_in_low_precision(kernel: str) -> None:
    layer = S4Layer(4, 16, kernel=kernel)
    u = noise(4, 2, 300, dtype=torch.float32)
    exact = layer(u.bfloat16().float())
    y, state = layer(u.bfloat16(), return_state=True)
    assert y.dtype == torch.bfloat16
    assert state.dtype == torch.float32
    assert_close(y.float(), exact, 2**-8)  # only the output is rounded
    y_t, state = layer.step(u[..., 0].bfloat16(), state)
    assert y_t.dtype == torch.bfloat16
    assert state.dtype == torch.float32


@each_kernel
def test_a_bidirectional_layer_refuses_states_and_steps(kernel: str) -> None:
    layer = S4Layer(2, 4, kernel=kernel, bidirectional=True)
    u = noise(2, 1, 10)
    with pytest.raises(ValueError, match=r"a carried state needs a causal layer; build it with bidirectional=False"):
        layer(u, return_state=True)
    with pytest.raises(ValueError, match=r"a carried state needs a causal layer"):
        layer(u, state=noise(2, 1, 4))
    with pytest.raises(ValueError, match=r"step needs a causal layer"):
        layer.step(u[..., 0])


def test_errors_for_unknown_options_list_the_choices() -> None:
    with pytest.raises(ValueError, match=r"kernel='s4nd' is unknown; choose one of 's4d', 's4', 'lssl', 's5'"):
        S4Layer(2, 4, kernel="s4nd")
    with pytest.raises(ValueError, match=r"init='hippo' is unknown; choose one of 'legs', 'inv', 'lin', 'real'"):
        S4Layer(2, 4, init="hippo")
    with pytest.raises(ValueError, match=r"discretization='euler' is unknown; choose one of 'zoh', 'bilinear'"):
        S4Layer(2, 4, discretization="euler")
    with pytest.raises(ValueError, match=r"init='chebt' is unknown; choose one of 'legs', 'legt', 'lagt', 'fout'"):
        S4Layer(2, 4, kernel="s4", init="chebt")


@pytest.mark.parametrize("kernel", ["s4d", "s4", "s5"])
@pytest.mark.parametrize("d_state", [0, 3])
def test_an_odd_or_empty_state_is_refused(kernel: str, d_state: int) -> None:
    with pytest.raises(ValueError, match=rf"d_state={d_state} must be even and at least 2"):
        S4Layer(2, d_state, kernel=kernel)


@each_kernel
@pytest.mark.parametrize("dt_range", [(0.0, 0.1), (0.1, 0.01), (-1.0, 1.0), (float("nan"), 1.0)])
def test_an_invalid_range_of_steps_is_refused(kernel: str, dt_range: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match=r"dt_range=.* must be two positive numbers, the smaller one first"):
        S4Layer(2, 4, kernel=kernel, dt_range=dt_range)


@each_kernel
def test_steps_beyond_nyquist_are_refused(kernel: str) -> None:
    with pytest.raises(ValueError, match=r"a step above 1 is a memory of less than one sample"):
        S4Layer(2, 4, kernel=kernel, dt_range=(0.1, 4.0))


def test_a_dense_state_may_be_odd_but_not_empty() -> None:
    assert S4Layer(2, 3, kernel="lssl")(noise(2, 1, 40)).shape == (2, 1, 40)
    with pytest.raises(ValueError, match=r"d_state=0 must be at least 1"):
        S4Layer(2, 0, kernel="lssl")


@each_kernel
def test_frozen_dynamics_have_no_gradient(kernel: str) -> None:
    layer = S4Layer(2, 4, kernel=kernel, frozen=True)
    layer(noise(2, 1, 40)).sum().backward()
    learned = {name for name, parameter in layer.named_parameters() if parameter.grad is not None}
    assert learned == {"D", "kernel.C"}


@each_init
def test_every_system_is_stable_for_any_parameters(kernel: str, init: str) -> None:
    layer = S4Layer(4, 16, kernel=kernel, init=init)
    assert (layer.kernel.modes().re <= 1e-9).all()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter += 0.5 * torch.randn_like(parameter)
    assert (layer.kernel.modes().re <= 1e-9).all()
    _, state = layer(noise(4, 1, 20_000), return_state=True)
    assert state.isfinite().all()
    assert state.abs().max() < 1e6


@each_kernel
def test_modes_are_those_of_a_zero_order_hold(kernel: str) -> None:
    layer = S4Layer(3, 8, kernel=kernel, discretization="zoh")
    modes, system = torch.complex(*layer.kernel.modes()).exp(), layer.system()
    dense = isinstance(system, DenseSystem)
    expected = torch.linalg.eigvals(system.A_bar) if dense else torch.complex(*system.Lambda_bar)
    distances = (modes.unsqueeze(-1) - expected.unsqueeze(-2)).abs()
    assert max(distances.amin(-1).max(), distances.amin(-2).max()) < 1e-5


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan")])
def test_a_non_positive_rate_is_refused(rate: float) -> None:
    layer = S4Layer(2, 4)
    with pytest.raises(ValueError, match=r"rate=.* must be positive"):
        layer(noise(2, 1, 5), rate=rate)
    with pytest.raises(ValueError, match=r"rate=.* must be positive"):
        layer.step(noise(2, 1), rate=rate)


@pytest.mark.parametrize("shape", [(3, 1, 10), (2, 10), (1, 2, 10), (2, 1, 0)])
def test_a_signal_of_wrong_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"u must have shape \(2, batch, n_times\), got"):
        S4Layer(2, 4)(noise(*shape))


@pytest.mark.parametrize("shape", [(3, 1), (2,), (2, 1, 1)])
def test_a_sample_of_wrong_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"u must have shape \(2, batch\), got"):
        S4Layer(2, 4).step(noise(*shape))


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 1, 2), (1, 4)])
def test_a_state_of_wrong_shape_is_refused(shape: tuple[int, ...]) -> None:
    layer = S4Layer(2, 4)
    with pytest.raises(ShapeError, match=r"state must have shape \(n_systems, batch, d_state\) = \(2, 1, 4\), got"):
        layer(noise(2, 1, 10), state=noise(*shape))
    with pytest.raises(ShapeError, match=r"state must have shape"):
        layer.step(noise(2, 1), noise(*shape))
