"""A regular grid interpolates observations, and stays missing where there are none."""

import numpy as np
import pytest

from s4signal.errors import RecordingError
from s4signal.signals import Signal, Signals

NAN = np.nan


def on_grid(data, times, sfreq=1, **options):
    return Signals([np.array(data, dtype=float)], times=[times]).to_grid(sfreq, **options)[0]


@pytest.mark.parametrize(("start", "error"), [(0.0, 1e-12), (7.0, 1e-12), (1.7e9, 1e-4)])  # seconds since 1970
@pytest.mark.parametrize("method", ["linear", "previous"])
def test_regular_times_are_unchanged(rng, method, start, error):
    for n in range(2, 50):
        data, times = rng.normal(size=(3, n)), start + np.arange(n) * 0.1
        grid = on_grid(data, times, 10, method=method)
        np.testing.assert_allclose(grid.data, data, atol=error)
        assert (grid.sfreq, grid.times) == (10, None)


def test_the_last_of_many_times_is_kept():
    times = np.cumsum(np.full(100_000, 0.1))
    assert on_grid([times], times, 10).length == 100_000


def test_linear_signals_stay_linear(rng):
    times = np.sort(rng.uniform(0, 9, size=40))
    grid = on_grid([3 * times + 1], times, 5)
    np.testing.assert_allclose(grid.data[0], 3 * (times[0] + np.arange(grid.length) / 5) + 1, atol=1e-9)


def test_each_channel_is_interpolated_from_its_own_observations():
    grid = on_grid([[0, NAN, 4, NAN], [NAN, 1, NAN, 3]], [0.0, 1.0, 2.0, 3.0])
    np.testing.assert_array_equal(grid.data, [[0, 2, 4, NAN], [NAN, 1, 2, 3]])


def test_method_previous_holds_the_last_observation():
    grid = on_grid([[NAN, 5, NAN, 7, NAN]], [0.0, 0.5, 2.0, 2.2, 4.0], method="previous")
    np.testing.assert_array_equal(grid.data, [[NAN, 5, 5, 7, 7]])


@pytest.mark.parametrize("method", ["linear", "previous"])
def test_long_gaps_stay_missing(method):
    grid = on_grid([[0, 1, 5]], [0.0, 1.0, 5.0], method=method, longest_gap_s=1.5)
    np.testing.assert_array_equal(grid.data, [[0, 1, NAN, NAN, NAN, 5]])
    assert np.isfinite(on_grid([[0, 1, 5]], [0.0, 1.0, 5.0], method=method, longest_gap_s=4.0).data).all()


def test_the_last_observation_of_a_channel_is_held_for_the_longest_gap():
    grid = on_grid([[1, NAN, NAN, NAN], [1, 2, 3, 4]], [0.0, 1.0, 2.0, 3.0], method="previous", longest_gap_s=1.5)
    np.testing.assert_array_equal(grid.data[0], [1, 1, NAN, NAN])


def test_a_channel_without_observation_stays_missing():
    assert np.isnan(on_grid([[NAN, NAN], [1, 2]], [0.0, 1.0]).data[0]).all()


def test_the_last_of_samples_at_the_same_time_counts():
    np.testing.assert_array_equal(on_grid([[1, 2, 9, 3]], [0.0, 1.0, 1.0, 2.0]).data, [[1, 9, 3]])


def test_missing_samples_of_a_regular_case_are_filled():
    filled = Signals([[0.0, NAN, 2.0]], sfreq=10).to_grid(10)
    assert filled[0] == Signal([0.0, 1.0, 2.0], sfreq=10)


def test_float32_stays_float32():
    assert Signals([np.ones((1, 4), dtype=np.float32)], sfreq=2).to_grid(4)[0].data.dtype == np.float32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sfreq": 0}, "sfreq=0 must be a positive number"),
        ({"sfreq": 1, "method": "cubic"}, "method='cubic' is unknown; choose one of 'linear', 'previous'"),
        ({"sfreq": 1, "longest_gap_s": 0}, "longest_gap_s=0 must be a positive"),
    ],
)
def test_invalid_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Signals([[0.0, 1.0]], sfreq=1).to_grid(**options)


def test_a_case_without_times_or_rate_is_refused():
    with pytest.raises(RecordingError, match="case 1: neither its times nor its rate are known"):
        Signals([Signal([1.0], sfreq=1), Signal([1.0])]).to_grid(1)


def test_a_jump_of_the_times_is_reported_without_allocating_memory():
    times = [1.7e9 + np.arange(200) / 50 for _ in range(3)]
    times[2] = np.concatenate([[0.0], times[2][1:]])
    signals = Signals(np.zeros((3, 1, 200)), times=times)
    assert signals[:2].to_grid(50).lengths.tolist() == [200, 200]
    with pytest.raises(RecordingError, match=r"case 2: a grid of 50 Hz has 8\.5e\+10 samples for 200 .*after sample 0"):
        signals.to_grid(50)


def test_a_gap_of_an_hour_is_accepted():
    times = np.concatenate([np.arange(200) / 50, 3600 + np.arange(200) / 50])
    assert Signals([np.zeros(400)], times=[times]).to_grid(50)[0].length == 180200
