"""The filter bank computes the energies of its bands at every rate, hop and length, also in pieces."""

import math

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from s4signal.nn import FilterBank, space_bands
from s4signal.nn.frontends.bank import OUTPUTS, hop_blocks
from s4signal.ssm import cascade_tables

__all__: list[str] = []

SFREQ = 8000.0
outputs = pytest.mark.parametrize("output", OUTPUTS)
hops = pytest.mark.parametrize("hop", [1.0, 2.56, 63.4, 80.0, 128.0, 129.0, 441.0])


def bank(**options: object) -> FilterBank:
    """Ten bands from 100 Hz to 3 kHz, every 10 ms."""
    frequencies, bandwidths = space_bands("erb", 10, 100.0, 3000.0)
    defaults = {"frequencies_hz": frequencies, "bandwidths_hz": bandwidths, "sfreq": SFREQ, "hop_s": 0.01}
    return FilterBank(**{**defaults, **options}).double()


def tone(frequency: float, n_times: int, sfreq: float = SFREQ) -> Tensor:
    return torch.sin(2 * math.pi * frequency / sfreq * torch.arange(n_times, dtype=torch.float64))[None, None]


def whole_response(filters: FilterBank, x: Tensor) -> Tensor:
    """Complex outputs (n_bands, n_times) at the full rate, the whole signal as one block: the oracle."""
    tables = cascade_tables(
        filters.frequencies_hz / SFREQ, filters.bandwidths_hz / SFREQ, filters.order, x.shape[-1], torch.float64
    )
    return torch.complex(*(x @ tables.W).unflatten(-1, (2, -1))[:, 0].unbind(1))


@pytest.mark.parametrize("hop", [0.2, 1.0, 1.5, 2.56, 64.0, 65.0, 100.0, 128.0, 128.4, 300.0, 441.0, 16_000.0])
def test_a_hop_is_a_multiple_of_blocks_or_a_block_of_hops(hop: float) -> None:
    block, blocks_per_hop, hops_per_block = hop_blocks(hop)
    assert 1 in (blocks_per_hop, hops_per_block)
    assert 1 <= block <= 128
    assert block % hops_per_block == 0
    samples = block * blocks_per_hop / hops_per_block
    assert abs(samples - hop) <= max(1.0, 0.01 * hop)


@pytest.mark.parametrize("sfreq", [8000, 16_000, 22_050, 32_000, 44_100, 48_000])
def test_a_hop_of_20_ms_is_exact_at_common_rates(sfreq: int) -> None:
    block, blocks_per_hop, _ = hop_blocks(0.02 * sfreq)
    assert block * blocks_per_hop == sfreq // 50


def test_a_tone_at_the_centre_of_a_band_has_its_maximum_there() -> None:
    filters = bank()
    for band, frequency in enumerate(filters.frequencies_hz.tolist()):
        features = filters(tone(frequency, 4000)).features
        assert features[:, 0, 5:].mean(-1).argmax().item() == band
        # The analytic half of a sine of amplitude one: |1/2|^2.
        assert features[band, 0, -10:].mean().item() == pytest.approx(math.log(0.25), abs=0.05)


@outputs
def test_outputs_at_half_the_rate_agree_with_the_full_rate(output: str) -> None:
    filters = bank(output=output, smooth_s=0.02)
    played = [f for f in filters.frequencies_hz.tolist() if f < 1500]
    x = sum(tone(f, 8000) for f in played)
    at_full, at_half = filters(x), filters(x[..., ::2], rate=2.0)
    assert at_full.rate == at_half.rate == 1.0
    full, half = at_full.features, at_half.features
    assert full.shape == half.shape
    bands = len(played)
    if output == "linear":  # the phase may differ by half a sample of the lower rate
        full, half = (z.unflatten(0, (2, -1)).norm(dim=0) for z in (full, half))
    assert (full[:bands, 0, 5:] - half[:bands, 0, 5:]).abs().max() < 0.05
    without_energy = filters(torch.zeros_like(x)).features[9, 0]
    assert torch.equal(half[9, 0], without_energy)  # 3 kHz is beyond 2 kHz
    if output != "linear":
        assert (half[9, 0] == filters.floor_value).all()


@pytest.mark.parametrize("n_times", [1, 80, 81, 1000])
@hops
def test_features_are_mean_energies_over_each_hop(hop: float, n_times: int) -> None:
    filters = bank(hop_s=hop / SFREQ)
    x = torch.randn(1, 1, n_times, dtype=torch.float64)
    frames = filters(x)
    features = frames.features
    block, blocks_per_hop, hops_per_block = hop_blocks(hop)
    samples = block * blocks_per_hop // hops_per_block
    assert frames.rate == pytest.approx(samples / hop)
    assert frames.mask is None
    assert features.shape == (10, 1, math.ceil(n_times / samples))
    n_padded = features.shape[-1] * samples
    z = whole_response(filters, torch.nn.functional.pad(x[0], (0, n_padded - n_times)))
    valid = torch.full((features.shape[-1],), samples)
    valid[-1] -= n_padded - n_times
    energy = z.abs().square().unflatten(-1, (-1, samples)).sum(-1) / valid
    torch.testing.assert_close(features[:, 0], torch.log(energy + filters.floor), rtol=0, atol=1e-9)


@hops
@pytest.mark.parametrize("order", [1, 3])
def test_linear_outputs_are_the_band_signals_at_the_end_of_each_hop(order: int, hop: float) -> None:
    filters = bank(hop_s=hop / SFREQ, output="linear", order=order)
    block, blocks_per_hop, hops_per_block = hop_blocks(hop)
    samples = block * blocks_per_hop // hops_per_block
    x = torch.randn(2, 1, 3 * samples, dtype=torch.float64)
    features = filters(x).features
    for channel, parts in zip(x, features[:, 0].unflatten(0, (2, 2, -1)), strict=True):
        z = whole_response(filters, channel)[:, samples - 1 :: samples]
        torch.testing.assert_close(torch.complex(*parts), z, rtol=0, atol=1e-9)


@outputs
def test_pieces_equal_the_whole(output: str) -> None:
    filters = bank(output=output, smooth_s=0.05)
    x = torch.randn(2, 3, 8000, dtype=torch.float64)
    whole = filters(x).features
    state, pieces = None, []
    for piece in x.split([800, 80, 5600, 1520], -1):
        frames = filters(piece, state=state)
        state = frames.state
        pieces.append(frames.features)
    torch.testing.assert_close(torch.cat(pieces, -1), whole, rtol=0, atol=1e-9)


@outputs
def test_padding_changes_nothing(output: str) -> None:
    filters = bank(output=output, smooth_s=0.05)
    x = torch.randn(1, 1, 961, dtype=torch.float64)
    alone = filters(x).features
    mask = (torch.arange(3000) < 961).double()[None]
    padded = filters(torch.nn.functional.pad(x, (0, 2039)), mask)
    assert padded.mask is not None
    n_steps = int(padded.mask.sum())
    assert n_steps == alone.shape[-1]
    last = n_steps - (output == "linear")  # the last hop is partial and includes padding
    torch.testing.assert_close(padded.features[..., :last], alone[..., :last], rtol=0, atol=1e-9)


def test_smoothing_is_a_one_pole_recurrence_from_the_first_value() -> None:
    raw, smooth = (bank(output="log", smooth_s=s, hop_s=0.002) for s in (None, 0.03))
    x = torch.randn(1, 1, 4000, dtype=torch.float64)
    energies = torch.exp(raw(x).features[:, 0]) - raw.floor
    followed = torch.exp(smooth(x).features[:, 0]) - smooth.floor
    decay, level = math.exp(-0.002 / 0.03), energies[:, 0]
    for step in range(energies.shape[-1]):
        level = decay * level + (1 - decay) * energies[:, step]
        torch.testing.assert_close(followed[:, step], level, rtol=1e-6, atol=1e-9)


def test_pcen_removes_the_level_and_keeps_the_onset() -> None:
    filters = bank(output="pcen")
    x = tone(1000.0, 16_000)
    x[..., :8000] *= 0.1
    quiet, loud = (filters(gain * x).features[:, 0] for gain in (1.0, 100.0))
    band = int((filters.frequencies_hz - 1000.0).abs().argmin())
    # A gain exponent of 0.98 removes 98 of 100 decibels.
    assert (quiet[band, 20:] - loud[band, 20:]).abs().max() < 0.15 * loud[band].max()
    assert quiet[band, 100:105].max() > 1.5 * quiet[band, 80:95].max()


def test_power_compression_applies_the_loudness_exponent() -> None:
    x = torch.randn(1, 1, 800, dtype=torch.float64)
    logarithms, powers = bank(output="log")(x).features, bank(output="power")(x).features
    torch.testing.assert_close(powers, torch.exp(0.3 * logarithms), rtol=1e-9, atol=0)


@outputs
def test_gradients_through_the_tables_are_correct(output: str) -> None:
    frequencies, bandwidths = space_bands("log", 2, 200.0, 900.0, order=2)
    x = torch.randn(1, 1, 200, dtype=torch.float64)
    options = {"order": 2, "output": output, "smooth_s": 0.02, "sfreq": SFREQ, "hop_s": 0.005}
    filters = FilterBank(frequencies_hz=frequencies, bandwidths_hz=bandwidths, learnable=True, **options).double()
    names = [name for name, _ in filters.named_parameters()]
    expected = {"log_frequency", "log_bandwidth", "log_smooth"} | ({"log_gain"} if output == "pcen" else set())
    assert set(names) == expected

    def features(*values: Tensor) -> Tensor:
        frames = torch.func.functional_call(filters, dict(zip(names, values, strict=True)), (x,))
        return frames.features

    values = tuple(p.detach().clone().requires_grad_() for p in filters.parameters())
    # The time constant of smoothing does not affect band signals.
    assert torch.autograd.gradcheck(features, values, atol=1e-6, rtol=1e-4, eps=1e-5)


def test_training_moves_a_band_to_the_tone_and_keeps_it_stable() -> None:
    frequencies, bandwidths = torch.tensor([700.0]), torch.tensor([150.0])
    filters = FilterBank(frequencies_hz=frequencies, bandwidths_hz=bandwidths, sfreq=SFREQ, hop_s=0.01, learnable=True)
    x = tone(900.0, 800).float()
    optimizer = torch.optim.Adam(filters.parameters(), lr=0.02)
    for _ in range(40):
        optimizer.zero_grad()
        (-filters(x).features.mean()).backward()
        optimizer.step()
    assert filters.frequencies_hz.item() == pytest.approx(900.0, rel=0.05)
    assert filters.bandwidths_hz.item() > 0


def test_backward_does_not_store_outputs_at_the_full_rate() -> None:
    filters = bank(learnable=True)
    saved = []

    def record(tensor: Tensor) -> Tensor:
        saved.append(tensor.numel())
        return tensor

    n_times = 16_000
    with saved_tensors_hooks(record, lambda tensor: tensor):
        filters(torch.randn(1, 1, n_times, dtype=torch.float64))
    assert max(saved) < n_times * filters.n_bands / 2
    assert sum(saved) < 2 * n_times * filters.n_bands


def test_float32_equals_float64() -> None:
    x = torch.randn(1, 2, 4000, dtype=torch.float64)
    torch.testing.assert_close(bank().float()(x.float()).features.double(), bank()(x).features, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"sfreq": 4000.0}, r"100 to 3000 Hz; at a sampling rate of 4000 Hz .* Nyquist frequency, 2000 Hz"),
        ({"frequencies_hz": torch.tensor([-5.0]), "bandwidths_hz": torch.ones(1)}, "bands lie at -5 to -5 Hz"),
        ({"bandwidths_hz": torch.zeros(10)}, "bandwidths_hz must be positive, the smallest is 0 Hz"),
        ({"bandwidths_hz": torch.ones(3)}, r"both have shape \(n_bands,\).*got \(10,\) and \(3,\)"),
        ({"hop_s": 1e-5}, "hop_s=1e-05 is shorter than a sample, 0.000125 s"),
        ({"order": 5}, "order=5 is unknown; choose one of 1, 2, 3, 4"),
        ({"output": "db"}, "output='db' is unknown; choose one of 'log', 'power', 'pcen', 'linear'"),
        ({"smooth_s": -1.0}, "smooth_s=-1 must be positive, or None"),
    ],
)
def test_invalid_options_of_a_bank_are_refused(options: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        bank(**options)
