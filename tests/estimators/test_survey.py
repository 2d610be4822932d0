"""The survey of all cases: sums compared with NumPy; channels, times and missing samples."""

import warnings

import numpy as np
import pytest

from s4signal import Signals
from s4signal.estimators.standardizer import Standardizer, warn_of_differences
from s4signal.estimators.survey import check_span, check_time_unit, relative_periods, spread, survey

RNG = np.random.default_rng(0)


def cases(n=8, missing=0.3, offset=0.0, scale=1.0):
    rng = np.random.default_rng(0)
    data = [offset + scale * rng.standard_normal((3, k)) for k in rng.integers(20, 40, n)]
    for case in data:
        case[rng.random(case.shape) < missing] = np.nan
    return data


@pytest.mark.parametrize(("offset", "scale"), [(0.0, 1.0), (1.0, 1e-6), (-1e9, 1e3)])
def test_moments_equal_numpy_on_all_observed_samples(offset, scale):
    data, weights = cases(offset=offset, scale=scale), np.arange(8.0)
    mean, std = survey(Signals(data)).moments(weights)
    together = np.concatenate([case for case, k in zip(data, range(8), strict=True) for _ in range(k)], axis=1)
    expected = np.nanmean(together - offset, axis=1), np.nanstd(together - offset, axis=1)
    np.testing.assert_allclose(mean - offset, expected[0], atol=1e-3 * scale)
    np.testing.assert_allclose(std, expected[1], rtol=1e-3)


def test_take_equals_a_survey_of_the_selected_cases():
    data, chosen = cases(), np.array([5, 0, 3])
    some, alone = survey(Signals(data)).take(chosen), survey(Signals([data[i] for i in chosen]))
    np.testing.assert_allclose(some.moments(np.ones(3)), alone.moments(np.ones(3)))
    np.testing.assert_allclose(some.deviations(), [np.nanstd(data[i], axis=1) for i in chosen])
    assert np.array_equal(some.n_observed, alone.n_observed)
    assert len(some) == 3


def test_mostly_missing_counts_only_times_with_an_observation():
    data = np.ones((4, 3, 10))
    data[:, 1:] = np.nan  # two of three
    assert survey(Signals(data)).mostly_missing(np.ones(4))
    data[0] = 1.0
    assert survey(Signals(data)).mostly_missing(np.array([0.0, 1, 1, 1]))
    assert not survey(Signals(data)).mostly_missing(np.array([3.0, 1, 1, 1]))
    whole = np.ones((4, 3, 10))
    whole[:, :, 1:] = np.nan  # no channel was observed at these times
    assert not survey(Signals(whole)).mostly_missing(np.ones(4))
    assert not survey(Signals(whole[:, :1])).mostly_missing(np.ones(4)), "never for one channel"


def test_flags_and_shares_of_missing_values_equal_numpy():
    data, weights = cases(n=4, missing=0.1), np.arange(4.0)
    data[0][2], data[2][:] = 0.0, 1.0
    data[2][:, 5] = np.nan  # a gap
    for case in data:
        case[1] = np.nan  # is never observed
    found, nan = survey(Signals(data)), [np.isnan(case) for case in data]
    assert found.missing.tolist() == [n.any(1).tolist() for n in nan]
    assert found.partly_missing.tolist() == [n[:, ~n.all(0)].any(1).tolist() for n in nan]
    repeated = np.concatenate([n[[0, 2]] for n, k in zip(nan, range(4), strict=True) for _ in range(k)], axis=1)
    assert found.share_missing(weights) == pytest.approx(repeated.mean())


@pytest.mark.parametrize("offset", [0.0, 1e3])
@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_spread_equals_numpy_on_observed_samples(missing, offset):
    for case in cases(missing=missing, offset=offset):
        centred = case - np.nanmean(case, axis=1)[:, None]
        average = centred[:, ~np.isnan(case).any(0)].mean(0)
        deviations, share = spread(case)
        np.testing.assert_allclose(deviations, np.nanstd(case, axis=1))
        assert share == pytest.approx(average.var() / np.nanvar(case, axis=1).mean())
    assert spread(np.full((2, 50), 0.1 + offset))[0].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_times_and_rates_far_from_those_of_training_are_refused(factor):
    check_time_unit(Signals([[1.0, 2.0]], times=[[0.0, 0.1]]), 10.0)
    with pytest.raises(ValueError, match="case 0: times must be seconds: their median gap is"):
        check_time_unit(Signals([[1.0, 2.0]], times=[[0.0, 0.1 * factor]]), 10.0)
    with pytest.raises(ValueError, match=r"case 1 has .* Hz, but the training cases 100 Hz; correct the rate"):
        relative_periods(Signals(np.ones((2, 1, 9)), sfreq=[100.0, 110.0 * factor**1.1]), 100.0)


def test_one_sample_alone_is_a_grid():
    check_span(Signals([[1.0]], times=[[5.0]]).cases[0], 0, 0.0, 10.0)


def test_median_gap_uses_only_cases_without_a_rate():
    times = [np.array([0.0, 1, 3]), np.array([0.0, 0.1, 0.2]), np.array([5.0, 5, 7])]
    signals = Signals(np.ones((3, 1, 3)), times=times, sfreq=[np.nan, 10.0, np.nan])
    found = survey(signals)
    assert found.median_gap == 2.0
    np.testing.assert_allclose(found.spans_s, [3.0, 0.2, 2.0])
    assert survey(Signals(np.ones((3, 1, 3)), sfreq=10.0)).median_gap is None


def test_digests_depend_on_data_times_and_order():
    data = cases(n=3, missing=0.0)
    digests = survey(Signals(data), hashed=True).digests
    assert len(set(digests)) == 3
    assert survey(Signals([case[:, ::-1] for case in data]), hashed=True).digests[0] != digests[0]
    timed = Signals(data, times=[np.arange(case.shape[1]) + 1.0 for case in data])
    assert survey(timed, hashed=True).digests[0] != digests[0]
    assert survey(Signals(data), hashed=True).take(np.array([2, 0])).digests == (digests[2], digests[0])


def test_error_names_the_invalid_case():
    data = cases(n=4, missing=0.0)
    data[2][1, 3] = 1e200
    with pytest.raises(ValueError, match=r"case 2 of X has values up to 1e\+200, whose squares overflow; scale X"):
        survey(Signals(data))
    data[2][:] = 1e308  # the sum overflows too
    with pytest.raises(ValueError, match="case 2 of X has values up to"):
        survey(Signals(data), refuse_missing=True)
    data[2][:] = np.nan
    with pytest.raises(ValueError, match="case 2 of X_val has no observation"):
        survey(Signals(data), name="X_val")
    with pytest.raises(ValueError, match="contains NaN: case 2 has"):
        survey(Signals(data), refuse_missing=True)


@pytest.mark.parametrize("constant", [0.0, 5e-6, 0.1, 1e9])
@pytest.mark.parametrize("identity", [False, True])
def test_flat_and_missing_channels_are_ignored_with_a_warning(constant, identity):
    data = RNG.standard_normal((6, 3, 20))
    data[:, 1], data[:, 2] = constant, np.nan
    signals = Signals(data, ch_names=["C3", "Cz", "C4"])
    with pytest.warns(UserWarning, match="is ignored") as caught:
        standardizer = Standardizer.fit(survey(signals), np.ones(6), identity=identity)
    assert [str(w.message) for w in caught] == [
        "channel 1 (Cz) is flat in all training cases; it is ignored.",
        "channel 2 (C4) has no observation in any training case; it is ignored.",
    ]
    assert (standardizer(RNG.standard_normal((3, 5)))[1:] == 0).all()


def test_volts_instead_of_microvolts_and_the_reverse_give_a_warning():
    data = RNG.standard_normal((6, 2, 50)) * np.array([1e-6, 3e-6])[:, None]
    standardizer = Standardizer.fit(survey(Signals(data)), np.ones(6))
    statistics, factor = np.array([standardizer.statistics(case) for case in data]), np.array([1, 1, 1e6, 1, 1, 1e6])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_differences(standardizer, statistics * [50, 50, 1])
        warn_of_differences(standardizer, statistics * [0, 0, 1], chunk=True)
    with pytest.warns(UserWarning, match=r"case 2 varies \de\+06 times as much as any training case, 1 more as well"):
        warn_of_differences(standardizer, statistics * np.stack([factor, factor, np.ones(6)], axis=1))
    with pytest.warns(UserWarning, match=r"case 0 varies \de-0[67] times as much as the least varying training case"):
        warn_of_differences(standardizer, statistics[:1] * [1e-6, 1e-6, 1])
    holes = np.where(RNG.random(data[0].shape) < 0.2, np.nan, data[0])
    np.testing.assert_allclose(standardizer.statistics(holes)[:-1], np.nanstd(holes, axis=1) / standardizer.scale)
    assert np.isnan(standardizer.statistics(holes[:, :1])).all()


def test_warning_lists_and_counts_flat_channels():
    standardizer = Standardizer.fit(survey(Signals(RNG.standard_normal((4, 9, 50)))), np.ones(4))
    statistics = np.full((2, 10), np.nan)
    statistics[:, :9] = 0.0
    statistics[1, :2] = 1.0
    with pytest.warns(UserWarning, match=r"channel 0, .*, channel 4 and 4 more: flat in case 0 and 1 more, but in no"):
        warn_of_differences(standardizer, statistics)
