"""The convolutions are shift-equivariant along the bands, and pieces equal the whole."""

import pytest
import torch
from torch import Tensor

from s4signal.nn.backbone import length_mask
from s4signal.nn.frontends.time_frequency_conv import TimeFrequencyConv

__all__: list[str] = []


def mixing(**options: object) -> TimeFrequencyConv:
    return TimeFrequencyConv(2, 10, 4, width=3, **options).double()


def features(n_steps: int = 30, batch: int = 2) -> Tensor:
    return torch.randn(20, batch, n_steps, dtype=torch.float64)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("n_bands", [1, 7, 10])
def test_output_has_as_many_steps_as_the_input(causal: bool, n_bands: int) -> None:
    module = TimeFrequencyConv(2, n_bands, 4, width=3, causal=causal).double()
    for n_steps in (1, 2, 30):
        assert module(features(n_steps)[: 2 * n_bands]).shape == (4, 2, n_steps)


def test_convolutions_are_shift_equivariant_along_the_bands() -> None:
    module = TimeFrequencyConv(1, 40, 4, width=3).double()
    x = torch.zeros(40, 1, 12, dtype=torch.float64)
    pattern = torch.randn(4, 1, 12, dtype=torch.float64)
    x[12:16] = pattern
    moved = torch.zeros_like(x)
    moved[20:24] = pattern  # after two strides of two, eight bands are two positions

    def positions(x: Tensor) -> Tensor:
        inputs_of_mix: list[Tensor] = []
        hook = module.mix.register_forward_pre_hook(lambda _, inputs: inputs_of_mix.append(inputs[0]))
        module(x)
        hook.remove()
        return inputs_of_mix[0].unflatten(0, (3, 10))

    torch.testing.assert_close(positions(moved)[:, 4:8], positions(x)[:, 2:6])


@pytest.mark.parametrize(("causal", "affected"), [(True, range(20, 25)), (False, range(18, 23))])
def test_a_step_affects_later_steps_and_earlier_ones_only_if_not_causal(causal: bool, affected: range) -> None:
    module, x = mixing(causal=causal), features()
    changed = x.clone()
    changed[..., 20] += 1.0
    assert (module(x) != module(changed)).any(0).any(0).nonzero()[:, 0].tolist() == list(affected)


@pytest.mark.parametrize("sizes", [[1] * 30, [7, 1, 22], [30]])
def test_pieces_equal_the_whole(sizes: list[int]) -> None:
    module, x = mixing(causal=True), features()
    state, pieces = None, []
    for piece in x.split(sizes, -1):
        h, state = module.advance(piece, state)
        pieces.append(h)
    torch.testing.assert_close(torch.cat(pieces, -1), module(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("causal", [False, True])
def test_padding_changes_nothing(causal: bool) -> None:
    module, x = mixing(causal=causal), features()
    mask = length_mask(torch.tensor([30, 11]), 30, x.dtype)
    together = module(x * mask, mask)
    torch.testing.assert_close(together[:, 1:, :11], module(x[:, 1:, :11]), rtol=0, atol=1e-12)


def test_pieces_need_a_causal_module() -> None:
    with pytest.raises(ValueError, match="pieces need causal=True"):
        mixing().advance(features(), None)
