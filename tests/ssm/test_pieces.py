"""Pieces of any length equal the recurrence, and dropped samples can be passed again."""

import copy
import pickle

import pytest
import torch

from s4signal.nn import KERNELS, S4Layer
from s4signal.ssm import recurrent_scan
from s4signal.ssm.pieces import LONGEST, amplified, make_pieces

__all__: list[str] = []

each_kernel = pytest.mark.parametrize("kernel", sorted(KERNELS))


def system_of(kernel, d_model=3, d_state=6):
    layer = S4Layer(d_model, d_state, kernel=kernel).double()
    with torch.no_grad():
        return layer.kernel.system(layer.D)


def run(pieces, u, sizes):
    state, outputs = pieces.at_rest(u.shape[1]), []
    for piece in u.split(sizes, -1):
        y, state = pieces.advance(piece, state)
        outputs.append(y)
    return torch.cat(outputs, -1), state


@each_kernel
@pytest.mark.parametrize("longest", [1, 5, LONGEST])
@pytest.mark.parametrize("sizes", [[1] * 10 + [90], [LONGEST, 1, LONGEST + 1, 34], [100], [3, 13, 84]])
def test_pieces_equal_the_recurrence(kernel, longest, sizes):
    system, u = system_of(kernel), torch.randn(3, 2, 100, dtype=torch.float64)
    y, _ = run(make_pieces(system, u.dtype, longest=longest), u, sizes)
    torch.testing.assert_close(y, recurrent_scan(system, u)[0], rtol=0, atol=1e-10)


@each_kernel
@pytest.mark.parametrize("n", [1, 2, LONGEST, LONGEST + 1, 2 * LONGEST + 1, 70])
def test_a_dropped_last_sample_has_an_output_and_can_be_passed_again(kernel, n):
    pieces, u = make_pieces(system_of(kernel), torch.float64), torch.randn(3, 2, n + 9, dtype=torch.float64)
    whole, _ = run(pieces, u, [n + 9])
    y, state = pieces.advance(u[..., :n], pieces.at_rest(2), dropped=1)
    again, _ = pieces.advance(u[..., n - 1 :], state)
    torch.testing.assert_close(y, whole[..., :n], rtol=0, atol=1e-10)
    torch.testing.assert_close(again, whole[..., n - 1 :], rtol=0, atol=1e-10)


@each_kernel
def test_an_amplified_system_equals_an_amplified_input(kernel):
    system, u = system_of(kernel), torch.randn(3, 1, 40, dtype=torch.float64)
    y, _ = run(make_pieces(amplified(system, 3.0), u.dtype), u, [40])
    torch.testing.assert_close(y, recurrent_scan(system, 3.0 * u)[0], rtol=0, atol=1e-10)


@torch.no_grad()
@each_kernel
def test_copies_and_pickles_continue_bit_identically(kernel):
    pieces, u = make_pieces(system_of(kernel), torch.float32), torch.randn(3, 1, 90)
    _, state = pieces.advance(u[..., :41], pieces.at_rest(1))
    expected = pieces.advance(u[..., 41:], state)
    for other in (copy.deepcopy(pieces), pickle.loads(pickle.dumps(pieces))):
        assert all(torch.equal(a, b) for a, b in zip(other.advance(u[..., 41:], state), expected, strict=True))


def test_a_pickle_holds_the_tables_once():
    pieces = make_pieces(system_of("s4d", 8, 32), torch.float32)
    tables = 8 * LONGEST * (LONGEST + 32 + 32) + 2 * (LONGEST + 1) * 8 * 32
    assert len(pickle.dumps(pieces)) < 1.2 * 4 * tables


def test_a_bidirectional_system_has_no_pieces():
    layer = S4Layer(3, 6, bidirectional=True)
    with pytest.raises(ValueError, match="pieces need a causal system; build the layer with bidir"):
        make_pieces(layer.kernel.system(layer.D), torch.float32)
