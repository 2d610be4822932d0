"""The outputs for a case do not depend on padding, other cases, copies or autocast."""

import copy

import pytest
import torch
from torch import Tensor, nn

from s4signal.errors import ShapeError
from s4signal.nn import FilterBank, Frames, S4Backbone, S4Network, space_bands
from s4signal.nn.backbone import StackOptions, length_mask, state_space_parameters
from s4signal.nn.block import ChannelNorm, S4Block
from s4signal.nn.frontends import FilterBankFrontend, LinearFrontend
from s4signal.nn.layer import S4Layer
from s4signal.nn.pooling import POOLINGS

__all__: list[str] = []

LENGTHS = (300, 211, 64, 1)
precisions = pytest.mark.parametrize(("dtype", "atol"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
directions = pytest.mark.parametrize("bidirectional", [False, True])


def linear(n_channels: int = 2) -> LinearFrontend:
    return LinearFrontend(n_channels, 8)


def filter_bank(n_channels: int = 2) -> FilterBankFrontend:
    frequencies, bandwidths = space_bands("erb", 6, 20.0, 90.0)
    bank = FilterBank(frequencies_hz=frequencies, bandwidths_hz=bandwidths, sfreq=250.0, hop_s=0.03)
    return FilterBankFrontend(n_channels, 8, bank=bank, mean_subtraction="case")


frontends = pytest.mark.parametrize("frontend", [linear, filter_bank])


def network(frontend: nn.Module, *, bidirectional: bool = False, pooling: str = "mean", **options: object) -> S4Network:
    stack = StackOptions(d_model=8, n_layers=2, d_state=8, bidirectional=bidirectional, **options)
    return S4Network(frontend, 3, options=stack, pooling=pooling).eval()


def ragged(dtype: torch.dtype) -> list[Tensor]:
    return [torch.randn(2, n, dtype=dtype) for n in LENGTHS]


def padded(cases: list[Tensor], n_times: int) -> tuple[Tensor, Tensor]:
    x = torch.stack([nn.functional.pad(case, (0, n_times - case.shape[-1])) for case in cases], 1)
    return x, length_mask(torch.tensor([case.shape[-1] for case in cases]), n_times, x.dtype)


@precisions
@directions
@pytest.mark.parametrize("pooling", sorted(POOLINGS))
@frontends
@torch.no_grad()
def test_scores_do_not_depend_on_padding_or_batch_mates(
    frontend: object, pooling: str, bidirectional: bool, dtype: torch.dtype, atol: float
) -> None:
    net = network(frontend(), bidirectional=bidirectional, pooling=pooling).to(dtype)
    cases = ragged(dtype)
    alone = torch.cat([net(case[:, None]) for case in cases])
    for n_times in (300, 777):
        torch.testing.assert_close(net(*padded(cases, n_times)), alone, rtol=0, atol=atol)
    for pair in ((0, 2), (3, 1)):
        together = net(*padded([cases[i] for i in pair], 300))
        torch.testing.assert_close(together, alone[list(pair)], rtol=0, atol=atol)


@precisions
@directions
@torch.no_grad()
def test_backbone_features_do_not_depend_on_padding_or_batch_mates(
    bidirectional: bool, dtype: torch.dtype, atol: float
) -> None:
    net = S4Backbone(2, 8, 2, d_state=8, bidirectional=bidirectional).to(dtype).eval()
    cases = ragged(dtype)
    for n_times in (300, 500):
        x, _ = padded(cases, n_times)
        h = net(x.permute(1, 2, 0), lengths=torch.tensor(LENGTHS))
        for row, case in zip(h, cases, strict=True):
            torch.testing.assert_close(row[: case.shape[-1]], net(case.T[None])[0], rtol=0, atol=atol)
            assert (row[case.shape[-1] :] == 0).all()


@frontends
def test_gradients_do_not_depend_on_padding(frontend: object) -> None:
    net = network(frontend(), bidirectional=True).double()
    cases = ragged(torch.float64)
    gradients = []
    for n_times in (300, 777):
        net.zero_grad()
        net(*padded(cases, n_times)).square().sum().backward()
        gradients.append([parameter.grad.clone() for parameter in net.parameters()])
    for short, long in zip(*gradients, strict=True):
        torch.testing.assert_close(short, long, rtol=1e-7, atol=1e-9)


def test_norm_is_the_rms_over_channels_and_its_gradient_is_correct() -> None:
    x = torch.randn(5, 2, 6, dtype=torch.float64, requires_grad=True)
    mask = length_mask(torch.tensor([6, 3]), 6, torch.float64)
    norm = ChannelNorm()
    torch.testing.assert_close(norm(x)[:, 1].square().mean(0), torch.ones(6).double(), rtol=1e-4, atol=0)
    assert torch.autograd.gradcheck(lambda x: norm(x, mask), x)
    assert torch.autograd.gradcheck(norm, x)


@pytest.mark.parametrize(
    "option",
    [
        {"d_state": 4},
        {"kernel": "s4"},
        {"init": "lin"},
        {"bidirectional": True},
        {"dt_range": (0.01, 0.02)},
        {"discretization": "bilinear"},
    ],
    ids=str,
)
def test_every_option_of_a_backbone_reaches_its_layers(option: dict[str, object]) -> None:
    def outputs(**options: object) -> Tensor:
        torch.manual_seed(0)
        return S4Backbone(2, 4, 1, **({"d_state": 8} | options)).eval()(torch.ones(1, 20, 2))

    assert not torch.allclose(outputs(**option), outputs())


@pytest.mark.parametrize("training", [False, True])
def test_gradients_of_a_block_are_correct(training: bool) -> None:
    block = S4Block(S4Layer(3, 4), dropout=0.5).double().train(training)
    x = torch.randn(3, 2, 6, dtype=torch.float64, requires_grad=True)

    def run(x: Tensor, *weights: Tensor) -> Tensor:
        return block(x, generator=torch.Generator().manual_seed(0))

    assert torch.autograd.gradcheck(run, (x, *block.mix.parameters()))


def test_a_block_in_pieces_equals_the_whole() -> None:
    block = S4Block(S4Layer(8, 8)).eval()
    x = torch.randn(8, 2, 100)
    state, pieces = None, []
    for piece in x.split([30, 1, 69], -1):
        y, state = block.advance(piece, state)
        pieces.append(y)
    torch.testing.assert_close(torch.cat(pieces, -1), block(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("axis", "patterns"), [("case", 8), ("batch", 1)])
def test_dropout_drops_whole_channels(axis: str, patterns: int) -> None:
    block = S4Block(S4Layer(64, 4), dropout=0.5, dropout_axis=axis)
    x = torch.randn(64, 8, 20)
    dropped = ((block(x) - x) == 0).all(-1)
    assert 0.3 < dropped.float().mean() < 0.7
    assert dropped.T.unique(dim=0).shape[0] == patterns
    assert not ((block.eval()(x) - x) == 0).all(-1).any()


def test_names_of_state_space_parameters_survive_a_copy() -> None:
    net = network(linear(), bidirectional=True)
    names = state_space_parameters(net)
    assert {name.rpartition(".")[2] for name in names} == {"log_dt", "log_decay", "frequency"}
    assert len(names) == 2 * 3
    assert state_space_parameters(copy.deepcopy(net)) == names
    assert set(names) <= set(dict(copy.deepcopy(net).named_parameters()))
    assert state_space_parameters(nn.Linear(2, 2)) == []


@frontends
def test_autocast_keeps_the_states_in_float32(frontend: object, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set()

    def spy(module: str, name: str) -> None:
        original = getattr(__import__(module, fromlist=[name]), name)

        def watched(*args: object, **options: object) -> object:
            result = original(*args, **options)
            seen.update(x.dtype for x in (*args, *result) if isinstance(x, Tensor))
            return result

        monkeypatch.setattr(f"{module}.{name}", watched)

    spy("s4signal.nn.layer", "block_scan")
    net = network(frontend(), bidirectional=True)
    x = torch.randn(2, 3, 500)
    exact = net(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = net(x)
    assert seen == {torch.float32}
    assert y.dtype == torch.bfloat16
    assert (y.float() - exact).abs().max() < 0.05 * exact.abs().max()


@torch.no_grad()
def test_autocast_does_not_affect_the_filters() -> None:
    frontend, x = filter_bank(), torch.randn(2, 3, 500)
    exact = frontend.features(Frames(x)).features
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = frontend.features(Frames(x)).features
    assert torch.equal(features, exact)


@pytest.mark.parametrize("shape", [(2, 100, 3), (100, 8), (1, 2, 100, 8)])
def test_backbone_refuses_a_wrong_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"x must have shape \(batch, n_times, 8\), got"):
        S4Backbone(8, 4, 1, d_state=4)(torch.randn(*shape))


@pytest.mark.parametrize("shape", [(1, 7), (8,), (1, 1, 8)])
def test_backbone_refuses_a_sample_of_wrong_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"x must have shape \(batch, 8\), got"):
        S4Backbone(8, 4, 1, d_state=4).step(torch.randn(*shape))


def test_backbone_refuses_a_wrong_number_of_lengths() -> None:
    with pytest.raises(ShapeError, match=r"lengths must have shape \(3,\), got \(1,\)"):
        S4Backbone(8, 4, 1, d_state=4)(torch.randn(3, 100, 8), lengths=torch.tensor([50]))


def test_invalid_options_are_refused() -> None:
    with pytest.raises(ValueError, match="pooling='sum' is unknown; choose one of 'mean', 'legs', 'attention', 'max'"):
        network(linear(), pooling="sum")
    with pytest.raises(ValueError, match=r"n_layers=0 must be at least 1"):
        S4Backbone(2, 4, 0)
    with pytest.raises(ValueError, match=r"dropout=1.0 must be in \[0, 1\)"):
        S4Backbone(2, 4, 1, dropout=1.0)
    with pytest.raises(ValueError, match=r"dropout_axis='time' is unknown; choose one of 'case', 'batch'"):
        network(linear(), dropout_axis="time")
    with pytest.raises(ValueError, match=r"kernel='s4nd' is unknown; choose one of"):
        S4Backbone(2, 4, 1, kernel="s4nd")


def test_checkpointing_does_not_change_gradients() -> None:
    torch.manual_seed(0)
    net = S4Backbone(2, 8, 2, d_state=8, bidirectional=True, dropout=0.3).train()
    x, lengths = torch.randn(2, 300, 2), torch.tensor([300, 170])
    gradients = []
    for net.checkpointing in (False, True):
        net.zero_grad()
        torch.manual_seed(1)  # the same channels are dropped
        net(x, lengths=lengths).square().sum().backward()
        gradients.append([p.grad.clone() for p in net.parameters() if p.grad is not None])
    for plain, again in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, again)
