"""Irregularly sampled signals in layer, backbone and network."""

import math

import pytest
import torch

from s4signal.errors import ShapeError
from s4signal.nn import S4Backbone, S4Layer, S4Network, StackOptions
from s4signal.nn.frontends import FilterBankFrontend, LinearFrontend
from s4signal.nn.frontends.bank import FilterBank
from s4signal.nn.frontends.module import ModuleFrontend
from s4signal.nn.inference import InferenceLayer
from s4signal.nn.kernels import KERNELS
from s4signal.nn.pooling import POOLINGS

__all__: list[str] = []

DIAGONAL = [name for name, kernel in KERNELS.items() if kernel.TAKES_GAPS]
DENSE = [name for name in KERNELS if name not in DIAGONAL]
each_diagonal = pytest.mark.parametrize("kernel", DIAGONAL)
each_direction = pytest.mark.parametrize("bidirectional", [False, True], ids=["causal", "both"])


def noise(*shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(sum(shape)))


def gaps_of(batch, n_times):
    return 0.2 + 2.0 * torch.rand(batch, n_times, dtype=torch.float64, generator=torch.Generator().manual_seed(n_times))


def double(layer):
    return layer.to(torch.float64).eval()


@each_diagonal
@each_direction
@pytest.mark.parametrize("period", [1.0, 2.0, 0.5])
def test_equal_gaps_equal_a_rate(kernel, bidirectional, period):
    layer = double(S4Layer(4, 8, kernel=kernel, bidirectional=bidirectional))
    u = noise(4, 3, 90)
    regular = layer(u, rate=period)
    irregular = layer(u, gaps=torch.full((3, 90), period), rate=period)
    torch.testing.assert_close(irregular, regular, rtol=1e-9, atol=1e-9)


@each_diagonal
def test_equal_gaps_equal_a_rate_in_float32(kernel):
    layer = S4Layer(4, 8, kernel=kernel, bidirectional=True)
    u = noise(4, 2, 500, dtype=torch.float32)
    torch.testing.assert_close(layer(u, gaps=torch.ones(2, 500)), layer(u), rtol=1e-4, atol=1e-4)


@each_diagonal
def test_equal_gaps_give_the_gradients_of_the_regular_path(kernel):
    layer = double(S4Layer(3, 4, kernel=kernel, bidirectional=True))
    u = noise(3, 2, 40).requires_grad_()
    gradients = []
    for gaps in (None, torch.ones(2, 40, dtype=torch.float64)):
        loss = layer(u, gaps=gaps).square().sum()
        gradients.append(torch.autograd.grad(loss, [u, *layer.parameters()]))
    for regular, irregular in zip(*gradients, strict=True):
        torch.testing.assert_close(irregular, regular, rtol=1e-8, atol=1e-8)


@each_diagonal
def test_pieces_with_a_carried_state_equal_the_whole(kernel):
    layer = double(S4Layer(4, 8, kernel=kernel))
    u, gaps = noise(4, 2, 50), gaps_of(2, 50)
    whole, final = layer(u, gaps=gaps, return_state=True)
    first, state = layer(u[..., :20], gaps=gaps[:, :20], return_state=True)
    rest, after = layer(u[..., 20:], gaps=gaps[:, 20:], state=state, return_state=True)
    torch.testing.assert_close(torch.cat([first, rest], -1), whole, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(after, final, rtol=1e-9, atol=1e-9)


@each_diagonal
def test_modes_above_nyquist_change_neither_outputs_nor_gradients(kernel):
    layer = double(S4Layer(4, 16, kernel=kernel, dt_range=(0.3, 1.0)))  # most modes lie above the Nyquist frequency
    u, gaps = noise(4, 2, 50), gaps_of(2, 50)
    with_state, _ = layer(u, gaps=gaps, return_state=True)
    without_state = layer(u, gaps=gaps)
    torch.testing.assert_close(without_state, with_state, rtol=1e-9, atol=1e-9)
    expected, got = (torch.autograd.grad(y.square().sum(), [*layer.parameters()]) for y in (with_state, without_state))
    for e, g in zip(expected, got, strict=True):
        torch.testing.assert_close(g, e, rtol=1e-8, atol=1e-8)


@each_diagonal
def test_the_irregular_path_continues_a_state_of_the_regular_path(kernel):
    layer = double(S4Layer(4, 8, kernel=kernel))
    u = noise(4, 2, 50)
    _, state = layer(u[..., :20], return_state=True)
    rest = layer(u[..., 20:], gaps=torch.ones(2, 30), state=state)
    torch.testing.assert_close(rest, layer(u)[..., 20:], rtol=1e-9, atol=1e-9)


@each_diagonal
@each_direction
def test_splitting_a_held_sample_changes_nothing(kernel, bidirectional):
    layer = double(S4Layer(4, 8, kernel=kernel, bidirectional=bidirectional))
    u, gaps = noise(4, 1, 30), gaps_of(1, 30)
    split_u = torch.cat([u[..., :11], u[..., 10:]], -1)
    split_gaps = torch.cat([gaps[:, :10], gaps[:, 10:11] * 0.3, gaps[:, 10:11] * 0.7, gaps[:, 11:]], -1)
    split = layer(split_u, gaps=split_gaps)
    torch.testing.assert_close(torch.cat([split[..., :10], split[..., 11:]], -1), layer(u, gaps=gaps))


def test_fast_modes_have_no_output_at_a_slow_nominal_rate():
    layer = double(S4Layer(4, 16, init="lin", dt_range=(0.1, 0.1)))
    u, gaps = noise(4, 1, 30), 4.0 * gaps_of(1, 30)
    (slow, state), (fast, other) = (layer(u, gaps=gaps, rate=rate, return_state=True) for rate in (4.0, 1.0))
    assert not torch.allclose(slow, fast)
    torch.testing.assert_close(state, other)  # so that a faster piece may follow


@pytest.mark.parametrize("kernel", DENSE)
def test_dense_kernels_refuse_gaps_with_a_reason(kernel):
    with pytest.raises(ValueError, match=r"gaps need a diagonal state matrix.*Use kernel='s4d' or 's5'"):
        S4Layer(2, 4, kernel=kernel)(noise(2, 1, 5), gaps=torch.ones(1, 5))


@each_diagonal
def test_gaps_need_the_zero_order_hold(kernel):
    with pytest.raises(ValueError, match="discretization='bilinear'; build the layer with discretization='zoh'"):
        S4Layer(2, 4, kernel=kernel, discretization="bilinear")(noise(2, 1, 5), gaps=torch.ones(1, 5))


def test_gaps_of_wrong_shape_are_refused():
    with pytest.raises(ShapeError, match=r"gaps must have shape \(batch, n_times\) = \(1, 5\), got \(5,\)"):
        S4Layer(2, 4)(noise(2, 1, 5), gaps=torch.ones(5))


@pytest.mark.parametrize("gap", [-1.0, math.nan, math.inf])
def test_negative_or_non_finite_gaps_are_refused(gap):
    with pytest.raises(ValueError, match=r"gaps must be finite and at least 0.*sort samples by time"):
        S4Layer(2, 4)(noise(2, 1, 5), gaps=torch.tensor([[1.0, 1.0, gap, 1.0, 1.0]]))


@each_diagonal
def test_a_layer_for_inference_accepts_gaps(kernel):
    layer = double(S4Layer(4, 8, kernel=kernel, dt_range=(0.3, 1.0)))
    u, gaps = noise(4, 2, 50), gaps_of(2, 50)
    quick = InferenceLayer(layer)
    _, state = quick(u[..., :20], gaps=gaps[:, :20], return_state=True, rate=2.0)
    rest = quick(u[..., 20:], gaps=gaps[:, 20:], state=state, rate=2.0)
    torch.testing.assert_close(rest, layer(u, gaps=gaps, rate=2.0)[..., 20:], rtol=1e-9, atol=1e-9)


@each_direction
def test_a_backbone_ignores_padding_and_batch_mates(bidirectional):
    net = double(S4Backbone(3, 8, n_layers=2, d_state=8, bidirectional=bidirectional))
    x, gaps = noise(3, 40, 3), gaps_of(3, 40)
    together = net(x, lengths=torch.tensor([40, 25, 7]), gaps=gaps)
    for case, length in enumerate([40, 25, 7]):
        alone = net(x[case : case + 1, :length], gaps=gaps[case : case + 1, :length])
        torch.testing.assert_close(together[case, :length], alone[0], rtol=1e-9, atol=1e-9)
        assert (together[case, length:] == 0).all()


@each_diagonal
@pytest.mark.parametrize("pooling", POOLINGS)
def test_scores_do_not_depend_on_padding_and_order(kernel, pooling):
    options = StackOptions(d_model=8, n_layers=2, d_state=8, kernel=kernel, bidirectional=True)
    net = double(S4Network(LinearFrontend(2, 8), 3, options=options, pooling=pooling))
    lengths = torch.tensor([40, 25, 7])
    mask = (torch.arange(40) < lengths[:, None]).double()
    x, gaps = noise(2, 3, 40) * mask, gaps_of(3, 40) * mask
    scores = net(x, mask, gaps=gaps)
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(net(x[:, order], mask[order], gaps=gaps[order]), scores[order], rtol=1e-9, atol=1e-9)
    alone = net(x[:, 1:2, :25], gaps=gaps[1:2, :25])
    torch.testing.assert_close(alone[0], scores[1], rtol=1e-9, atol=1e-9)


def test_mean_pooling_weights_steps_by_their_gaps():
    x = torch.tensor([[[1.0, 2.0, 9.0]]])
    gaps = torch.tensor([[1.0, 3.0, 0.0]])
    assert POOLINGS["mean"](1)(x, torch.tensor([[1.0, 1.0, 0.0]]), gaps).item() == pytest.approx(7.0 / 4.0)
    assert POOLINGS["mean"](1)(x, None, torch.full((1, 3), 5.0)).item() == pytest.approx(4.0)


def test_a_filter_bank_accepts_gaps_and_missing_samples():
    bands = torch.tensor([100.0, 200.0])
    bank = FilterBank(frequencies_hz=bands, bandwidths_hz=0.5 * bands, sfreq=1000.0, hop_s=0.01)
    options = StackOptions(d_model=8, n_layers=1)
    net = S4Network(FilterBankFrontend(1, 8, bank=bank, mean_subtraction="case"), 2, options=options).double().eval()
    x = torch.randn(1, 3, 150, dtype=torch.float64)
    torch.testing.assert_close(net(x, gaps=torch.ones(3, 150)), net(x), rtol=1e-9, atol=1e-9)
    observed = torch.arange(150) % 4 != 2
    gaps = torch.diff(observed.nonzero()[:, 0], prepend=torch.tensor([-1])).expand(3, -1)
    with_nan = torch.where(observed, x, torch.nan)
    torch.testing.assert_close(net(x[..., observed], gaps=gaps), net(with_nan), rtol=1e-9, atol=1e-9)


def test_a_custom_front_end_refuses_gaps():
    net = S4Network(ModuleFrontend(torch.nn.Identity(), 1, 8), 2, options=StackOptions(d_model=8, n_layers=1))
    with pytest.raises(ValueError, match="needs regular samples: resample X to a grid"):
        net(torch.randn(1, 1, 50), gaps=torch.ones(1, 50))
