"""The irregular scan equals the other views on a grid and the matrix exponential elsewhere, and ignores padding."""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from random_systems import BATCH, D_MODEL, TOLERANCE, Drawn, drawn_systems, dtypes, few_examples, relative_error
from scipy.linalg import expm
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

import s4signal
from s4signal.ssm import Modes, Pair, irregular, irregular_scan, recurrent_scan, shared_scan
from s4signal.ssm.irregular import steps
from s4signal.ssm.irregular.factors import GapFactors

__all__: list[str] = []

zoh_systems = drawn_systems.map(
    lambda drawn: Drawn(drawn.init, "zoh", 1.0, drawn.bidirectional, drawn.d_state, drawn.seed)
)
both_directions = pytest.mark.parametrize("bidirectional", [False, True])


def random_gaps(n_times: int, seed: int = 0) -> Tensor:
    """Gaps (BATCH, n_times) of all sizes, some of them zero, some long."""
    gaps = np.random.default_rng(seed).exponential(size=(BATCH, n_times))
    gaps[:, 3::17] = 0.0
    gaps[:, 5::100] *= 50.0
    return torch.from_numpy(gaps)


def no_grid() -> AbstractContextManager[object]:
    """Make times on a grid run through the scan too."""
    return mock.patch.object(irregular, "find_grid", return_value=None)


def stepped(modes: Modes, u: Tensor, gaps: Tensor, state: Tensor | None = None) -> Tensor:
    """Step one real 2 x 2 block per mode by scipy's matrix exponential, with a zero-order hold, in both directions."""
    y = modes.D[:, None, None] * u
    for h in range(u.shape[0]):
        for n in range(modes.C.re.shape[1]):
            a, b = float(modes.Lambda_dt.re[h, n]), float(modes.Lambda_dt.im[h, n])
            system = np.zeros((3, 3))  # two states, and the input as a third that never changes
            system[:2] = [[a, -b, float(modes.B.re[h, n])], [b, a, float(modes.B.im[h, n])]]
            for case in range(u.shape[1]):
                moves = [expm(system * gap) for gap in gaps[case].tolist()]
                x = np.zeros(2) if state is None else state[h, case, 2 * n : 2 * n + 2].numpy()
                for k, move in enumerate(moves):
                    x = move[:2, :2] @ x + move[:2, 2] * float(u[h, case, k])
                    y[h, case, k] += 2.0 * (modes.C.re[h, n] * x[0] - modes.C.im[h, n] * x[1])
                if modes.C_reverse is None:
                    continue
                z = np.zeros(2)
                for k in range(len(moves) - 1, -1, -1):
                    y[h, case, k] += 2.0 * (modes.C_reverse.re[h, n] * z[0] - modes.C_reverse.im[h, n] * z[1])
                    z = moves[k][:2, :2] @ z + moves[k][:2, 2] * float(u[h, case, k])
    return y


@few_examples
@given(drawn=zoh_systems, n_times=st.sampled_from([1, 2, 17, 300, 1500]), dtype=dtypes)
def test_scan_equals_the_recurrence_on_a_grid(drawn: Drawn, n_times: int, dtype: torch.dtype) -> None:
    u, state = drawn.signal(n_times, dtype), drawn.state(dtype)
    with no_grid():
        y, final = irregular_scan(drawn.modes(), u, torch.ones(BATCH, n_times), state, return_state=True)
    expected, expected_final = recurrent_scan(drawn.system(), u.double(), state.double())
    assert final is not None
    assert y.dtype == final.dtype == dtype
    assert relative_error(y, expected) < TOLERANCE[dtype]
    assert relative_error(final, expected_final) < TOLERANCE[dtype]


@pytest.mark.parametrize("n_times", [60, 700])
@pytest.mark.parametrize("carried", [False, True])
@both_directions
def test_scan_equals_the_matrix_exponential_at_random_times(bidirectional: bool, carried: bool, n_times: int) -> None:
    drawn = Drawn("legs", "zoh", 1.0, bidirectional, d_state=6, seed=4)
    modes, u, gaps = drawn.modes(), drawn.signal(n_times, torch.float64), random_gaps(n_times)
    state = drawn.state(torch.float64) if carried else None
    expected = stepped(modes, u, gaps, state)
    assert relative_error(irregular_scan(modes, u, gaps, state)[0], expected) < 1e-8
    single = None if state is None else state.float()
    assert relative_error(irregular_scan(modes, u.float(), gaps, single)[0], expected) < 1e-4


@few_examples
@given(drawn=zoh_systems, share=st.floats(0.0, 1.0), times=st.integers(1, 4))
def test_splitting_a_held_sample_changes_nothing(drawn: Drawn, share: float, times: int) -> None:
    modes, u, gaps = drawn.modes(), drawn.signal(40, torch.float64), random_gaps(40, drawn.seed)
    expected, expected_final = irregular_scan(modes, u, gaps, return_state=True)
    for _ in range(times):
        split = torch.arange(u.shape[-1]).repeat_interleave(2)
        u, gaps = u[..., split], torch.stack([share * gaps, (1.0 - share) * gaps], -1).flatten(1)
    y, final = irregular_scan(modes, u, gaps, return_state=True)
    assert final is not None
    assert expected_final is not None
    assert relative_error(y[..., 2**times - 1 :: 2**times], expected) < 1e-9
    assert relative_error(final, expected_final) < 1e-9


@few_examples
@given(drawn=zoh_systems, padding=st.sampled_from([1, 30, 900]))
def test_padding_changes_nothing(drawn: Drawn, padding: int) -> None:
    modes, u, gaps = drawn.modes(), drawn.signal(600, torch.float64), random_gaps(600)
    expected, expected_final = irregular_scan(modes, u, gaps, return_state=True)
    padded = [torch.nn.functional.pad(x, (0, padding)) for x in (u, gaps)]
    y, final = irregular_scan(modes, *padded, return_state=True)
    assert final is not None
    assert expected_final is not None
    assert relative_error(y[..., :600], expected) < 1e-9
    assert relative_error(final, expected_final) < 1e-9


@few_examples
@given(drawn=zoh_systems, cuts=st.lists(st.integers(1, 699), min_size=1, max_size=4, unique=True), dtype=dtypes)
def test_pieces_with_carried_state_equal_the_whole(drawn: Drawn, cuts: list[int], dtype: torch.dtype) -> None:
    modes, u, gaps = drawn.modes()._replace(C_reverse=None), drawn.signal(700, dtype), random_gaps(700)
    expected, _ = irregular_scan(modes, u, gaps)
    state, pieces = None, []
    for piece, piece_gaps in zip(*(torch.tensor_split(x, sorted(cuts), -1) for x in (u, gaps)), strict=True):
        y, state = irregular_scan(modes, piece, piece_gaps, state, return_state=True)
        pieces.append(y)
    assert relative_error(torch.cat(pieces, -1), expected) < TOLERANCE[dtype]


def looped(modes: Modes, u: Tensor, gaps: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Run the causal direction by the textbook formula, one sample at a time, under autograd."""
    re, im = (part for part in state.unflatten(-1, (-1, 2)).unbind(-1))
    x, ys = torch.complex(re, im), []
    Lambda, B, C = (torch.complex(z.re, z.im).unsqueeze(1) for z in (modes.Lambda_dt, modes.B, modes.C))
    for u_k, gap in zip(u.unbind(-1), gaps.unbind(-1), strict=True):
        decay = torch.exp(Lambda * gap[:, None])
        x = decay * x + (decay - 1.0) / Lambda * B * u_k.unsqueeze(-1)
        ys.append(2.0 * (C * x).real.sum(-1) + modes.D[:, None] * u_k)
    return torch.stack(ys, -1), torch.view_as_real(x).flatten(-2)


@both_directions
def test_gradients_of_the_scan_are_correct(bidirectional: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "PIECE_STATES", 1)  # several pieces in a short signal
    run, leaves = scan_of_leaves(bidirectional, 20)
    assert torch.autograd.gradcheck(run, leaves, fast_mode=True)


@pytest.mark.parametrize("n_times", [30, 700])
def test_gradients_of_the_scan_equal_those_of_a_loop(n_times: int) -> None:
    run, leaves = scan_of_leaves(False, n_times)
    reference, _ = scan_of_leaves(False, n_times, looped)
    weights = [torch.randn_like(part) for part in run(*leaves)]
    expected = torch.autograd.grad(reference(*leaves), leaves, weights)
    got = torch.autograd.grad(run(*leaves), leaves, weights)
    assert all(relative_error(g, e) < 1e-9 for g, e in zip(got, expected, strict=True))
    single = run(leaves[0].float(), leaves[1].float(), *leaves[2:])
    got = torch.autograd.grad(single, leaves, [w.float() for w in weights])
    assert all(relative_error(g, e) < 1e-4 for g, e in zip(got, expected, strict=True))


def scan_of_leaves(
    bidirectional: bool, n_times: int, loop: Callable[..., tuple[Tensor, Tensor]] | None = None
) -> tuple[Callable[..., tuple[Tensor, Tensor]], list[Tensor]]:
    drawn = Drawn("legs", "zoh", 1.0, bidirectional, d_state=4, seed=3)
    modes, gaps = drawn.modes(), random_gaps(n_times)
    pairs = [modes.Lambda_dt, modes.B, modes.C, *([modes.C_reverse] if modes.C_reverse else [])]
    leaves = [drawn.signal(n_times, torch.float64), drawn.state(torch.float64), modes.D]
    leaves = [leaf.clone().requires_grad_() for leaf in [*leaves, *(part for z in pairs for part in z)]]

    def run(u: Tensor, state: Tensor, D: Tensor, *parts: Tensor) -> tuple[Tensor, Tensor]:
        z = [Pair(re, im) for re, im in zip(parts[::2], parts[1::2], strict=True)]
        changed = Modes(z[0], z[1], z[2], D, z[3] if bidirectional else None)
        if loop is not None:
            return loop(changed, u, gaps, state)
        y, final = irregular_scan(changed, u, gaps, state, return_state=True)
        assert final is not None
        return y, final

    return run, leaves


def shared_inputs(n_times: int) -> list[Tensor]:
    drawn = Drawn("legs", "zoh", 1.0, False, d_state=6, seed=6)
    modes, v = drawn.modes(), drawn.signal(n_times, torch.float64)
    first = torch.randn(2, 3, BATCH, dtype=torch.float64)
    return [modes.Lambda_dt.re[1].clone(), modes.Lambda_dt.im[1].clone(), v, v.flip(-1), first[0], first[1]]


@pytest.mark.parametrize("reverse", [False, True])
def test_a_shared_scan_equals_one_scan_per_mode(reverse: bool) -> None:
    re, im, v_re, v_im, *_ = shared_inputs(700)
    gaps = random_gaps(700)
    states = shared_scan(Pair(re, im), Pair(v_re, v_im), gaps, reverse=reverse)
    ones, zeros = torch.ones(3, 1, dtype=torch.float64), torch.zeros(3, 1, dtype=torch.float64)
    half, quarter = Pair(0.5 * ones, zeros), Pair(zeros, -0.5 * ones)  # 2 Re(C x): real part, imaginary part

    def part(C: Pair, u: Tensor) -> Tensor:
        no_output = Pair(zeros, zeros)
        past, future = (no_output, C) if reverse else (C, None)
        modes = Modes(Pair(re[:, None], im[:, None]), Pair(ones, zeros), past, zeros[:, 0], future)
        return irregular_scan(modes, u, gaps)[0]

    assert relative_error(states.re, part(half, v_re) - part(quarter, v_im)) < 1e-9
    assert relative_error(states.im, part(quarter, v_re) + part(half, v_im)) < 1e-9


@pytest.mark.parametrize("reverse", [False, True])
def test_gradients_of_a_shared_scan_are_correct(reverse: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "PIECE_STATES", 1)
    leaves = [leaf.clone().requires_grad_() for leaf in shared_inputs(20)]

    def run(*z: Tensor) -> Pair:
        return shared_scan(Pair(z[0], z[1]), Pair(z[2], z[3]), random_gaps(20), Pair(z[4], z[5]), reverse=reverse)

    assert torch.autograd.gradcheck(run, leaves, fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("distinct", [True, False])
def test_tables_of_factors_equal_exponentials(distinct: bool, dtype: torch.dtype) -> None:
    Lambda = Pair(-torch.logspace(-5, 0, 40, dtype=torch.float64), torch.logspace(-6, 1, 40, dtype=torch.float64))
    gaps = random_gaps(2000) if distinct else random_gaps(2000).ceil()
    factors = GapFactors(Lambda.stacked(), gaps, dtype)
    assert (factors.coefficients is not None) is distinct
    assert (factors.index is not None) is not distinct
    got = factors.piece(slice(100, 700))
    expected = torch.expm1(torch.complex(*Lambda) * gaps.T[100:700, :, None])
    # Small factors must be precise: a slow mode accumulates thousands of them.
    scale = torch.minimum(expected.abs(), (torch.complex(*Lambda) * gaps.T[100:700, :, None]).abs()).clamp_min(1e-300)
    assert float(((got - expected).abs() / scale).max()) < 300 * torch.finfo(dtype).eps


def test_a_long_gap_keeps_its_phase_in_float32() -> None:
    Lambda = Pair(torch.tensor([-1e-4], dtype=torch.float64), torch.tensor([3.0], dtype=torch.float64))
    factor = GapFactors(Lambda.stacked(), torch.tensor([[2000.3]], dtype=torch.float64), torch.float32).piece(
        slice(0, 1)
    )
    expected = torch.expm1(torch.complex(*Lambda) * 2000.3)
    assert relative_error(torch.view_as_real(factor).flatten(), torch.view_as_real(expected).flatten()) < 1e-6


@pytest.mark.parametrize("device", ["cuda:0", "meta"])
def test_a_scan_stays_on_its_device(device: str) -> None:
    with FakeTensorMode(allow_non_fake_inputs=False):
        leaves = [torch.empty(D_MODEL, 3, device=device, dtype=torch.float64) for _ in range(8)]
        if device == "meta":  # autograd would query the driver of a CUDA device
            leaves = [leaf.requires_grad_() for leaf in leaves]
        modes = Modes(Pair(*leaves[:2]), Pair(*leaves[2:4]), Pair(*leaves[4:6]), leaves[6][:, 0], Pair(*leaves[6:8]))
        u = torch.empty(D_MODEL, BATCH, 40, device=device)
        y, state = irregular_scan(modes, u, torch.ones(BATCH, 40, device=device), return_state=True)
        assert state is not None
        assert y.device == state.device == torch.device(device)
        v = Pair(u, u)
        shared = shared_scan(Pair(leaves[0][0], leaves[1][0]), v, torch.ones(BATCH, 40, device=device))
        if device == "meta":
            (y.sum() + shared.re.sum()).backward()
            assert all(leaf.grad is not None and leaf.grad.device == torch.device(device) for leaf in leaves)


@pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed: it comes with torch on Linux")
def test_gpu_kernels_equal_the_torch_path() -> None:
    # In a separate process: triton chooses its interpreter at import.
    script = Path(__file__).with_name("triton_interpreted.py")
    checkout = {"PYTHONPATH": str(Path(s4signal.__file__).parents[1])}
    command = [sys.executable, "-W", "ignore", script]
    done = subprocess.run(command, env={**os.environ, **checkout}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
