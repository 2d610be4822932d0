"""Preprocessing steps on all forms of input: results, units, rates, names and missing samples."""

import pickle

import mne
import numpy as np
import pytest
from scipy.signal import butter, sosfilt, sosfilt_zi, sosfiltfilt, welch
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from s4signal import Signals
from s4signal.errors import RecordingError, ShapeError
from s4signal.estimators import (
    BandPass,
    Baseline,
    Clip,
    InterpolateBads,
    Notch,
    Rereference,
    Resample,
    RobustScale,
    ToArray,
)
from s4signal.signals import epochs_from_events

__all__: list[str] = []

NAMES = ["Fp1", "Fp2", "C3", "C4", "Pz", "O1", "O2"]
STEPS = {
    "band pass": BandPass(1, 40, sfreq=250),
    "causal band pass": BandPass(1, 40, causal=True, sfreq=250),
    "high pass": BandPass(l_freq=0.5, order=2, sfreq=250),
    "notch": Notch((50, 100), sfreq=250),
    "reference": Rereference(sfreq=250),
    "resample": Resample(100, sfreq=250),
    "scale": RobustScale(sfreq=250),
    "clip": Clip(3, sfreq=250),
    "bads": InterpolateBads(("Pz",), montage="biosemi64", sfreq=250),
    "baseline": Baseline(0, 0.2, sfreq=250),
}
each_step = pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)


def array(rng, n=5, n_times=750):
    return 1e-5 * (rng.standard_normal((n, len(NAMES), n_times)) + 3)


def signals(X):
    return Signals(X, sfreq=250, ch_names=NAMES)


@each_step
def test_signals_epochs_and_lazy_cases_give_the_same_output(step, rng, tmp_path):
    X = array(rng)
    expected = clone(step).fit_transform(signals(X)).to_numpy()
    info = mne.create_info(NAMES, 250.0, "eeg")
    np.testing.assert_allclose(clone(step).fit_transform(mne.EpochsArray(X, info, verbose="error")), expected)
    raws = []
    for i, case in enumerate(X):
        raw = mne.io.RawArray(case, info, verbose="error")
        raw.save(tmp_path / f"{i}_raw.fif", fmt="double", verbose="error")
        raws.append(mne.io.read_raw_fif(tmp_path / f"{i}_raw.fif", verbose="error"))
    lazy = clone(step).fit_transform(raws)
    np.testing.assert_allclose(lazy.to_numpy(), expected, atol=1e-12)
    assert lazy.sources[1].endswith("1_raw.fif")


@each_step
def test_rate_names_and_precision_are_preserved(step, rng):
    given = signals(array(rng).astype(np.float32))
    out = clone(step).fit_transform(given)
    assert out.ch_names == tuple(NAMES)
    assert out.sfreq == (100 if isinstance(step, Resample) else 250)
    assert out[0].data.dtype == np.float32
    assert (given == signals(array(np.random.default_rng(0)).astype(np.float32))) is True  # the input is unchanged


@each_step
def test_missing_samples_stay_missing_and_affect_only_nearby_samples(step, rng):
    X = array(rng)
    X[2, 1, 300:310] = np.nan
    X[3, 0] = np.nan
    out = clone(step).fit_transform(signals(X))
    rate = out.sfreq / 250
    gap = np.isnan(out[2].data[1])
    assert gap[round(301 * rate) : round(309 * rate)].all()
    assert gap.sum() <= 12
    interpolated = isinstance(step, InterpolateBads)
    assert np.isnan(out[3].data[0]).all() != interpolated
    assert np.isfinite(out[4].data).all()


@each_step
def test_transform_of_a_case_ignores_other_cases_and_changes_no_state(step, rng):
    X = array(rng, n=8)
    fitted = clone(step).fit(signals(X[:4]))
    before = pickle.dumps(fitted)
    alone = fitted.transform(signals(X[4:5])).to_numpy()
    together = fitted.transform(signals(np.concatenate([X[4:], 1e3 * X[:2]]))).to_numpy()[:1]
    np.testing.assert_array_equal(alone, together)
    assert pickle.dumps(fitted) == before
    np.testing.assert_array_equal(pickle.loads(before).transform(signals(X[4:5])).to_numpy(), alone)


@each_step
def test_volts_and_microvolts_are_treated_alike(step, rng):
    X = array(rng)
    volts = clone(step).fit_transform(signals(X)).to_numpy()
    microvolts = clone(step).fit_transform(signals(1e6 * X)).to_numpy()
    unit = 1.0 if isinstance(step, RobustScale) else 1e6
    np.testing.assert_allclose(unit * volts, microvolts, rtol=1e-6, atol=1e-7)


@each_step
def test_a_step_is_saved_and_loaded_without_pickle(step, rng, tmp_path):
    fitted = clone(step).fit(signals(array(rng)))
    fitted.save(tmp_path / "step.s4")
    again = type(step).load(tmp_path / "step.s4")
    assert again.get_params() == fitted.get_params()
    other = signals(array(rng))
    np.testing.assert_array_equal(again.transform(other).to_numpy(), fitted.transform(other).to_numpy())


def test_band_pass_passes_its_band_and_stops_the_rest(rng):
    X = rng.standard_normal((20, 1, 5000))
    frequencies, before = welch(X, 250, nperseg=1000)
    for causal in (False, True):
        filtered = np.asarray(BandPass(8, 30, causal=causal, sfreq=250).fit_transform(X))[..., 500:-500]
        after = welch(filtered, 250, nperseg=1000)[1]
        gain = np.sqrt((after / before).mean((0, 1)))[1:]  # the mean was subtracted
        np.testing.assert_allclose(gain[(frequencies[1:] > 11) & (frequencies[1:] < 24)], 1.0, atol=0.05)
        assert gain[(frequencies[1:] < 3) | (frequencies[1:] > 60)].max() < 0.03


@pytest.mark.parametrize("n_times", [2, 10, 750])
def test_band_pass_equals_that_of_scipy(n_times, rng):
    X = array(rng, n_times=n_times)
    sections = butter(4, (8, 30), "bandpass", fs=250, output="sos")
    expected = sosfiltfilt(sections, X, padlen=min(27, n_times - 1))  # 27 is the default
    np.testing.assert_allclose(BandPass(8, 30, sfreq=250).fit_transform(X), expected, atol=1e-15)
    gap = np.where(np.arange(n_times) % 5 == 1, np.nan, X)  # the input of the filter is interpolated
    at = np.arange(n_times)
    line = np.interp(at, at[at % 5 != 1], X[0, 0, at % 5 != 1])
    expected = np.where(at % 5 == 1, np.nan, sosfiltfilt(sections, line, padlen=min(27, n_times - 1)))
    np.testing.assert_allclose(BandPass(8, 30, sfreq=250).fit_transform(gap)[0].data[0], expected, atol=1e-15)
    causal = BandPass(8, 30, causal=True, sfreq=250).fit_transform(X[:1, :1])[0].data[0]
    np.testing.assert_allclose(causal, sosfilt(sections, X[0, 0], zi=sosfilt_zi(sections) * X[0, 0, 0])[0])


@pytest.mark.parametrize("quality", [10.0, 30.0])
def test_notch_is_as_wide_as_its_quality_requires(quality):
    edges = 50.0 * (1 + np.array([-0.5, 0.5]) / quality)
    tones = np.sin(2 * np.pi * edges[:, None] * np.arange(2500) / 250)
    filtered = np.asarray(Notch(50, quality=quality, causal=True, sfreq=250).fit_transform(tones))[..., 1000:]
    np.testing.assert_allclose(filtered.std(-1) / tones.std(-1), 0.5**0.5, rtol=0.03)


def test_band_pass_has_zero_phase_or_is_causal(rng):
    X = rng.standard_normal((1, 1, 1000))
    changed = X.copy()
    changed[..., 600:] += 5
    causal = BandPass(8, 30, causal=True, sfreq=250)
    one, other = (np.asarray(causal.fit_transform(data)) for data in (X, changed))
    np.testing.assert_array_equal(one[..., :600], other[..., :600])
    impulse = np.zeros((1, 1, 1001))
    impulse[..., 500] = 1
    response = np.asarray(BandPass(8, 30, sfreq=250).fit_transform(impulse))[0, 0]
    np.testing.assert_allclose(response, response[::-1], atol=1e-6)


def test_band_pass_of_a_constant_has_no_initial_transient():
    for causal in (False, True):
        flat = np.asarray(BandPass(l_freq=1, causal=causal, sfreq=250).fit_transform(np.full((1, 1, 500), 7.0)))
        np.testing.assert_allclose(flat, 0, atol=1e-6)


def test_cut_offs_above_half_the_rate_are_refused(rng):
    X = array(rng)
    with pytest.raises(ValueError, match=r"BandPass: 125 Hz is not below half the rate of case 0, 250 Hz. Lower it"):
        BandPass(1, 125, sfreq=250).fit(X)
    fitted = Notch((50, 30), sfreq=250).fit(X)
    with pytest.raises(ValueError, match=r"Notch: 50 Hz is not below half the rate of case 0, 80 Hz"):
        fitted.transform(Signals(X, sfreq=80))
    # At another rate the cut-offs stay the same in Hz.
    slow = Signals(rng.standard_normal((1, 7, 4000)), sfreq=125)
    assert fitted.transform(slow).sfreq == 125


@pytest.mark.parametrize("step", [BandPass(1, 40), Notch(), Resample(100)])
def test_missing_or_irregular_rate_is_refused(step, rng):
    with pytest.raises(
        ValueError, match=rf"needs the sampling rate of case 0.*Pass {type(step).__name__}\(..., sfreq="
    ):
        step.fit(array(rng))
    times = [np.sort(rng.uniform(0, 3, 750)) for _ in range(5)]
    with pytest.raises(ValueError, match=r"case 0 has times of its own; .*Signals.to_grid"):
        step.fit(Signals(array(rng), times=times, sfreq=250))
    step = clone(step).set_params(sfreq=100)  # the rate of cases without one, if no case has one
    with pytest.raises(ValueError, match="needs the sampling rate of case 5"):
        step.fit(Signals.concatenate([signals(array(rng)), Signals(array(rng), ch_names=NAMES)]))


@pytest.mark.parametrize(
    ("step", "match"),
    [
        (BandPass(sfreq=250), "l_freq=None and h_freq=None must be positive"),
        (BandPass(30, 8, sfreq=250), "the first below the second"),
        (BandPass(8, 8, sfreq=250), "the first below the second"),
        (BandPass(1, 40, order=11, sfreq=250), "order=11 must be a whole number from 1 to 10"),
        (BandPass(1, 40, order=0, sfreq=250), "order=0 must be a whole number from 1 to 10"),
        (Notch(-50, sfreq=250), "freqs=-50 must be one or several positive numbers"),
        (Notch(quality=0, sfreq=250), "quality=0 must be a positive number"),
        (Resample(0, sfreq=250), "new_sfreq=0 must be a positive number of Hz"),
        (Clip(-1), "limit=-1 must be a positive number of standard deviations"),
        (Baseline(1, 0), "tmin=1 must not be after tmax=0"),
        (Baseline(-1, 1, sfreq=250), r"does not hold a baseline from -1 to 1 s"),
        (Baseline(0, 9, sfreq=250), r"lasts from 0 to 2.996 s, which does not hold a baseline from 0 to 9 s"),
        (
            Baseline(sfreq=250),
            r"does not hold a baseline from None to 0.0 s. Change tmin or tmax; Baseline\(None, None\)",
        ),
        (Baseline(0, 1), r"its rate is unknown or irregular, so seconds cannot be counted"),
        (Rereference(["M1"]), r"ref_channels: X has no channel 'M1'. It has: 7 channels without names; pass numbers"),
        (Rereference([7]), r"ref_channels: X has no channel 7. It has: 7 channels"),
        (Rereference([]), r"ref_channels=\[\] of 7 channels leaves nothing"),
        (InterpolateBads(), r"X has no electrode positions. Pass montage="),
        (InterpolateBads(montage="biosemi64"), r"X has no channel names, which montage= needs"),
    ],
)
def test_invalid_options_raise_an_error_of_one_line(step, match, rng):
    with pytest.raises((ValueError, RecordingError), match=match) as caught:
        step.fit(array(rng)).transform(array(rng))
    assert "\n" not in str(caught.value)


def test_robust_scale_and_clip_are_robust_to_one_bad_trial(rng):
    X = 3 + rng.standard_normal((100, 2, 200))
    bad = X.copy()
    bad[7] *= 1000
    scaled, with_bad = (np.asarray(RobustScale().fit_transform(data)) for data in (X, bad))
    np.testing.assert_allclose(np.delete(with_bad, 7, 0), np.delete(scaled, 7, 0), atol=0.1)
    assert np.abs(np.asarray(Clip(10).fit_transform(bad)) - 3).max() < 10.5
    np.testing.assert_array_equal(np.asarray(Clip(10).fit_transform(X)), X)


def test_clip_warns_about_different_units(rng):
    X = rng.standard_normal((20, 2, 200))
    steps = make_pipeline(RobustScale(), Clip(5)).fit(1e-5 * X)
    with pytest.warns(
        UserWarning, match="most of a case lies far beyond Clip, which leaves nothing of it: other units"
    ):
        steps.transform(10 * X)
    with pytest.warns(UserWarning, match="most of a case lies far beyond Clip"):
        steps[-1].stream().push(10 / 1e-5 * X[0])
    clip, part = Clip().fit(1e6 + X), 1e6 + X[:1]  # an offset is not another unit
    np.testing.assert_allclose(np.asarray(clip.transform(part)), part, atol=6)
    part[..., :80] = 1e9
    clip.transform(part)
    part[..., :120] = 1e9
    with pytest.warns(UserWarning, match="most of a case lies far beyond Clip"):
        clip.transform(part)


@pytest.mark.parametrize(
    ("step", "plain"),
    [
        (Rereference(np.array(["C3", "C4"])), Rereference(["C3", "C4"])),
        (Rereference(np.array([2, 3])), Rereference([2, 3])),
        (Rereference(np.str_("C3")), Rereference(["C3"])),
        (InterpolateBads("Pz", montage="biosemi64"), InterpolateBads(["Pz"], montage="biosemi64")),
        (InterpolateBads(np.array(["Pz"]), montage="biosemi64"), InterpolateBads(["Pz"], montage="biosemi64")),
        (Notch(np.arange(50, 101, 50)), Notch([50, 100])),
    ],
)
def test_arrays_as_parameters_are_what_lists_are_in_files_too(step, plain, rng, tmp_path):
    X = signals(array(rng))
    expected = plain.fit_transform(X).to_numpy()
    np.testing.assert_array_equal(step.fit_transform(X).to_numpy(), expected)
    step.save(tmp_path / "step.s4")
    np.testing.assert_array_equal(type(step).load(tmp_path / "step.s4").transform(X).to_numpy(), expected)


def test_flat_and_missing_channels_are_scaled_by_one():
    X = np.zeros((3, 3, 100))
    X[:, 1] = np.nan
    X[:, 2] = 5.0
    step = RobustScale().fit(Signals(X))
    assert step.scale_.tolist() == [1, 1, 1]
    assert step.center_.tolist() == [0, 0, 5]
    rare = np.zeros((1, 1, 1000))
    rare[..., ::10] = 4.0
    assert RobustScale().fit(rare).scale_ == pytest.approx(1.2)


def test_quantiles_of_much_data_are_those_of_its_whole_duration(monkeypatch, rng):
    X = np.linspace(0, 8, 2000) + rng.standard_normal((5, 2, 2000))
    exact = RobustScale().fit(X)
    monkeypatch.setattr("s4signal.estimators.preprocessing.amplitude._MOST_VALUES", 1000)
    step = RobustScale().fit(X)
    np.testing.assert_allclose([step.center_, step.scale_], [exact.center_, exact.scale_], rtol=0.1)


def test_baseline_interval_is_relative_to_the_event(rng):
    recording = Signals(rng.standard_normal((1, 2, 2000)) + 5, sfreq=100)
    events = np.array([[300, 0, 1], [700, 0, 1]])
    epochs, _, _ = epochs_from_events(recording, events=events, tmin=-0.5, tmax=1.0)
    out = Baseline().fit_transform(epochs).to_numpy()
    np.testing.assert_allclose(out[..., :51].mean(2), 0, atol=1e-12)
    info = mne.create_info(2, 100.0, "eeg")
    mne_epochs = mne.EpochsArray(epochs.to_numpy(), info, events, tmin=-0.5, verbose="error")
    expected = mne_epochs.copy().apply_baseline((None, 0), verbose="error").get_data()
    np.testing.assert_allclose(Baseline().fit_transform(mne_epochs).to_numpy(), expected)
    one_sample = mne_epochs.copy().apply_baseline((0.2, 0.2), verbose="error").get_data()
    np.testing.assert_allclose(Baseline(0.2, 0.2).fit_transform(epochs).to_numpy(), one_sample)


def test_baseline_is_the_mean_of_the_observed_samples():
    data = np.array([[1.0, np.nan, 3.0, 7.0], [np.nan, np.nan, np.nan, 7.0]])
    out = Baseline(0, 0.2).fit_transform(Signals([data], sfreq=10))[0].data
    np.testing.assert_array_equal(out, [[-1, np.nan, 1, 5], [np.nan] * 4])


def test_to_array_stacks_cases_of_equal_shape_and_rate(rng):
    X = array(rng)
    np.testing.assert_array_equal(ToArray().fit_transform(signals(X)), X)
    np.testing.assert_array_equal(ToArray().fit_transform(X), X)
    np.testing.assert_array_equal(ToArray().fit_transform(list(X)), X)
    with pytest.raises(ShapeError, match=r"case 0 has 750 and case 1 has 700 samples. They cannot form one array"):
        ToArray().fit_transform([X[0], X[1, :, :700]])
    with pytest.raises(RecordingError, match=r"case 0 has 250 and case 1 has 125 Hz. Call resample"):
        ToArray().fit_transform(Signals(X[:2], sfreq=[250, 125]))


def test_another_number_of_channels_is_refused(rng):
    step = RobustScale().fit(signals(array(rng)))
    with pytest.raises(ShapeError, match=r"X has 3 channels, but RobustScale was fitted with 7"):
        step.transform(array(rng)[:, :3])
