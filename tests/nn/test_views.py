"""One layer, many views: blocks, FFT, steps, pieces, Cauchy sums and scipy agree, for all options."""

import math
from typing import NamedTuple

import numpy as np
import pytest
import torch
from cauchy_kernel import cauchy_kernel
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import cont2discrete, dlsim
from torch import Tensor

from s4signal.nn import KERNELS, S4Layer
from s4signal.ssm import Pair, fft_convolve, recurrent_scan

__all__: list[str] = []

D_MODEL, BATCH = 3, 2
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}
SCIPY_RULES = {
    "zoh": "zoh",
    "bilinear": "bilinear",
    "forward": "euler",
    "backward": "backward_diff",
    "dirac": "impulse",
}
OPTIONS = [(kernel, init, rule) for kernel, k in KERNELS.items() for init in k.INITS for rule in k.RULES]
RATES = [0.5, 1.0, 2.0, 3.7]
each_kernel = pytest.mark.parametrize("kernel", sorted(KERNELS))


class Drawn(NamedTuple):
    """A layer, at its initial parameters or trained, and its input."""

    option: tuple[str, str, str]
    rate: float
    trained: bool
    d_state: int
    seed: int
    n_times: int
    dtype: torch.dtype
    bidirectional: bool

    def layer(self) -> S4Layer:
        torch.manual_seed(self.seed)
        kernel, init, rule = self.option
        # Forward Euler is stable only at small steps, and outputs that diverge cannot be compared.
        dt_range = (1e-4, 1e-3) if rule == "forward" else (3e-3, 0.3)
        options = {"init": init, "discretization": rule, "bidirectional": self.bidirectional, "dt_range": dt_range}
        layer = S4Layer(D_MODEL, self.d_state, kernel=kernel, **options).double()
        if self.trained:
            for parameter in layer.parameters():
                parameter.data += 0.1 * torch.randn_like(parameter)
        return layer

    def signal(self) -> Tensor:
        return torch.randn(D_MODEL, BATCH, self.n_times, dtype=self.dtype)


def drawn(
    lengths: list[int],
    options: list[tuple[str, str, str]] = OPTIONS,
    dtypes: tuple[torch.dtype, ...] = (torch.float64,),
    directions: tuple[bool, ...] = (False,),
) -> st.SearchStrategy[Drawn]:
    """Draw every combination, at lengths of one block, many blocks, and a partial last block."""
    return st.builds(
        Drawn,
        option=st.sampled_from(options),
        rate=st.sampled_from(RATES),
        trained=st.booleans(),
        d_state=st.sampled_from([2, 8]),
        seed=st.integers(0, 1000),
        n_times=st.sampled_from(lengths),
        dtype=st.sampled_from(dtypes),
        bidirectional=st.sampled_from(directions),
    )


def examples(n: int) -> settings:
    return settings(max_examples=n, deadline=None, derandomize=True)


def relative_error(got: Tensor, expected: Tensor) -> float:
    """Largest deviation over the largest value."""
    return float((got.double() - expected.double()).abs().max() / expected.double().abs().max().clamp_min(1e-30))


@torch.no_grad()
@examples(80)
@given(drawn=drawn([1, 2, 37, 130, 200], dtypes=tuple(TOLERANCE), directions=(False, True)))
def test_blocks_equal_the_fft_and_the_recurrence(drawn: Drawn) -> None:
    layer, u = drawn.layer(), drawn.signal()
    system = layer.kernel.system(layer.D, rate=drawn.rate)
    y = layer(u, rate=drawn.rate)
    assert y.dtype == drawn.dtype
    assert relative_error(y, fft_convolve(system, u.double())) < TOLERANCE[drawn.dtype]
    assert relative_error(y, recurrent_scan(system, u.double())[0]) < TOLERANCE[drawn.dtype]


@torch.no_grad()
@examples(80)
@given(drawn=drawn([2, 40, 150], dtypes=tuple(TOLERANCE)), cuts=st.lists(st.integers(1, 149), min_size=1, max_size=4))
def test_pieces_and_steps_equal_the_whole(drawn: Drawn, cuts: list[int]) -> None:
    layer, u, rate = drawn.layer(), drawn.signal(), drawn.rate
    y, final = layer(u, return_state=True, rate=rate)
    stepped, piecewise, state, carried = [], [], None, None
    for u_t in u.unbind(-1):
        y_t, state = layer.step(u_t, state, rate=rate)
        stepped.append(y_t)
    for piece in torch.tensor_split(u, sorted({c % drawn.n_times for c in cuts} - {0}), -1):
        part, carried = layer(piece, state=carried, return_state=True, rate=rate)
        piecewise.append(part)
    for output, end in ((torch.stack(stepped, -1), state), (torch.cat(piecewise, -1), carried)):
        assert output.dtype == end.dtype == drawn.dtype
        assert relative_error(output, y) < TOLERANCE[drawn.dtype]
        assert relative_error(end, final) < TOLERANCE[drawn.dtype]


@examples(40)
@given(drawn=drawn([20, 150], directions=(False, True)))
def test_gradients_of_all_views_agree(drawn: Drawn) -> None:
    layer, u = drawn.layer(), drawn.signal().requires_grad_()
    leaves, weights = [u, *layer.parameters()], torch.randn(u.shape).double()
    system = layer.kernel.system(layer.D, rate=drawn.rate)
    views = layer(u, rate=drawn.rate), fft_convolve(system, u), recurrent_scan(system, u)[0]
    by_blocks, *others = (torch.autograd.grad((weights * y).sum(), leaves, retain_graph=True) for y in views)
    for other in others:
        assert max(relative_error(g, e) for g, e in zip(by_blocks, other, strict=True)) < 1e-8


@torch.no_grad()
@examples(40)
@given(drawn=drawn([1, 2, 63, 300], options=[("s4", init, "bilinear") for init in KERNELS["s4"].INITS]))
def test_the_impulse_response_of_s4_equals_its_cauchy_kernel(drawn: Drawn) -> None:
    layer = drawn.layer()
    kernel, impulse = layer.kernel, torch.zeros(D_MODEL, 1, drawn.n_times).double()
    impulse[..., 0] = 1.0
    response = layer(impulse, rate=drawn.rate)[:, 0]
    response[:, 0] -= layer.D
    P, B, C = (Pair(*z.unbind(-1)) for z in (kernel.P.transpose(1, 2), kernel.B, output_vectors(layer, drawn.rate)))
    Lambda = Pair(-torch.exp(kernel.log_decay), kernel.frequency)
    expected = cauchy_kernel(Lambda, P, B, C, torch.exp(kernel.log_dt) * drawn.rate, drawn.n_times)
    assert relative_error(response, expected) < 1e-9


def output_vectors(layer: S4Layer, rate: float) -> Tensor:
    """Return the output vectors of pairs, without the modes above the Nyquist frequency."""
    angle = layer.kernel.frequency * torch.exp(layer.kernel.log_dt) * rate
    return layer.kernel.C * (angle.abs() <= math.pi).unsqueeze(-1)


def continuous(layer: S4Layer, rate: float) -> list[tuple[np.ndarray, ...]]:
    """Write a layer as real matrices (A, B, C, dt), one set per system; scipy takes real matrices."""
    kernel = layer.kernel
    parameters = {name: value.detach().numpy() for name, value in kernel.named_parameters()}
    dt, C = np.exp(parameters["log_dt"]) * rate, parameters["C"]
    if kernel.PAIRS:
        C = (output_vectors(layer, rate).numpy() * [2.0, -2.0]).reshape(D_MODEL, -1)
    if not kernel.SHARED:
        A, B = (matrix.detach().numpy() for matrix in kernel.matrices())
        return [(A[h], B[h][:, None], C[h][None], dt[h, 0]) for h in range(D_MODEL)]
    decay, frequency = np.exp(parameters["log_decay"]), parameters["frequency"]
    A = np.kron(np.diag(-decay), np.eye(2)) + np.kron(np.diag(frequency), [[0, -1], [1, 0]])
    # Each mode has its own step: in units of the steps, the system has step 1. B is multiplied by the step, too.
    steps = np.repeat(dt, 2)[:, None]
    return [(A * steps, parameters["B"].swapaxes(1, 2).reshape(-1, D_MODEL) * steps, C, 1.0)]


@torch.no_grad()
@pytest.mark.parametrize("rate", [1.0, 2.0])
@pytest.mark.parametrize("rule", sorted(SCIPY_RULES))
@pytest.mark.parametrize(("kernel", "init"), [(k, i) for k in ("s4", "lssl", "s5") for i in KERNELS[k].INITS])
def test_dense_and_shared_layers_equal_scipy(kernel: str, init: str, rule: str, rate: float) -> None:
    # Diagonal ones: tests/ssm/test_views.py.
    drawn = Drawn((kernel, init, rule), rate, True, 6, 7, 70, torch.float64, False)
    layer, u = drawn.layer(), drawn.signal()
    y = layer(u, rate=rate)
    expected = layer.D[:, None, None].numpy() * u.numpy()
    systems = continuous(layer, rate)
    for h, (A, B, C, dt) in enumerate(systems):
        channels = slice(None) if len(systems) == 1 else slice(h, h + 1)
        A_bar, B_bar, *_ = cont2discrete((A, B, C, np.zeros((len(C), B.shape[1]))), dt, SCIPY_RULES[rule])
        if rule == "dirac":
            B_bar = np.linalg.solve(A_bar, B_bar)  # scipy's impulse has decayed by one step when it enters the state
        # Here an output depends on its own sample; in scipy only on earlier ones.
        discrete = (A_bar, B_bar, C @ A_bar, C @ B_bar, 1.0)
        for b in range(BATCH):
            expected[channels, b] += dlsim(discrete, u[channels, b].numpy().T)[1].T
    assert relative_error(y, torch.from_numpy(expected)) < 1e-9


@torch.no_grad()
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("dt_range", [(1e-3, 0.1), (1e-5, 1e-3)])
@each_kernel
def test_float32_has_five_digits_over_65536_samples(
    kernel: str, dt_range: tuple[float, float], bidirectional: bool
) -> None:
    layer = S4Layer(4, 64, kernel=kernel, dt_range=dt_range, bidirectional=bidirectional)
    u = torch.randn(4, 1, 65_536)
    for got, expected in zip(layer(u), layer(u.double()), strict=True):  # per channel
        assert relative_error(got, expected) < 1e-5
    if not bidirectional:
        (_, state), (_, expected) = (layer(v, return_state=True) for v in (u, u.double()))
        assert relative_error(state, expected) < 1e-5
