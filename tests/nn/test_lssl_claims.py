"""Claims of the LSSL paper: the layer is a gated recurrence, an ODE solver and a convolution, for any time scale.

Gu, Johnson, Goel, Saab, Dao, Rudra, Ré, "Combining Recurrent, Convolutional, and Continuous-time Models with Linear
State-Space Layers", 2021, section 3, arXiv:2110.13985.
"""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from s4signal.nn import KERNELS, S4Layer
from s4signal.ssm import BASES

__all__: list[str] = []

# The weight of the new sample in a step of length dt of x' = -x + u.
GATES: dict[str, Callable[[Tensor], Tensor]] = {
    "backward": lambda dt: dt / (1 + dt),
    "bilinear": lambda dt: dt / (1 + dt / 2),
    "forward": lambda dt: dt,
    "zoh": lambda dt: 1 - torch.exp(-dt),
}


def leaky(n_channels: int, rule: str, dt: Tensor | float) -> S4Layer:
    """LSSL layers of order one, x' = -x + u and y = x."""
    layer = S4Layer(n_channels, 1, kernel="lssl", discretization=rule).double()
    with torch.no_grad():
        for name, value in {"kernel.R": 1.0, "kernel.B": 1.0, "kernel.C": 1.0, "D": 0.0}.items():
            layer.get_parameter(name).fill_(value)
        layer.get_parameter("kernel.log_dt").copy_(torch.as_tensor(dt, dtype=torch.float64).log())
    return layer.requires_grad_(False)


@pytest.mark.parametrize("rule", sorted(GATES))
def test_a_layer_of_order_one_is_a_gated_recurrence(rule: str) -> None:
    dt = torch.logspace(-3, 0, 5).double().unsqueeze(-1)
    gate, u = GATES[rule](dt), torch.randn(5, 2, 200).double()
    x, expected = torch.zeros(5, 2).double(), []
    for u_t in u.unbind(-1):
        x = (1 - gate) * x + gate * u_t
        expected.append(x)
    torch.testing.assert_close(leaky(5, rule, dt)(u), torch.stack(expected, -1), rtol=0, atol=1e-12)


def test_the_gate_of_backward_euler_is_the_sigmoid_of_log_dt() -> None:
    z = torch.linspace(-6, 6, 9).double()
    gate = leaky(9, "backward", torch.exp(z).unsqueeze(-1))(torch.ones(9, 1, 1).double())
    torch.testing.assert_close(gate.flatten(), torch.sigmoid(z), rtol=0, atol=1e-12)


def test_steps_that_depend_on_the_input_give_a_gated_recurrent_unit() -> None:
    cell = torch.nn.GRUCell(3, 1).double().requires_grad_(False)
    cell.weight_hh.zero_()  # gates and candidates depend only on the input
    cell.bias_hh.zero_()
    inputs, hidden, state = torch.randn(100, 1, 3).double(), torch.zeros(1, 1).double(), None
    layer = leaky(1, "backward", 1.0)
    for x in inputs:
        _, z, candidate = (x @ cell.weight_ih.T + cell.bias_ih).chunk(3, -1)
        # torch's gate weights the old state, the paper's the new input: sigma(-z) = dt / (1 + dt) at dt = exp(-z).
        y, state = layer.step(torch.tanh(candidate), state, rate=math.exp(-z.item()))
        hidden = cell(x, hidden)
        torch.testing.assert_close(y, hidden, rtol=0, atol=1e-12)


def drive(t: np.ndarray | float, x: np.ndarray | float) -> np.ndarray:
    """Nonlinear right-hand side of x' = -x + f(t, x)."""
    return np.tanh(2.0 * np.asarray(x) + np.sin(t))


def picard(dt: float, depth: int, duration: float = 3.0) -> list[np.ndarray]:
    """Stack layers of order one with f between them, and return the output of each."""
    layer, t = leaky(1, "backward", dt), dt * np.arange(1, round(duration / dt) + 1)
    x, outputs = np.zeros_like(t), []
    for _ in range(depth):
        x = layer(torch.from_numpy(drive(t, x)).view(1, 1, -1)).numpy().ravel()
        outputs.append(x)
    return outputs


def test_a_deep_stack_equals_a_nonlinear_recurrence() -> None:
    # Backward Euler of the whole equation, its implicit step solved by iteration.
    dt, x, expected = 0.01, 0.0, []
    for t in dt * np.arange(1, 301):
        new = x
        for _ in range(60):
            new = (x + dt * float(drive(t, new))) / (1 + dt)
        x = new
        expected.append(x)
    errors = [np.abs(output - expected).max() for output in picard(dt, 20)]
    assert errors[-1] < 1e-14
    # Picard iteration: the error falls as M^k / k!, so later layers reduce it by a larger factor.
    assert errors[10] / errors[6] < errors[6] / errors[2] < 1e-3


def test_a_deep_stack_solves_a_nonlinear_differential_equation() -> None:
    errors = []
    for dt in (0.02, 0.01, 0.005):
        t = dt * np.arange(1, round(3.0 / dt) + 1)
        solution = solve_ivp(lambda s, x: -x + drive(s, x), (0.0, 3.0), [0.0], t_eval=t, rtol=1e-10, atol=1e-12)
        errors.append(np.abs(picard(dt, 40)[-1] - solution.y[0]).max())
    assert errors[0] < 0.02
    assert errors[0] / errors[1] == pytest.approx(2.0, rel=0.1)  # a first-order integrator
    assert errors[1] / errors[2] == pytest.approx(2.0, rel=0.1)


@pytest.mark.parametrize("age", [0.25, 0.5, 0.75])
def test_the_layer_convolves_with_the_filters_of_its_measure(age: float) -> None:
    window = 500
    layer = S4Layer(2, 64, kernel="lssl", init="legt", dt_range=(1 / window, 1 / window)).double().requires_grad_(False)
    layer.D.zero_()
    # One channel returns the mean of the window, its first coefficient; the other one a delayed input.
    layer.kernel.C[0] = torch.eye(64)[0]
    layer.kernel.C[1] = torch.from_numpy(BASES["legt"](64, np.array([age]))[:, 0])
    t = torch.arange(3000.0).double()
    u = torch.sin(t / 90) + torch.sin(t / 40 + 1)
    mean, delayed = layer(u.expand(2, 1, -1))[:, 0, window:]
    expected = u.unfold(0, window, 1).mean(-1)[1:]
    delay = round(age * window)
    assert (mean - expected).abs().max() < 0.01
    assert (delayed - u[window - delay : -delay]).abs().max() < 0.02


@pytest.mark.parametrize("c", [2, 5])
@pytest.mark.parametrize("kernel", sorted(KERNELS))
def test_a_stretched_signal_with_smaller_steps_gives_the_same_output(kernel: str, c: int) -> None:
    # Sampling a held signal more often does not change it. The steps are small enough for
    # every mode to lie below Nyquist at the lower rate.
    layer = S4Layer(3, 8, kernel=kernel, discretization="zoh", dt_range=(1e-3, 0.1))
    u = torch.randn(3, 2, 300).double()
    y, state = layer(u, return_state=True)
    z, end = layer(u.repeat_interleave(c, -1), rate=1 / c, return_state=True)
    torch.testing.assert_close(z[..., c - 1 :: c], y, rtol=0, atol=1e-9)
    torch.testing.assert_close(end, state, rtol=0, atol=1e-9)


@torch.no_grad()
@pytest.mark.parametrize("rule", sorted(KERNELS["lssl"].RULES))
def test_only_the_product_of_dynamics_and_step_matters(rule: str) -> None:
    layer, u = S4Layer(3, 8, kernel="lssl", discretization=rule, dt_range=(1e-3, 0.01)), torch.randn(3, 2, 300).double()
    y = layer(u)
    for name, factor in {"K": 4.0, "R": 2.0, "B": 4.0}.items():
        getattr(layer.kernel, name).mul_(factor)
    torch.testing.assert_close(layer(u, rate=0.25), y, rtol=0, atol=1e-9)
