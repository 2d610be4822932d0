"""Each change of samples equals a second definition, is seeded, and keeps missing samples missing."""

import numpy as np
import pytest
from scipy.signal import welch

from s4signal.signals import Signal
from s4signal.signals.augmentation import (
    SAMPLE_CHANGES,
    Babble,
    ChannelDropout,
    Clipping,
    Draw,
    Gain,
    Noise,
    Room,
    SampleDropout,
    Shift,
    Speed,
    TimeMasking,
    change_case,
    room_response,
)

__all__: list[str] = []

SFREQ = 1000.0
T = np.arange(2000) / SFREQ
X = np.stack([np.sin(2 * np.pi * 40 * T), 3.0 + 2.0 * np.cos(2 * np.pi * 70 * T)])
OTHERS = [np.random.default_rng(i).standard_normal((2, 300 + 50 * i)) * 10**i for i in range(6)]


def draw(seed=0, sfreq=SFREQ):
    return Draw(sfreq, np.random.default_rng(seed), lambda rng: OTHERS[rng.integers(6)])


def with_missing(x):
    return np.where(np.random.default_rng(9).random(x.shape) < 0.2, np.nan, x)


def make_change(name, **settings):
    return SAMPLE_CHANGES[name](**settings)


@pytest.mark.parametrize("kind", [Noise, Babble])
@pytest.mark.parametrize("snr", [-5.0, 20.0])
def test_each_channel_has_the_requested_signal_to_noise_ratio(kind, snr):
    noise = kind(snr_db=(snr, snr))(X, draw()) - X
    assert 10 * np.log10(X.var(1) / noise.var(1)) == pytest.approx([snr, snr], abs=1e-9)


def test_noise_is_white_and_independent_between_channels():
    noise = Noise(snr_db=(0, 0))(X, draw()) - X
    _, density = welch(noise, fs=SFREQ, nperseg=64)
    assert (density[:, 2:-2].max(1) / density[:, 2:-2].min(1) < 3).all()
    assert abs(np.corrcoef(noise)[0, 1]) < 0.1


def test_babble_is_the_sum_of_other_cases_at_equal_levels():
    one = Babble(voices=1, snr_db=(0, 0))(X, draw(3)) - X
    offsets = draw(3).rng
    voice = OTHERS[offsets.integers(6)]
    start = offsets.integers(voice.shape[1])
    expected = np.tile(voice, 20)[:, start : start + X.shape[1]]
    for got, reference in zip(one, expected, strict=True):
        assert np.corrcoef(got, reference)[0, 1] == pytest.approx(1.0)
    many, sums, rng = Babble(voices=6, snr_db=(0, 0))(X, draw(3)) - X, np.zeros(X.shape), draw(3).rng
    for _ in range(6):
        voice = OTHERS[rng.integers(6)]
        repeated = np.tile(np.roll(voice, -rng.integers(voice.shape[1]), axis=1), 20)
        sums += repeated[:, : X.shape[1]] / voice.std(1, keepdims=True)
    np.testing.assert_allclose(many / many.std(1, keepdims=True), sums / sums.std(1, keepdims=True))


@pytest.mark.parametrize("rt60", [0.3, 1.2])
def test_echoes_decay_by_60_db_in_the_reverberation_time(rt60):
    echoes = room_response(rt60, 8000.0, direct_db=3.0, rng=np.random.default_rng(0))[1:]
    # Schroeder's backward integral, and the slope of its first 30 dB.
    decay = 10 * np.log10(np.cumsum(echoes[::-1] ** 2)[::-1])
    slope = np.polyfit(np.arange(len(decay)) / 8000.0, decay, 1, w=decay > decay[0] - 30)[0]
    assert -60 / slope == pytest.approx(rt60, rel=0.05)
    assert -10 * np.log10((echoes**2).sum()) == pytest.approx(3.0)


def test_a_room_convolves_with_its_response_and_keeps_half_of_the_tail():
    click = np.zeros((2, 50))
    click[:, 10] = 1.0
    reverberant = Room(rt60_s=(0.4, 0.4), direct_db=(6, 6))(click, draw())
    assert reverberant.shape[1] == 50 + 200
    assert reverberant[:, :10] == pytest.approx(np.zeros((2, 10)), abs=1e-12)
    assert reverberant[:, 10] == pytest.approx([1.0, 1.0])
    expected = room_response(0.4, SFREQ, direct_db=6.0, rng=np.random.default_rng(0))
    assert 10 * np.log10((reverberant[0, 11:] ** 2).sum()) == pytest.approx(-6.0, abs=0.2)
    assert len(expected) == 400


def test_a_shift_is_exact_and_repeats_the_end():
    moves = set()
    for seed in range(40):
        moved = Shift(longest_s=0.05)(X, draw(seed))
        (n,) = (k for k in range(-50, 51) if np.array_equal(moved[:, 60:-60], X[:, 60 - k : 2000 - 60 - k]))
        moves.add(n)
        end = moved[:, :n] - X[:, :1] if n > 0 else moved[:, 2000 + n :] - X[:, -1:]
        assert not end.any()
    assert min(moves) < -30
    assert max(moves) > 30


def test_speed_changes_duration_and_frequency_by_one_factor():
    factors = []
    for seed in range(12):
        fast = Speed(most=0.2)(X, draw(seed))
        middle = slice(200, fast.shape[1] - 200)
        # The slope of the phase gives the frequency: 40 Hz times the factor.
        spectrum = np.fft.fft(fast[0, middle])
        spectrum[len(spectrum) // 2 :] = 0
        phase = np.unwrap(np.angle(np.fft.ifft(spectrum)))[100:-100]
        factor = np.polyfit(np.arange(len(phase)), phase, 1)[0] * SFREQ / (2 * np.pi * 40)
        assert fast.shape[1] == pytest.approx(2000 / factor, abs=3.0)
        assert fast[0, middle].std() == pytest.approx(0.5**0.5, rel=0.02)
        factors.append(factor)
    assert 1 / 1.21 < min(factors) < 0.93
    assert 1.07 < max(factors) < 1.21
    fast = Speed(most=0.2)(np.where(np.abs(T - 1.5) < 0.1, np.nan, np.full((1, 2000), 7.0)), draw())
    places = np.flatnonzero(np.isnan(fast[0])) / fast.shape[1]
    assert (places.min(), places.max()) == pytest.approx((0.7, 0.8), abs=0.01)  # 1.4 and 1.6 of 2 s
    np.testing.assert_allclose(fast[~np.isnan(fast)], 7.0, rtol=0.002)  # an offset does not ring


def test_logarithms_of_factors_are_uniform():
    random = draw()
    logs = np.log10([random.log_uniform((0.01, 1.0)) for _ in range(2000)])
    np.testing.assert_allclose(np.histogram(logs, 4, (-2, 0))[0] / 2000, 0.25, atol=0.05)


def test_gain_is_in_decibels():
    assert Gain(db=(6, 6))(X, draw()) == pytest.approx(X * 1.99526, rel=1e-4)


def test_clipping_is_relative_to_the_peak():
    for x in (X, 1e-6 * X):
        clipped = Clipping(level=(0.1, 0.1))(x, draw())
        np.testing.assert_allclose(clipped, np.clip(x, -0.1 * np.abs(x).max(), 0.1 * np.abs(x).max()))


def test_time_masking_replaces_an_interval_by_the_mean():
    lengths, starts = set(), set()
    x = np.where(np.arange(2000) == 7, np.nan, X)
    for seed in range(50):
        masked = TimeMasking(longest_s=0.3)(x, draw(seed))
        masked_out = np.flatnonzero(((masked != x) & ~np.isnan(x)).any(0))
        if len(masked_out):
            assert masked[:, masked_out] == pytest.approx(np.repeat(np.nanmean(x, 1)[:, None], len(masked_out), 1))
            lengths.add(masked_out[-1] - masked_out[0] + 1)
            starts.add(masked_out[0])
    assert min(starts) < 200
    assert max(starts) > 1500
    assert 250 < max(lengths) <= 300
    assert min(lengths) < 60


def test_channel_dropout_never_removes_all_channels():
    many = np.random.default_rng(0).standard_normal((8, 30))
    missing = np.array([np.isnan(ChannelDropout(channels=0.25)(many, draw(seed))).all(1) for seed in range(200)])
    assert missing.mean() == pytest.approx(0.25, abs=0.03)
    assert not np.isnan(ChannelDropout(channels=1.0)(many, draw())).all()
    assert np.isnan(ChannelDropout(channels=1.0)(many, draw())).all(1).sum() == 7


def test_sample_dropout_keeps_the_first_and_the_last_sample():
    missing = np.isnan(SampleDropout(removed=(0.5, 0.5))(X, draw()))
    assert (missing[0] == missing[1]).all()
    assert missing.mean() == pytest.approx(0.5, abs=0.05)
    assert not missing[:, [0, -1]].any()
    assert not np.isnan(SampleDropout(removed=(1.0, 1.0))(X[:, :1], draw())).any()


@pytest.mark.parametrize("name", SAMPLE_CHANGES)
def test_changes_are_seeded_and_do_not_modify_the_case(name):
    case, before = Signal(with_missing(X).astype(np.float32), sfreq=SFREQ), with_missing(X).astype(np.float32)
    change, state = make_change(name, share=1.0), np.random.get_state()[1].copy()  # noqa: NPY002 - must not change
    one, same, other = (
        change_case(case, [change], np.random.default_rng(s), sfreq=None, other=draw().other) for s in (1, 1, 2)
    )
    assert np.array_equal(one.data, same.data, equal_nan=True)
    assert not np.array_equal(one.data, other.data, equal_nan=True)
    assert np.array_equal(case.data, before, equal_nan=True)
    assert one.data.dtype == np.float32
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002 - as above
    assert change.describe(SFREQ)


@pytest.mark.parametrize("name", [name for name in SAMPLE_CHANGES if "dropout" not in name])
def test_missing_samples_stay_missing_and_do_not_spread(name):
    after = make_change(name)(with_missing(X), draw())
    if name in ("speed", "time_shift"):
        assert np.isnan(after).mean() == pytest.approx(0.2, abs=0.03)
    else:
        assert np.array_equal(np.isnan(after[:, :2000]), np.isnan(with_missing(X)))
        assert not np.isnan(after[:, 2000:]).any()


@pytest.mark.parametrize("name", SAMPLE_CHANGES)
def test_changes_accept_cases_of_one_missing_or_constant_samples(name):
    for x in (np.ones((2, 1)), np.full((2, 30), np.nan), np.zeros((2, 30))):
        after = make_change(name)(x, draw())
        assert len(after) == len(x)
        assert after.shape[1] >= 1
        assert not np.isinf(after).any()


def test_seconds_use_the_rate_of_the_case():
    def mean_length(sfreq):
        masked = [TimeMasking(longest_s=0.3)(X, draw(seed, sfreq)) for seed in range(20)]
        return np.mean([(x != X).any(0).sum() for x in masked])

    assert mean_length(2000.0) == pytest.approx(2 * mean_length(1000.0), rel=0.02)


def test_share_is_the_probability_of_a_change():
    case, half = Signal(X), [Gain(share=0.5)]
    same = [change_case(case, half, np.random.default_rng(i), sfreq=1.0, other=draw().other).data for i in range(200)]
    assert np.mean([np.array_equal(data, X) for data in same]) == pytest.approx(0.5, abs=0.1)
