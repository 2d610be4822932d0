"""Samples at any times or missing: the bank equals stepping the matrix exponential over the held signal."""

import numpy as np
import pytest
import torch
from scipy.linalg import expm
from torch import Tensor

from s4signal.errors import ShapeError
from s4signal.nn import FilterBank
from s4signal.nn.frontends.bank import OUTPUTS
from s4signal.nn.frontends.held_signal import fill_from_next, hold_on_grid

__all__: list[str] = []

SFREQ = 100.0
outputs = pytest.mark.parametrize("output", OUTPUTS)


def bank(**options: object) -> FilterBank:
    frequencies, bandwidths = torch.tensor([0.0, 3.0, 11.0, 37.0]), torch.tensor([0.5, 0.4, 2.0, 5.0])
    defaults = {"frequencies_hz": frequencies, "bandwidths_hz": bandwidths, "sfreq": SFREQ, "hop_s": 0.05}
    return FilterBank(**{**defaults, **options}).double()


def random_gaps(batch: int, n_times: int, mean: float = 1.0) -> Tensor:
    """Draw gaps from a tenth of the mean to almost twice the mean."""
    return mean * (0.1 + 1.8 * torch.rand(batch, n_times, dtype=torch.float64))


def stepped(filters: FilterBank, x: Tensor, gaps: Tensor, n_points: int) -> np.ndarray:
    """Complex outputs (n_bands, n_points) at the grid points: one matrix exponential from event to event."""
    times, outputs = np.cumsum(gaps.numpy()), []
    events = np.unique(np.concatenate([times, np.arange(1.0, n_points + 1)]))
    events = events[events <= n_points]
    for f, b in zip(filters.frequencies_hz / SFREQ, filters.bandwidths_hz / SFREQ, strict=True):
        order, beta = filters.order, 2 * np.pi * float(b)
        augmented = np.zeros((order + 1, order + 1), dtype=complex)
        augmented[:order, :order] = (-beta + 2j * np.pi * float(f)) * np.eye(order) + beta * np.eye(order, k=-1)
        augmented[0, order] = beta
        state, now, outputs_of_band = np.zeros(order, dtype=complex), 0.0, []
        for event in events:
            held = float(x[min(int(np.searchsorted(times, event)), len(x) - 1)])
            propagator = expm(augmented * (event - now))
            state, now = propagator[:order, :order] @ state + propagator[:order, order] * held, event
            if event == round(event):
                outputs_of_band.append(state[-1])
        outputs.append(np.array(outputs_of_band) / np.sinc(float(f)))
    return np.array(outputs)


@pytest.mark.parametrize("order", [1, 2, 4])
@pytest.mark.parametrize("mean", [0.2, 1.0, 3.7])
def test_random_times_equal_stepping_the_matrix_exponential(mean: float, order: int) -> None:
    filters = bank(order=order, hop_s=1 / SFREQ, output="linear")
    x, gaps = torch.randn(2, 1, 90, dtype=torch.float64), random_gaps(1, 90, mean)
    frames = filters(x, gaps=gaps)
    features = frames.features
    assert frames.mask is None
    assert features.shape[-1] == int(gaps.sum().ceil())
    for channel, parts in zip(x, features[:, 0].unflatten(0, (2, 2, -1)), strict=True):
        expected = stepped(filters, channel[0], gaps[0], features.shape[-1])
        np.testing.assert_allclose(torch.complex(*parts).numpy(), expected, rtol=0, atol=1e-9 * np.abs(expected).max())


def test_energies_at_random_times_are_means_over_hops() -> None:
    filters = bank(hop_s=0.2)
    x, gaps = torch.randn(1, 1, 300, dtype=torch.float64), random_gaps(1, 300)
    features = filters(x, gaps=gaps).features
    hops = int(gaps.sum()) // 20
    energies = np.abs(stepped(filters, x[0, 0], gaps[0], 20 * hops)) ** 2
    expected = np.log(energies.reshape(4, hops, 20).mean(2) + filters.floor)
    np.testing.assert_allclose(features[:, 0, :hops].numpy(), expected, rtol=0, atol=1e-9)


@outputs
@pytest.mark.parametrize("rate", [1.0, 2.0])
def test_times_on_a_regular_grid_change_nothing(output: str, rate: float) -> None:
    filters = bank(output=output, smooth_s=0.1)
    x = torch.randn(2, 3, 500, dtype=torch.float64)
    regular = filters(x, rate=rate)
    # Recorded times deviate slightly from the grid.
    gaps = torch.full((3, 500), rate, dtype=torch.float64) + 1e-9 * torch.randn(3, 500, dtype=torch.float64)
    timed = filters(x, rate=rate, gaps=gaps)
    assert timed.mask is None
    assert timed.rate == (0.05 * SFREQ / rate).__round__() * rate / SFREQ / 0.05
    torch.testing.assert_close(timed.features, regular.features, rtol=0, atol=1e-9)
    torch.testing.assert_close(timed.state.filters, regular.state.filters, rtol=0, atol=1e-9)


def test_the_output_is_continuous_in_the_time_of_a_sample() -> None:
    filters = bank(output="linear", hop_s=1 / SFREQ)
    x, gaps = torch.randn(1, 1, 40, dtype=torch.float64), torch.ones(1, 40, dtype=torch.float64)
    for moved in (-1e-5, 1e-5):
        near = gaps.clone()
        near[0, 10], near[0, 11] = 1.0 + moved, 1.0 - moved
        torch.testing.assert_close(filters(x, gaps=near).features, filters(x).features, rtol=0, atol=1e-4)


@outputs
def test_missing_samples_equal_gaps(output: str) -> None:
    filters = bank(output=output)
    x = torch.randn(2, 1, 400, dtype=torch.float64)
    observed = torch.rand(400) > 0.4
    observed[-1] = True
    with_nan = torch.where(observed, x, torch.nan)
    gaps = torch.diff(observed.nonzero()[:, 0], prepend=torch.tensor([-1])).double()[None]
    torch.testing.assert_close(
        filters(with_nan).features, filters(x[..., observed], gaps=gaps).features, rtol=0, atol=1e-9
    )


def test_each_channel_may_miss_other_samples() -> None:
    filters = bank()
    x = torch.randn(2, 2, 300, dtype=torch.float64)
    x[0, :, 50:90] = torch.nan
    x[1, 1, 120:] = torch.nan
    features = filters(x).features
    alone = [filters(channel[None]).features for channel in x]
    torch.testing.assert_close(features, torch.cat(alone), rtol=0, atol=1e-9)
    assert bool(features.isfinite().all())


def test_missing_samples_take_the_next_observation_or_else_the_last() -> None:
    nan = torch.nan
    x = torch.tensor([[[nan, 1.0, nan, nan, 4.0, nan, 0.0, 0.0], [nan] * 8]])
    mask = torch.tensor([[1.0] * 6 + [0.0] * 2, [1.0] * 8])
    expected = [[1.0, 1.0, 4.0, 4.0, 4.0, 4.0, 0.0, 0.0], [0.0] * 8]
    assert fill_from_next(x, mask)[0].tolist() == expected
    whole = torch.ones(1, 1, 3)
    assert fill_from_next(whole) is whole


@outputs
def test_cases_with_other_times_in_the_batch_change_nothing(output: str) -> None:
    filters = bank(output=output, smooth_s=0.1)
    short, long = random_gaps(1, 70), random_gaps(1, 300, 1.7)
    x = torch.randn(1, 2, 300, dtype=torch.float64)
    x[:, 0, 70:] = 0.0
    mask = torch.ones(2, 300, dtype=torch.float64)
    mask[0, 70:] = 0.0
    gaps = torch.cat([torch.nn.functional.pad(short, (0, 230), value=5.0), long])
    together = filters(x, mask, gaps=gaps)
    assert together.mask is not None
    for case, own, n_times in ((0, short, 70), (1, long, 300)):
        alone = filters(x[:, case : case + 1, :n_times], gaps=own).features
        n_steps = int(together.mask[case].sum())
        assert n_steps == alone.shape[-1]
        last = n_steps - (output == "linear")  # the last hop is partial and includes padding
        torch.testing.assert_close(together.features[:, case, :last], alone[:, 0, :last], rtol=0, atol=1e-9)


def test_pieces_that_end_on_a_hop_equal_the_whole() -> None:
    filters = bank(hop_s=0.64)
    gaps = random_gaps(1, 400)
    unit = filters.unit(1.0)
    times = gaps.cumsum(1)[0]
    cut = int(torch.searchsorted(times, 2.0 * unit))
    gaps[0, cut] = 2.0 * unit - times[cut - 1]  # a sample at the end of the second piece
    x = torch.randn(1, 1, 400, dtype=torch.float64)
    whole = filters(x, gaps=gaps).features
    first = filters(x[..., : cut + 1], gaps=gaps[:, : cut + 1])
    second = filters(x[..., cut + 1 :], gaps=gaps[:, cut + 1 :], state=first.state)
    torch.testing.assert_close(torch.cat([first.features, second.features], -1), whole, rtol=0, atol=1e-9)


def test_gradients_at_random_times_are_correct() -> None:
    filters = bank(order=2, learnable=True, frequencies_hz=torch.tensor([3.0, 20.0]), bandwidths_hz=torch.ones(2))
    x, gaps = torch.randn(1, 1, 40, dtype=torch.float64, requires_grad=True), random_gaps(1, 40)
    names = [name for name, _ in filters.named_parameters()]

    def features(x: Tensor, *values: Tensor) -> Tensor:
        parameters = dict(zip(names, values, strict=True))
        return torch.func.functional_call(filters, parameters, (x,), {"gaps": gaps}).features

    values = tuple(p.detach().clone().requires_grad_() for p in filters.parameters())
    assert torch.autograd.gradcheck(features, (x, *values), atol=1e-6, rtol=1e-4, eps=1e-6)


def test_float32_equals_float64_at_random_times() -> None:
    x, gaps = torch.randn(1, 2, 400, dtype=torch.float64), random_gaps(2, 400)
    single = bank().float()(x.float(), gaps=gaps).features.double()
    torch.testing.assert_close(single, bank()(x, gaps=gaps).features, rtol=0, atol=1e-4)


def test_the_last_of_samples_at_the_same_time_counts() -> None:
    x, gaps = torch.tensor([[[1.0, 9.0, 2.0, 3.0]]]), torch.tensor([[1.5, 0.0, 1.0, 0.5]])
    held, without = hold_on_grid(x, gaps), hold_on_grid(x[..., [0, 2, 3]], gaps[:, [0, 2, 3]])
    assert held.x.tolist() == without.x.tolist() == [[[1.0, 1.0, 2.0]]]
    assert held.jumps is not None
    assert without.jumps is not None
    totals = [sum(j.change[0, j.ahead == ahead].sum() for ahead in (0.5,)) for j in (held.jumps, without.jumps)]
    assert totals[0] == totals[1]


@pytest.mark.parametrize(
    ("gaps", "error", "text"),
    [
        (torch.ones(1, 3), ShapeError, r"gaps must have shape \(1, 4\), like a channel of x, got \(1, 3\)"),
        (torch.tensor([[1.0, -1.0, 1.0, 1.0]]), ValueError, "gaps must be finite and at least 0"),
        (torch.tensor([[1.0, torch.nan, 1.0, 1.0]]), ValueError, "gaps must be finite and at least 0"),
        (torch.zeros(1, 4), ValueError, "with at least one above 0 in each case"),
    ],
)
def test_invalid_gaps_are_refused(gaps: Tensor, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        hold_on_grid(torch.ones(1, 1, 4), gaps)
