"""Power of oscillators as a readout: covariances over a case, their tangent vectors, streams and rates."""

import numpy as np
import pytest
import torch
from scipy.linalg import expm, logm

from s4signal.nn.readout import SHRINKAGE, PowerReadout, covariance_sums

__all__: list[str] = []

SFREQ = 128.0


@pytest.fixture
def x():
    return torch.randn(3, 30, 256, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def readout(x):
    readout = PowerReadout(3, 2, n_oscillators=6, sfreq=SFREQ).double()
    readout.fit_center(readout.covariances(x), torch.ones(30))
    generator = torch.Generator().manual_seed(1)
    readout.set_weights(torch.randn(2, 36, generator=generator), torch.randn(2, generator=generator))
    return readout


def test_sums_of_pieces_are_the_sums_of_the_whole():
    z, mask = torch.randn(3 * 2 * 2, 4, 50, dtype=torch.float64), torch.ones(4, 50)
    mask[1, 30:] = 0
    whole = covariance_sums(z, 2, mask)
    pieces = covariance_sums(z[..., :20], 2, mask[:, :20]).plus(covariance_sums(z[..., 20:], 2, mask[:, 20:]))
    for a, b in zip(whole, pieces, strict=True):
        torch.testing.assert_close(a, b)
    re, im = z[:, 0].unflatten(0, (3, 2, 2))[:, :, 1].unbind(1)  # of the second band
    expected = np.cov(re, bias=True) + np.cov(im, bias=True)
    np.testing.assert_allclose(whole.covariances()[0, 1], expected)


def test_vectors_are_the_logarithms_at_the_log_euclidean_mean(readout, x):
    def matrix(row):
        C = torch.zeros(3, 3, dtype=torch.float64)
        C[i, j] = C[j, i] = row
        return ((1 - SHRINKAGE) * C + SHRINKAGE * C.trace() / 3 * torch.eye(3)).numpy()

    i, j = torch.triu_indices(3, 3)
    band = 2
    covariances = [matrix(row) for row in readout.covariances(x)[:, band]]
    mean = expm(np.mean([logm(C) for C in covariances], axis=0))
    values, vectors = np.linalg.eigh(mean)
    R = vectors / np.sqrt(values) @ vectors.T
    logs = np.array([logm(R @ C @ R)[i, j] for C in covariances])
    standard = (logs - logs.mean(0)) / logs.std(0)
    found = readout.vectors(readout.covariances(x)).unflatten(1, (6, 6))[:, band]
    np.testing.assert_allclose(found, standard, atol=1e-6)


def test_cases_of_no_weight_do_not_count(x):
    one, other = (PowerReadout(3, 2, n_oscillators=6, sfreq=SFREQ) for _ in range(2))
    covariances = one.covariances(x.float())
    one.fit_center(covariances, (torch.arange(30) < 20).double())
    other.fit_center(covariances[:20], torch.full((20,), 3.0))
    torch.testing.assert_close(one.vectors(covariances), other.vectors(covariances))


@pytest.mark.parametrize("size", [1, 17, 64, 256])
@pytest.mark.parametrize("rate", [1.0, 0.7, 2.0])
def test_pieces_of_any_size_give_what_the_whole_case_gives(readout, x, size, rate):
    steps, state = readout.steps(rate), None
    for piece in x[:, :2].split(size, -1):
        scores, state = steps.advance(piece, state)
    torch.testing.assert_close(scores, readout(x[:, :2], rate=rate))


def test_what_a_stream_keeps_does_not_grow(readout, x):
    def count(kept):
        return sum(map(count, kept)) if isinstance(kept, tuple) else getattr(kept, "nelement", lambda: 0)()

    steps = readout.steps(1.0)
    state = steps.advance(x[:, :1], None)[1]
    before = count(state)
    for _ in range(5):
        state = steps.advance(x[:, :1], state)[1]
    assert count(state) == before


def test_padding_does_not_count_and_more_channels_are_not_read(readout, x):
    mask = torch.ones(30, 256)
    mask[3, 150:] = 0
    padded = readout(torch.cat([x * mask, torch.ones_like(x[:1])]), mask)
    torch.testing.assert_close(padded[3], readout(x[:, 3:4, :150])[0])
    torch.testing.assert_close(padded[4], readout(x)[4])


def test_samples_with_equal_gaps_are_a_regular_signal(readout, x):
    torch.testing.assert_close(readout(x, gaps=torch.ones(30, 256)), readout(x))


def test_an_offset_of_the_channels_says_nothing(readout, x):
    torch.testing.assert_close(readout(x + 100.0), readout(x))


def test_a_band_that_says_nothing_is_the_mean_of_the_training_cases(readout, x):
    def vectors(x, **options):
        return readout.vectors(readout.covariances(x, **options)).unflatten(1, (6, 6))

    silent = vectors(x, rate=4.0)  # 32 Hz: bands from 16 Hz on are beyond the Nyquist frequency
    beyond = readout.bank.frequencies_hz > 16
    assert 0 < beyond.sum() < 6
    assert (silent[:, beyond] == 0).all()
    assert (silent[:, ~beyond] != 0).any()
    assert (vectors(0 * x) == 0).all()
    assert (vectors(x[..., :4]) == 0).all()  # over before the oscillators have settled


def test_at_another_rate_a_wave_has_the_power_that_it_has():
    readout = PowerReadout(1, 2, n_oscillators=6, sfreq=SFREQ)

    def powers(sfreq):
        wave = torch.sin(2 * torch.pi * 12.0 * torch.arange(round(4 * sfreq)) / sfreq)
        return readout.covariances(wave[None, None], rate=SFREQ / sfreq)[0, :, 0]

    assert powers(SFREQ).argmax() == 1  # of 2, 10.6, 19.2 ... Hz
    np.testing.assert_allclose(powers(SFREQ)[:3], powers(2 * SFREQ)[:3], rtol=0.15)


def test_a_rate_that_holds_no_oscillator_is_refused():
    with pytest.raises(ValueError, match="oscillators of 2 Hz need a rate of at least 8 Hz"):
        PowerReadout(2, 2, n_oscillators=2, sfreq=7.0)


@pytest.mark.parametrize("value", [-1e-13, 0.0, np.inf])
def test_a_band_whose_sums_are_rounding_or_out_of_range_says_nothing(x, value):
    readout = PowerReadout(3, 2, n_oscillators=6, sfreq=SFREQ).double()
    covariances = readout.covariances(x)
    covariances[0, 2], covariances[1:3, 4] = value, 1e-13 * torch.randn(2, 6, dtype=torch.float64)
    readout.fit_center(covariances, torch.ones(30))
    vectors = readout.vectors(covariances).unflatten(1, (6, -1))
    assert vectors.isfinite().all()
    assert (vectors[0, 2] == 0).all()
    assert (vectors[1:3, 4] == 0).all()
    assert (vectors[3:].abs().amax((0, 2)) > 0.1).all()
